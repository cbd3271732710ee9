//! Errors that several modules share.
//!
//! Each type describes how one family of operations fails, in one plain sentence, and gives back what the caller passed
//! in. Nothing here depends on the loop, so every module may use it.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

pub use crate::cancellation::{CancelOrigin, Cancellation};

/// A panic that the loop has caught, with its payload. Clones share the payload.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// # std::panic::set_hook(Box::new(|_| ()));
/// let task = event_loop.create_task(async { panic!("out of cheese") });
/// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
/// assert_eq!(error.panicked().unwrap().message(), "out of cheese");
/// ```
#[derive(Clone)]
pub struct Panicked {
    /// In an allocation of its own, so that a task's result does not grow for a rare case.
    inner: Arc<Payload>,
}

struct Payload {
    /// The text of the panic, read when it was caught.
    message: Cow<'static, str>,
    /// `None` once a clone has moved it out. A payload is `Send` but not `Sync`: the lock makes the error `Sync`, as
    /// errors should be.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Panicked {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
            Cow::Borrowed(*text)
        } else if let Some(text) = payload.downcast_ref::<String>() {
            Cow::Owned(text.clone())
        } else {
            Cow::Borrowed("a panic whose payload is not a string")
        };
        Self {
            inner: Arc::new(Payload {
                message,
                payload: Mutex::new(Some(payload)),
            }),
        }
    }

    /// Returns the text of the panic, or a placeholder if the payload is not a string.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// # std::panic::set_hook(Box::new(|_| ()));
    /// let task = event_loop.create_task(async { std::panic::panic_any(7) });
    /// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
    /// assert_eq!(error.panicked().unwrap().message(), "a panic whose payload is not a string");
    /// ```
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Returns the payload, for `std::panic::resume_unwind`. Of several clones the first one that is asked has it; the
    /// others return the [`message`](Self::message) as a `String`.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// # std::panic::set_hook(Box::new(|_| ()));
    /// let task = event_loop.create_task(async { std::panic::panic_any(7) });
    /// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
    /// let callsoon::TaskError::Panicked(panicked) = error else { unreachable!() };
    /// assert_eq!(panicked.into_payload().downcast_ref(), Some(&7));
    /// ```
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        let payload = self
            .inner
            .payload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        payload.unwrap_or_else(|| Box::new(self.inner.message.to_string()))
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panicked").field(&self.message()).finish()
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message())
    }
}

impl Error for Panicked {}

/// The error of awaiting a [`Task`](crate::Task).
///
/// ```
/// use callsoon::TaskError;
/// callsoon::run(async {
///     let task = callsoon::create_task(std::future::pending::<()>());
///     task.cancel();
///     assert!(matches!(task.await, Err(TaskError::Cancelled(_))));
/// }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// The task was cancelled, or its loop was closed before it ended.
    Cancelled(Cancellation),
    /// The task's future panicked.
    Panicked(Panicked),
    /// The task belongs to another loop than the one that awaits it.
    OtherLoop,
    /// A task awaits its own handle, which can never end. Or it awaits another task that waits for it in turn: by an
    /// await, a group or a gather, directly or through more tasks. The second case is an error only if all tasks of the
    /// cycle are cancelled. The task that closes the cycle then gets this error, and the others end. Without a
    /// cancellation a cycle is not an error, since a task may leave it by another branch of a `select!`.
    AwaitsItself,
    /// The result was taken before: by an await, by `run_until_complete(&mut task)`, which returned it, or by
    /// [`Task::result`](crate::Task::result). [`Task::wait`](crate::Task::wait) leaves it in the task.
    Taken,
}

impl TaskError {
    /// Returns the cancellation, if this is one.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// task.cancel();
    /// assert!(event_loop.run_until_complete(task).unwrap().unwrap_err().cancelled().is_some());
    /// ```
    pub fn cancelled(&self) -> Option<&Cancellation> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            _ => None,
        }
    }

    /// Returns the panic, if this is one.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// task.cancel();
    /// assert!(event_loop.run_until_complete(task).unwrap().unwrap_err().panicked().is_none());
    /// ```
    pub fn panicked(&self) -> Option<&Panicked> {
        match self {
            Self::Panicked(panicked) => Some(panicked),
            _ => None,
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled(cancelled) => write!(f, "the task was {cancelled}"),
            Self::Panicked(panicked) => write!(f, "the task {panicked}"),
            Self::OtherLoop => f.write_str("the task is attached to a different loop"),
            Self::AwaitsItself => f.write_str("the task awaits itself"),
            Self::Taken => f.write_str(
                "the task's result has been taken before: an await, run_until_complete or result() had it",
            ),
        }
    }
}

impl Error for TaskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            Self::Panicked(panicked) => Some(panicked),
            _ => None,
        }
    }
}

/// For `task.await??` in functions that return an `io::Result`. The error is inside, as `Other`.
///
/// ```
/// use std::io;
/// async fn length(task: callsoon::Task<io::Result<Vec<u8>>>) -> io::Result<usize> {
///     Ok(task.await??.len())
/// }
/// callsoon::run(async {
///     let task = callsoon::create_task(std::future::pending());
///     task.cancel_with("no longer needed");
///     let error = length(task).await.unwrap_err();
///     assert_eq!(error.kind(), io::ErrorKind::Other);
///     assert!(error.to_string().contains("no longer needed"));
/// }).unwrap();
/// ```
impl From<TaskError> for io::Error {
    fn from(error: TaskError) -> Self {
        Self::other(error)
    }
}

