//! Calls of a queue's store, and whom their outcome concerns.
//!
//! The store is user code. It is borrowed while it is called, and for nothing else: waiters are told when the call is over
//! and its outcome was noted. A call that panics has an outcome too; a guard notes it and tells those whom it concerns.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::kernel::report::drop_quietly;
use crate::queue::base::Queue;
use crate::queue::store::QueueStore;

impl<T, S: QueueStore<T>> Queue<T, S> {
    /// Shuts the queue down: nothing can be put any more, whoever waits to put gets its item back, and getters get
    /// [`ShutDown`] once the items are gone.
    ///
    /// With `immediate` the items are taken out at once, in the order in which `get` would have given them. They count
    /// as [done](Self::task_done), so this may let joiners go on; items that were got before have to be reported as ever.
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
        // Declared first, dropped last: all are told also when the store panics.
        let _notify = NotifyAll(self);
        let mut drained = Vec::new();
        if immediate {
            drained.extend(std::iter::from_fn(|| self.drain_one()));
        }
        drained
    }

    /// Takes an item out of a queue that is shut down; it counts as done.
    fn drain_one(&self) -> Option<T> {
        let before = self.length.get();
        let item = self.call_store(Call::Get, S::get);
        let got = usize::from(item.is_some());
        self.account(before, self.length.get().saturating_add(got));
        self.unfinished
            .set(self.unfinished.get().saturating_sub(got));
        item
    }

    /// Calls the store and measures it afterwards.
    #[inline]
    fn call_store<R>(&self, call: Call, op: impl FnOnce(&mut S) -> R) -> R {
        let on_panic = OnPanic {
            queue: self,
            call,
            item: PhantomData,
        };
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

    /// Adds an item and tells the getter for whom it is.
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

    /// Takes an item and tells whom that concerns. The getter that calls this may still wait in the line.
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
            // One more than there are items: the getter that calls this leaves the line next.
            self.notify_eligible(1);
        }
        item
    }

    /// Notes what the store has done by itself: items that nobody has put will be reported, items that nobody was given
    /// will not.
    #[cold]
    fn account(&self, expected: usize, found: usize) {
        let (more, less) = (
            found.saturating_sub(expected),
            expected.saturating_sub(found),
        );
        self.unfinished
            .set(self.unfinished.get().saturating_add(more));
        self.lost.set(self.lost.get().saturating_add(less));
    }

    /// After a call that panicked.
    #[cold]
    fn after_panic(&self, call: Call) {
        let Ok(items) = self.items.try_borrow() else {
            // A call from within a call, which is what has panicked. What follows the outer one is enough.
            return;
        };
        let before = self.length.get();
        // A second panic while one unwinds would end the process. Then the call is taken to have done its work.
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

    /// Tells everybody who may go on, whatever has changed. So many getters are about to leave the line.
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

    /// The last getter for whom there is an item may not know it yet.
    #[inline]
    pub(super) fn notify_getter(&self) {
        if let Some(ahead) = self.length.get().checked_sub(1) {
            self.getters.notify(ahead);
        } else if self.shut_down.get() {
            self.getters.notify_first(usize::MAX);
        }
    }

    /// The last putter for whom there is room may not know it yet.
    #[inline]
    pub(super) fn notify_putter(&self) {
        if let Some(ahead) = self
            .maxsize
            .saturating_sub(self.length.get())
            .checked_sub(1)
        {
            self.putters.notify(ahead);
        }
    }
}

/// What the store was called for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Put,
    Get,
}

/// Does what follows a call of the store that panicked: a comparison may panic after the item is in, or out and lost.
struct OnPanic<'q, T, S: QueueStore<T>> {
    queue: &'q Queue<T, S>,
    call: Call,
    item: PhantomData<T>,
}

impl<T, S: QueueStore<T>> Drop for OnPanic<'_, T, S> {
    // Inlined, so that the guard costs nothing where nothing unwinds.
    #[inline(always)]
    fn drop(&mut self) {
        self.queue.after_panic(self.call);
    }
}

/// Tells everybody of a shutdown.
struct NotifyAll<'q, T, S: QueueStore<T>>(&'q Queue<T, S>);

impl<T, S: QueueStore<T>> Drop for NotifyAll<'_, T, S> {
    fn drop(&mut self) {
        let queue = self.0;
        queue.grant_joiners();
        queue.getters.notify_first(usize::MAX);
        queue.putters.notify_first(usize::MAX);
    }
}
