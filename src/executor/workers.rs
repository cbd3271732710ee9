//! A thread pool's queue of jobs, and the workers that take from it.
//!
//! ```text
//!   execute ─► queue ──► next ─► run        a worker: spawned ─► initializer ─► next … next ─► end
//!                │                            none parked, room for one more ─┘      │
//!                └─ one is parked: notify it; else spawn one          idle for too long, or shut down
//! ```
//! One lock guards the queue and all counts. A worker decides to end under the lock under which it found the queue empty,
//! and a worker is spawned under the lock under which its job was queued. So a job in the queue always has a worker that
//! will take it. `worker_count` has the counts and a test of this claim.
//!
//! The system may refuse to start a thread. If the pool has no other worker, the job is refused with that error.
//! Otherwise the job stays in the queue until a worker is free.
//!
//! Jobs are user code. None is run or dropped with the lock held.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Panicked;
use crate::executor::error::{ExecutorError, StuckJobs};
use crate::executor::job::{Job, JobQueue};
use crate::executor::worker_count::{Need, Unparked, WorkerCount};
use crate::kernel::enter::{catch_panic, report_panic};
use crate::kernel::inbox::held;
use crate::kernel::report::drop_quietly;
use crate::kernel::wait::waiters::{WaiterId, Waiters};
use crate::sys::fork;

/// The report of an initializer's panic. The jobs themselves only end as `Broken`.
const INITIALIZER: &str = "Exception in the initializer of an executor's thread";

/// How long to wait for threads that have ended as workers to finish their last few instructions. The limit matters only
/// if the system does not run such a thread.
const EXIT_LIMIT: Duration = Duration::from_secs(1);

type Initializer = Arc<dyn Fn() + Send + Sync>;

/// The settings of a pool.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) max_workers: usize,
    pub(crate) keep_alive: Duration,
    pub(crate) thread_name_prefix: String,
    pub(crate) stack_size: Option<usize>,
    pub(crate) initializer: Option<Initializer>,
}

/// What all clones of a pool and all its workers share.
pub(crate) struct Pool {
    settings: Settings,
    /// The fork generation of the process that the workers belong to.
    forks: u32,
    state: Mutex<State>,
    /// Notified when there is a job for a parked worker, or the pool is shut down.
    work: Condvar,
    /// Notified when a job is done or a worker has ended.
    progress: Condvar,
}

#[derive(Default)]
struct State {
    /// Jobs that no worker has taken.
    queue: VecDeque<Job>,
    /// How many workers there are, by state.
    count: WorkerCount,
    /// How many jobs are running.
    running: usize,
    /// About how many jobs in the queue are unwanted. It is an estimate: a job may become unwanted after it was taken.
    unwanted: usize,
    /// How many workers were ever spawned, for their names.
    spawned: usize,
    /// Workers that have ended and are still waking those who waited for that.
    exiting: usize,
    /// New jobs are refused, and workers end when the queue is empty.
    shut_down: bool,
    /// An initializer has panicked.
    broken: bool,
    /// How many threads block in [`Pool::join`]. Without any, the end of a job does not notify `progress`, which would
    /// cost a system call.
    joiners: usize,
    /// The wakers of tasks that wait for the last worker to end.
    waiters: Waiters<Waker>,
}

impl State {
    fn jobs(&self) -> usize {
        let queued = self.queue.iter().filter(|job| job.is_wanted()).count();
        self.running + queued
    }

    /// Returns whether there is nothing left to wait for.
    fn has_ended(&self) -> bool {
        if self.shut_down {
            self.count.workers() == 0
        } else {
            self.jobs() == 0
        }
    }
}

