//! `try_gather`: `gather` for futures that return a `Result`, with an `Err` as a failure.
//!
//! The future is woken at each end of a child and reads that child's result at once. So the first `Err` is known in the
//! turn in which it is returned.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{error, fmt, io};

use crate::combine::gather::{Gather, GatherError, gather};
use crate::error::{CancelOrigin, Cancellation, TaskError};
use crate::kernel::cancel::node::{Kind, State};
use crate::kernel::cancel::scope::Scope;
use crate::kernel::task::handle::Task;

/// Runs futures that return `Result`s as tasks, all at once, and returns their values in the order of the arguments.
/// When one fails, it cancels the others, waits until they have ended, and returns the failure.
///
/// A child fails if it returns an `Err`, panics, or is cancelled by other code. The first failure is the one that is
/// returned. Results that come after it are dropped. asyncio has no counterpart: its `gather` does not cancel the
/// others.
///
/// # Errors
/// [`TryGatherError::Failed`] if the first failure is an `Err`, [`TryGatherError::Ended`] if it is a panic or a
/// cancellation.
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// Cancels all children, once, and waits for them. If the future itself is dropped, it cancels the unfinished children
/// and cannot wait for them.
///
/// ```
/// use callsoon::{TryGatherError, run, sleep, try_gather};
/// use std::time::Duration;
/// run(async {
///     let halves = try_gather([4, 7, 8].map(|n| async move {
///         if n % 2 == 1 { return Err(format!("{n} is odd")) }
///         sleep(Duration::from_secs(n)).await;
///         Ok(n / 2)
///     })).await;
///     assert!(matches!(halves, Err(TryGatherError::Failed { index: 1, error }) if error == "7 is odd"));
/// }).unwrap();
/// ```
#[track_caller]
pub fn try_gather<I, T, E>(futures: I) -> TryGather<T, E>
where
    I: IntoIterator<Item: IntoFuture<IntoFuture: 'static, Output = Result<T, E>>>,
    T: 'static,
    E: 'static,
{
    let mut gather = gather(futures);
    gather.scope = Scope::new(Kind::Group);
    TryGather::new(gather, true)
}

impl<T: 'static, E: 'static> Gather<Vec<Task<Result<T, E>>>> {
    /// Treats an `Err` as a failure and returns the first failure at once. The other children run on, and their results
    /// are not reported.
    ///
    /// # Errors
    /// [`TryGatherError::Failed`] if the first failure is an `Err`, [`TryGatherError::Ended`] if it is a panic or a
    /// cancellation.
    ///
    /// # Cancellation
    /// As for [`gather`].
    ///
    /// ```
    /// use callsoon::{gather, run};
    /// run(async {
    ///     let parsed = gather(["1", "two"].map(|text| async { text.parse::<u8>() })).fail_fast().await;
    ///     assert!(matches!(parsed, Err(callsoon::TryGatherError::Failed { index: 1, .. })));
    /// }).unwrap();
    /// ```
    pub fn fail_fast(self) -> TryGather<T, E> {
        TryGather::new(self, false)
    }
}

/// The error of [`try_gather`] and [`Gather::fail_fast`].
///
/// ```
/// callsoon::run(async {
///     let error = callsoon::try_gather([async { Err::<(), _>("no") }]).await.unwrap_err();
///     assert_eq!(error.to_string(), "gathered future 0: no");
/// }).unwrap();
/// ```
#[derive(Debug)]
pub enum TryGatherError<E> {
    /// A child returned an error.
    Failed {
        /// The number of the argument, counted from 0.
        index: usize,
        /// The error that it returned.
        error: E,
    },
    /// A child ended without returning anything: it panicked or was cancelled.
    Ended {
        /// The number of the argument, counted from 0.
        index: usize,
        /// How it ended.
        error: TaskError,
    },
}

impl<E> TryGatherError<E> {
    /// Returns the index of the argument that failed, counted from 0.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let error = callsoon::try_gather([async { Err::<(), _>("no") }]).await.unwrap_err();
    ///     assert_eq!(error.index(), 0);
    /// }).unwrap();
    /// ```
    pub fn index(&self) -> usize {
        match self {
            Self::Failed { index, .. } | Self::Ended { index, .. } => *index,
        }
    }
}

impl<E: fmt::Display> fmt::Display for TryGatherError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { index, error } => write!(f, "gathered future {index}: {error}"),
            Self::Ended { index, error } => write!(f, "gathered future {index}: {error}"),
        }
    }
}

impl<E: error::Error + 'static> error::Error for TryGatherError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Failed { error, .. } => Some(error),
            Self::Ended { error, .. } => Some(error),
        }
    }
}

