//! The threads that look names up, a few for each loop, and the future of an answer.
//!
//! A look-up blocks in the system for as long as some server takes, and cannot be interrupted. So each loop has a small
//! [`ThreadPoolExecutor`] for look-ups alone: a resolver that hangs delays other look-ups and nothing more. asyncio looks
//! names up on the default executor. The threads start on demand, four at most, and end when they have been idle for two seconds.
//! A loop that closes drops the jobs that have not begun and waits for no thread: one that is stuck ends when the system's
//! call returns. Dropping a look-up abandons it at once: a job that has
//! not begun is taken back, and the result of one that has begun is dropped.
//!
//! An address needs no thread. Nor does a name that ends in a number: `hosts_file` answers for it on the loop's thread.

use std::io;
use std::time::Duration;

use crate::executor::error::ExecutorError;
use crate::executor::execute::Executor;
use crate::executor::job::job;
use crate::executor::pool::ThreadPoolExecutor;
use crate::kernel::enter::report_panic;
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;

/// The most threads of a loop. Several, so that one dead name server does not hold up all others; few, since the system's
/// resolver asks one server at a time anyway.
const MAX_THREADS: usize = 4;

/// How long a thread waits for another job. Starting one costs less than any look-up.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// One loop's threads.
static RESOLVER: LoopLocal<Resolver> = LoopLocal::new(|| Resolver { pool: pool() });

fn pool() -> ThreadPoolExecutor {
    ThreadPoolExecutor::builder()
        .max_workers(MAX_THREADS)
        .keep_alive(KEEP_ALIVE)
        .thread_name_prefix("callsoon-dns")
        .build()
}

struct Resolver {
    pool: ThreadPoolExecutor,
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // The loop closes, so no task can await a job that has not begun.
        self.pool.shutdown_now();
    }
}

/// Runs `question` on one of the threads. Dropping the future abandons the look-up.
///
/// # Errors
/// The error of the system if it refuses a thread and there is none yet.
pub(crate) async fn ask<R: Send + 'static>(
    handle: &LoopHandle,
    question: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    let (job, answer) = job(question, handle.state.inhibit());
    // A socket may outlive its loop and be awaited on another. Its look-ups then run in a pool for one job each.
    let pool = match handle.is_closed() {
        true => pool(),
        false => RESOLVER.with(handle, |resolver| resolver.pool.clone()),
    };
    pool.execute(job).map_err(into_io)?;
    drop(pool);
    answer.await.unwrap_or_else(|error| Err(into_io(error)))
}

/// Converts the reason why there is no answer.
fn into_io(error: ExecutorError) -> io::Error {
    match error {
        ExecutorError::Io(error) => error,
        ExecutorError::Panicked(panicked) => {
            report_panic("Exception in a resolver", panicked);
            io::Error::other("the resolver panicked")
        }
        other => io::Error::other(other),
    }
}
