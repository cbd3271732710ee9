//! A job: one closure for another thread, and the future of its result.
//!
//! ```text
//!            ┌── withdrawn: future dropped, `cancel` ──► Gone
//!            │                                            ▲
//!   Queued ──┼── 1 run ──► Running ── 2 ──► Done ── 3 poll┘
//!            └── 4 dropped unrun, refused ────► Done
//!
//!   2  the closure has returned or panicked; where nobody wants the result, it is dropped instead
//! ```
//! Both sides share one allocation and one lock, and nothing foreign is touched under it: the closure, its captures, the
//! result and wakers are moved out first. The way back to the loop is the awaiter's waker. One of a loop's tasks is a
//! word that goes through the inbox by itself, so that nothing is allocated or queued for the journey home.
//!
//! A forked child has neither the threads nor, perhaps, ever the lock: there a job that was under way is not run, and
//! its future ends at once.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker};

use crate::error::Panicked;
use crate::executor::error::ExecutorError;
use crate::kernel::enter::{catch_panic, report_panic};
use crate::kernel::inhibit::Inhibitor;
use crate::kernel::proceed::poll_within_budget;
use crate::kernel::report::drop_quietly;
use crate::sys::fork;

/// Who runs jobs: a pool of threads, of any make.
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
    /// Takes a job, to be run once, on another thread. It does not wait for it.
    ///
    /// A job that is dropped without having been run ends its future with [`ExecutorError::Cancelled`]: so an executor
    /// that shuts down drops what it has not begun, and nobody waits for ever. One that is leaked leaves its awaiter
    /// waiting.
    ///
    /// # Errors
    /// What the future of the job then gives.
    fn execute(&self, job: Job) -> Result<(), ExecutorError>;
}

/// One closure on its way to another thread. See [`Executor::execute`].
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

/// The executor's side.
trait Work: Send + Sync {
    fn run(&self);
    /// Ends the job with an error, unless it has begun.
    fn refuse(&self, error: ExecutorError);
    fn is_wanted(&self) -> bool;
    fn queued_in(&self, queue: Weak<dyn Withdraw>);
}

/// The future's side.
trait Outcome<T>: Send + Sync {
    fn poll(&self, waker: &Waker) -> Poll<Result<T, ExecutorError>>;
    fn is_done(&self) -> bool;
    /// Takes the job back; `false` where it has begun.
    fn cancel(&self) -> bool;
    /// Nobody wants the result any more.
    fn forget(&self);
    /// Ends a job that no executor has taken.
    fn fail(&self, error: ExecutorError);
}

/// A queue that wants to know when jobs in it are not wanted any more.
pub(crate) trait Withdraw: Send + Sync {
    fn withdrawn(&self);
}

/// What a report says of a destructor's panic, be it the closure's or its result's.
const IN_DROP: &str = "Exception in the destructor of a job or its result";

enum Stage<T, F> {
    Queued(F),
    Running,
    Done(Result<T, ExecutorError>),
    Gone,
}

struct Shared<T, F> {
    inner: Mutex<Inner<T, F>>,
    /// The closure was taken back. Set under the lock, when it is; read without.
    withdrawn: AtomicBool,
    /// The fork generation of the process whose job it is.
    forks: u32,
}

struct Inner<T, F> {
    stage: Stage<T, F>,
    /// The future lives.
    wanted: bool,
    /// Somebody has cancelled it after its end: if it failed, nobody wants to hear of that.
    excused: bool,
    awaiter: Option<Waker>,
    /// Holds the loop's virtual clock until the job is over, or nobody waits for it.
    inhibitor: Option<Inhibitor>,
    /// Where the job waits to be run.
    queue: Option<Weak<dyn Withdraw>>,
}

/// What a change of stage leaves to be done with nothing locked: everything here is foreign.
struct Owed<T, F> {
    stage: Stage<T, F>,
    awaiter: Option<Waker>,
    /// Dropped last: whoever is woken must be in the loop's inbox before its clock may jump.
    _inhibitor: Option<Inhibitor>,
}

impl<T, F> Owed<T, F> {
    fn settle(self) {
        catch_panic(IN_DROP, || drop(self.stage));
        if let Some(awaiter) = self.awaiter {
            catch_panic("Exception in a waker", || awaiter.wake());
        }
    }
}

impl<T, F> Shared<T, F> {
    fn lock(&self) -> MutexGuard<'_, Inner<T, F>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_inherited(&self) -> bool {
        self.forks != fork::generation()
    }

    /// In a forked child: the result, where it was there before the fork.
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
    fn enter(&mut self, stage: Stage<T, F>) -> Owed<T, F> {
        Owed {
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
        if self.is_inherited() {
            return;
        }
        let begun = {
            let mut inner = self.lock();
            match std::mem::replace(&mut inner.stage, Stage::Running) {
                Stage::Queued(job) => Ok(job),
                other => Err(std::mem::replace(&mut inner.stage, other)),
            }
        };
        let Ok(job) = begun else { return };
        let result = catch_unwind(AssertUnwindSafe(job));
        let result = result.map_err(|payload| ExecutorError::Panicked(Panicked::new(payload)));
        let mut unwanted = None;
        let owed = {
            let mut inner = self.lock();
            let stage = if inner.wanted {
                Stage::Done(result)
            } else {
                unwanted = Some(result);
                Stage::Gone
            };
            inner.enter(stage)
        };
        owed.settle();
        catch_panic(IN_DROP, || drop(unwanted));
    }

    fn refuse(&self, error: ExecutorError) {
        if self.is_inherited() {
            return;
        }
        let owed = {
            let mut inner = self.lock();
            if !matches!(inner.stage, Stage::Queued(_)) {
                return;
            }
            inner.enter(Stage::Done(Err(error)))
        };
        owed.settle();
    }

    fn is_wanted(&self) -> bool {
        !self.withdrawn.load(Ordering::Relaxed)
    }

    fn queued_in(&self, queue: Weak<dyn Withdraw>) {
        self.lock().queue = Some(queue);
    }
}

