//! How many operations a task may end in one poll before it has to let others run.
//!
//! An operation whose outcome the outside world decides may be ready whenever it is tried, again and again: a peer sends
//! without end, or a write fails at once. So each of them that ends, well or badly, takes one from the budget of the current
//! poll, and none begins where nothing is left: it wakes its task and is pending once. What only this program's own
//! tasks decide takes nothing; the docs of `yield_now` have the table.

use std::cell::Cell;
use std::task::Context;

/// Tokio's figure, and small enough that a hundred busy sockets still get their turn within a millisecond.
const WHOLE: u16 = 128;

/// What is left of the current poll's budget.
pub(crate) struct Budget {
    left: Cell<u16>,
    /// An operation was put off since [`share`](Self::share) has begun.
    put_off: Cell<bool>,
}

impl Budget {
    pub(crate) const fn new() -> Self {
        Self {
            left: Cell::new(WHOLE),
            put_off: Cell::new(false),
        }
    }

    /// A poll begins.
    #[inline(always)]
    pub(crate) fn refill(&self) {
        self.left.set(WHOLE);
    }

    /// Takes one, if there is one left.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// Runs a step inside the current one, which shares its budget. Where the inner one was put off, nothing is left for
    /// the outer one.
    pub(crate) fn share(&self, step: impl FnOnce()) {
        let outer = self.put_off.replace(false);
        step();
        if self.put_off.replace(outer) {
            self.left.set(0);
        }
    }

    /// The operation that began has to wait.
    #[inline]
    pub(crate) fn give_back(&self) {
        self.left.set(self.left.get() + 1);
    }

    /// Leaves nothing for the current poll.
    pub(crate) fn exhaust(&self) {
        self.left.set(0);
    }

    /// Nothing is left for an operation: it is to be pending, and its task is woken.
    #[cold]
    pub(crate) fn put_off(&self, context: &Context<'_>) {
        // The next poll by the loop has a new budget anyway; one by another executor has it from here.
        self.refill();
        self.put_off.set(true);
        context.waker().wake_by_ref();
    }
}
