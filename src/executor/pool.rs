//! `ThreadPoolExecutor` and its builder: settings, public methods, and the shutdown when the last clone is dropped.
//!
//! The queue and the workers are in `workers`. No lock is taken here.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::executor::error::{ExecutorError, StuckJobs};
use crate::executor::execute::Executor;
use crate::executor::job::Job;
use crate::executor::workers::{Pool, Settings};
use crate::kernel::task::waker::watch_forks;

/// How long a worker stays idle before it ends, by default. It is long enough that a burst of jobs each second does not
/// spawn threads each time, and short enough that a burst at a program's start does not keep their stacks for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Returns the default number of workers, which is Python's. Jobs mostly wait, so it is more than the number of cores, with
/// an upper limit for large machines.
fn default_workers() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.saturating_add(4).min(32)
}

/// A pool of threads for jobs that block: asyncio's `ThreadPoolExecutor`.
///
/// Threads are spawned on demand, are reused, and end when they have been idle for a while. Clones are the same pool.
/// Dropping the last clone shuts the pool down: queued jobs still run, and the drop does not wait for them.
///
/// # Differences from asyncio
/// Python's threads stay until the pool is shut down, and the end of the interpreter joins them. Here idle threads end, and
/// only [`join`](Self::join) and the end of [`run`](crate::run) wait for jobs. A cancelled job leaves the queue.
///
/// ```
/// callsoon::run(async {
///     let pool = callsoon::ThreadPoolExecutor::builder().max_workers(2).build();
///     let answer = callsoon::run_in_executor(Some(&pool), || 6 * 7).await;
///     assert_eq!(answer.unwrap(), 42);
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct ThreadPoolExecutor {
    owner: Arc<Owner>,
}

/// What clones of a pool share and its threads do not hold, so that its drop is the drop of the last clone.
struct Owner {
    pool: Arc<Pool>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.pool.shut_down(false);
    }
}

impl ThreadPoolExecutor {
    /// Creates a pool with Python's number of threads: four more than there are cores, and at most 32.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::new();
    /// assert!(pool.max_workers() > 4 && pool.workers() == 0);
    /// ```
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder for a pool with other settings.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::builder().max_workers(3).build();
    /// assert_eq!(pool.max_workers(), 3);
    /// ```
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder {
            settings: Settings {
                max_workers: default_workers(),
                keep_alive: KEEP_ALIVE,
                thread_name_prefix: "callsoon".to_owned(),
                stack_size: None,
                initializer: None,
            },
        }
    }

    /// Returns the most threads that there may be.
    ///
    /// ```
    /// assert!(callsoon::ThreadPoolExecutor::new().max_workers() <= 32);
    /// ```
    pub fn max_workers(&self) -> usize {
        self.owner.pool.max_workers()
    }

    /// Returns how many threads there are.
    ///
    /// ```
    /// assert_eq!(callsoon::ThreadPoolExecutor::new().workers(), 0);
    /// ```
    pub fn workers(&self) -> usize {
        self.owner.pool.workers()
    }

    /// Returns how many jobs are running or waiting to run.
    ///
    /// ```
    /// assert_eq!(callsoon::ThreadPoolExecutor::new().jobs(), 0);
    /// ```
    pub fn jobs(&self) -> usize {
        self.owner.pool.jobs()
    }

    /// Shuts the pool down without waiting. New jobs are refused, queued jobs still run, and then the threads end.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::new();
    /// pool.shutdown();
    /// let refused = callsoon::run(async move { callsoon::run_in_executor(Some(&pool), || ()).await });
    /// assert!(matches!(refused.unwrap(), Err(callsoon::ExecutorError::ShutDown)));
    /// ```
    pub fn shutdown(&self) {
        self.owner.pool.shut_down(false);
    }

    /// Shuts the pool down without waiting, and drops queued jobs, which end as [`ExecutorError::Cancelled`].
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::new();
    /// pool.shutdown_now();
    /// ```
    pub fn shutdown_now(&self) {
        self.owner.pool.shut_down(true);
    }

    /// Blocks until every job is done, and after a shutdown until every thread has ended, but no longer than `limit`.
    ///
    /// # Errors
    /// [`StuckJobs`] if jobs were still running or queued when `limit` had passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// let pool = callsoon::ThreadPoolExecutor::new();
    /// pool.shutdown();
    /// pool.join(Duration::from_secs(1)).unwrap();
    /// ```
    pub fn join(&self, limit: Duration) -> Result<(), StuckJobs> {
        self.owner.pool.join(limit)
    }

    /// Returns the state that clones and workers share.
    pub(crate) fn pool(&self) -> &Pool {
        &self.owner.pool
    }
}

