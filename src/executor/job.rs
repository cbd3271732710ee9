//! A job: a closure that another thread runs, and the future of its result.
//!
//! ```text
//!            ┌── unwanted: future dropped, or cancelled ──► Gone
//!            │                                               ▲
//!   Queued ──┼── 1 run ──► Running ── 2 ──► Done ── 3 poll ──┘
//!            └── 4 dropped without a run, or refused ──► Done
//!
//!   2  the closure has returned or panicked; without a future its result is dropped, and the stage is Gone
//! ```
//! Both sides share one allocation and one lock. No user code runs with the lock held: the closure with its captures, the
//! result and the wakers are moved out first, into [`Deferred`].
//!
//! The result comes back to the loop by the awaiter's waker. The waker of a task is one word that goes through the inbox,
//! so the way back allocates nothing.
//!
//! A forked child has no copies of the executor's threads, and the lock may be held for ever. There a job is not run, and
//! its future ends at once.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};
use std::task::{Context, Poll, Waker};

use crate::error::Panicked;
use crate::executor::error::ExecutorError;
use crate::kernel::enter::{catch_panic, report_panic};
use crate::kernel::inbox::held;
use crate::kernel::inhibit::Inhibitor;
use crate::kernel::note_wait::{address, note_wait};
use crate::kernel::proceed::poll_within_budget;
use crate::kernel::report::drop_quietly;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::sys::fork;

/// A closure that is to run on another thread. See [`Executor::execute`](crate::Executor::execute).
///
/// ```
/// fn run_later(queue: &mut Vec<callsoon::Job>, job: callsoon::Job) {
///     queue.push(job);
/// }
/// ```
#[must_use = "a job that is dropped has not been run"]
pub struct Job {
    work: Arc<dyn Work>,
}

/// The executor's side of a job.
trait Work: Send + Sync {
    /// Runs the closure and stores its result, unless the job has begun or was cancelled.
    fn run(&self);
    /// Ends the job with an error, unless it has begun.
    fn refuse(&self, error: ExecutorError);
    /// Returns whether a future still waits for the result.
    fn is_wanted(&self) -> bool;
    /// Registers the queue that the job waits in.
    fn queued_in(&self, queue: Weak<dyn JobQueue>);
}

/// The future's side of a job.
trait Outcome<T>: Send + Sync {
    /// Takes the result, or registers the waker.
    fn poll(&self, waker: &Waker) -> Poll<Result<T, ExecutorError>>;
    /// Returns whether the job has ended or was cancelled.
    fn is_done(&self) -> bool;
    /// Cancels the job. Returns `false` if it has begun.
    fn cancel(&self) -> bool;
    /// Marks the job and its result as unwanted, since the future is dropped.
    fn drop_future(&self);
    /// Ends a job that its executor has refused.
    fn fail(&self, error: ExecutorError);
}

/// A queue of jobs, as a job sees it.
pub(crate) trait JobQueue: Send + Sync {
    /// Says that one of the jobs in the queue became unwanted.
    fn job_unwanted(&self);
}

/// The report of a panic in the destructor of a closure or of its result.
const IN_DROP: &str = "Exception in the destructor of a job or its result";

/// The stages of a job, as drawn above.
enum Stage<T, F> {
    /// No thread has begun the job.
    Queued(F),
    /// A thread runs the closure.
    Running,
    /// The result waits for its future.
    Done(Result<T, ExecutorError>),
    /// The result was taken, or no future wants it.
    Gone,
}

/// What both sides of a job share.
struct Shared<T, F> {
    /// The stage and everything that changes with it.
    inner: Mutex<Inner<T, F>>,
    /// The closure was dropped before it ran. Set under the lock, and read without it.
    unwanted: AtomicBool,
    /// The fork generation of the process that created the job.
    forks: u32,
}

