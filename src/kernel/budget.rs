//! How many operations a task may end in one poll before it has to let others run.
//!
//! An operation whose outcome the outside world decides may be ready whenever it is tried, again and again: a peer sends
//! without end, or a write fails at once. So each of them that ends, well or badly, takes one from the budget of the current
//! poll, and none begins where nothing is left: it wakes its task and is pending once. What only this program's own
//! tasks decide takes nothing; the docs of `yield_now` have the table.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

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

    /// An operation begins a poll, for which one is taken: `Pending` where nothing is left; the task has then been woken.
    /// One that does not end in this poll [gives back](Self::give_back) what was taken.
    #[inline]
    pub(crate) fn poll_begin(&self, context: &Context<'_>) -> Poll<()> {
        let left = self.left.get();
        if left == 0 {
            return self.put_off(context);
        }
        self.left.set(left - 1);
        Poll::Ready(())
    }

    /// The operation that began has to wait.
    #[inline]
    pub(crate) fn give_back(&self) {
        self.left.set(self.left.get() + 1);
    }

    #[cold]
    fn put_off(&self, context: &Context<'_>) -> Poll<()> {
        // The next poll by the loop has a new budget anyway; one by a foreign executor has it from here.
        self.refill();
        self.put_off.set(true);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// For an operation that may end at once: takes one before it begins.
    #[inline]
    pub(crate) fn proceed(&self) -> Proceed<'_> {
        Proceed(self)
    }
}

/// See [`Budget::proceed`].
#[must_use = "futures do nothing unless they are awaited"]
pub(crate) struct Proceed<'a>(&'a Budget);

impl Future for Proceed<'_> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_begin(context)
    }
}
