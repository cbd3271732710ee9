//! The place of the root, the future of `run_until_complete`, in its loop: what a task has in a slot.

use std::cell::{Cell, RefCell};

use crate::kernel::context::Context;
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::slots::{Recency, TaskNodes};

/// The future of `run_until_complete`, as its wakers see it.
pub(crate) struct RootSlot {
    /// The generation of the current run's root; wakers of earlier runs carry another.
    pub(crate) generation: Cell<u16>,
    /// Whether the ready queue holds the root's token.
    pub(crate) scheduled: Cell<bool>,
    /// The root as a task, while there is one.
    pub(crate) task: RefCell<Option<AnyTask>>,
    /// Its nodes: see `kernel/cancel`.
    pub(crate) nodes: Cell<TaskNodes>,
    /// In which of its newest polls a node of it was polled.
    pub(crate) recency: Cell<Recency>,
    /// A runner wants the context in which it ends.
    pub(crate) keeps_context: Cell<bool>,
    /// That context.
    pub(crate) context: Cell<Option<Context>>,
}

impl RootSlot {
    pub(crate) fn new(generation: u16) -> Self {
        Self {
            generation: Cell::new(generation),
            scheduled: Cell::new(false),
            task: RefCell::new(None),
            nodes: Cell::new(TaskNodes::Bare),
            recency: Cell::new(Recency::NEVER),
            keeps_context: Cell::new(false),
            context: Cell::new(None),
        }
    }

    /// Marks the future as scheduled. Returns whether the caller has to queue it.
    pub(crate) fn schedule(&self, generation: u16) -> bool {
        self.generation.get() == generation
            && self.task.borrow().is_some()
            && !self.scheduled.replace(true)
    }
}
