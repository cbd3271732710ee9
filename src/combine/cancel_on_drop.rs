//! `CancelOnDrop`: a task that is cancelled when its handle is dropped.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::TaskError;
use crate::kernel::task::handle::Task;

impl<T: 'static> Task<T> {
    /// Wraps the handle so that dropping it cancels the task. Dropping a plain handle cancels nothing. Use it for a
    /// task that is useless without its awaiter, in a `select!` or in a struct.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let task = callsoon::create_task(std::future::pending::<()>());
    ///     let watched = task.as_ref();
    ///     drop(task.cancel_on_drop());
    ///     callsoon::yield_now().await;
    ///     assert!(watched.cancelled());
    /// }).unwrap();
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        CancelOnDrop { task: Some(self) }
    }
}

/// A handle that cancels its task when it is dropped. Made by [`Task::cancel_on_drop`]. Awaiting it awaits the task.
///
/// ```
/// callsoon::run(async {
///     let task = callsoon::create_task(async { 7 }).cancel_on_drop();
///     assert_eq!(task.await.unwrap(), 7);
/// }).unwrap();
/// ```
#[must_use = "dropping it cancels the task"]
pub struct CancelOnDrop<T: 'static> {
    /// `None` after `into_inner`.
    task: Option<Task<T>>,
}

impl<T: 'static> CancelOnDrop<T> {
    /// Returns the plain handle; dropping that one cancels nothing.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let task = callsoon::create_task(async { 7 }).cancel_on_drop().into_inner();
    ///     assert_eq!(task.await.unwrap(), 7);
    /// }).unwrap();
    /// ```
    pub fn into_inner(mut self) -> Task<T> {
        match self.task.take() {
            Some(task) => task,
            None => unreachable!("the task is taken out here, once"),
        }
    }
}

impl<T: 'static> Future for CancelOnDrop<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.task {
            Some(task) => Pin::new(task).poll(context),
            None => Poll::Pending,
        }
    }
}

impl<T: 'static> Drop for CancelOnDrop<T> {
    fn drop(&mut self) {
        // A task that has ended is not cancelled, so that its panic is still reported.
        if let Some(task) = self.task.as_ref().filter(|task| !task.done()) {
            task.cancel_with("its handle was dropped");
        }
    }
}

impl<T> fmt::Debug for CancelOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelOnDrop").field(&self.task).finish()
    }
}
