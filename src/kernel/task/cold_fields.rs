//! The cold fields of a task, which most tasks never need: an allocation of their own that is made at first use.
//!
//! A header has one word for them. Without cold fields that word is the place where the task was created: see `Side` in
//! `task/header`.

use std::any::Any;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

use crate::error::{Cancellation, Panicked};
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::context::Context;
use crate::kernel::wait::waiters::Waiters;

/// The cold fields of one task.
pub(crate) struct ColdFields {
    /// Where the task was created: the header's word does not say so any more.
    pub(super) location: &'static Location<'static>,
    /// The name given by the task builder.
    pub(crate) name: Option<Rc<str>>,
    /// The waker of an awaiter, if it is another runtime's or not a task's.
    pub(crate) waiter: Option<Waker>,
    /// Done callbacks in registration order, by their ids.
    pub(crate) callbacks: Waiters<Box<dyn FnOnce()>>,
    /// The newest request: its origin and its message.
    pub(crate) cancelled: Option<Cancellation>,
    /// The context in which the task runs; `None` is an empty one.
    pub(crate) context: Option<Context>,
    /// How many requests were made and not taken back.
    pub(crate) requests: u32,
    /// The await of this task as a node of its awaiter's tree.
    pub(crate) node: Option<NodeKey>,
    /// The drop panic: of a destructor that ran while the task ended. It is reported and never becomes the task's
    /// result.
    pub(crate) drop_panic: Option<Box<dyn Any + Send>>,
    /// The panic of the future, which is the task's output.
    pub(super) panicked: Option<Panicked>,
    /// A report has said that the task was unfinished at the program's end, so its loop's close does not report it
    /// again.
    pub(crate) named_unended: bool,
}

impl ColdFields {
    pub(super) fn new(location: &'static Location<'static>) -> Self {
        Self {
            location,
            name: None,
            waiter: None,
            callbacks: Waiters::new(),
            cancelled: None,
            context: None,
            requests: 0,
            node: None,
            drop_panic: None,
            panicked: None,
            named_unended: false,
        }
    }

    /// Adds a done callback. Its id is greater than those before it.
    pub(crate) fn add_callback(&mut self, id: u64, callback: Box<dyn FnOnce()>) {
        self.callbacks.number_from(id);
        self.callbacks.join(callback);
    }
}
