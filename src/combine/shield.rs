//! `shield`: an await that does not pass cancellation on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::{FutureError, TaskError};
use crate::kernel::future::Future as LoopFuture;
use crate::kernel::note_wait::note_tasks;
use crate::kernel::task::handle::Task;
use crate::kernel::wait::wait_kind::WaitKind;

/// Awaits a task, or a loop's future, and keeps a cancellation of the awaiter from it: asyncio's `shield`.
///
/// It takes a [`Task`], a `&mut Task`, or a [`Future`](crate::Future). Make a task of another future by
/// [`create_task`](crate::create_task). With `&mut` the caller keeps the handle and can await the result again.
///
/// If the awaiter is cancelled, it ends as cancelled and the task runs on. If the task itself is cancelled, the await
/// returns its [`TaskError::Cancelled`]. A task that has ended gives its result without suspending.
///
/// # Differences from asyncio
/// - It does not make a task of a coroutine.
///
/// # Errors
/// Those of the awaited handle: [`TaskError`] for a task, [`FutureError`] for a future.
///
/// # Cancellation
/// Dropping it leaves the task running. If it owned the handle, nobody can read the result any more: a value is
/// dropped, and a panic is reported to the exception handler, once.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let mut job = callsoon::create_task(callsoon::sleep_with(Duration::from_millis(2), "saved"));
///     drop(callsoon::shield(&mut job));
///     assert_eq!(callsoon::shield(&mut job).await.unwrap(), "saved");
/// }).unwrap();
/// ```
pub fn shield<A>(awaited: A) -> Shield<A>
where
    Shield<A>: Future,
{
    Shield { awaited }
}

/// The future of [`shield`].
///
/// ```
/// callsoon::run(async {
///     let outcome = callsoon::shield(callsoon::create_task(async { 6 * 7 })).await;
///     assert_eq!(outcome.unwrap(), 42);
/// }).unwrap();
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Shield<A> {
    awaited: A,
}

impl<T: 'static> Future for Shield<Task<T>> {
    type Output = Result<T, TaskError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.awaited.poll_shielded(context);
        if polled.is_pending() {
            note_tasks(WaitKind::Task, || [self.awaited.identity()]);
        }
        polled
    }
}

impl<T: 'static> Future for Shield<&mut Task<T>> {
    type Output = Result<T, TaskError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.awaited.poll_shielded(context);
        if polled.is_pending() {
            note_tasks(WaitKind::Task, || [self.awaited.identity()]);
        }
        polled
    }
}

impl<T: Clone> Future for Shield<LoopFuture<T>> {
    type Output = Result<T, FutureError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.awaited.wait_shielded(context)? {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                Poll::Ready(self.awaited.result().unwrap_or(Err(FutureError::Taken)))
            }
        }
    }
}

impl<A: fmt::Debug> fmt::Debug for Shield<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shield").field(&self.awaited).finish()
    }
}
