//! Reports of failures. `kernel/events` has the default exception handler, which logs them.
//!
//! A report is plain data: the failing task or callback may be dropped before the handler reads the report.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::error::Panicked;

/// What went wrong, for [`LoopHandle::set_exception_handler`](crate::LoopHandle::set_exception_handler).
///
/// ```
/// use std::{cell::RefCell, rc::Rc};
/// # std::panic::set_hook(Box::new(|_| ()));
/// let event_loop = callsoon::EventLoop::new()?;
/// let seen = Rc::new(RefCell::new(Vec::new()));
/// let log = Rc::clone(&seen);
/// event_loop.set_exception_handler(move |_, context| log.borrow_mut().push(context.message.clone()));
/// event_loop.call_soon(|| panic!("oops"));
/// event_loop.stop();
/// event_loop.run_forever().unwrap();
/// assert_eq!(*seen.borrow(), ["Exception in callback"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExceptionContext {
    /// One line that says what happened.
    pub message: String,
    /// The panic, if it was one.
    pub panic: Option<Panicked>,
    /// The error, if it was one.
    pub exception: Option<Arc<dyn Error + Send + Sync>>,
    /// The name of the task that failed. The task itself is [`task_ref`](Self::task_ref).
    pub task: Option<String>,
    /// Where the failing task, future or callback was created.
    pub location: Option<&'static Location<'static>>,
    /// The future, if its error was never retrieved.
    pub future: Option<FailedFuture>,
    /// The callback, if one has failed: of the loop, of a timer or of a descriptor.
    pub handle: Option<FailedHandle>,
    /// What the exception handler was told of when it panicked. This report is then about the handler.
    pub context: Option<Box<ExceptionContext>>,
    /// The task, of the type that `kernel/task/reference` knows.
    pub(crate) about_task: Option<Rc<dyn Any>>,
    /// The transport, of one of the types that modules further up know.
    pub(crate) about_transport: Option<Rc<dyn Any>>,
}

impl ExceptionContext {
    /// Returns a report that says `message` and nothing else yet.
    ///
    /// ```
    /// let context = callsoon::ExceptionContext::new("the cache is cold");
    /// assert_eq!(context.to_string(), "the cache is cold");
    /// ```
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }
}

/// A future whose error was never retrieved, as a report describes it: the last handle of the future itself was just
/// dropped.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// event_loop.set_exception_handler(|_, context| {
///     let future = context.future.as_ref().unwrap();
///     assert_eq!(future.exception().to_string(), "no route");
/// });
/// event_loop.create_future::<()>().set_exception("no route").unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FailedFuture {
    pub(crate) exception: Arc<dyn Error + Send + Sync>,
    pub(crate) location: &'static Location<'static>,
}

impl FailedFuture {
    /// Returns the error that was never retrieved.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_exception_handler(|_, context| {
    ///     let error = context.future.as_ref().unwrap().exception();
    ///     assert!(error.is::<std::fmt::Error>());
    /// });
    /// event_loop.create_future::<()>().set_exception(std::fmt::Error).unwrap();
    /// ```
    pub fn exception(&self) -> &(dyn Error + 'static) {
        &*self.exception
    }

    /// Returns where the future was created.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_exception_handler(|_, context| {
    ///     assert!(context.future.as_ref().unwrap().location().line() > 0);
    /// });
    /// event_loop.create_future::<()>().set_exception("no route").unwrap();
    /// ```
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

/// A callback that has panicked, as a report describes it. There is nothing left to cancel.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// # std::panic::set_hook(Box::new(|_| ()));
/// event_loop.set_exception_handler(|_, context| assert!(context.handle.is_some() && context.future.is_none()));
/// event_loop.call_soon(|| panic!("oops"));
/// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FailedHandle {
    pub(crate) location: &'static Location<'static>,
}

impl FailedHandle {
    /// Returns where the callback was scheduled or registered.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// # std::panic::set_hook(Box::new(|_| ()));
    /// event_loop.set_exception_handler(|_, context| {
    ///     assert!(context.handle.as_ref().unwrap().location().line() > 0);
    /// });
    /// event_loop.call_soon(|| panic!("oops"));
    /// event_loop.run_until_complete(callsoon::yield_now()).unwrap();
    /// ```
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

impl fmt::Display for ExceptionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(task) = &self.task {
            write!(f, "; task: {task}")?;
        }
        if let Some(location) = self.location {
            write!(f, "; created at {location}")?;
        }
        if let Some(panic) = &self.panic {
            write!(f, "; {panic}")?;
        }
        if let Some(exception) = &self.exception {
            write!(f, "; exception: {exception}")?;
        }
        if let Some(context) = &self.context {
            write!(f, "; it was told of: {context}")?;
        }
        Ok(())
    }
}

/// An exception handler, as a loop stores it. The one implementation is in `event_loop/exception_handler`.
pub(crate) trait ReportHandler {
    /// Calls the program's handler, which may panic.
    fn report(&self, context: &ExceptionContext);

    /// Returns the whole, from which the program's handler can be taken again.
    fn as_any(&self) -> &dyn Any;
}

/// Runs user code whose panic the caller tells by other means than a report.
pub(crate) fn catch(user_code: impl FnOnce()) -> Option<Panicked> {
    let caught = catch_unwind(AssertUnwindSafe(user_code));
    caught.err().map(Panicked::new)
}

/// Runs user code whose panic is ignored, such as a tracing subscriber's. The payload of the panic may panic when it is
/// dropped; the payload of that second panic is leaked.
pub(crate) fn run_quietly(user_code: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(user_code)) {
        drop_payload(payload);
    }
}

#[cold]
fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}

/// Drops a value whose destructor may panic, where a panic cannot be reported.
pub(crate) fn drop_quietly<T>(value: T) {
    run_quietly(|| drop(value));
}