/// What the lock guards.
struct Inner<T, F> {
    stage: Stage<T, F>,
    /// The future has not been dropped.
    has_future: bool,
    /// Set by a `cancel` that came after the end: the panic, if it was one, is then not reported.
    failure_ignored: bool,
    /// The waker of the last poll.
    awaiter: Option<Waker>,
    /// Keeps the loop's virtual clock from advancing until the job has ended or its future was dropped.
    inhibitor: Option<Inhibitor>,
    /// The queue that the job waits in.
    queue: Option<Weak<dyn JobQueue>>,
}

/// What is left to do when the lock has been released. All of it may run user code.
struct Deferred<T, F> {
    stage: Stage<T, F>,
    awaiter: Option<Waker>,
    /// Dropped last: the wake-up must be in the loop's inbox before the virtual clock may advance.
    _inhibitor: Option<Inhibitor>,
}

impl<T, F> Deferred<T, F> {
    /// Drops what is left of the previous stage, then wakes the awaiter. Panics are reported.
    fn run(self) {
        catch_panic(IN_DROP, || drop(self.stage));
        if let Some(awaiter) = self.awaiter {
            catch_panic("Exception in a waker", || awaiter.wake());
        }
    }
}

impl<T, F> Shared<T, F> {
    fn lock(&self) -> MutexGuard<'_, Inner<T, F>> {
        held(self.inner.lock())
    }

    /// Locks the job; `None` in a forked child of the job's process.
    fn own(&self) -> Option<MutexGuard<'_, Inner<T, F>>> {
        (self.forks == fork::generation()).then(|| self.lock())
    }

    /// Takes the result in a forked child, if it was there before the fork.
    fn take_inherited(&self) -> Result<T, ExecutorError> {
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(ExecutorError::ShutDown),
        };
        match std::mem::replace(&mut inner.stage, Stage::Gone) {
            Stage::Done(result) => result,
            Stage::Gone => Err(ExecutorError::Taken),
            unfinished => {
                inner.stage = unfinished;
                Err(ExecutorError::ShutDown)
            }
        }
    }
}

impl<T, F> Inner<T, F> {
    /// Changes the stage, and moves out what may run user code.
    fn set_stage(&mut self, stage: Stage<T, F>) -> Deferred<T, F> {
        Deferred {
            stage: std::mem::replace(&mut self.stage, stage),
            awaiter: self.awaiter.take(),
            _inhibitor: self.inhibitor.take(),
        }
    }
}

impl<T, F> Work for Shared<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    fn run(&self) {
        let job = {
            let Some(mut inner) = self.own() else { return };
            match std::mem::replace(&mut inner.stage, Stage::Running) {
                Stage::Queued(job) => job,
                other => {
                    inner.stage = other;
                    return;
                }
            }
        };
        let result = catch_unwind(AssertUnwindSafe(job));
        let result = result.map_err(|payload| ExecutorError::Panicked(Panicked::new(payload)));
        let mut unneeded = None;
        let deferred = {
            let mut inner = self.lock();
            let stage = if inner.has_future {
                Stage::Done(result)
            } else {
                unneeded = Some(result);
                Stage::Gone
            };
            inner.set_stage(stage)
        };
        deferred.run();
        catch_panic(IN_DROP, || drop(unneeded));
    }

    fn refuse(&self, error: ExecutorError) {
        let deferred = {
            let Some(mut inner) = self.own() else { return };
            if !matches!(inner.stage, Stage::Queued(_)) {
                return;
            }
            inner.set_stage(Stage::Done(Err(error)))
        };
        deferred.run();
    }

    fn is_wanted(&self) -> bool {
        !self.unwanted.load(Ordering::Relaxed)
    }

    fn queued_in(&self, queue: Weak<dyn JobQueue>) {
        self.lock().queue = Some(queue);
    }
}

