//! Calls of a queue's store, and the wake-ups that follow.
//!
//! The store is user code. It is borrowed only while it is called. Waiters are woken after the call has ended and its
//! effect was recorded. If a call panics, a guard records its effect and wakes the waiters.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::kernel::report::drop_quietly;
use crate::queue::base::Queue;
use crate::queue::store::QueueStore;

impl<T, S: QueueStore<T>> Queue<T, S> {
    /// Shuts the queue down. Nothing can be put after that. Tasks that wait in `put` get
    /// [`ShutDown`](crate::queue::ShutDown) with their item. `get` returns the items that are left, and after them
    /// `ShutDown`.
    ///
    /// With `immediate` the items are taken out at once and returned, in the order of `get`. They count as
    /// [done](Self::task_done), which may let [`join`](Self::join) return. Items that were taken before must still be
    /// reported.
    ///
    /// # Differences from asyncio
    /// - The items that were left are returned. asyncio discards them.
    ///
    /// ```
    /// let queue = callsoon::Queue::new(0);
    /// queue.put_nowait("a").unwrap();
    /// queue.put_nowait("b").unwrap();
    /// queue.shutdown(false);
    /// assert_eq!(queue.get_nowait(), Ok("a"));
    /// assert_eq!(queue.shutdown(true), ["b"]);
    /// ```
    pub fn shutdown(&self, immediate: bool) -> Vec<T> {
        self.shut_down.set(true);
        // Declared first and therefore dropped last, so that the waiters are woken even if the store panics.
        let _notify = NotifyAll(self);
        let mut drained = Vec::new();
        if immediate {
            drained.extend(std::iter::from_fn(|| self.drain_one()));
        }
        drained
    }

    /// Takes an item out of a queue that is shut down, and counts it as done.
    fn drain_one(&self) -> Option<T> {
        let before = self.length.get();
        let item = self.call_store(Call::Get, S::get);
        let got = usize::from(item.is_some());
        self.account(before, self.length.get().saturating_add(got));
        self.unfinished
            .set(self.unfinished.get().saturating_sub(got));
        item
    }

    /// Calls the store, then records its length.
    #[inline]
    fn call_store<R>(&self, call: Call, op: impl FnOnce(&mut S) -> R) -> R {
        let on_panic = OnPanic { queue: self, call };
        let (result, length);
        {
            let mut items = self.items.borrow_mut();
            result = op(&mut items);
            length = items.len();
        }
        std::mem::forget(on_panic);
        self.length.set(length);
        result
    }

    /// Adds an item and wakes the getter that becomes eligible.
    #[inline]
    pub(super) fn push(&self, item: T) {
        let before = self.length.get();
        self.call_store(Call::Put, |items| items.put(item));
        self.unfinished.set(self.unfinished.get() + 1);
        let after = self.length.get();
        if after.wrapping_sub(before) == 1 && !self.starved.get() {
            self.getters.notify(before);
        } else {
            self.starved.set(false);
            self.account(before.saturating_add(1), after);
            self.notify_eligible(0);
        }
    }

    /// Takes an item and wakes the waiters that become eligible. The getter that calls this may still be queued.
    #[inline]
    pub(super) fn pop(&self) -> Option<T> {
        let before = self.length.get();
        let item = self.call_store(Call::Get, S::get);
        let after = self.length.get();
        if item.is_some() && before.wrapping_sub(after) == 1 {
            self.notify_putter();
            if self.shut_down.get() {
                self.notify_getter();
            }
        } else if item.is_some() || after != before {
            self.account(before, after.saturating_add(usize::from(item.is_some())));
            // One more than the number of items, because the getter that calls this leaves the queue next.
            self.notify_eligible(1);
        }
        item
    }

    /// Corrects the counts if the store has changed its length by itself. Items that appeared will be reported by
    /// `task_done`. Items that disappeared will not.
    #[cold]
    fn account(&self, expected: usize, found: usize) {
        let add = |count: &Cell<usize>, n| count.set(count.get().saturating_add(n));
        add(&self.unfinished, found.saturating_sub(expected));
        add(&self.lost, expected.saturating_sub(found));
    }

    /// Records the effect of a call that panicked.
    #[cold]
    fn after_panic(&self, call: Call) {
        let Ok(items) = self.items.try_borrow() else {
            // The store used its own queue, and that panicked. The outer call's guard does the rest.
            return;
        };
        let before = self.length.get();
        // A second panic during unwinding would end the process. If `len` panics, the call counts as successful.
        let measured = catch_unwind(AssertUnwindSafe(|| items.len()));
        drop(items);
        let after = measured.unwrap_or_else(|payload| {
            drop_quietly(payload);
            match call {
                Call::Put => before.saturating_add(1),
                Call::Get => before.saturating_sub(1),
            }
        });
        self.length.set(after);
        self.account(before, after);
        self.notify_eligible(0);
    }

    /// Wakes every eligible waiter, and `leaving` getters more, because that many are about to leave the queue.
    #[cold]
    fn notify_eligible(&self, leaving: usize) {
        let (items, shut_down) = (self.length.get(), self.shut_down.get());
        let all = |all: bool, some: usize| if all { usize::MAX } else { some };
        self.getters
            .notify_first(all(shut_down && items == 0, items.saturating_add(leaving)));
        let room = self.maxsize.saturating_sub(items);
        self.putters
            .notify_first(all(shut_down || self.maxsize == 0, room));
        self.grant_joiners();
    }

    /// Wakes the last eligible getter, which may not know that it is eligible.
    #[inline]
    pub(super) fn notify_getter(&self) {
        if let Some(ahead) = self.length.get().checked_sub(1) {
            self.getters.notify(ahead);
        } else if self.shut_down.get() {
            self.getters.notify_first(usize::MAX);
        }
    }

    /// Wakes the last eligible putter, which may not know that it is eligible.
    #[inline]
    pub(super) fn notify_putter(&self) {
        let room = self.maxsize.saturating_sub(self.length.get());
        if let Some(ahead) = room.checked_sub(1) {
            self.putters.notify(ahead);
        }
    }
}

/// The method of the store that was called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Put,
    Get,
}

/// Handles a panic of the store when it is dropped. A comparison may panic after the item is in, or after it is out and
/// lost.
struct OnPanic<'q, T, S: QueueStore<T>> {
    queue: &'q Queue<T, S>,
    call: Call,
}

impl<T, S: QueueStore<T>> Drop for OnPanic<'_, T, S> {
    // Inlined, so that the guard costs nothing unless a panic unwinds.
    #[inline(always)]
    fn drop(&mut self) {
        self.queue.after_panic(self.call);
    }
}

/// Wakes all waiters after a shutdown, when it is dropped.
struct NotifyAll<'q, T, S: QueueStore<T>>(&'q Queue<T, S>);

impl<T, S: QueueStore<T>> Drop for NotifyAll<'_, T, S> {
    fn drop(&mut self) {
        let queue = self.0;
        queue.grant_joiners();
        queue.getters.notify_first(usize::MAX);
        queue.putters.notify_first(usize::MAX);
    }
}
