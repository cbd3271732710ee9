//! What a test has left behind, and the error that lists it.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::error::RunError;

/// One thing that was still there when a test had ended: see [`run`](crate::testing::run).
///
/// ```
/// use callsoon::testing::{self, Leftover, TestError};
///
/// let left = testing::try_run(async {
///     callsoon::task_builder().name("forgotten").spawn(std::future::pending::<()>()).detach();
/// });
/// let Err(TestError::Leftovers(left)) = left else { panic!("the task was not noticed") };
/// assert!(matches!(&left[..], [Leftover::Task { name, .. }] if name == "forgotten"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leftover {
    /// A task that is pending.
    Task {
        /// Its name.
        name: String,
        /// Where it was created.
        location: &'static Location<'static>,
    },
    /// A callback of `call_soon` that was ready after ten thousand turns: callbacks that queue one another for ever.
    Callback {
        /// Where it was queued.
        location: &'static Location<'static>,
    },
    /// A callback of `call_later` or `call_at` that has not run.
    Timer {
        /// How long after the end of the test it is due; `None` if it never is.
        due_in: Option<Duration>,
    },
    /// Sockets, pipes and other descriptors that are registered with the loop: how many.
    Sources(usize),
    /// Jobs of the default executor that run still: how many.
    Jobs(usize),
    /// A thread that the test has started, itself or by an executor. Found on Linux only.
    Thread {
        /// Its number in the system.
        id: u32,
        /// Its name, as far as the system keeps it.
        name: String,
    },
    /// A child process that runs, or was not waited for. Found on Linux only.
    Process {
        /// Its number in the system.
        id: u32,
        /// The name of its program, as far as the system keeps it.
        name: String,
    },
    /// A failure that no code has handled, which the exception handler was told of: a panic of a callback, a result that
    /// was never retrieved.
    Failure(String),
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task { name, location } => {
                write!(f, "pending task {name}, created at {location}")
            }
            Self::Callback { location } => {
                write!(f, "callback that is ready, queued at {location}")
            }
            Self::Timer { due_in: None } => write!(f, "timer that never fires"),
            Self::Timer { due_in: Some(time) } => write!(f, "timer that is due in {time:?}"),
            Self::Sources(count) => write!(f, "{count} descriptors registered with the loop"),
            Self::Jobs(count) => write!(f, "{count} jobs of the default executor"),
            Self::Thread { id, name } => write!(f, "thread {id} ({name})"),
            Self::Process { id, name } => write!(f, "child process {id} ({name})"),
            Self::Failure(text) => write!(f, "unhandled failure: {text}"),
        }
    }
}

/// Why a test has failed although its future has not panicked: returned by [`try_run`](crate::testing::try_run).
///
/// ```
/// # use callsoon::testing::{self, TestError};
/// let left = testing::try_run(async {
///     callsoon::get_running_loop().call_later(std::time::Duration::from_secs(5), || ());
/// });
/// assert_eq!(left.unwrap_err().to_string(), "the test has left behind:\n  timer that is due in 5s");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TestError {
    /// The test was stopped or cancelled, or the loop could not be made or run.
    Run(RunError),
    /// The test has left something behind.
    Leftovers(Vec<Leftover>),
}

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(error) => write!(f, "the test did not run to its end: {error}"),
            Self::Leftovers(left) => {
                write!(f, "the test has left behind:")?;
                left.iter().try_for_each(|one| write!(f, "\n  {one}"))
            }
        }
    }
}

impl Error for TestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Run(error) => Some(error),
            Self::Leftovers(_) => None,
        }
    }
}

impl From<RunError> for TestError {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}
