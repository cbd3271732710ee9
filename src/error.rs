//! Errors that cross modules.
//!
//! Each type stands for one way in which one family of operations ends, says it in one plain sentence, and gives back
//! what the caller had lent. Nothing here knows the loop; every module may use it.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// Where a cancellation began.
///
/// ```
/// use callsoon::CancelOrigin;
/// # let event_loop = callsoon::EventLoop::new()?;
/// let task = event_loop.create_task(std::future::pending::<()>());
/// task.cancel();
/// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
/// assert_eq!(error.cancelled().unwrap().origin(), CancelOrigin::Task);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CancelOrigin {
    /// `cancel` of a task or a future, or the end of its loop.
    Task,
    /// A deadline: `timeout` and its kin.
    Timeout,
    /// A task group: one of its children failed, or it was cancelled.
    Group,
    /// `resume` of a cancellation whose request was over.
    Raised,
}

/// What is known of a cancellation: who asked, and with which words.
///
/// ```
/// # let event_loop = callsoon::EventLoop::new()?;
/// let mut task = event_loop.create_task(std::future::pending::<()>());
/// task.cancel_with("shutting down");
/// let error = event_loop.run_until_complete(&mut task).unwrap().unwrap_err();
/// assert_eq!(error.cancelled().unwrap().message(), Some("shutting down"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cancellation {
    /// Shared and boxed, so that a result which can be cancelled grows by one word only.
    request: Arc<Request>,
}

struct Request {
    message: Option<Cow<'static, str>>,
    origin: CancelOrigin,
    location: Option<&'static Location<'static>>,
}

impl Default for Cancellation {
    /// One without words, by the loop itself.
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

    /// The same words, as those of a cancellation that begins anew.
    pub(crate) fn raised(&self) -> Self {
        let message = self.request.message.clone();
        Self::new(message, CancelOrigin::Raised, self.location())
    }

    /// The message given to `cancel_with`, if there was one.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.create_future::<()>();
    /// future.cancel();
    /// assert_eq!(future.result().unwrap().unwrap_err().cancelled().unwrap().message(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn message(&self) -> Option<&str> {
        self.request.message.as_deref()
    }

    /// Where the cancellation began.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.create_future::<()>();
    /// future.cancel();
    /// let error = future.result().unwrap().unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().origin(), callsoon::CancelOrigin::Task);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn origin(&self) -> CancelOrigin {
        self.request.origin
    }

    /// Where `cancel` was called; `None` when the loop itself ended the task, at close.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.create_future::<()>();
    /// future.cancel();
    /// let cancelled = future.result().unwrap().unwrap_err().cancelled().cloned().unwrap();
    /// assert!(cancelled.location().unwrap().line() > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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

/// A panic that was caught at the loop's boundary, with its payload.
///
/// ```
/// # let event_loop = callsoon::EventLoop::new()?;
/// # std::panic::set_hook(Box::new(|_| ()));
/// let task = event_loop.create_task(async { panic!("out of cheese") });
/// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
/// assert_eq!(error.panicked().unwrap().message(), "out of cheese");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Panicked {
    /// Boxed: a task's result should not pay for a case that is rare.
    inner: Box<Payload>,
}

struct Payload {
    /// The panic's text, read when it was caught.
    message: Cow<'static, str>,
    /// A payload is `Send` only; the lock, which nobody ever contends for, makes the error `Sync` as errors should be.
    payload: Mutex<Box<dyn Any + Send>>,
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
            inner: Box::new(Payload {
                message,
                payload: Mutex::new(payload),
            }),
        }
    }

    /// The panic's text, or a placeholder where the payload was not a string.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// # std::panic::set_hook(Box::new(|_| ()));
    /// let task = event_loop.create_task(async { std::panic::panic_any(7) });
    /// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
    /// assert_eq!(error.panicked().unwrap().message(), "a panic whose payload is not a string");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The payload itself, for `std::panic::resume_unwind`.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// # std::panic::set_hook(Box::new(|_| ()));
    /// let task = event_loop.create_task(async { std::panic::panic_any(7) });
    /// let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
    /// let callsoon::TaskError::Panicked(panicked) = error else { unreachable!() };
    /// assert_eq!(panicked.into_payload().downcast_ref(), Some(&7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.inner
            .payload
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
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

