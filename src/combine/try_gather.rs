//! `gather` for futures that return a `Result`: an `Err` is a failure.
//!
//! The children tell of each end, and what each returned is looked at once, so that the first `Err` is known in the turn
//! in which it is returned.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{error, fmt};

use crate::combine::gather::{Gather, gather};
use crate::error::{CancelOrigin, Cancellation, TaskError};
use crate::kernel::cancel::node::{Kind, State};
use crate::kernel::cancel::scope::Scope;
use crate::kernel::task::handle::Task;

/// Runs futures that return `Result`s as tasks, all at once, and gives their values in the order of the arguments; when
/// one fails, cancels the others, waits until they have ended, and gives the failure.
///
/// A failure is an `Err`, a panic, or a child that somebody else cancelled; it is the first that is given. What the others
/// return after that is dropped.
///
/// # Errors
/// [`TryGatherError`]: the first failure, and whose.
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// Cancels all children, once, and waits for them. Dropping it asks the unfinished ones to end, and cannot wait.
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
    /// Counts an `Err` as a failure, which is given at once; the others run on, and what becomes of them nobody is told.
    ///
    /// # Cancellation
    /// As that of [`gather`].
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

/// Why [`try_gather`] or [`Gather::fail_fast`] gave no values.
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
        /// What it returned.
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
    /// The number of the argument that failed, counted from 0.
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

/// The future of [`try_gather`] and [`Gather::fail_fast`].
///
/// ```
/// callsoon::run(async {
///     let all: callsoon::TryGather<_, ()> = callsoon::try_gather([async { Ok(1) }]);
///     assert_eq!(all.await.unwrap(), [1]);
/// }).unwrap();
/// ```
#[must_use = "dropping it asks its children to end"]
pub struct TryGather<T, E> {
    gather: Gather<Vec<Task<Result<T, E>>>>,
    values: Vec<Option<T>>,
    failure: Option<TryGatherError<E>>,
    /// The first failure cancels the others.
    cancels: bool,
    /// The children were asked to end.
    stopped: bool,
}

impl<T, E> Unpin for TryGather<T, E> {}

impl<T: 'static, E: 'static> TryGather<T, E> {
    fn new(gather: Gather<Vec<Task<Result<T, E>>>>, cancels: bool) -> Self {
        gather.tally.tell_each();
        Self {
            values: gather.tasks.iter().map(|_| None).collect(),
            gather,
            failure: None,
            cancels,
            stopped: false,
        }
    }

    fn stop(&mut self, request: &Cancellation) {
        // A group's children are cancelled once, those of a gather each time.
        if !self.stopped || !self.cancels {
            self.stopped = true;
            self.gather.tally.cancel(request);
        }
    }

    /// Looks at what those who have ended since the last poll gave.
    fn look_at_ended(&mut self) {
        while let Some(index) = self.gather.tally.next_ended() {
            let result = self.gather.tasks[index].result();
            let failure = match result.unwrap_or(Err(TaskError::Taken)) {
                Ok(Ok(value)) => {
                    self.values[index] = Some(value);
                    continue;
                }
                Ok(Err(error)) => TryGatherError::Failed { index, error },
                // Asked to end, so that its end is no failure.
                Err(TaskError::Cancelled(_)) if self.stopped => continue,
                Err(error) => TryGatherError::Ended { index, error },
            };
            self.failure.get_or_insert(failure);
        }
    }

    /// All children have ended.
    fn finish(&mut self) -> Poll<Result<Vec<T>, TryGatherError<E>>> {
        self.gather.end();
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
        if this.gather.scope.enter(context.waker()) && this.gather.scope.is_asked() {
            if let Some(request) = this.gather.scope.take() {
                if this.stopped && this.cancels {
                    this.gather.tally.suspect_cycle();
                }
                this.stop(&request);
            }
        }
        if this.gather.tally.left() > 0 {
            let node = this.gather.scope.key();
            this.gather.tally.wait(context.waker(), node);
        }
        this.look_at_ended();
        let standing = this.gather.scope.standing();
        if standing == State::Passed {
            return Poll::Pending;
        }
        if this.failure.is_some() && standing != State::Taken {
            if !this.cancels {
                this.gather.tasks.iter().for_each(Task::forgive);
                return this.finish();
            }
            let text = "another of those gathered with it has failed";
            let request = Cancellation::new(Some(text.into()), CancelOrigin::Group, None);
            this.stop(&request);
        }
        if this.gather.tally.left() > 0 {
            return Poll::Pending;
        }
        // Errors go before the cancellation of whoever waits; without any, the cancellation goes on.
        let errors = this.failure.is_some() && this.cancels;
        if standing == State::Taken && !errors && this.gather.scope.pass() {
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
