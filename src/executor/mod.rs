//! Executors run blocking jobs on other threads. The result of a job is a future that any loop can await.
//!
//! [`Executor`] is the trait of everything that can run a closure on another thread. [`ThreadPoolExecutor`] is the one of
//! this crate. Each loop has a default one, which [`to_thread`] uses.
//!
//! ```text
//!   to_thread, run_in_executor   `default`   makes a job, and gives it to an executor
//!   Job, ExecutorFuture          `job`       the two sides of one job
//!   ThreadPoolExecutor           `pool`      settings and public methods of a pool
//!                                `workers`   its queue of jobs, and its threads
//!                                `worker_count`  when a thread is spawned, notified, parked or ended
//! ```

pub(crate) mod default;
pub(crate) mod error;
pub(crate) mod execute;
pub(crate) mod job;
pub(crate) mod pool;
mod worker_count;
mod workers;

pub use default::{run_in_executor, to_thread};
pub use error::{ExecutorError, StuckJobs};
pub use execute::Executor;
pub use job::{ExecutorFuture, Job};
pub use pool::{ThreadPoolBuilder, ThreadPoolExecutor};
