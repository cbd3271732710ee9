//! Operations that do not know the loop in which they are polled, and take from its budget.
//!
//! Where no loop runs there is nobody to be kept waiting, and no budget.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll, ready};

use crate::kernel::task::waker::with_current;

/// Polls an operation that takes one from the budget of the current loop when it is ready.
pub(crate) fn poll_within_budget<R>(
    context: &mut Context<'_>,
    operation: impl FnOnce(&mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    let begin = with_current(|state| state.budget.poll_begin(context));
    ready!(begin.unwrap_or(Poll::Ready(())));
    let polled = operation(context);
    if polled.is_pending() {
        with_current(|state| state.budget.give_back());
    }
    polled
}

/// Before something that may end at once, such as a system call that fails: takes one from the budget of the current loop,
/// and lets others run first where nothing is left of it.
pub(crate) fn proceed() -> impl Future<Output = ()> {
    poll_fn(|context| poll_within_budget(context, |_| Poll::Ready(())))
}