/// For `try_gather(futures).await?` in functions that return an `io::Result`. The error of a child comes out as its own
/// type converts, an `io::Error` as it is, without the index. That of a child that panicked or was cancelled is inside,
/// as `Other`.
///
/// ```
/// use std::io;
/// async fn read_both() -> io::Result<Vec<Vec<u8>>> {
///     Ok(callsoon::try_gather(["/dev/null", "/nobody/is/here"].map(callsoon::fs::read)).await?)
/// }
/// assert_eq!(callsoon::run(read_both())?.unwrap_err().kind(), io::ErrorKind::NotFound);
/// # Ok::<(), io::Error>(())
/// ```
impl<E: Into<io::Error>> From<TryGatherError<E>> for io::Error {
    fn from(error: TryGatherError<E>) -> Self {
        match error {
            TryGatherError::Failed { error, .. } => error.into(),
            TryGatherError::Ended { index, error } => Self::other(GatherError { index, error }),
        }
    }
}

/// The future of [`try_gather`] and [`Gather::fail_fast`].
///
/// ```
/// callsoon::run(async {
///     let all: callsoon::TryGather<_, ()> = callsoon::try_gather([async { Ok(1) }]);
///     assert_eq!(all.await.unwrap(), [1]);
/// }).unwrap();
/// ```
#[must_use = "dropping it cancels its children"]
pub struct TryGather<T, E> {
    gather: Gather<Vec<Task<Result<T, E>>>>,
    /// The values of the children that have ended, by index.
    values: Vec<Option<T>>,
    /// The first failure.
    failure: Option<TryGatherError<E>>,
    /// Whether the first failure cancels the other children.
    cancel_on_failure: bool,
    /// Whether the children were cancelled.
    cancelled: bool,
}

impl<T, E> Unpin for TryGather<T, E> {}

impl<T: 'static, E: 'static> TryGather<T, E> {
    fn new(gather: Gather<Vec<Task<Result<T, E>>>>, cancel_on_failure: bool) -> Self {
        gather.child_count.notify_each();
        Self {
            values: gather.tasks.iter().map(|_| None).collect(),
            gather,
            failure: None,
            cancel_on_failure,
            cancelled: false,
        }
    }

    /// Cancels the children that have not ended.
    fn cancel_children(&mut self, request: &Cancellation) {
        // `try_gather` cancels its children once, `fail_fast` each time that it is cancelled.
        if !self.cancelled || !self.cancel_on_failure {
            self.cancelled = true;
            self.gather.child_count.cancel(request);
        }
    }

    /// Reads the results of the children that have ended since the last poll.
    fn take_results(&mut self) {
        while let Some(index) = self.gather.child_count.next_ended() {
            let result = self.gather.tasks[index].result();
            let failure = match result.unwrap_or(Err(TaskError::Taken)) {
                Ok(Ok(value)) => {
                    self.values[index] = Some(value);
                    continue;
                }
                Ok(Err(error)) => TryGatherError::Failed { index, error },
                // It was cancelled by this future, so that is not a failure.
                Err(TaskError::Cancelled(_)) if self.cancelled => continue,
                Err(error) => TryGatherError::Ended { index, error },
            };
            self.failure.get_or_insert(failure);
        }
    }

    /// Returns the result. All children have ended.
    fn finish(&mut self) -> Poll<Result<Vec<T>, TryGatherError<E>>> {
        self.gather.complete();
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Err(failure));
        }
        let numbered = self.values.drain(..).enumerate();
        let missing = |index| TryGatherError::Ended {
            index,
            error: TaskError::Cancelled(Cancellation::default()),
        };
        let values: Result<_, _> = numbered
            .map(|(index, value)| value.ok_or(missing(index)))
            .collect();
        Poll::Ready(values)
    }
}

impl<T: 'static, E: 'static> Future for TryGather<T, E> {
    type Output = Result<Vec<T>, TryGatherError<E>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.gather.child_count.is_ending(context.waker()) {
            return Poll::Pending;
        }
        if this.gather.scope.enter(context.waker()) && this.gather.scope.is_asked() {
            if let Some(request) = this.gather.scope.take() {
                if this.cancelled && this.cancel_on_failure {
                    this.gather.child_count.suspect_cycle();
                }
                this.cancel_children(&request);
            }
        }
        if this.gather.child_count.unfinished() > 0 {
            let node = this.gather.scope.key();
            this.gather.child_count.wait(context.waker(), node);
        }
        this.take_results();
        let state = this.gather.scope.standing();
        if state == State::Passed {
            return Poll::Pending;
        }
        if this.failure.is_some() && state != State::Taken {
            if !this.cancel_on_failure {
                this.gather.tasks.iter().for_each(Task::forgive);
                return this.finish();
            }
            let text = "another of those gathered with it has failed";
            let request = Cancellation::new(Some(text.into()), CancelOrigin::Group, None);
            this.cancel_children(&request);
        }
        if this.gather.child_count.unfinished() > 0 {
            return Poll::Pending;
        }
        // A failure is returned even if the parent is being cancelled. Without one the cancellation goes on.
        let errors = this.failure.is_some() && this.cancel_on_failure;
        if state == State::Taken && !errors && this.gather.scope.pass() {
            return Poll::Pending;
        }
        this.finish()
    }
}

impl<T, E> fmt::Debug for TryGather<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryGather")
            .field("gather", &self.gather)
            .finish_non_exhaustive()
    }
}
