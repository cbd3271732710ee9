//! `gather`: many futures at once, their results in the order of the arguments.
//!
//! Each future becomes a task. [`gather`] returns all values, or the first failure as soon as there is one; the other
//! tasks run on. [`Gather::settled`] waits for all tasks and returns the result of each.
//! [`try_gather`](crate::try_gather) cancels the other tasks when one fails, and waits for them.

use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::{error, fmt, io};

use crate::combine::child_count::ChildCount;
use crate::combine::tasks::{GatherFutures, Tasks};
use crate::error::{CancelOrigin, Cancellation, TaskError};
use crate::event_loop::free::get_running_loop;
use crate::kernel::cancel::node::{Kind, State};
use crate::kernel::cancel::scope::Scope;
use crate::kernel::task::handle::Task;

/// Runs futures as tasks, all at once, and returns their values in the order of the arguments: asyncio's `gather`.
///
/// The tasks are created by this call, in order. If a child panics or is cancelled, the first such failure is returned
/// at once as the error. The other children run on, and their failures are not reported. [`settled`](Gather::settled)
/// waits for all children instead. For futures of different types there is [`gather!`](crate::gather!).
///
/// A [`Task`] among the arguments returns its `Result`, as when it is awaited, so its failure is a value here.
/// [`try_gather`](crate::try_gather) of tasks returns their values, and a task that fails is an error.
///
/// # Differences from asyncio
/// - A child fails if it panics or is cancelled. A `Result` that it returns is a value, even an `Err`.
///   [`Gather::fail_fast`] and [`try_gather`](crate::try_gather) treat an `Err` as a failure.
/// - [`settled`](Gather::settled) is asyncio's `return_exceptions=True`.
/// - Dropping the future cancels the children.
///
/// # Errors
/// [`GatherError`] with the first failure and its index, if a child panics or is cancelled.
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// Cancels all children and waits for them. If the future itself is dropped, it cancels the unfinished children and
/// cannot wait for them.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let naps = [3, 1, 2].map(|ms| callsoon::sleep_with(Duration::from_millis(ms), ms));
///     assert_eq!(callsoon::gather(naps).await.unwrap(), [3, 1, 2]);
///     let tasks = [1, 2].map(|n| callsoon::create_task(async move { n }));
///     assert_eq!(callsoon::try_gather(tasks).await.unwrap(), [1, 2]);
/// }).unwrap();
/// ```
#[track_caller]
pub fn gather<I>(futures: I) -> Gather<Vec<Task<<I::Item as IntoFuture>::Output>>>
where
    I: IntoIterator<Item: IntoFuture<IntoFuture: 'static>>,
{
    let location = Location::caller();
    let mut gather = Gather::new(ChildCount::new(get_running_loop().state), Vec::new());
    let futures = futures.into_iter();
    let expected = futures.size_hint().0.min(MAX_RESERVED);
    gather.tasks.reserve(expected);
    gather.child_count.reserve(expected);
    // One by one: if the iterator panics, dropping the gather cancels the children that were made.
    for future in futures {
        let task = gather.child_count.spawn(future.into_future(), location);
        gather.tasks.push(task);
    }
    gather
}

/// The largest number of children to reserve memory for in advance. An iterator's size hint may be wrong.
const MAX_RESERVED: usize = 1 << 16;

/// [`gather`] for a tuple of futures of different types; [`gather!`](crate::gather!) reads better.
///
/// # Errors
/// [`GatherError`] with the first failure and its index, if a child panics or is cancelled.
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// As for [`gather`].
///
/// ```
/// callsoon::run(async {
///     let both = callsoon::gather_tuple((async { 1 }, async { "one" })).await;
///     assert_eq!(both.unwrap(), (1, "one"));
/// }).unwrap();
/// ```
#[track_caller]
pub fn gather_tuple<F: GatherFutures>(futures: F) -> Gather<<F as GatherFutures>::Tasks> {
    let child_count = ChildCount::new(get_running_loop().state);
    let tasks = futures.into_tasks(&child_count, Location::caller());
    Gather::new(child_count, tasks)
}

/// Runs futures of different types as tasks, all at once, and returns a tuple of their values.
///
/// This is [`gather`](fn@crate::gather) for up to twelve arguments, with the same errors, panics and cancellation.
///
/// ```
/// callsoon::run(async {
///     let (number, text) = callsoon::gather!(async { 1 }, async { "one" }).await.unwrap();
///     assert_eq!((number, text), (1, "one"));
/// }).unwrap();
/// ```
#[macro_export]
macro_rules! gather {
    ($($future:expr),+ $(,)?) => {
        $crate::gather_tuple(($($future,)+))
    };
}

/// The error of [`gather`]: a child panicked or was cancelled.
///
/// ```
/// callsoon::run(async {
///     let child = callsoon::create_task(std::future::pending::<()>());
///     child.cancel();
///     let error = callsoon::gather([async { child.await.unwrap() }]).await.unwrap_err();
///     assert_eq!(error.index, 0);
///     assert!(error.error.panicked().is_some());
/// }).unwrap();
/// ```
#[derive(Debug)]
pub struct GatherError {
    /// The index of the argument, counted from 0.
    pub index: usize,
    /// How the child ended.
    pub error: TaskError,
}

impl fmt::Display for GatherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gathered future {}: {}", self.index, self.error)
    }
}

impl error::Error for GatherError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}

