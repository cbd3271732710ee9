//! How many operations a task may end in one poll before it has to let others run.
//!
//! An operation whose outcome the outside world decides may be ready whenever it is tried, again and again: a peer sends
//! without end, or a write fails at once. So each of them, when it ends, well or badly, takes one from the budget of the
//! current poll, and none begins where nothing is left: it wakes its task and is pending once. What only this program's own
//! tasks decide takes nothing; the docs of `yield_now` have the table.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Tokio's figure, and small enough that a hundred busy sockets still get their turn within a millisecond.
const WHOLE: u32 = 128;

/// What is left of the current poll's budget.
pub(crate) struct Budget(Cell<u32>);

impl Budget {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(WHOLE))
    }

    /// A poll begins.
    #[inline(always)]
    pub(crate) fn refill(&self) {
        self.0.set(WHOLE);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// Runs a step inside the current one, which shares its budget. Where the inner one was put off, nothing is left for
    /// the outer one.
    pub(crate) fn share(&self, step: impl FnOnce()) {
        let before = self.0.get();
        step();
        if self.0.get() > before {
            self.0.set(0);
        }
    }

    /// An operation has ended, well or badly.
    #[inline]
    pub(crate) fn spend(&self) {
        // A closure of the user's that ran in the operation may have spent the rest.
        self.0.set(self.0.get().saturating_sub(1));
    }

    /// `Pending` where an operation may not begin in this poll; the task has then been woken.
    #[inline]
    pub(crate) fn poll_proceed(&self, context: &Context<'_>) -> Poll<()> {
        if self.0.get() == 0 {
            return self.put_off(context);
        }
        Poll::Ready(())
    }

    #[cold]
    fn put_off(&self, context: &Context<'_>) -> Poll<()> {
        // The next poll by the loop has a new budget anyway; one by a foreign executor has it from here.
        self.refill();
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls an operation: one that is ready, with whatever outcome, takes one from the budget.
    #[inline(always)]
    pub(crate) fn poll<R>(
        &self,
        context: &mut Context<'_>,
        operation: impl FnOnce(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        ready!(self.poll_proceed(context));
        let polled = operation(context);
        if polled.is_ready() {
            self.spend();
        }
        polled
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
        self.0.poll(context, |_| Poll::Ready(()))
    }
}
