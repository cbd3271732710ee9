//! How many operations may end in one poll of a task before it has to let others run.
//!
//! An operation whose outcome the outside world decides may be ready each time it is tried: a peer sends without end,
//! or a write fails at once. So each such operation that ends, with success or an error, takes one from the budget of
//! the current poll. With nothing left, an operation does not begin: it wakes its task and is pending once. Operations
//! that only this program's own tasks decide take nothing; the docs of `yield_now` have the table.

use std::cell::Cell;
use std::task::Context;

/// Tokio's figure, and small enough that each of a hundred busy sockets is served within a millisecond.
const WHOLE: u16 = 128;

/// The budget of the current poll.
pub(crate) struct Budget {
    left: Cell<u16>,
    /// An operation was put off since [`share`](Self::share) began.
    put_off: Cell<bool>,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self {
            left: Cell::new(WHOLE),
            put_off: Cell::new(false),
        }
    }

    /// Refills the budget: a poll begins.
    #[inline(always)]
    pub(crate) fn refill(&self) {
        self.left.set(WHOLE);
    }

    /// Takes one. Returns whether there was one left.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// Runs a step inside the current one, with the same budget. If an operation of the inner step was put off, nothing
    /// is left for the outer one.
    pub(crate) fn share(&self, step: impl FnOnce()) {
        let outer = self.put_off.replace(false);
        step();
        if self.put_off.replace(outer) {
            self.left.set(0);
        }
    }

    /// Gives one back: the operation that took it has to wait.
    #[inline]
    pub(crate) fn give_back(&self) {
        self.left.set(self.left.get() + 1);
    }

    /// Takes all that is left for the current poll.
    pub(crate) fn exhaust(&self) {
        self.left.set(0);
    }

    /// Puts an operation off for which nothing is left: wakes its task, and the caller returns pending.
    #[cold]
    pub(crate) fn put_off(&self, context: &Context<'_>) {
        // The loop refills the budget before its next poll; another executor does not, so it is refilled here.
        self.refill();
        self.put_off.set(true);
        context.waker().wake_by_ref();
    }
}
