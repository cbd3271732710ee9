//! `shield`: an await that does not pass cancellation on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::combine::into_task::IntoTask as _;
use crate::error::{FutureError, TaskError};
use crate::kernel::future::Future as LoopFuture;
use crate::kernel::note_wait::note_tasks;
use crate::kernel::task::handle::Task;
use crate::kernel::wait::wait_kind::WaitKind;

/// Awaits a task, or a loop's future, and keeps a cancellation of the awaiter from it: asyncio's `shield`.
///
/// It takes a [`Task`], a `&mut Task`, a [`Future`](crate::Future), or a boxed future, which becomes a task of the running
/// loop now. With `&mut` the caller keeps the handle and can await the result again. [`shield!`](crate::shield!) takes any
/// other future too, and so makes a task of it as [`create_task`](crate::create_task) does:
///
/// ```
/// # callsoon::run(async {
/// # async fn save() -> u32 { 42 }
/// assert_eq!(callsoon::shield(callsoon::create_task(save())).await.unwrap(), 42);
/// assert_eq!(callsoon::shield!(save()).await.unwrap(), 42);
/// # }).unwrap();
/// ```
///
/// If the awaiter is cancelled, it ends as cancelled and the task runs on. If the task itself is cancelled, the await
/// returns its [`TaskError::Cancelled`]. A task that has ended gives its result without suspending.
///
/// # Differences from asyncio
/// - The function makes a task of a boxed coroutine alone, the macro of each. A [`Task`] is a future too, so the types of
///   a function cannot tell it from a coroutine.
///
/// # Errors
/// Those of the awaited handle: [`TaskError`] for a task, [`FutureError`] for a future.
///
/// # Panics
/// For a boxed future: outside a running loop.
///
/// # Cancellation
/// Dropping it leaves the task running. If it owned the handle, nobody can read the result any more: a value is
/// dropped, and a panic is reported to the exception handler, once.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let mut job = callsoon::create_task(callsoon::sleep_with(Duration::from_millis(2), "saved"));
///     drop(callsoon::shield(&mut job));
///     assert_eq!(callsoon::shield(&mut job).await.unwrap(), "saved");
/// }).unwrap();
/// ```
#[track_caller]
pub fn shield<A: IntoShielded>(awaited: A) -> Shield<A::Shielded>
where
    Shield<A::Shielded>: Future,
{
    let awaited = awaited.into_shielded();
    Shield { awaited }
}

/// What [`shield`] takes: a handle of a task or a loop's future, or a boxed future, of which a task is made.
///
/// A type of your own that names its future may implement it.
///
/// ```
/// fn takes<A: callsoon::IntoShielded>(_: A) {}
/// let event_loop = callsoon::EventLoop::new()?;
/// let mut task = event_loop.create_task(async {});
/// takes(&mut task);
/// takes(task);
/// takes(event_loop.create_future::<u8>());
/// takes(Box::pin(async {}));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Other futures are no handles; the compiler says to make a task of them:
///
/// ```compile_fail,E0277
/// callsoon::run(async { callsoon::shield(async {}).await });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a task, nor a loop's future, nor a boxed future",
    label = "make a task of it: `shield!(...)`, or `shield(create_task(...))`",
    note = "`shield` does not run a future, it awaits what runs without it"
)]
pub trait IntoShielded {
    /// What is awaited: a [`Task`], a `&mut Task` or a [`Future`](crate::Future).
    type Shielded;

    /// Returns what is awaited.
    ///
    /// # Panics
    /// For a boxed future: outside a running loop.
    ///
    /// ```
    /// use callsoon::IntoShielded as _;
    /// callsoon::run(async {
    ///     let task: callsoon::Task<i32> = Box::pin(async { 6 * 7 }).into_shielded();
    ///     assert_eq!(task.await.unwrap(), 42);
    /// }).unwrap();
    /// ```
    fn into_shielded(self) -> Self::Shielded;
}

/// The task itself.
impl<T: 'static> IntoShielded for Task<T> {
    type Shielded = Self;

    #[inline]
    fn into_shielded(self) -> Self {
        self
    }
}

/// The task itself; the caller keeps the handle.
impl<T: 'static> IntoShielded for &mut Task<T> {
    type Shielded = Self;

    #[inline]
    fn into_shielded(self) -> Self {
        self
    }
}

/// The future itself.
impl<T> IntoShielded for LoopFuture<T> {
    type Shielded = Self;

    #[inline]
    fn into_shielded(self) -> Self {
        self
    }
}

/// A new task of the running loop.
impl<F: Future + ?Sized + 'static> IntoShielded for Pin<Box<F>> {
    type Shielded = Task<F::Output>;

    #[track_caller]
    fn into_shielded(self) -> Task<F::Output> {
        self.into_task()
    }
}

/// The future of [`shield`].
///
/// ```
/// callsoon::run(async {
///     let outcome = callsoon::shield(callsoon::create_task(async { 6 * 7 })).await;
///     assert_eq!(outcome.unwrap(), 42);
/// }).unwrap();
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Shield<A> {
    awaited: A,
}

impl<T: 'static> Future for Shield<Task<T>> {
    type Output = Result<T, TaskError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.awaited.poll_shielded(context);
        if polled.is_pending() {
            note_tasks(WaitKind::Task, || [self.awaited.identity()]);
        }
        polled
    }
}

impl<T: 'static> Future for Shield<&mut Task<T>> {
    type Output = Result<T, TaskError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.awaited.poll_shielded(context);
        if polled.is_pending() {
            note_tasks(WaitKind::Task, || [self.awaited.identity()]);
        }
        polled
    }
}

impl<T: Clone> Future for Shield<LoopFuture<T>> {
    type Output = Result<T, FutureError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.awaited.wait_shielded(context)? {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                Poll::Ready(self.awaited.result().unwrap_or(Err(FutureError::Taken)))
            }
        }
    }
}

impl<A: fmt::Debug> fmt::Debug for Shield<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shield").field(&self.awaited).finish()
    }
}