/// The error of awaiting a [`Future`](crate::Future).
///
/// ```
/// use callsoon::FutureError;
/// callsoon::run(async {
///     let future = callsoon::get_running_loop().create_future::<()>();
///     future.set_exception("no such host").unwrap();
///     assert!(matches!(future.await, Err(FutureError::Exception(error)) if error.to_string() == "no such host"));
/// }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FutureError {
    /// The future was cancelled.
    Cancelled(Cancellation),
    /// `set_exception` ended it with this error, which all awaiters share.
    Exception(Arc<dyn Error + Send + Sync>),
    /// The future belongs to another loop than the one that awaits it.
    OtherLoop,
    /// The value was moved out by `take`.
    Taken,
}

impl FutureError {
    /// Returns the cancellation, if this is one.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let future = event_loop.create_future::<u8>();
    /// future.cancel_with("no longer needed");
    /// let error = event_loop.run_until_complete(&future).unwrap().unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().message(), Some("no longer needed"));
    /// ```
    pub fn cancelled(&self) -> Option<&Cancellation> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            _ => None,
        }
    }
}

impl fmt::Display for FutureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled(cancelled) => write!(f, "the future was {cancelled}"),
            Self::Exception(error) => error.fmt(f),
            Self::OtherLoop => f.write_str("the future is attached to a different loop"),
            Self::Taken => f.write_str("the future's value has been taken before"),
        }
    }
}

impl Error for FutureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            Self::Exception(error) => error.source(),
            _ => None,
        }
    }
}

/// The error is inside, as `Other`.
///
/// ```
/// let error = std::io::Error::from(callsoon::FutureError::Taken);
/// assert_eq!(error.to_string(), "the future's value has been taken before");
/// ```
impl From<FutureError> for io::Error {
    fn from(error: FutureError) -> Self {
        Self::other(error)
    }
}

/// The error of a timeout: the time has passed before the future was ready.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let late = callsoon::timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
///     assert_eq!(late, Err(callsoon::TimedOut));
/// }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl Error for TimedOut {}

impl From<TimedOut> for io::Error {
    fn from(late: TimedOut) -> Self {
        Self::new(io::ErrorKind::TimedOut, late)
    }
}

/// The error of an operation that the state of the future or task does not allow. It gives back the argument.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let future = event_loop.create_future();
/// future.set_result("first").unwrap();
/// assert_eq!(future.set_result("second").unwrap_err().0, "second");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InvalidState<T = ()>(
    /// The argument of the caller, unchanged.
    pub T,
);

impl<T> fmt::Debug for InvalidState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvalidState")
    }
}

impl<T> fmt::Display for InvalidState<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid state: a result is read only when it is there, and set only once")
    }
}

impl<T> Error for InvalidState<T> {}

/// Why [`Task::exception`](crate::Task::exception) cannot say whether the task has failed.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let task = event_loop.create_task(async {});
/// assert_eq!(task.exception().unwrap_err(), callsoon::NoException::InvalidState);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoException {
    /// The task has not ended: asyncio's `InvalidStateError`.
    InvalidState,
    /// The task was cancelled: asyncio's `CancelledError`.
    Cancelled,
    /// The panic was moved out before, by an await or by `result`.
    Taken,
}

impl fmt::Display for NoException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidState => "the task has not ended",
            Self::Cancelled => "the task was cancelled",
            Self::Taken => "the task's panic has been taken before",
        })
    }
}

impl Error for NoException {}

/// The error of an operation on a closed loop, which never runs anything again.
///
/// ```
/// let event_loop = callsoon::EventLoop::new()?;
/// let remote = event_loop.remote();
/// event_loop.close().unwrap();
/// assert_eq!(remote.call_soon_threadsafe(|| ()).unwrap_err(), callsoon::LoopClosed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopClosed;

impl fmt::Display for LoopClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop is closed")
    }
}

impl Error for LoopClosed {}

impl From<LoopClosed> for io::Error {
    fn from(closed: LoopClosed) -> Self {
        Self::new(io::ErrorKind::NotConnected, closed)
    }
}

/// The error of a run of the loop.
///
/// ```
/// use callsoon::RunError;
/// let nested = callsoon::run(async { callsoon::run(async {}) }).unwrap();
/// assert!(matches!(nested, Err(RunError::Nested)));
/// ```
///
/// Its `Debug` is its sentence, since that is what a `main` that returns it prints:
///
/// ```
/// assert_eq!(format!("{:?}", callsoon::RunError::Nested), "a loop is already running in this thread");
/// ```
#[non_exhaustive]
pub enum RunError {
    /// The loop is closed.
    Closed,
    /// A loop, this one or another, is already running on this thread.
    Nested,
    /// `stop` was called before the future completed. To continue with the future in a later run, pass it by `&mut`.
    Stopped,
    /// The main task was cancelled.
    Cancelled(Cancellation),
    /// Ctrl-C has cancelled the main task.
    Interrupted,
    /// The system could not create the loop's descriptors, or waiting for events failed.
    Io(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => LoopClosed.fmt(f),
            Self::Nested => f.write_str("a loop is already running in this thread"),
            Self::Stopped => f.write_str("the event loop was stopped before the future completed"),
            Self::Cancelled(cancelled) => write!(f, "the main task was {cancelled}"),
            Self::Interrupted => f.write_str("interrupted by Ctrl-C"),
            Self::Io(error) => write!(f, "the event loop cannot wait for events: {error}"),
        }
    }
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// For a `main` that returns an `io::Result`. An error of the system's is that error, every other one is inside, as
/// `Other`.
///
/// ```
/// fn main() -> std::io::Result<()> {
///     callsoon::run(async { Ok(()) })?
/// }
/// ```
impl From<RunError> for io::Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Io(error) => error,
            error => Self::other(error),
        }
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<LoopClosed> for RunError {
    fn from(_: LoopClosed) -> Self {
        Self::Closed
    }
}

/// Returns the error for what a program has asked for and cannot have.
pub(crate) fn invalid_input(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
