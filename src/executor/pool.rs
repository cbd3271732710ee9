//! A pool of threads in the hands of its users: how it is set up, what they ask of it, and its end when the last of them
//! lets go. What its threads do is in `threads`; nothing here takes a lock.

use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::executor::error::{ExecutorError, StuckJobs};
use crate::executor::job::{Executor, Job};
use crate::executor::workers::{Pool, Settings};
use crate::kernel::task::waker::watch_forks;

/// How long an idle thread stays, unless the builder says otherwise: long enough that a burst a second starts threads
/// once, short enough that a burst at the start of a program does not cost their stacks for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The most threads where nobody has said how many: Python's figure. Jobs mostly wait, so there may be more than cores,
/// but not so many that a large machine drowns in them.
fn default_workers() -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    cores.saturating_add(4).min(32)
}

/// A pool of threads for jobs that block: asyncio's `ThreadPoolExecutor`.
///
/// Threads start on demand, are used again, and end when they have been idle for a while. Clones are the same pool. When
/// the last one is dropped the pool is shut down: jobs that wait are still run, and nobody waits for them.
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

/// What all clones hold, and no thread does.
struct Owner {
    pool: Arc<Pool>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.pool.shut(false);
    }
}

impl ThreadPoolExecutor {
    /// A pool with Python's number of threads: four more than there are cores, and at most 32.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::new();
    /// assert!(pool.max_workers() > 4 && pool.workers() == 0);
    /// ```
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A pool with settings of its own.
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

    /// The most threads that there may be.
    ///
    /// ```
    /// assert!(callsoon::ThreadPoolExecutor::new().max_workers() <= 32);
    /// ```
    pub fn max_workers(&self) -> usize {
        self.owner.pool.max_workers()
    }

    /// How many threads there are.
    ///
    /// ```
    /// assert_eq!(callsoon::ThreadPoolExecutor::new().workers(), 0);
    /// ```
    pub fn workers(&self) -> usize {
        self.owner.pool.workers()
    }

    /// How many jobs run, or wait to be run.
    ///
    /// ```
    /// assert_eq!(callsoon::ThreadPoolExecutor::new().jobs(), 0);
    /// ```
    pub fn jobs(&self) -> usize {
        self.owner.pool.jobs()
    }

    /// Takes no more jobs. Those that wait are still run; threads end when there are none. Returns at once.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::new();
    /// pool.shutdown();
    /// let refused = callsoon::run(async move { callsoon::run_in_executor(Some(&pool), || ()).await });
    /// assert!(matches!(refused.unwrap(), Err(callsoon::ExecutorError::ShutDown)));
    /// ```
    pub fn shutdown(&self) {
        self.owner.pool.shut(false);
    }

    /// Takes no more jobs and drops those that wait, which end as [`ExecutorError::Cancelled`]. Returns at once.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::new();
    /// pool.shutdown_now();
    /// ```
    pub fn shutdown_now(&self) {
        self.owner.pool.shut(true);
    }

    /// Blocks until every job is done, and after a shutdown until every thread has ended, but no longer than `limit`.
    ///
    /// # Errors
    /// [`StuckJobs`] where jobs are left at the limit.
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

    /// The pool itself, for its loop.
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

/// How a [`ThreadPoolExecutor`] is set up.
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
    /// The most threads that there may be; at least one.
    ///
    /// ```
    /// assert_eq!(callsoon::ThreadPoolExecutor::builder().max_workers(0).build().max_workers(), 1);
    /// ```
    pub fn max_workers(mut self, threads: usize) -> Self {
        self.settings.max_workers = threads.max(1);
        self
    }

    /// How long a thread may be idle before it ends; 10 seconds unless said otherwise.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::builder().keep_alive(std::time::Duration::ZERO).build();
    /// # assert_eq!(pool.workers(), 0);
    /// ```
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.settings.keep_alive = time;
        self
    }

    /// What the names of threads begin with; a number follows. "callsoon" unless said otherwise.
    ///
    /// # Panics
    /// Where it holds a zero byte, which no name of a thread may.
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

    /// The stack of each thread, in bytes; std's choice unless said otherwise.
    ///
    /// ```
    /// let pool = callsoon::ThreadPoolExecutor::builder().stack_size(64 * 1024).build();
    /// # assert_eq!(pool.workers(), 0);
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.settings.stack_size = Some(bytes);
        self
    }

    /// What each thread does first. Its panic breaks the pool: every job then ends as [`ExecutorError::Broken`].
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

    /// Makes the pool, and no thread yet.
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
