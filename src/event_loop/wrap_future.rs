//! A thread's future as an ordinary one: asyncio's `wrap_future`.
//!
//! A [`ThreadFuture`] can be awaited as it is, and dropping it cancels nothing, since any number of threads may hold it.
//! Wrapped, it is one awaiter's, and ends with it, as an ordinary future does.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::event_loop::error::ThreadFutureError;
use crate::event_loop::thread_future::ThreadFuture;

/// Ties a coroutine on another loop to whoever awaits it here: it is cancelled when this is dropped, and with it when
/// the task that awaits it is cancelled.
///
/// # Errors
/// Those of the [`ThreadFuture`]; a coroutine that was cancelled from elsewhere is
/// [`Cancelled`](ThreadFutureError::Cancelled).
///
/// # Cancellation
/// Dropped, it asks the coroutine to end, and does not wait for that.
///
/// ```
/// let other = callsoon::EventLoop::new()?;
/// let there = other.remote().run_coroutine_threadsafe(std::future::pending::<()>)?;
/// callsoon::run(async {
///     let here = callsoon::wrap_future(there.clone());
///     assert!(callsoon::timeout(std::time::Duration::from_millis(1), here).await.is_err());
/// })?;
/// assert!(there.cancelled());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wrap_future<T: Send + 'static>(future: ThreadFuture<T>) -> WrappedFuture<T> {
    WrappedFuture {
        future,
        over: false,
    }
}

/// A coroutine on another loop, in the hands of one awaiter: made by [`wrap_future`].
///
/// ```
/// let other = callsoon::EventLoop::new()?;
/// let there = other.remote().run_coroutine_threadsafe(|| async { 7 })?;
/// let here: callsoon::WrappedFuture<u8> = callsoon::wrap_future(there);
/// assert_eq!(other.run_until_complete(here)??, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it cancels the coroutine"]
pub struct WrappedFuture<T: Send + 'static> {
    future: ThreadFuture<T>,
    /// The result has been given.
    over: bool,
}

impl<T: Send + 'static> Future for WrappedFuture<T> {
    type Output = Result<T, ThreadFutureError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.future).poll(context);
        self.over = polled.is_ready();
        polled
    }
}

impl<T: Send + 'static> Drop for WrappedFuture<T> {
    fn drop(&mut self) {
        if !self.over {
            self.future.cancel();
        }
    }
}

impl<T: Send + 'static> fmt::Debug for WrappedFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WrappedFuture").field(&self.future).finish()
    }
}