impl Default for ThreadPoolExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor for ThreadPoolExecutor {
    fn execute(&self, job: Job) -> Result<(), ExecutorError> {
        self.owner.pool.execute(job)
    }
}

impl fmt::Debug for ThreadPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.pool.fmt(f)
    }
}

/// The settings of a [`ThreadPoolExecutor`] that is to be created.
///
/// ```
/// use std::time::Duration;
/// let pool = callsoon::ThreadPoolExecutor::builder()
///     .max_workers(8)
///     .keep_alive(Duration::from_secs(1))
///     .thread_name_prefix("images")
///     .build();
/// # assert_eq!(pool.max_workers(), 8);
/// ```
#[derive(Clone)]
#[must_use = "a builder makes nothing until `build()`"]
pub struct ThreadPoolBuilder {
    settings: Settings,
}

impl ThreadPoolBuilder {
    /// Sets the most threads that there may be. The least is one.
    ///
    /// ```
    /// assert_eq!(callsoon::ThreadPoolExecutor::builder().max_workers(0).build().max_workers(), 1);
    /// ```
    pub fn max_workers(mut self, threads: usize) -> Self {
        self.settings.max_workers = threads.max(1);
        self
    }

    /// Sets how long a thread may be idle before it ends. The default is 10 seconds.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::builder().keep_alive(std::time::Duration::ZERO).build();
    /// # assert_eq!(pool.workers(), 0);
    /// ```
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.settings.keep_alive = time;
        self
    }

    /// Sets the first part of the threads' names, before `_` and a number. The default is `callsoon`.
    ///
    /// # Panics
    /// If the prefix contains a zero byte, which the name of a thread cannot.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let pool = callsoon::ThreadPoolExecutor::builder().thread_name_prefix("disk").build();
    ///     let name = callsoon::run_in_executor(Some(&pool), || std::thread::current().name().map(str::to_owned));
    ///     assert_eq!(name.await.unwrap().as_deref(), Some("disk_0"));
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn thread_name_prefix(mut self, prefix: impl Into<String>) -> Self {
        let prefix: String = prefix.into();
        assert!(!prefix.contains('\0'), "a thread's name holds no zero byte");
        self.settings.thread_name_prefix = prefix;
        self
    }

    /// Sets the size of each thread's stack, in bytes. The default is the one of `std::thread`.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::builder().stack_size(64 * 1024).build();
    /// # assert_eq!(pool.workers(), 0);
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.settings.stack_size = Some(bytes);
        self
    }

    /// Sets a function that each thread calls first.
    ///
    /// If it panics, the panic is reported and the pool is broken: every job ends as [`ExecutorError::Broken`].
    ///
    /// ```
    /// use std::cell::Cell;
    /// thread_local!(static READY: Cell<bool> = const { Cell::new(false) });
    ///
    /// callsoon::run(async {
    ///     let pool = callsoon::ThreadPoolExecutor::builder().initializer(|| READY.set(true)).build();
    ///     assert!(callsoon::run_in_executor(Some(&pool), || READY.get()).await.unwrap());
    /// }).unwrap();
    /// ```
    pub fn initializer(mut self, initializer: impl Fn() + Send + Sync + 'static) -> Self {
        self.settings.initializer = Some(Arc::new(initializer));
        self
    }

    /// Creates the pool, without threads.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::builder().build();
    /// assert_eq!(pool.workers(), 0);
    /// ```
    pub fn build(self) -> ThreadPoolExecutor {
        watch_forks();
        ThreadPoolExecutor {
            owner: Arc::new(Owner {
                pool: Arc::new(Pool::new(self.settings)),
            }),
        }
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("max_workers", &self.settings.max_workers)
            .field("keep_alive", &self.settings.keep_alive)
            .finish_non_exhaustive()
    }
}
