//! The ready queue and the slots of tasks, under one borrow. The ready queue holds a task's key, not the task: queueing
//! a key checks the slot's scheduled flag, and popping one looks the task up. No user code is called here; the turn
//! runs what comes out, after the borrow has ended.

use std::mem::ManuallyDrop;
use std::panic::Location;

use crate::kernel::inline_fn::InlineFn;
use crate::kernel::ready::ReadyQueue;
use crate::kernel::ready_token::Token;
use crate::kernel::task::any_task::AnyTask;
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
    /// A callback of `call_soon`, and where it was queued.
    Call(InlineFn, &'static Location<'static>),
    /// A task to be polled, lent for one step.
    Task(ManuallyDrop<AnyTask>, Key),
    /// A task that has ended since it was queued, or a callback that was cancelled.
    Gone,
    /// Neither callback nor task.
    Other(Token),
}

impl Queues {
    /// Pops the front entry.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<Next> {
        let token = self.ready.pop()?;
        Some(if let Some(key) = token.task() {
            match self.tasks.unschedule(key) {
                Some(task) => Next::Task(task, key),
                None => {
                    self.ready.note_idle_task();
                    Next::Gone
                }
            }
        } else if token.is_call() {
            match self.ready.pop_call() {
                Some((callback, location)) => Next::Call(callback, location),
                None => {
                    self.ready.note_idle_call();
                    Next::Gone
                }
            }
        } else {
            Next::Other(token)
        })
    }

    /// Asks for the memory of [`AHEAD`] tasks, of which the first is so many places from the front.
    pub(crate) fn prefetch(&mut self, first: usize) {
        for place in first..first + AHEAD {
            if let Some(key) = self.ready.task_at(place + AHEAD) {
                self.tasks.prefetch(key);
            }
            if let Some(key) = self.ready.task_at(place) {
                self.tasks.prefetch_task(key);
            }
        }
    }

    /// Queues the task of a key, unless it is queued already or has ended. Returns `false` if there is no slot of this
    /// number, as there is none for the root.
    #[inline(always)]
    pub(crate) fn schedule(&mut self, key: Key) -> bool {
        let Some(unqueued) = self.tasks.schedule(key) else {
            return false;
        };
        if unqueued {
            self.ready.push_task(key);
        }
        true
    }
}
