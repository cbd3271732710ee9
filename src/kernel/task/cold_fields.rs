//! What most tasks never have, in an allocation of its own that is made at first use.
//!
//! A header has one word for it, which otherwise holds the place where the task was created: see `Side` in `task/cell`.

use std::any::Any;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

use crate::error::Cancellation;
use crate::kernel::cancel::node::NodeKey;
use crate::kernel::context::Context;

/// The cold fields of one task.
pub(crate) struct ColdFields {
    /// Where the task was created, which this takes the place of.
    pub(super) location: &'static Location<'static>,
    /// The name given by the task builder.
    pub(crate) name: Option<Rc<str>>,
    /// An awaiter whose waker is not one of ours, or not of a task.
    pub(crate) waiter: Option<Waker>,
    /// Done callbacks in registration order, with their ids.
    pub(crate) callbacks: Vec<(u64, Box<dyn FnOnce()>)>,
    /// Who asked for the cancellation that is under way, and why: the newest request's.
    pub(crate) cancelled: Option<Cancellation>,
    /// The context in which the task runs; `None` is an empty one.
    pub(crate) context: Option<Context>,
    /// How many requests there have been that nobody took back.
    pub(crate) requests: u32,
    /// The await of this task as a node of its awaiter's tree.
    pub(crate) node: Option<NodeKey>,
    /// The panic of a destructor that ran while the task ended: reported, never the task's result.
    pub(crate) drop_panic: Option<Box<dyn Any + Send>>,
    /// A report has said that the task had not ended when its program did: its loop's close does not say it again.
    pub(crate) named_unended: bool,
}

impl ColdFields {
    pub(super) fn new(location: &'static Location<'static>) -> Self {
        Self {
            location,
            name: None,
            waiter: None,
            callbacks: Vec::new(),
            cancelled: None,
            context: None,
            requests: 0,
            node: None,
            drop_panic: None,
            named_unended: false,
        }
    }
}
