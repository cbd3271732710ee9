//! The default executor of a loop: `run_in_executor`, `to_thread`, and its shutdown.
//!
//! The pool is created for the first job. A loop that closes drops it without waiting: idle threads end, running jobs end
//! by themselves, and their results are dropped. A program that has to wait calls `shutdown_default_executor` before.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::context_var::{propagated, run_with};
use crate::event_loop::free::get_running_loop;
use crate::executor::error::{ExecutorError, StuckJobs};
use crate::executor::execute::Executor;
use crate::executor::job::{ExecutorFuture, job};
use crate::executor::pool::ThreadPoolExecutor;
use crate::executor::workers::Pool;
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::wait::waiters::WaiterId;
use crate::time::sleep;

/// How long the thread of a deadline may take to end after the deadline.
const TIMER_ENDS_WITHIN: Duration = Duration::from_secs(1);

static DEFAULT: LoopLocal<DefaultExecutor> = LoopLocal::new(|| DefaultExecutor {
    pool: RefCell::new(None),
    shut_down: Cell::new(false),
});

/// The default executor of one loop.
struct DefaultExecutor {
    /// `None` until it is needed or set. It stays here during a shutdown and after it: if a shutdown is dropped before its
    /// end, the next one waits for the same jobs.
    pool: RefCell<Option<ThreadPoolExecutor>>,
    /// The executor has been shut down, for ever.
    shut_down: Cell<bool>,
}

impl DefaultExecutor {
    /// Returns the pool, which is created if there is none. Returns `None` after a shutdown.
    fn pool(&self) -> Option<ThreadPoolExecutor> {
        if self.shut_down.get() {
            return None;
        }
        let mut pool = self.pool.borrow_mut();
        Some(pool.get_or_insert_with(ThreadPoolExecutor::new).clone())
    }
}

impl LoopHandle {
    /// Runs `f` on a thread of `executor`, or of the loop's default executor if that is `None`.
    ///
    /// The job has been submitted when this returns, whether or not the future is polled. A panic of `f` is the error
    /// of the future. A virtual clock does not advance until the job has ended. `f` sees no context variables, as in
    /// asyncio; [`to_thread`] propagates some.
    ///
    /// # Errors
    /// Awaiting the future gives [`ExecutorError::Panicked`] if `f` panicked, [`ExecutorError::ShutDown`] if the loop is
    /// closed or the executor was shut down, and [`ExecutorError::Io`] if no thread could be started.
    /// [`ExecutorError`] has the other reasons.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let job = event_loop.run_in_executor(None, || std::fs::read_to_string("/proc/version"));
    /// let version = event_loop.run_until_complete(job)?;
    /// # drop(version);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_in_executor<T: Send + 'static>(
        &self,
        executor: Option<&dyn Executor>,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> ExecutorFuture<T> {
        let (job, future) = job(f, self.state.inhibit());
        let executed = match executor {
            _ if self.is_closed() => Err(ExecutorError::ShutDown),
            Some(executor) => executor.execute(job),
            None => match DEFAULT.with(self, DefaultExecutor::pool) {
                Some(pool) => pool.execute(job),
                None => Err(ExecutorError::ShutDown),
            },
        };
        if let Err(error) = executed {
            future.fail(error);
        }
        future
    }

    /// Sets the pool that runs jobs of no particular executor.
    ///
    /// The previous pool ends when its jobs are done, and the end of the program does not wait for it. After
    /// [`shutdown_default_executor`](Self::shutdown_default_executor) the given pool is dropped.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_default_executor(callsoon::ThreadPoolExecutor::builder().max_workers(2).build());
    /// ```
    pub fn set_default_executor(&self, pool: ThreadPoolExecutor) {
        let unneeded = if self.is_closed() {
            Some(pool)
        } else {
            DEFAULT.with(self, |default| match default.shut_down.get() {
                true => Some(pool),
                false => default.pool.borrow_mut().replace(pool),
            })
        };
        drop(unneeded);
    }

