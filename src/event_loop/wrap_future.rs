//! `wrap_future`: a [`ThreadFuture`] that cancels its coroutine when it is dropped.
//!
//! A [`ThreadFuture`] can be awaited as it is. Dropping it cancels nothing, since other threads may hold clones of it. A
//! wrapped one has a single awaiter, and the coroutine ends with it, as an ordinary future does.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::event_loop::error::ThreadFutureError;
use crate::event_loop::thread_future::ThreadFuture;

/// Wraps the future of a coroutine on another loop, so that dropping the wrapper cancels the coroutine.
///
/// So the coroutine is also cancelled when the task that awaits the wrapper is cancelled.
///
/// # Errors
/// Those of [`ThreadFuture::result`], without `TimedOut` and `OwnThread`. [`Cancelled`](ThreadFutureError::Cancelled) if the
/// coroutine was cancelled by another handle of it.
///
/// # Cancellation
/// Dropping it asks the coroutine to end, and does not wait for the end.
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
        done: false,
    }
}

/// The future of a coroutine on another loop, which cancels it when dropped. Created by [`wrap_future`].
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
    /// The result has been returned, so there is nothing left to cancel.
    done: bool,
}

impl<T: Send + 'static> Future for WrappedFuture<T> {
    type Output = Result<T, ThreadFutureError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.future).poll(context);
        self.done = polled.is_ready();
        polled
    }
}

impl<T: Send + 'static> Drop for WrappedFuture<T> {
    fn drop(&mut self) {
        if !self.done {
            self.future.cancel();
        }
    }
}

impl<T: Send + 'static> fmt::Debug for WrappedFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WrappedFuture").field(&self.future).finish()
    }
}