/// For `gather(futures).await?` in functions that return an `io::Result`. The error is inside, as `Other`.
///
/// ```
/// use std::io;
/// async fn sizes() -> io::Result<()> {
///     let size = |path| async move { callsoon::fs::read(path).await.map(|bytes| bytes.len()) };
///     let (null, missing) = callsoon::gather!(size("/dev/null"), size("/nobody/is/here")).await?;
///     assert_eq!(null?, 0);
///     missing.map(drop)
/// }
/// assert_eq!(callsoon::run(sizes())?.unwrap_err().kind(), io::ErrorKind::NotFound);
/// # Ok::<(), io::Error>(())
/// ```
impl From<GatherError> for io::Error {
    fn from(error: GatherError) -> Self {
        Self::other(error)
    }
}

/// The future of [`gather`] and [`gather!`](crate::gather!).
///
/// ```
/// callsoon::run(async {
///     let both: callsoon::Gather<_> = callsoon::gather([1, 2].map(|n| async move { n }));
///     assert_eq!(both.await.unwrap(), [1, 2]);
/// }).unwrap();
/// ```
#[must_use = "dropping it cancels its children"]
pub struct Gather<C> {
    /// The cancel scope of the await.
    pub(super) scope: Scope,
    /// The count to which the children report their ends.
    pub(super) child_count: Rc<ChildCount>,
    /// The children.
    pub(super) tasks: C,
    /// Set when a result was returned: dropping the gather then cancels nothing.
    pub(super) completed: bool,
}

impl<C> Unpin for Gather<C> {}

/// The state of the children, as a poll finds it.
pub(super) enum Progress {
    /// All children have ended.
    AllEnded,
    /// This child has ended without a value.
    Failed(usize),
    /// Some children have not ended.
    Pending,
}

impl<C> Gather<C> {
    pub(super) fn new(child_count: Rc<ChildCount>, tasks: C) -> Self {
        Self {
            scope: Scope::new(Kind::Gather),
            child_count,
            tasks,
            completed: false,
        }
    }

    /// Handles a pending cancel request, then returns the state of the children. A request cancels the children, and the
    /// gather stays pending until the last of them has ended; then it votes that it is cancelled, as `kernel/cancel/mod`
    /// tells step by step.
    pub(super) fn poll_children(&mut self, context: &mut Context<'_>) -> Progress {
        if self.child_count.is_ending(context.waker()) {
            return Progress::Pending;
        }
        // Enters the scope before it reads the count: the clone of a waker may end children.
        let in_task = self.scope.enter(context.waker());
        if in_task && self.scope.is_asked() {
            if let Some(request) = self.scope.take() {
                self.child_count.cancel(&request);
            }
        }
        if self.child_count.unfinished() > 0 {
            self.child_count.wait(context.waker(), self.scope.key());
        }
        match self.scope.standing() {
            State::Passed => Progress::Pending,
            State::Taken if self.child_count.unfinished() > 0 => Progress::Pending,
            State::Taken if self.scope.pass() => Progress::Pending,
            _ if self.child_count.unfinished() == 0 => Progress::AllEnded,
            _ => match self.child_count.failed() {
                Some(number) => Progress::Failed(number),
                None => Progress::Pending,
            },
        }
    }

    /// Marks the gather as completed, right before a result is returned.
    pub(super) fn complete(&mut self) {
        self.completed = true;
        self.scope.complete();
    }
}

impl<C: Tasks> Gather<C> {
    /// Waits for all children and returns the result of each, in the order of the arguments: asyncio's
    /// `return_exceptions=True`.
    ///
    /// # Cancellation
    /// As for [`gather`].
    ///
    /// ```
    /// use callsoon::{gather, run};
    /// # std::panic::set_hook(Box::new(|_| ()));
    /// run(async {
    ///     let ended = gather([0, 1].map(|n| async move { 10 / n })).settled().await;
    ///     assert!(ended[0].as_ref().unwrap_err().panicked().is_some());
    ///     assert_eq!(*ended[1].as_ref().unwrap(), 10);
    /// }).unwrap();
    /// ```
    pub fn settled(self) -> Settled<C> {
        Settled { gather: self }
    }
}

impl<C: Tasks> Future for Gather<C> {
    type Output = Result<<C as Tasks>::Values, GatherError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let failed = match self.poll_children(context) {
            Progress::Pending => return Poll::Pending,
            Progress::Failed(number) => Some(number),
            Progress::AllEnded => self.child_count.failed(),
        };
        self.complete();
        let values = match failed.and_then(|number| self.tasks.take_failure(number)) {
            Some(failure) => {
                self.tasks.forgive();
                Err(failure)
            }
            None => self.tasks.take_values(),
        };
        Poll::Ready(values.map_err(|(index, error)| GatherError { index, error }))
    }
}

impl<C> Drop for Gather<C> {
    fn drop(&mut self) {
        if !self.completed {
            let text = "the gather that awaited it was dropped";
            let request = Cancellation::new(Some(text.into()), CancelOrigin::Group, None);
            self.child_count.cancel(&request);
        }
    }
}

impl<C> fmt::Debug for Gather<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather")
            .field("left", &self.child_count.unfinished())
            .finish_non_exhaustive()
    }
}

/// The future of [`Gather::settled`].
///
/// ```
/// callsoon::run(async {
///     let settled: callsoon::Settled<_> = callsoon::gather([async { 1 }]).settled();
///     assert!(settled.await[0].is_ok());
/// }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "dropping it cancels its children"]
pub struct Settled<C> {
    gather: Gather<C>,
}

impl<C: Tasks> Future for Settled<C> {
    type Output = <C as Tasks>::Settled;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let gather = &mut self.gather;
        match gather.poll_children(context) {
            Progress::AllEnded => {
                gather.complete();
                Poll::Ready(gather.tasks.take_settled())
            }
            Progress::Failed(_) | Progress::Pending => Poll::Pending,
        }
    }
}
