//! The executor that a loop has without being asked, and the calls that use it.
//!
//! It is made for the first job. A loop that closes lets go of it without waiting: idle threads end, what runs ends by
//! itself, and its results are dropped. Who wants to know that everything is done asks for a shutdown before.
//!
//! Context variables belong to the loop's thread, by type. `to_thread` takes those along that are made for it, by
//! [`ContextVar::crossing`](crate::ContextVar::crossing), and a job sees the default of each other; `run_in_executor` takes
//! none, as in asyncio. What else a job needs is captured by its closure.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::context_var::{propagated, run_with};
use crate::event_loop::free::get_running_loop;
use crate::executor::error::{ExecutorError, StuckJobs};
use crate::executor::job::{Executor, ExecutorFuture, job};
use crate::executor::pool::ThreadPoolExecutor;
use crate::executor::workers::Pool;
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::wait::waiters::WaiterId;
use crate::time::sleep;

/// How long the thread of a timer may take to end after its time has come.
const TIMER_ENDS_WITHIN: Duration = Duration::from_secs(1);

static DEFAULT: LoopLocal<Default> = LoopLocal::new(|| Default {
    pool: RefCell::new(None),
    shut: Cell::new(false),
});

struct Default {
    /// `None` until it is needed, or set. It stays here while a shutdown waits, and after it: one that is dropped half-way
    /// leaves jobs behind, for which the next one waits.
    pool: RefCell<Option<ThreadPoolExecutor>>,
    /// It has been shut down, for ever.
    shut: Cell<bool>,
}

impl Default {
    /// The pool, made where there is none; `None` once it has been shut down.
    fn pool(&self) -> Option<ThreadPoolExecutor> {
        if self.shut.get() {
            return None;
        }
        let mut pool = self.pool.borrow_mut();
        Some(pool.get_or_insert_with(ThreadPoolExecutor::new).clone())
    }
}

impl LoopHandle {
    /// Runs `f` on a thread of `executor`, `None` being the loop's own, and gives its future. The job is on its way when
    /// this returns.
    ///
    /// A panic of `f` is its awaiter's error. While the job is under way a virtual clock stands still.
    ///
    /// # Errors
    /// The future's, all of them: see [`ExecutorError`]. On a closed loop that is [`ExecutorError::ShutDown`].
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
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
        let executed = if self.is_closed() {
            Err(ExecutorError::ShutDown)
        } else {
            match executor {
                Some(executor) => executor.execute(job),
                None => match DEFAULT.with(self, Default::pool) {
                    Some(pool) => pool.execute(job),
                    None => Err(ExecutorError::ShutDown),
                },
            }
        };
        if let Err(error) = executed {
            future.fail(error);
        }
        future
    }

    /// Has another pool run what is given to no particular one. The former one ends when its jobs are done. After
    /// [`shutdown_default_executor`](Self::shutdown_default_executor) it is too late: the given pool is dropped.
    ///
    /// ```
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// event_loop.set_default_executor(callsoon::ThreadPoolExecutor::builder().max_workers(2).build());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_default_executor(&self, pool: ThreadPoolExecutor) {
        let unneeded = if self.is_closed() {
            Some(pool)
        } else {
            DEFAULT.with(self, |default| match default.shut.get() {
                true => Some(pool),
                false => default.pool.borrow_mut().replace(pool),
            })
        };
        drop(unneeded);
    }

    /// Shuts the loop's own executor down and waits, without blocking the loop, until its jobs are done and its threads
    /// have ended, but no longer than `deadline`. From the first poll on [`run_in_executor`](Self::run_in_executor)
    /// without an executor is refused.
    ///
    /// The deadline is one of real time, also on a virtual clock, which stands still meanwhile.
    ///
    /// # Errors
    /// [`StuckJobs`] says how many jobs were not done at the deadline. Those that had not begun are dropped then; those that
    /// run are the caller's to know of, and no other call waits for them.
    ///
    /// # Cancellation
    /// Dropped, it waits no longer; the executor stays shut down. Another call waits for the same jobs.
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
                default.shut.set(true);
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
                pool.pool().settle();
                return Ok(());
            }
            pool.shutdown_now();
            // The caller knows of them now: nobody else waits for them.
            let given_up = DEFAULT.with(&handle, |default| default.pool.borrow_mut().take());
            drop(given_up);
            Err(StuckJobs { jobs })
        }
    }
}

/// Waits for the last thread of a pool to end, or for the limit.
async fn ended(pool: &Pool, limit: impl Future) {
    let mut place = Place { pool, place: None };
    let mut limit = pin!(limit);
    poll_fn(|context| {
        if pool.poll_ended(&mut place.place, context.waker()) {
            return Poll::Ready(());
        }
        limit.as_mut().poll(context).map(drop)
    })
    .await;
}

/// A deadline that the loop's clock cannot tell, since it stands still: a thread waits for it.
async fn ended_on_a_virtual_clock(pool: &ThreadPoolExecutor, deadline: Duration) {
    let timer = ThreadPoolExecutor::builder().max_workers(1).build();
    let waited = pool.clone();
    let (job, joined) = job(move || waited.join(deadline), None);
    if timer.execute(job).is_ok() {
        ended(pool.pool(), joined).await;
        // Its only job has ended, or is about to: it waits for the same.
        timer.shutdown();
        let _ = timer.join(TIMER_ENDS_WITHIN);
    }
}

/// A place in the line of a pool, given up at the end.
struct Place<'a> {
    pool: &'a Pool,
    place: Option<WaiterId>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.pool.leave(place);
        }
    }
}

/// Runs `f` on a thread of `executor`. See [`LoopHandle::run_in_executor`].
///
/// # Errors
/// The future's: see [`ExecutorError`].
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

/// Runs `f` on another thread, from the first poll on, and gives what it returns: for what would block the loop.
///
/// Of the context, `f` sees a copy of the variables that [cross](crate::ContextVar::crossing); what else it needs it
/// captures.
///
/// # Errors
/// See [`ExecutorError`].
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropped before `f` has begun, it takes `f` back. Afterwards `f` runs to its end, and its result is dropped.
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
    if propagated.is_empty() {
        return run_in_executor(None, f).await;
    }
    run_in_executor(None, move || run_with(propagated, f)).await
}