/// Why awaiting a [`Task`](crate::Task) gave no value.
///
/// ```
/// use callsoon::TaskError;
/// callsoon::run(async {
///     let task = callsoon::create_task(std::future::pending::<()>());
///     task.cancel();
///     assert!(matches!(task.await, Err(TaskError::Cancelled(_))));
/// }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// The task was cancelled, or its loop was closed before it ended.
    Cancelled(Cancellation),
    /// The task's future panicked.
    Panicked(Panicked),
    /// The task belongs to another loop than the one that awaits it.
    OtherLoop,
    /// A task awaits its own handle, which could never end. Or it awaits another one which waits for it in turn, by an
    /// await, a group or a gather, or over several tasks, and all of them were asked to end: the one that closes the circle
    /// gets this error, and the others end. As long as nobody is cancelled a circle is no error, since a task may leave
    /// it by another branch of a `select!`.
    AwaitsItself,
    /// The result has been taken before.
    Taken,
}

impl TaskError {
    /// The cancellation, if it was one.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// task.cancel();
    /// assert!(event_loop.run_until_complete(task).unwrap().unwrap_err().cancelled().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancelled(&self) -> Option<&Cancellation> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            _ => None,
        }
    }

    /// The panic, if it was one.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let task = event_loop.create_task(std::future::pending::<()>());
    /// task.cancel();
    /// assert!(event_loop.run_until_complete(task).unwrap().unwrap_err().panicked().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn panicked(&self) -> Option<&Panicked> {
        match self {
            Self::Panicked(panicked) => Some(panicked),
            _ => None,
        }
    }

    /// Takes the panic out, if it was one; the error says then that its result has been taken.
    pub(crate) fn take_panic(&mut self) -> Option<Panicked> {
        match std::mem::replace(self, Self::Taken) {
            Self::Panicked(panicked) => Some(panicked),
            other => {
                *self = other;
                None
            }
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
            Self::Taken => f.write_str("the task's result has been taken before"),
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

/// Why awaiting a [`Future`](crate::Future) gave no value.
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
    /// `set_exception` ended it with this error, which all who await share.
    Exception(Rc<dyn Error>),
    /// The future belongs to another loop than the one that awaits it.
    OtherLoop,
    /// The value has been moved out by `take`.
    Taken,
}

impl FutureError {
    /// The cancellation, if it was one.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.create_future::<u8>();
    /// future.cancel_with("no longer needed");
    /// let error = event_loop.run_until_complete(&future).unwrap().unwrap_err();
    /// assert_eq!(error.cancelled().unwrap().message(), Some("no longer needed"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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

/// The time was over before the work was done.
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

/// An operation that the future's or task's state does not allow; carries back what was given.
///
/// ```
/// # let event_loop = callsoon::EventLoop::new()?;
/// let future = event_loop.create_future();
/// future.set_result("first").unwrap();
/// assert_eq!(future.set_result("second").unwrap_err().0, "second");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InvalidState<T = ()>(
    /// What the caller gave, unchanged.
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

/// The loop is closed: it will never run anything again.
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

/// Why a run of the loop gave no value.
///
/// ```
/// use callsoon::RunError;
/// let nested = callsoon::run(async { callsoon::run(async {}) }).unwrap();
/// assert!(matches!(nested, Err(RunError::Nested)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The loop is closed.
    Closed,
    /// A loop is already running in this thread: this one or another.
    Nested,
    /// `stop` was called before the future completed. Pass the future by `&mut` to go on with it in a later run.
    Stopped,
    /// The main task was cancelled.
    Cancelled(Cancellation),
    /// Ctrl-C has cancelled the main task.
    Interrupted,
    /// The operating system refused to create the loop's resources, or to wait for events.
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

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Cancelled(cancelled) => Some(cancelled),
            Self::Io(error) => Some(error),
            _ => None,
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