impl Pool {
    /// Creates a pool without workers.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            forks: fork::generation(),
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
        }
    }

    /// Returns the most workers that there may be.
    pub(crate) fn max_workers(&self) -> usize {
        self.settings.max_workers
    }

    /// Returns how many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.own_state().map_or(0, |state| state.count.workers())
    }

    /// Returns how many jobs are running or waiting to run.
    pub(crate) fn jobs(&self) -> usize {
        self.own_state().map_or(0, |state| state.jobs())
    }

    /// Locks the state. Returns `None` in a forked child, which has no copies of the workers and where the lock may be held
    /// for ever.
    fn own_state(&self) -> Option<MutexGuard<'_, State>> {
        (self.forks == fork::generation()).then(|| self.lock())
    }

    /// Locks the state for a worker, which is a thread of the pool's process.
    fn lock(&self) -> MutexGuard<'_, State> {
        held(self.state.lock())
    }

    /// Queues a job, and notifies or spawns a worker for it.
    pub(crate) fn execute(self: &Arc<Self>, job: Job) -> Result<(), ExecutorError> {
        let Some(mut state) = self.own_state() else {
            return Err(ExecutorError::ShutDown);
        };
        if state.broken {
            return Err(ExecutorError::Broken);
        }
        if state.shut_down {
            return Err(ExecutorError::ShutDown);
        }
        let queue: Weak<Self> = Arc::downgrade(self);
        job.queued_in(queue);
        state.queue.push_back(job);
        match state.count.need(self.settings.max_workers) {
            Need::Nothing => {}
            Need::Notify => {
                drop(state);
                self.work.notify_one();
            }
            Need::Spawn => {
                if let Err(error) = self.spawn_worker(&mut state) {
                    if state.count.workers() == 0 {
                        // No worker would ever take the job. It is dropped without the lock.
                        let refused = state.queue.pop_back();
                        drop(state);
                        drop(refused);
                        return Err(ExecutorError::Io(error));
                    }
                }
            }
        }
        Ok(())
    }

    /// Spawns a worker. The caller holds the lock.
    fn spawn_worker(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let settings = &self.settings;
        let name = format!("{}_{}", settings.thread_name_prefix, state.spawned);
        let mut builder = thread::Builder::new().name(name);
        if let Some(size) = settings.stack_size {
            builder = builder.stack_size(size);
        }
        let pool = Arc::clone(self);
        builder.spawn(move || Worker { pool }.run())?;
        state.spawned += 1;
        state.count.spawned();
        Ok(())
    }

    /// Returns the next job for a worker, which may have just finished one.
    ///
    /// Returns `None` when the worker is to end. It is not counted any more then, so a later job can spawn another one.
    fn next(&self, finished_job: bool) -> Option<Job> {
        let mut state = self.lock();
        if finished_job {
            state.running -= 1;
            if state.joiners > 0 {
                self.progress.notify_all();
            }
        }
        loop {
            while let Some(job) = state.queue.pop_front() {
                // An unwanted job has been emptied, so dropping it under the lock runs no user code.
                if job.is_wanted() {
                    state.running += 1;
                    return Some(job);
                }
                state.unwanted = state.unwanted.saturating_sub(1);
            }
            if state.shut_down {
                break;
            }
            let unparked;
            (state, unparked) = self.park(state);
            if unparked == Unparked::End {
                break;
            }
        }
        self.end(state);
        None
    }

    /// Parks the worker until it is notified, or has been idle for too long.
    fn park<'a>(&'a self, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, Unparked) {
        state.count.park();
        let parked = Instant::now();
        loop {
            let left = self.settings.keep_alive.saturating_sub(parked.elapsed());
            (state, _) = held(self.work.wait_timeout(state, left));
            let keep_alive_over = parked.elapsed() >= self.settings.keep_alive;
            let shut = state.shut_down;
            match state.count.unpark(shut, keep_alive_over) {
                Unparked::Park => {}
                unparked => return (state, unparked),
            }
        }
    }

    /// Ends a worker. The caller still holds the lock under which the worker found the queue empty, so no job was
    /// queued for it since.
    fn end(&self, mut state: MutexGuard<'_, State>) {
        let mut woken = Vec::new();
        if state.count.ended() {
            state.waiters.take_all(&mut woken);
        }
        state.exiting += 1;
        drop(state);
        self.progress.notify_all();
        for waker in woken {
            catch_panic("Exception in a waker", || waker.wake());
        }
        self.lock().exiting -= 1;
        self.progress.notify_all();
    }

    /// Refuses new jobs from now on. Queued jobs are still run, or are dropped if `drop_queue` is set.
    pub(crate) fn shut_down(&self, drop_queue: bool) {
        let dropped = {
            let Some(mut state) = self.own_state() else {
                return;
            };
            state.shut_down = true;
            drop_queue.then(|| std::mem::take(&mut state.queue))
        };
        self.work.notify_all();
        drop_quietly(dropped);
    }

    /// Refuses all jobs, queued and new ones, after the panic of an initializer.
    fn mark_broken(&self) {
        let refused = {
            let mut state = self.lock();
            state.broken = true;
            state.shut_down = true;
            std::mem::take(&mut state.queue)
        };
        self.work.notify_all();
        for job in refused {
            job.refuse(ExecutorError::Broken);
        }
    }
}

