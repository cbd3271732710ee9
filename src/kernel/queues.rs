//! The line and those who stand in it, together: what is queued of a task is a key, so putting one in asks the task whether
//! it stands there already, and taking one out asks who that was. Nothing foreign is called in here; what comes out is
//! run by the turn, with no borrow left.

use std::rc::Rc;

use crate::kernel::ready::{Entry, ReadyQueue, Token};
use crate::kernel::task::cell::Run;
use crate::kernel::task::key::Key;
use crate::kernel::task::slots::Slots;

/// The two structures that nearly every operation touches together, under one borrow.
pub(crate) struct Queues {
    pub(crate) ready: ReadyQueue,
    pub(crate) tasks: Slots,
}

/// The head of the line, with its task looked up.
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
    /// Takes the head of the line.
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

    /// Queues the task of a key, unless it is queued already or gone.
    #[inline(always)]
    pub(crate) fn schedule(&mut self, key: Key) {
        if self.tasks.schedule(key) {
            self.ready.push_task(key);
        }
    }
}
