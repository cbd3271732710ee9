//! Errors of futures that any thread can wait for.

use std::error::Error;
use std::fmt;
use std::io;

use crate::error::{LoopClosed, Panicked};

/// The error of a [`ThreadFuture`](crate::ThreadFuture): why there is no value.
///
/// ```
/// use callsoon::ThreadFutureError;
/// let event_loop = callsoon::EventLoop::new()?;
/// let future = event_loop.remote().run_coroutine_threadsafe(|| async {})?;
/// drop(event_loop);
/// assert!(matches!(future.result(None), Err(ThreadFutureError::LoopClosed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ThreadFutureError {
    /// The coroutine panicked, or the closure that makes it did.
    Panicked(Panicked),
    /// The coroutine was cancelled.
    Cancelled,
    /// The loop closed before the coroutine ended. In a forked child, which has no copy of the loop's thread, every
    /// coroutine that had not ended counts as one of a closed loop.
    LoopClosed,
    /// The coroutine did not end within the timeout.
    TimedOut,
    /// The loop's own thread would wait for itself. Await the future there.
    OwnThread,
    /// The result has been taken before.
    Taken,
}

impl fmt::Display for ThreadFutureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panicked) => write!(f, "the coroutine {panicked}"),
            Self::Cancelled => f.write_str("the coroutine was cancelled"),
            Self::LoopClosed => LoopClosed.fmt(f),
            Self::TimedOut => f.write_str("the coroutine has not ended in time"),
            Self::OwnThread => f.write_str("the loop's own thread would wait for itself"),
            Self::Taken => f.write_str("the coroutine's result has been taken before"),
        }
    }
}

impl Error for ThreadFutureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Panicked(panicked) => Some(panicked),
            _ => None,
        }
    }
}

/// `TimedOut` and `NotConnected` for those two cases, every other one as `Other`. The error is inside.
///
/// ```
/// let error = std::io::Error::from(callsoon::ThreadFutureError::TimedOut);
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// ```
impl From<ThreadFutureError> for io::Error {
    fn from(error: ThreadFutureError) -> Self {
        let kind = match error {
            ThreadFutureError::TimedOut => io::ErrorKind::TimedOut,
            ThreadFutureError::LoopClosed => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
