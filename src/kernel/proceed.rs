//! Taking from the budget of a poll, for operations of a known loop and for those that do not know in which loop they
//! are polled.
//!
//! Where no loop runs there are no other tasks to wait, so there is no budget.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::kernel::loop_state::LoopState;
use crate::kernel::task::waker::with_current;

/// Polls an operation that takes one from the budget of the current loop when it is ready.
pub(crate) fn poll_within_budget<R>(
    context: &mut Context<'_>,
    operation: impl FnOnce(&mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    let begin = with_current(|state| state.poll_begin(context));
    ready!(begin.unwrap_or(Poll::Ready(())));
    let polled = operation(context);
    if polled.is_pending() {
        with_current(|state| state.budget.give_back());
    }
    polled
}

/// Takes one from the budget of the current loop, or lets others run first if nothing is left. Await it before an
/// operation that may end at once, such as a system call that fails.
pub(crate) fn proceed() -> impl Future<Output = ()> {
    poll_fn(|context| poll_within_budget(context, |_| Poll::Ready(())))
}

impl LoopState {
    /// Takes one from the budget before an operation of this loop that may end at once.
    #[inline]
    pub(crate) fn proceed(&self) -> Proceed<'_> {
        Proceed(self)
    }
}

/// See [`LoopState::proceed`].
#[must_use = "futures do nothing unless they are awaited"]
pub(crate) struct Proceed<'a>(&'a LoopState);

impl Future for Proceed<'_> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_begin(context)
    }
}