    /// Shuts the default executor down and waits until its jobs are done and its threads have ended, at most for
    /// `deadline`.
    ///
    /// The loop is not blocked. From the first poll on, [`run_in_executor`](Self::run_in_executor) without an executor is
    /// refused. The deadline is in real time, also on a virtual clock, which does not advance meanwhile.
    ///
    /// # Errors
    /// [`StuckJobs`] says how many jobs were not done at the deadline. Queued jobs are dropped then. Running jobs run
    /// on, and no later call waits for them.
    ///
    /// # Cancellation
    /// Dropping it ends the wait. The executor stays shut down, and another call waits for the same jobs.
    ///
    /// # Differences from asyncio
    /// asyncio's `shutdown_default_executor` warns when its timeout has passed, and returns no error.
    ///
    /// ```
    /// use std::time::Duration;
    /// callsoon::run(async {
    ///     callsoon::to_thread(|| ()).await.unwrap();
    ///     let event_loop = callsoon::get_running_loop();
    ///     event_loop.shutdown_default_executor(Duration::from_secs(5)).await.unwrap();
    ///     assert!(callsoon::to_thread(|| ()).await.is_err());
    /// }).unwrap();
    /// ```
    pub fn shutdown_default_executor(
        &self,
        deadline: Duration,
    ) -> impl Future<Output = Result<(), StuckJobs>> + use<> {
        let handle = self.clone();
        async move {
            let pool = DEFAULT.with(&handle, |default| {
                default.shut_down.set(true);
                default.pool.borrow().clone()
            });
            let Some(pool) = pool else { return Ok(()) };
            pool.shutdown();
            let held = handle.state.inhibit();
            if held.is_some() {
                ended_on_a_virtual_clock(&pool, deadline).await;
            } else {
                ended(pool.pool(), sleep(deadline)).await;
            }
            let jobs = pool.jobs();
            if jobs == 0 {
                pool.pool().wait_for_exits();
                return Ok(());
            }
            pool.shutdown_now();
            // The caller has been told of the stuck jobs, so no later call waits for them.
            let given_up = DEFAULT.with(&handle, |default| default.pool.borrow_mut().take());
            drop(given_up);
            Err(StuckJobs { jobs })
        }
    }
}

/// Waits until the last thread of a pool has ended, or until `limit` is ready.
async fn ended(pool: &Pool, limit: impl Future) {
    let mut registered = EndWaiter { pool, waiter: None };
    let mut limit = pin!(limit);
    poll_fn(|context| {
        if pool.poll_ended(&mut registered.waiter, context.waker()) {
            return Poll::Ready(());
        }
        limit.as_mut().poll(context).map(drop)
    })
    .await;
}

/// Waits like [`ended`] with a deadline in real time. A thread waits for it, since the loop's virtual clock stands still.
async fn ended_on_a_virtual_clock(pool: &ThreadPoolExecutor, deadline: Duration) {
    let timer = ThreadPoolExecutor::builder().max_workers(1).build();
    let waited = pool.clone();
    let (job, joined) = job(move || waited.join(deadline), None);
    if timer.execute(job).is_ok() {
        ended(pool.pool(), joined).await;
        // The only job of `timer` ends for the same reason as this wait, so this takes no time.
        timer.shutdown();
        let _ = timer.join(TIMER_ENDS_WITHIN);
    }
}

/// A registration with a pool, which is removed at the end of the wait.
struct EndWaiter<'a> {
    pool: &'a Pool,
    waiter: Option<WaiterId>,
}

impl Drop for EndWaiter<'_> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.pool.stop_waiting(waiter);
        }
    }
}

/// Runs `f` on a thread of `executor`, for the running loop. See [`LoopHandle::run_in_executor`].
///
/// # Errors
/// Those of [`LoopHandle::run_in_executor`].
///
/// # Panics
/// Outside a running loop.
///
/// ```
/// callsoon::run(async {
///     let job = callsoon::run_in_executor(None, || 6 * 7);
///     assert_eq!(job.await.unwrap(), 42);
/// }).unwrap();
/// ```
#[track_caller]
pub fn run_in_executor<T: Send + 'static>(
    executor: Option<&dyn Executor>,
    f: impl FnOnce() -> T + Send + 'static,
) -> ExecutorFuture<T> {
    get_running_loop().run_in_executor(executor, f)
}

/// Runs `f` on a thread of the default executor and returns its value. Use it for code that would block the loop.
///
/// The job is submitted at the first poll. `f` sees copies of the context variables that were created by
/// [`ContextVar::crossing`](crate::ContextVar::crossing), and the default of every other variable.
///
/// # Errors
/// Those of [`LoopHandle::run_in_executor`].
///
/// # Differences from asyncio
/// asyncio copies the whole context. Here the value of a variable need not be `Send`, so only variables that are declared
/// for it are propagated.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropping it before `f` has begun drops `f`. Later `f` runs to its end, and its result is dropped.
///
/// ```
/// callsoon::run(async {
///     let bytes = callsoon::to_thread(|| std::fs::read("/dev/null")).await.unwrap();
///     assert!(bytes.unwrap().is_empty());
/// }).unwrap();
/// ```
pub async fn to_thread<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ExecutorError> {
    let propagated = propagated();
    run_in_executor(None, move || run_with(propagated, f)).await
}