impl<T, F> Outcome<T> for Shared<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    fn poll(&self, waker: &Waker) -> Poll<Result<T, ExecutorError>> {
        // Cloned without the lock: another runtime's waker is user code.
        let mut awaiter = Some(waker.clone());
        let polled = {
            let Some(mut inner) = self.own() else {
                return Poll::Ready(self.take_inherited());
            };
            match std::mem::replace(&mut inner.stage, Stage::Gone) {
                Stage::Done(result) => Poll::Ready(result),
                Stage::Gone => Poll::Ready(Err(ExecutorError::Taken)),
                unfinished => {
                    inner.stage = unfinished;
                    std::mem::swap(&mut inner.awaiter, &mut awaiter);
                    Poll::Pending
                }
            }
        };
        drop(awaiter);
        if polled.is_pending() {
            note_wait(WaitKind::Executor, || address(self));
        }
        polled
    }

    fn is_done(&self) -> bool {
        let is_over = |stage: &_| matches!(stage, Stage::Done(_) | Stage::Gone);
        self.own().is_none_or(|inner| is_over(&inner.stage))
    }

    fn cancel(&self) -> bool {
        let (deferred, queue) = {
            let Some(mut inner) = self.own() else {
                return false;
            };
            if !matches!(inner.stage, Stage::Queued(_)) {
                inner.failure_ignored = matches!(inner.stage, Stage::Done(_));
                return false;
            }
            self.unwanted.store(true, Ordering::Relaxed);
            let cancelled = Stage::Done(Err(ExecutorError::Cancelled));
            (inner.set_stage(cancelled), inner.queue.take())
        };
        deferred.run();
        notify_queue(queue);
        true
    }

    fn drop_future(&self) {
        let (deferred, queue, failure_ignored) = {
            let Some(mut inner) = self.own() else { return };
            inner.has_future = false;
            let failure_ignored = inner.failure_ignored;
            if matches!(inner.stage, Stage::Running) {
                (inner.set_stage(Stage::Running), None, failure_ignored)
            } else {
                let queued = matches!(inner.stage, Stage::Queued(_));
                self.unwanted.store(queued, Ordering::Relaxed);
                let queue = inner.queue.take().filter(|_| queued);
                (inner.set_stage(Stage::Gone), queue, failure_ignored)
            }
        };
        // The future was dropped, so its awaiter must not be woken.
        let (awaiter, stage) = (deferred.awaiter, deferred.stage);
        drop_quietly(awaiter);
        match stage {
            Stage::Done(Err(ExecutorError::Panicked(panicked))) if !failure_ignored => {
                report_panic("Exception of a job was never retrieved", panicked);
            }
            other => catch_panic(IN_DROP, || drop(other)),
        }
        notify_queue(queue);
    }

    fn fail(&self, error: ExecutorError) {
        let deferred = self.lock().set_stage(Stage::Done(Err(error)));
        deferred.run();
    }
}

/// Tells the queue of a job that the job became unwanted.
fn notify_queue(queue: Option<Weak<dyn JobQueue>>) {
    if let Some(queue) = queue.and_then(|queue| queue.upgrade()) {
        queue.job_unwanted();
    }
}

/// Creates a job of a closure, and the future of its result.
pub(crate) fn job<T, F>(f: F, inhibitor: Option<Inhibitor>) -> (Job, ExecutorFuture<T>)
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let shared = Arc::new(Shared {
        inner: Mutex::new(Inner {
            stage: Stage::Queued(f),
            has_future: true,
            failure_ignored: false,
            awaiter: None,
            inhibitor,
            queue: None,
        }),
        unwanted: AtomicBool::new(false),
        forks: fork::generation(),
    });
    let work = Arc::clone(&shared);
    (Job { work }, ExecutorFuture { outcome: shared })
}

impl Job {
    /// Runs the job on this thread. A panic is caught, and is the error of the job's future.
    ///
    /// ```
    /// # use callsoon::{Executor, ExecutorError, Job};
    /// /// Runs each job at once, and so blocks the loop.
    /// struct Here;
    /// impl Executor for Here {
    ///     fn execute(&self, job: Job) -> Result<(), ExecutorError> {
    ///         job.run();
    ///         Ok(())
    ///     }
    /// }
    /// let sum = callsoon::run(async { callsoon::run_in_executor(Some(&Here), || 1 + 2).await });
    /// assert_eq!(sum.unwrap().unwrap(), 3);
    /// ```
    pub fn run(self) {
        self.work.run();
    }

