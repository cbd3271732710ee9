//! What every step of a task, every callback and every timer does with the ready queue, the tasks and the timers: each
//! operation in a borrow that release builds do not check. All other code borrows by `LoopState::queues` and
//! `LoopState::timers`, which check.
//!
//! The argument for each borrow has two halves. From outside: these functions are called with nothing borrowed, since
//! the closures of all borrows hold to the rules of `loop_cell`, by the third of which they call none of these. From
//! inside: the closure calls methods of the queues or the timers alone, and these know neither the loop nor any user
//! code. What it moves in was moved here by its caller, and what it takes out it returns. The comments below say what is
//! special.

#![allow(unsafe_code)]

use std::panic::Location;

use crate::error::LoopClosed;
use crate::kernel::inline_fn::{InlineFn, Stored};
use crate::kernel::loop_state::LoopState;
use crate::kernel::queues::{Next, Queues};
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::Key;
use crate::kernel::task::slots::Link;
use crate::kernel::timers::TimerKey;

impl LoopState {
    /// Returns how many entries are ready.
    #[inline(always)]
    pub(crate) fn ready_count(&self) -> usize {
        // SAFETY: see above. The closure reads a number.
        unsafe { self.queues.with_unchecked(|queues| queues.ready.len()) }
    }

    /// Pops the front entry of the ready queue.
    #[inline(always)]
    pub(crate) fn next_entry(&self) -> Option<Next> {
        // SAFETY: see above. The callback or the task is moved out, and called after the borrow.
        unsafe { self.queues.with_unchecked(Queues::next) }
    }

    /// Removes an ended task, for the caller to drop.
    #[inline(always)]
    pub(crate) fn remove_ended(&self, key: Key) -> Option<(AnyTask, Link)> {
        // SAFETY: see above. The task is moved out of its slot, and nothing is dropped.
        unsafe {
            self.queues
                .with_unchecked(|queues| queues.tasks.remove(key))
        }
    }

    /// Notes that a running task awaits the one in a slot; `false` if it has other nodes already.
    #[inline(always)]
    pub(crate) fn note_await_of_slot(&self, awaiting: Key, awaited: u32) -> bool {
        // SAFETY: see above. The closure reads and writes numbers.
        unsafe {
            self.queues
                .with_unchecked(|queues| queues.tasks.note_await(awaiting, awaited))
        }
    }

    /// Queues a callback and returns its number, or returns the callback if the loop is closed.
    #[inline]
    pub(crate) fn push_call<F: FnOnce() + 'static>(
        &self,
        call: F,
        location: &'static Location<'static>,
    ) -> Result<u64, F> {
        if self.admit().is_err() {
            return Err(call);
        }
        // SAFETY: see above. The callback is moved to a place that holds a number, and is not called.
        let number = unsafe {
            self.queues
                .with_unchecked(|queues| queues.ready.push_call(call, location))
        };
        Ok(number)
    }

    /// Stores a new task, so that its wakers find it, and queues its first step. It is always inlined: as a call it
    /// made a spawn a tenth slower.
    #[inline(always)]
    pub(crate) fn take_in(&self, task: AnyTask, header: &Header) -> Key {
        // SAFETY: see above. The task is moved to a free slot, in which no other is overwritten; of the header, numbers
        // are set.
        unsafe {
            self.queues.with_unchecked(|queues| {
                let key = queues.tasks.insert(self.id, task, header);
                queues.ready.push_task(key);
                key
            })
        }
    }

    /// Queues the task of a key of this loop, unless it is queued already or has ended.
    #[inline]
    pub(crate) fn schedule(&self, key: Key) {
        // SAFETY: see above. The closure reads a slot and writes numbers. This is the end of every wake, which user code
        // calls: it is no exception, since no closure calls user code.
        let found = unsafe { self.queues.with_unchecked(|queues| queues.schedule(key)) };
        if !found {
            self.schedule_root(key);
        }
    }

    /// Arms a timer that calls `call` from the ready queue, or returns `call` if the loop is closed.
    #[inline]
    pub(crate) fn arm_timer<F: FnOnce() + 'static>(
        &self,
        deadline: u64,
        call: F,
    ) -> Result<TimerKey, F> {
        if self.admit_timer(deadline).is_err() {
            return Err(call);
        }
        // SAFETY: see above. The callback is moved to the place of a free entry, which holds a number, and is not called.
        let key = unsafe {
            self.timers.with_unchecked(|timers| {
                let key = timers.reserve(deadline);
                InlineFn::put(timers.fill(key), call);
                key
            })
        };
        Ok(key)
    }

    /// Arms a timer that wakes a task as soon as it is due, and then leaves by itself.
    #[inline]
    pub(crate) fn arm_waking(&self, deadline: u64, task: Key) -> Result<TimerKey, LoopClosed> {
        self.admit_timer(deadline)?;
        // SAFETY: see above. What is overwritten is a number: forgetting it saves a test.
        let key = unsafe {
            self.timers.with_unchecked(|timers| {
                let key = timers.reserve(deadline);
                let former = std::mem::replace(timers.fill(key), Stored::Number(task.bits()));
                std::mem::forget(former);
                key
            })
        };
        Ok(key)
    }

    /// Disarms a timer. Returns its closure, if it has one, for the caller to drop with nothing borrowed.
    #[inline]
    pub(crate) fn cancel_timer(&self, key: TimerKey) -> Option<InlineFn> {
        // SAFETY: see above. The callback is moved out, and dropped after the borrow.
        unsafe {
            self.timers
                .with_unchecked(|timers| InlineFn::take(timers.cancel(key)?))
        }
    }

    /// Removes a timer that has fired. Returns its callback, or `None` if it was cancelled meanwhile.
    #[inline]
    pub(crate) fn take_due(&self, key: TimerKey) -> Option<InlineFn> {
        // SAFETY: see above. The callback is moved out, and called after the borrow.
        unsafe {
            self.timers
                .with_unchecked(|timers| InlineFn::take(timers.take_due(key)?))
        }
    }
}
