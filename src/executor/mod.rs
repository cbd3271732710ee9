//! What blocks is done elsewhere: executors run jobs on other threads, and their results come back to the loop.
//!
//! [`Executor`] is the seam: anything that can run a closure on another thread implements it in three lines.
//! [`ThreadPoolExecutor`] is the one that comes with the crate, and each loop has one of its own for
//! [`to_thread`].

pub(crate) mod default;
pub(crate) mod error;
pub(crate) mod job;
pub(crate) mod pool;
mod worker_count;
mod workers;

pub use default::{run_in_executor, to_thread};
pub use error::{ExecutorError, StuckJobs};
pub use job::{Executor, ExecutorFuture, Job};
pub use pool::{ThreadPoolBuilder, ThreadPoolExecutor};
