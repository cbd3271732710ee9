//! Why something was cancelled: what a request carries from the code that asks to the code that hears of it.
//!
//! It is data only, and goes to any thread. The token of `catch_cancelled`, which acts, is in `kernel/cancel/token`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// What started a cancellation.
///
/// ```
/// use callsoon::CancelOrigin;
/// # let event_loop = callsoon::doctest::event_loop();
/// let task = event_loop.create_task(std::future::pending::<()>());
/// task.cancel();
/// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
/// assert_eq!(error.cancelled().unwrap().origin(), CancelOrigin::Task);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CancelOrigin {
    /// A call of `cancel` on a task or a future, or the close of its loop.
    Task,
    /// A deadline: `timeout`, `timeout_at`, `wait_for` or `move_on_after`.
    Timeout,
    /// A task group or a gather: one of its children failed, or it was cancelled or dropped.
    Group,
    /// A call of `resume` for a cancellation whose request had ended.
    Raised,
}

/// Describes a cancellation: what started it, where, and with which message.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let mut task = event_loop.create_task(std::future::pending::<()>());
/// task.cancel_with("shutting down");
/// let error = event_loop.run_until_complete(&mut task).unwrap().unwrap_err();
/// assert_eq!(error.cancelled().unwrap().message(), Some("shutting down"));
/// ```
#[derive(Clone)]
pub struct Cancellation {
    /// Shared and boxed, so that it adds only one word to a result.
    request: Arc<Request>,
}

struct Request {
    message: Option<Cow<'static, str>>,
    origin: CancelOrigin,
    location: Option<&'static Location<'static>>,
}

impl Default for Cancellation {
    /// Returns a cancellation by the loop itself, without a message.
    ///
    /// ```
    /// let cancellation = callsoon::Cancellation::default();
    /// assert!(cancellation.message().is_none() && cancellation.location().is_none());
    /// ```
    fn default() -> Self {
        Self::new(None, CancelOrigin::Task, None)
    }
}

impl Cancellation {
    pub(crate) fn new(
        message: Option<Cow<'static, str>>,
        origin: CancelOrigin,
        location: Option<&'static Location<'static>>,
    ) -> Self {
        let request = Request {
            message,
            origin,
            location,
        };
        Self {
            request: Arc::new(request),
        }
    }

    /// Returns a cancellation with the same message, for one that `resume` starts again.
    pub(crate) fn raised(&self) -> Self {
        let message = self.request.message.clone();
        Self::new(message, CancelOrigin::Raised, self.location())
    }

    /// Returns the message that was passed to `cancel_with`, if there is one.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// future.cancel();
    /// assert_eq!(future.result().unwrap().unwrap_err().cancelled().unwrap().message(), None);
    /// ```
    pub fn message(&self) -> Option<&str> {
        self.request.message.as_deref()
    }

    /// Returns what started the cancellation.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// future.cancel();
    /// let error = future.result().unwrap().unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().origin(), callsoon::CancelOrigin::Task);
    /// ```
    pub fn origin(&self) -> CancelOrigin {
        self.request.origin
    }

    /// Returns where `cancel` was called; `None` if the loop ended the task when it was closed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<()>();
    /// future.cancel();
    /// let cancelled = future.result().unwrap().unwrap_err().cancelled().cloned().unwrap();
    /// assert!(cancelled.location().unwrap().line() > 0);
    /// ```
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.request.location
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancellation")
            .field("message", &self.message())
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(message) => write!(f, "cancelled: {message}"),
            None => f.write_str("cancelled"),
        }
    }
}

impl Error for Cancellation {}