impl JobQueue for Pool {
    /// Removes unwanted jobs from the queue once they are about half of it. So the cost of a removal is constant for each
    /// unwanted job.
    fn job_unwanted(&self) {
        let Some(mut state) = self.own_state() else {
            return;
        };
        state.unwanted += 1;
        if state.unwanted * 2 > state.queue.len() {
            // Unwanted jobs have been emptied, so dropping them runs no user code.
            state.queue.retain(Job::is_wanted);
            state.unwanted = 0;
            drop(state);
            self.progress.notify_all();
        }
    }
}

/// A worker: the thread that runs the jobs of a pool.
struct Worker {
    pool: Arc<Pool>,
}

impl Worker {
    /// Runs the initializer, then jobs until there are none.
    fn run(self) {
        let pool = &*self.pool;
        if let Some(initializer) = &pool.settings.initializer {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| initializer())) {
                report_panic(INITIALIZER, Panicked::new(payload));
                pool.mark_broken();
                return pool.end(pool.lock());
            }
        }
        let mut finished_job = false;
        while let Some(job) = pool.next(finished_job) {
            job.run();
            finished_job = true;
        }
    }
}

/// Waiting for jobs and workers to end.
impl Pool {
    /// Blocks until every job is done, and after a shutdown until every worker has ended, but no longer than `limit`.
    pub(crate) fn join(&self, limit: Duration) -> Result<(), StuckJobs> {
        let Some(mut state) = self.own_state() else {
            return Ok(());
        };
        state.joiners += 1;
        let (progress, pending) = (&self.progress, |state: &mut State| !state.has_ended());
        let (mut state, _) = held(progress.wait_timeout_while(state, limit, pending));
        state.joiners -= 1;
        let jobs = state.jobs();
        drop(state);
        if jobs > 0 {
            return Err(StuckJobs { jobs });
        }
        self.wait_for_exits();
        Ok(())
    }

    /// Waits, after the last worker has ended, until the threads have woken everyone who waited for that.
    ///
    /// Waking is the last thing that a worker does, and another runtime's waker is user code. So this waits no longer than
    /// [`EXIT_LIMIT`]. No thread is joined, since destructors of thread-locals may take any time.
    pub(crate) fn wait_for_exits(&self) {
        let Some(state) = self.own_state() else {
            return;
        };
        let exiting = |state: &mut State| state.count.workers() == 0 && state.exiting > 0;
        drop(self.progress.wait_timeout_while(state, EXIT_LIMIT, exiting));
    }

    /// Returns whether the pool is shut down and its last worker has ended. Until then `waker` is registered under
    /// `waiter`.
    pub(crate) fn poll_ended(&self, waiter: &mut Option<WaiterId>, waker: &Waker) -> bool {
        // Cloned without the lock: another runtime's waker is user code.
        let waker = waker.clone();
        let Some(mut state) = self.own_state() else {
            return true;
        };
        if state.has_ended() {
            return true;
        }
        let replaced = state.waiters.wait(waiter, waker);
        drop(state);
        drop(replaced);
        false
    }

    /// Removes a waker that [`poll_ended`](Self::poll_ended) has registered.
    pub(crate) fn stop_waiting(&self, waiter: WaiterId) {
        let waker = self
            .own_state()
            .map(|mut state| state.waiters.leave(waiter));
        drop(waker);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ThreadPoolExecutor");
        shown.field("max_workers", &self.max_workers());
        if let Some(state) = self.own_state() {
            shown.field("workers", &state.count.workers());
            shown.field("jobs", &state.jobs());
            shown.field("queue", &state.queue.len());
            shown.field("shut_down", &state.shut_down);
        }
        shown.finish()
    }
}
