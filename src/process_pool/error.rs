//! The error of a job in a worker process.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitStatus;

/// The error of [`ProcessPoolExecutor::run`](crate::process_pool::ProcessPoolExecutor::run): why a job gave no result.
///
/// ```
/// # use callsoon::process_pool::{Function, ProcessPoolError, ProcessPoolExecutor};
/// static SQUARE: Function<u64, u64> = Function::new("square", |n| n * n);
/// // This program's `main` has not called `worker`.
/// let refused = callsoon::run(async { ProcessPoolExecutor::new().run(&SQUARE, 12).await });
/// assert!(matches!(refused.unwrap(), Err(ProcessPoolError::NoWorkerEntry)));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessPoolError {
    /// `main` has not called [`worker`](crate::process_pool::worker), so a worker would run the whole program.
    NoWorkerEntry,
    /// The function of this name was not passed to [`worker`](crate::process_pool::worker).
    UnknownFunction(&'static str),
    /// The argument or the result cannot be serialized or deserialized. The text says which, of which function, and the
    /// error of serde.
    Codec(String),
    /// The function panicked. The worker still runs.
    Panicked {
        /// The function's name.
        function: &'static str,
        /// The panic's message.
        message: String,
    },
    /// The worker exited during the job.
    WorkerDied {
        /// The function's name.
        function: &'static str,
        /// How the worker exited.
        status: ExitStatus,
    },
    /// The system refused to start a worker, or the connection to it failed.
    Io(io::Error),
    /// The pool takes no more jobs.
    ShutDown,
}

impl fmt::Display for ProcessPoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorkerEntry => {
                f.write_str("main has not called process_pool::worker before anything else")
            }
            Self::UnknownFunction(name) => {
                write!(
                    f,
                    "process_pool::worker was not told of the function {name}"
                )
            }
            Self::Codec(what) => f.write_str(what),
            Self::Panicked { function, message } => {
                write!(f, "the job {function} panicked: {message}")
            }
            Self::WorkerDied { function, status } => {
                write!(f, "the worker died during the job {function}: {status}")
            }
            Self::Io(error) => write!(f, "a worker cannot be reached: {error}"),
            Self::ShutDown => f.write_str("the pool has been shut down"),
        }
    }
}

impl Error for ProcessPoolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// For `pool.run(&F, x).await?` in functions that return an `io::Result`. An error of the system's is that error, every
/// other one is inside, as `Other`.
///
/// ```
/// use std::io;
///
/// use callsoon::process_pool::ProcessPoolError;
/// assert_eq!(io::Error::from(ProcessPoolError::ShutDown).to_string(), "the pool has been shut down");
/// let refused = ProcessPoolError::Io(io::ErrorKind::PermissionDenied.into());
/// assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::PermissionDenied);
/// ```
impl From<ProcessPoolError> for io::Error {
    fn from(error: ProcessPoolError) -> Self {
        match error {
            ProcessPoolError::Io(error) => error,
            error => Self::other(error),
        }
    }
}

impl From<io::Error> for ProcessPoolError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