impl<T, F> Outcome<T> for Shared<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    fn poll(&self, waker: &Waker) -> Poll<Result<T, ExecutorError>> {
        if self.is_inherited() {
            return Poll::Ready(self.take_inherited());
        }
        // Cloned with nothing locked, since it may be foreign.
        let mut awaiter = Some(waker.clone());
        let polled = {
            let mut inner = self.lock();
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
        polled
    }

    fn is_done(&self) -> bool {
        self.is_inherited() || matches!(self.lock().stage, Stage::Done(_) | Stage::Gone)
    }

    fn cancel(&self) -> bool {
        if self.is_inherited() {
            return false;
        }
        let (owed, queue) = {
            let mut inner = self.lock();
            if !matches!(inner.stage, Stage::Queued(_)) {
                inner.excused = matches!(inner.stage, Stage::Done(_));
                return false;
            }
            self.withdrawn.store(true, Ordering::Relaxed);
            let cancelled = Stage::Done(Err(ExecutorError::Cancelled));
            (inner.enter(cancelled), inner.queue.take())
        };
        owed.settle();
        tell(queue);
        true
    }

    fn forget(&self) {
        if self.is_inherited() {
            return;
        }
        let (owed, queue, excused) = {
            let mut inner = self.lock();
            inner.wanted = false;
            let excused = inner.excused;
            if matches!(inner.stage, Stage::Running) {
                (inner.enter(Stage::Running), None, excused)
            } else {
                let queued = matches!(inner.stage, Stage::Queued(_));
                self.withdrawn.store(queued, Ordering::Relaxed);
                let queue = inner.queue.take().filter(|_| queued);
                (inner.enter(Stage::Gone), queue, excused)
            }
        };
        // Whoever dropped the future is not to be woken.
        let (awaiter, stage) = (owed.awaiter, owed.stage);
        drop_quietly(awaiter);
        match stage {
            Stage::Done(Err(ExecutorError::Panicked(panicked))) if !excused => {
                report_panic("Exception of a job was never retrieved", panicked);
            }
            other => catch_panic(IN_DROP, || drop(other)),
        }
        tell(queue);
    }

    fn fail(&self, error: ExecutorError) {
        let owed = self.lock().enter(Stage::Done(Err(error)));
        owed.settle();
    }
}

fn tell(queue: Option<Weak<dyn Withdraw>>) {
    if let Some(queue) = queue.and_then(|queue| queue.upgrade()) {
        queue.withdrawn();
    }
}

/// A job of a closure, and its future.
pub(crate) fn job<T, F>(f: F, inhibitor: Option<Inhibitor>) -> (Job, ExecutorFuture<T>)
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let shared = Arc::new(Shared {
        inner: Mutex::new(Inner {
            stage: Stage::Queued(f),
            wanted: true,
            excused: false,
            awaiter: None,
            inhibitor,
            queue: None,
        }),
        withdrawn: AtomicBool::new(false),
        forks: fork::generation(),
    });
    let work = Arc::clone(&shared);
    (Job { work }, ExecutorFuture { outcome: shared })
}

impl Job {
    /// Runs the job here. Its panic is caught, and is its awaiter's error.
    ///
    /// ```
    /// # use callsoon::{Executor, ExecutorError, Job};
    /// /// An executor that is none: it blocks the loop.
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

    /// Whether somebody still waits for it. What is not wanted does nothing when it is run, and may be thrown away.
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

    /// Ends it with an error in place of a run.
    pub(crate) fn refuse(self, error: ExecutorError) {
        self.work.refuse(error);
    }

    /// Has `queue` told if the job is taken back.
    pub(crate) fn queued_in(&self, queue: Weak<dyn Withdraw>) {
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

/// The result of a job, to be awaited on any loop, or in any other runtime.
///
/// The job is on its way whether or not this is polled.
///
/// # Cancellation
/// Dropped before the job has begun, it takes the job back, which then never runs. Afterwards the job runs to its end,
/// and its result is dropped.
///
/// ```
/// callsoon::run(async {
///     let slow: callsoon::ExecutorFuture<u32> = callsoon::run_in_executor(None, || (1..=10).sum());
///     assert_eq!(slow.await.unwrap(), 55);
/// }).unwrap();
/// ```
#[must_use = "dropping it takes the job back"]
pub struct ExecutorFuture<T: Send + 'static> {
    outcome: Arc<dyn Outcome<T>>,
}

impl<T: Send + 'static> ExecutorFuture<T> {
    /// Whether the job is over, or was taken back.
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

    /// Takes the job back, which then never runs and ends as cancelled; `false` where it has begun. A panic that it ended
    /// in is then reported to nobody.
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

    /// Ends the job that an executor has refused.
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
        self.outcome.forget();
    }
}

impl<T: Send + 'static> fmt::Debug for ExecutorFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorFuture")
            .field("done", &self.done())
            .finish()
    }
}
