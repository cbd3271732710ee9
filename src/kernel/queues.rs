//! The ready queue and the slots of tasks, under one borrow. The ready queue holds a task's key, not the task: queueing
//! a key checks the slot's scheduled flag, and popping one looks the task up. No user code is called here; the turn
//! runs what comes out, after the borrow has ended.

use std::rc::Rc;

use crate::kernel::ready::{Entry, ReadyQueue, Token};
use crate::kernel::task::cell::Run;
use crate::kernel::task::key::Key;
use crate::kernel::task::slots::Slots;
use crate::sys::prefetch::AHEAD;

/// The two structures that nearly every operation touches together, under one borrow.
pub(crate) struct Queues {
    pub(crate) ready: ReadyQueue,
    pub(crate) tasks: Slots,
}

/// The front entry of the ready queue, with its task looked up.
pub(crate) enum Next {
    /// A callback of `call_soon`.
    Call(Box<dyn FnOnce()>),
    /// A task to be polled.
    Task(Rc<dyn Run>, Key),
    /// A task that has ended since it was queued.
    Gone,
    /// Neither callback nor task.
    Other(Token),
}

impl Queues {
    /// Pops the front entry.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<Next> {
        Some(match self.ready.pop()? {
            Entry::Call(callback) => Next::Call(callback),
            Entry::Token(token) => match token.task() {
                Some(key) => match self.tasks.unschedule(key) {
                    Some(task) => Next::Task(task, key),
                    None => Next::Gone,
                },
                None => Next::Other(token),
            },
        })
    }

    /// Asks for the memory of tasks that are queued behind the next [`AHEAD`].
    pub(crate) fn prefetch(&self) {
        for place in AHEAD..2 * AHEAD {
            if let Some(key) = self.ready.task_at(place + AHEAD) {
                self.tasks.prefetch(key);
            }
            if let Some(key) = self.ready.task_at(place) {
                self.tasks.prefetch_task(key);
            }
        }
    }

    /// Queues the task of a key, unless it is queued already or has ended.
    #[inline(always)]
    pub(crate) fn schedule(&mut self, key: Key) {
        if self.tasks.schedule(key) {
            self.ready.push_task(key);
        }
    }
}
