//! `report_errors` of tasks and of their builder: an `Err` that no code reads is reported, as a panic that no code reads is.
//!
//! A task does not know that its output is a `Result`, so this is a handle around the task's own. If it is dropped before
//! the task has ended, a done callback keeps the task's handle and looks at the output. Other tasks pay nothing for this.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::TaskError;
use crate::event_loop::tasks::TaskBuilder;
use crate::kernel::enter::catch_panic;
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::handle::{NEVER_RETRIEVED, Task};

impl<T: 'static, E: fmt::Debug + 'static> Task<Result<T, E>> {
    /// Reports the task's `Err` to the exception handler if no code reads it, as asyncio does. Without this, an `Err`
    /// that is not read is silent, since a task does not know that its output is a `Result`. The report has the `Debug`
    /// of the error.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let seen = Rc::new(RefCell::new(Vec::new()));
    /// let log = Rc::clone(&seen);
    /// event_loop.set_exception_handler(move |_, context| log.borrow_mut().push(context.message.clone()));
    /// event_loop.create_task(async { Err::<(), _>("lost") }).report_errors().detach();
    /// event_loop.run_until_complete(async { callsoon::sleep(std::time::Duration::ZERO).await }).unwrap();
    /// event_loop.close().unwrap();
    /// assert_eq!(*seen.borrow(), ["Task exception was never retrieved"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn report_errors(self) -> ReportedTask<T, E> {
        ReportedTask { task: Some(self) }
    }
}

impl TaskBuilder {
    /// [`Task::report_errors`] for the task that is built. Set the name, the context and the first step before.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_exception_handler(|_, context| assert_eq!(context.task.as_deref(), Some("mail")));
    /// event_loop.run_until_complete(async {
    ///     let mail = callsoon::task_builder().name("mail").report_errors();
    ///     mail.spawn(async { Err::<(), _>("no such address") }).detach();
    ///     callsoon::yield_now().await;
    /// }).unwrap();
    /// ```
    pub fn report_errors(self) -> ReportedTaskBuilder {
        ReportedTaskBuilder { builder: self }
    }
}

/// Creates a task whose `Err` is reported if no code reads it; [`TaskBuilder::report_errors`] makes it.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let builder: callsoon::ReportedTaskBuilder = event_loop.task_builder().report_errors();
/// let task = builder.spawn(async { "7".parse::<u8>() });
/// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), Ok(7));
/// ```
#[must_use = "a builder makes nothing until `spawn()`"]
#[derive(Debug)]
pub struct ReportedTaskBuilder {
    builder: TaskBuilder,
}

impl ReportedTaskBuilder {
    /// Creates the task. See [`LoopHandle::create_task`](crate::LoopHandle::create_task).
    ///
    /// # Panics
    /// If the loop is closed.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let task = event_loop.task_builder().report_errors().spawn(async { "7".parse::<u8>() });
    /// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), Ok(7));
    /// ```
    #[track_caller]
    pub fn spawn<T, E, F>(self, future: F) -> ReportedTask<T, E>
    where
        F: Future<Output = Result<T, E>> + 'static,
        T: 'static,
        E: fmt::Debug + 'static,
    {
        self.builder
            .spawn_at(future, Location::caller())
            .report_errors()
    }
}

/// A task whose `Err` is reported if no code reads it; [`Task::report_errors`] makes it. It is awaited as the task is,
/// and has the methods of [`Task`].
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let task = event_loop.create_task(async { "7".parse::<u8>() }).report_errors();
/// assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), Ok(7));
/// ```
pub struct ReportedTask<T: 'static, E: fmt::Debug + 'static> {
    /// `None` only while this is being dropped.
    task: Option<Task<Result<T, E>>>,
}

/// A handle that nobody reads any more. Its drop looks at the output.
struct Unread<T: 'static, E: fmt::Debug + 'static>(Task<Result<T, E>>);

/// The error in the report: the text that the `Debug` of the program's error gave.
struct UnreadError(String);

impl<T, E: fmt::Debug> ReportedTask<T, E> {
    /// Lets the task run on without a handle to read its result. The same as dropping the handle, but explicit.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.create_task(async { Ok::<_, String>(callsoon::get_running_loop().stop()) }).report_errors().detach();
    /// event_loop.run_forever().unwrap();
    /// ```
    pub fn detach(self) {}
}

impl<T, E: fmt::Debug> Deref for ReportedTask<T, E> {
    type Target = Task<Result<T, E>>;

    fn deref(&self) -> &Self::Target {
        match &self.task {
            Some(task) => task,
            None => unreachable!("only the drop takes the task"),
        }
    }
}

impl<T, E: fmt::Debug> DerefMut for ReportedTask<T, E> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match &mut self.task {
            Some(task) => task,
            None => unreachable!("only the drop takes the task"),
        }
    }
}

impl<T, E: fmt::Debug> Future for ReportedTask<T, E> {
    type Output = Result<Result<T, E>, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut **self).poll(context)
    }
}

impl<T, E: fmt::Debug> Drop for ReportedTask<T, E> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else {
            return;
        };
        let unread = Unread(task);
        if !unread.0.done() {
            unread.0.stop_awaiting();
            let task = unread.0.as_ref();
            task.add_done_callback(move |_| drop(unread));
        }
    }
}

/// The callback that holds this may be dropped instead of called, when its loop closes. So the report is made here.
impl<T, E: fmt::Debug> Drop for Unread<T, E> {
    fn drop(&mut self) {
        // A panic is reported by the drop of the handle.
        if self.0.panicked() {
            return;
        }
        catch_panic("Exception in the error of a task", || {
            let Ok(Ok(Err(error))) = self.0.result() else {
                return;
            };
            let task = self.0.as_ref();
            task.state.report(ExceptionContext {
                message: NEVER_RETRIEVED.to_owned(),
                exception: Some(Arc::new(UnreadError(format!("{error:?}")))),
                task: Some(task.task.header().name()),
                location: Some(task.task.header().location()),
                ..ExceptionContext::default()
            });
        });
    }
}

impl fmt::Debug for UnreadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UnreadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UnreadError {}

impl<T, E: fmt::Debug> fmt::Debug for ReportedTask<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
