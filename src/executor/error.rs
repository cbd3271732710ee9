//! Errors of executors: of a job, and of a shutdown.

use std::error::Error;
use std::fmt;
use std::io;

use crate::error::Panicked;

/// The error of an [`ExecutorFuture`](crate::ExecutorFuture): why a job gave no value.
///
/// ```
/// # std::panic::set_hook(Box::new(|_| ()));
/// let failed = callsoon::run(callsoon::to_thread(|| panic!("disk on fire"))).unwrap();
/// let error: callsoon::ExecutorError = failed.map(|()| ()).unwrap_err();
/// assert_eq!(error.to_string(), "the job panicked: disk on fire");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The job panicked.
    Panicked(Panicked),
    /// The job was cancelled before it began, or its executor dropped it.
    Cancelled,
    /// The executor has been shut down, or the loop has been closed. In a forked child, which has no copies of its parent's
    /// threads, every executor of the parent counts as shut down.
    ShutDown,
    /// The initializer of one of the pool's threads panicked. The pool runs no more jobs.
    Broken,
    /// The pool has no thread, and the system refused to start one.
    Io(io::Error),
    /// The result has been taken before.
    Taken,
}

impl fmt::Display for ExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panicked) => write!(f, "the job {panicked}"),
            Self::Cancelled => f.write_str("the job was cancelled before it began"),
            Self::ShutDown => f.write_str("the executor has been shut down"),
            Self::Broken => f.write_str("the initializer of a thread of the pool panicked"),
            Self::Io(error) => write!(f, "the executor cannot start a thread: {error}"),
            Self::Taken => f.write_str("the job's result has been taken before"),
        }
    }
}

impl Error for ExecutorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Panicked(panicked) => Some(panicked),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// For `to_thread(f).await??` in functions that return an `io::Result`. An error of the system's is that error, every
/// other one is inside, as `Other`.
///
/// ```
/// async fn name() -> std::io::Result<String> {
///     callsoon::to_thread(|| std::fs::read_to_string("/etc/hostname")).await?
/// }
/// assert!(!callsoon::run(name())??.is_empty());
/// # Ok::<(), std::io::Error>(())
/// ```
impl From<ExecutorError> for io::Error {
    fn from(error: ExecutorError) -> Self {
        match error {
            ExecutorError::Io(error) => error,
            error => Self::other(error),
        }
    }
}

/// The error of a shutdown or a `join` whose deadline passed before all jobs were done.
///
/// ```
/// use std::time::Duration;
/// let pool = callsoon::ThreadPoolExecutor::new();
/// let (open, gate) = std::sync::mpsc::channel();
/// callsoon::run(async {
///     let job = callsoon::run_in_executor(Some(&pool), move || gate.recv());
///     pool.shutdown();
///     let stuck = pool.join(Duration::from_millis(1)).unwrap_err();
///     assert_eq!(stuck.jobs(), 1);
///     open.send(()).unwrap();
///     job.await.unwrap().unwrap();
/// }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StuckJobs {
    pub(crate) jobs: usize,
}

impl StuckJobs {
    /// Returns how many jobs were running or waiting to run.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = callsoon::ThreadPoolExecutor::new();
    /// assert!(pool.join(Duration::ZERO).is_ok(), "a pool without jobs has none that is stuck");
    /// ```
    pub fn jobs(&self) -> usize {
        self.jobs
    }
}

impl fmt::Display for StuckJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.jobs {
            1 => f.write_str("one job is still not done"),
            jobs => write!(f, "{jobs} jobs are still not done"),
        }
    }
}

impl Error for StuckJobs {}
