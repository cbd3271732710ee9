//! The arguments of `shield!` and `as_completed!`: a task stays what it is, and any other future becomes a task.
//!
//! A function cannot tell the two apart: a [`Task`] is a future, so an implementation for all futures would overlap with
//! the one for tasks, and a type parameter that keeps them apart could not be inferred. A method call can. Rust looks for a
//! method of `Argument<A>` before it looks for one of `&Argument<A>`. [`Handle`] and [`Awaited`] are implemented for the
//! first, where `A` is a handle; [`Plain`] for the second, where `A` becomes a future. All three methods return
//! who converts the argument. Programs use the macros and see nothing of this.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;

use crate::combine::into_task::IntoTask;
use crate::combine::shield::IntoShielded;
use crate::event_loop::free::create_task;
use crate::kernel::task::handle::Task;

/// The type of an argument.
#[derive(Debug)]
pub struct Argument<A>(PhantomData<A>);

impl<A> Argument<A> {
    /// Takes the type, and leaves the argument.
    pub fn of(_: &A) -> Self {
        Self(PhantomData)
    }
}

/// Leaves a handle as it is.
#[derive(Debug)]
pub struct Stays;

impl Stays {
    /// Returns the handle.
    pub fn convert<A>(self, handle: A) -> A {
        handle
    }
}

/// Makes a task of what `as_completed` takes.
#[derive(Debug)]
pub struct IsTask;

impl IsTask {
    /// Returns the task.
    #[track_caller]
    pub fn convert<A: IntoTask>(self, task: A) -> Task<A::Value> {
        task.into_task()
    }
}

/// Makes a task of a future.
#[derive(Debug)]
pub struct Becomes;

impl Becomes {
    /// Makes the task.
    #[track_caller]
    pub fn convert<F: IntoFuture<IntoFuture: 'static>>(self, future: F) -> Task<F::Output> {
        create_task(future.into_future())
    }
}

/// What `shield` takes.
pub trait Awaited {
    /// Returns who converts it.
    fn kind(&self) -> Stays {
        Stays
    }
}

impl<A: IntoShielded> Awaited for Argument<A> {}

/// What `as_completed` takes.
pub trait Handle {
    /// Returns who converts it.
    fn kind(&self) -> IsTask {
        IsTask
    }
}

impl<A: IntoTask> Handle for Argument<A> {}

/// Any other future.
pub trait Plain {
    /// Returns who converts it.
    fn kind(&self) -> Becomes {
        Becomes
    }
}

impl<F: IntoFuture<IntoFuture: Future>> Plain for &Argument<F> {}

/// Awaits a task or any other future, and keeps a cancellation of the awaiter from it: [`shield`](fn@crate::shield), which a
/// coroutine may be given to as in asyncio.
///
/// A future that is no handle becomes a task of the running loop now.
///
/// # Panics
/// Outside a running loop, if it makes a task.
///
/// # Cancellation
/// As for [`shield`](fn@crate::shield): the task runs on.
///
/// ```
/// # async fn save() -> u32 { 42 }
/// callsoon::run(async {
///     assert_eq!(callsoon::shield!(save()).await.unwrap(), 42);
///     let mut task = callsoon::create_task(save());
///     drop(callsoon::shield!(&mut task));
///     assert_eq!(callsoon::shield!(task).await.unwrap(), 42);
/// }).unwrap();
/// ```
#[macro_export]
macro_rules! shield {
    ($awaited:expr $(,)?) => {{
        #[allow(unused_imports, reason = "one of the two is used")]
        use $crate::arguments::{Awaited as _, Plain as _};
        match $awaited {
            awaited => {
                let kind = (&$crate::arguments::Argument::of(&awaited)).kind();
                $crate::shield(kind.convert(awaited))
            }
        }
    }};
}

/// Returns tasks in the order in which they end, [`as_completed`](fn@crate::as_completed), of futures of different types
/// with the same output.
///
/// A task stays what it is, and any other future becomes a task of the running loop now, in the order of the arguments.
///
/// # Panics
/// Outside a running loop, if it makes a task.
///
/// # Cancellation
/// As for [`as_completed`](fn@crate::as_completed): the tasks run on.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let task = callsoon::create_task(async { "task" });
///     let nap = callsoon::sleep_with(Duration::from_millis(2), "nap");
///     let mut ended = callsoon::as_completed!(nap, async { "block" }, task);
///     let mut order = vec![];
///     while let Some(task) = ended.next().await {
///         order.push(task.await.unwrap());
///     }
///     assert_eq!(order, ["task", "block", "nap"]);
/// }).unwrap();
/// ```
#[macro_export]
macro_rules! as_completed {
    ($($awaited:expr),+ $(,)?) => {{
        #[allow(unused_imports, reason = "perhaps all are tasks, or none is")]
        use $crate::arguments::{Handle as _, Plain as _};
        $crate::as_completed([$(match $awaited {
            awaited => {
                let kind = (&$crate::arguments::Argument::of(&awaited)).kind();
                kind.convert(awaited)
            }
        }),+])
    }};
}