    /// Returns whether the job's future still exists and was not cancelled. An unwanted job does nothing when it is
    /// run, and may be dropped.
    ///
    /// ```
    /// fn tidy(queue: &mut Vec<callsoon::Job>) {
    ///     queue.retain(|job| job.is_wanted());
    /// }
    /// # tidy(&mut Vec::new());
    /// ```
    pub fn is_wanted(&self) -> bool {
        self.work.is_wanted()
    }

    /// Ends the job with an error instead of running it.
    pub(crate) fn refuse(self, error: ExecutorError) {
        self.work.refuse(error);
    }

    /// Registers the queue that is to be notified if the job becomes unwanted.
    pub(crate) fn queued_in(&self, queue: Weak<dyn JobQueue>) {
        self.work.queued_in(queue);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.work.refuse(ExecutorError::Cancelled);
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("wanted", &self.is_wanted())
            .finish()
    }
}

/// The future of a job's result. It can be awaited on any loop, and in any other runtime.
///
/// The job runs whether or not this future is polled.
///
/// # Cancellation
/// Dropping it before the job has begun cancels the job, which then never runs. Later the job runs to its end, and its
/// result is dropped.
///
/// ```
/// callsoon::run(async {
///     let slow: callsoon::ExecutorFuture<u32> = callsoon::run_in_executor(None, || (1..=10).sum());
///     assert_eq!(slow.await.unwrap(), 55);
/// }).unwrap();
/// ```
#[must_use = "dropping it cancels the job"]
pub struct ExecutorFuture<T: Send + 'static> {
    outcome: Arc<dyn Outcome<T>>,
}

impl<T: Send + 'static> ExecutorFuture<T> {
    /// Returns whether the job has ended or was cancelled.
    ///
    /// ```
    /// let (open, gate) = std::sync::mpsc::channel();
    /// callsoon::run(async {
    ///     let job = callsoon::run_in_executor(None, move || gate.recv());
    ///     assert!(!job.done());
    ///     open.send("go on").unwrap();
    ///     assert_eq!(job.await.unwrap(), Ok("go on"));
    /// }).unwrap();
    /// ```
    pub fn done(&self) -> bool {
        self.outcome.is_done()
    }

    /// Cancels the job, which then never runs and ends as [`ExecutorError::Cancelled`]. Returns `false` if it has begun.
    ///
    /// After the end of a job that panicked, this call says that nobody needs the report of its panic.
    ///
    /// ```
    /// let (open, gate) = std::sync::mpsc::channel();
    /// callsoon::run(async {
    ///     let pool = callsoon::ThreadPoolExecutor::builder().max_workers(1).build();
    ///     let first = callsoon::run_in_executor(Some(&pool), move || gate.recv());
    ///     let second = callsoon::run_in_executor(Some(&pool), || unreachable!());
    ///     assert!(second.cancel());
    ///     assert!(matches!(second.await, Err(callsoon::ExecutorError::Cancelled)));
    ///     open.send(()).unwrap();
    ///     first.await.unwrap().unwrap();
    /// }).unwrap();
    /// ```
    pub fn cancel(&self) -> bool {
        self.outcome.cancel()
    }

    /// Ends the job that its executor has refused.
    pub(crate) fn fail(&self, error: ExecutorError) {
        self.outcome.fail(error);
    }
}

impl<T: Send + 'static> Future for ExecutorFuture<T> {
    type Output = Result<T, ExecutorError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        poll_within_budget(context, |context| self.outcome.poll(context.waker()))
    }
}

impl<T: Send + 'static> Drop for ExecutorFuture<T> {
    fn drop(&mut self) {
        self.outcome.drop_future();
    }
}

impl<T: Send + 'static> fmt::Debug for ExecutorFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorFuture")
            .field("done", &self.done())
            .finish()
    }
}
