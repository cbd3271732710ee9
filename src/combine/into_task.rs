//! `IntoTask`: what becomes a task where a function wants one.
//!
//! asyncio's `shield` and `as_completed` make a task of a coroutine and leave a task as it is. Here the type decides, and a
//! [`Task`] is a future too: an implementation for all futures would overlap with the one for tasks. So boxed futures,
//! whose type is known, become tasks, and [`create_task`] makes one of any other future.

use std::future::Future;
use std::pin::Pin;

use crate::event_loop::free::create_task;
use crate::kernel::task::handle::Task;

/// A task, or a boxed future, of which a task is made: what [`as_completed`](crate::as_completed()) takes.
///
/// Any other future becomes a task by [`create_task`], or as an argument of [`as_completed!`](crate::as_completed!). A type of your own that names its future may
/// implement this trait.
///
/// ```
/// use callsoon::{IntoTask, Task};
///
/// struct Sum(u32, u32);
///
/// impl IntoTask for Sum {
///     type Value = u32;
///
///     fn into_task(self) -> Task<u32> {
///         callsoon::create_task(async move { self.0 + self.1 })
///     }
/// }
///
/// callsoon::run(async {
///     let mut ended = callsoon::as_completed([Sum(1, 2), Sum(3, 4)]);
///     assert_eq!(ended.next().await.unwrap().await.unwrap(), 3);
///     assert_eq!(ended.next().await.unwrap().await.unwrap(), 7);
/// }).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a task nor a boxed future",
    label = "make a task of it by `create_task`, or by `as_completed!(...)`",
    note = "for many futures: `futures.map(create_task)`; `Box::pin(future)` becomes a task by itself"
)]
pub trait IntoTask {
    /// What the task returns.
    type Value;

    /// Returns the task, or makes it.
    ///
    /// # Panics
    /// For a boxed future: outside a running loop.
    ///
    /// ```
    /// use callsoon::IntoTask as _;
    /// callsoon::run(async {
    ///     let boxed = Box::pin(async { 6 * 7 });
    ///     assert_eq!(boxed.into_task().await.unwrap(), 42);
    /// }).unwrap();
    /// ```
    fn into_task(self) -> Task<Self::Value>;
}

/// The task itself.
impl<T: 'static> IntoTask for Task<T> {
    type Value = T;

    #[inline]
    fn into_task(self) -> Task<T> {
        self
    }
}

/// A new task of the running loop.
impl<F: Future + ?Sized + 'static> IntoTask for Pin<Box<F>> {
    type Value = F::Output;

    #[track_caller]
    fn into_task(self) -> Task<F::Output> {
        create_task(self)
    }
}
