//! [`Executor`]: what `run_in_executor` asks of a pool, so that a pool of any make can be used.

use crate::executor::error::ExecutorError;
use crate::executor::job::Job;

/// Runs jobs on other threads. Implemented by [`ThreadPoolExecutor`](crate::ThreadPoolExecutor), and by any other pool.
///
/// ```
/// use callsoon::{Executor, ExecutorError, Job};
///
/// /// A thread for each job.
/// struct Spawn;
///
/// impl Executor for Spawn {
///     fn execute(&self, job: Job) -> Result<(), ExecutorError> {
///         std::thread::Builder::new().spawn(move || job.run()).map_err(ExecutorError::Io)?;
///         Ok(())
///     }
/// }
///
/// let sum = callsoon::run(async { callsoon::run_in_executor(Some(&Spawn), || 1 + 2).await });
/// assert_eq!(sum.unwrap().unwrap(), 3);
/// ```
pub trait Executor {
    /// Takes a job and has another thread run it once, without waiting for it.
    ///
    /// A job that is dropped without having been run ends its future with [`ExecutorError::Cancelled`]. So an executor that
    /// shuts down drops the jobs that have not begun, and no awaiter waits for ever. If a job is leaked, its awaiter does.
    ///
    /// # Errors
    /// Any [`ExecutorError`] by which the job is refused. The job's future ends with it.
    fn execute(&self, job: Job) -> Result<(), ExecutorError>;
}
