//! A pool of threads that come when they are needed and go when they are not.
//!
//! ```text
//!   execute ─► queue ──► next ─► run        a thread: start ─► initializer ─► next … next ─► end
//!                │                             none idle, room for one more ─┘       │
//!                └─ one idle: it is told; else a new thread                idle too long, or shut
//! ```
//! One lock guards the queue and every count, so that no job can fall between a thread that gives up and one that was
//! not started: who leaves has looked at the queue under it, and a thread is made under it, so a job that waits in the
//! queue always has a thread that will come to it. `count` has these counts, and the proof.
//!
//! The system may refuse a thread. Where there is no other, the job is refused with its word; where there is, the job
//! waits for it. No job is run, dropped or looked at with the lock held.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Panicked;
use crate::executor::error::{ExecutorError, StuckJobs};
use crate::executor::job::{Job, Withdraw};
use crate::executor::worker_count::{Need, Unparked, WorkerCount};
use crate::kernel::enter::{catch_panic, report_panic};
use crate::kernel::report::drop_quietly;
use crate::kernel::wait::waiters::{WaiterId, Waiters};
use crate::sys::fork;

/// What a report says of an initializer's panic: the jobs hear only that the pool is broken.
const INITIALIZER: &str = "Exception in the initializer of an executor's thread";

/// How long an ended thread may take to leave, which is a few instructions: a limit for a machine that does not run it.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

type Initializer = Arc<dyn Fn() + Send + Sync>;

/// What the builder decided.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) max_workers: usize,
    pub(crate) keep_alive: Duration,
    pub(crate) thread_name_prefix: String,
    pub(crate) stack_size: Option<usize>,
    pub(crate) initializer: Option<Initializer>,
}

/// What all clones and all threads share.
pub(crate) struct Pool {
    settings: Settings,
    /// The fork generation of the process whose threads these are.
    forks: u32,
    state: Mutex<State>,
    /// A thread is told: there is a job for it, or the pool is shut.
    work: Condvar,
    /// A job is done, or a thread has ended.
    progress: Condvar,
}

#[derive(Default)]
struct State {
    /// Jobs that no thread has taken.
    queue: VecDeque<Job>,
    /// Who is asleep, told, or at work.
    count: WorkerCount,
    /// Jobs that run.
    running: usize,
    /// Jobs in the queue that nobody wants; a few more or less, since it is counted without looking.
    withdrawn: usize,
    /// Threads ever started, for their names.
    started: usize,
    /// Threads that are none any more and still wake whoever has waited for that.
    leaving: usize,
    /// No more jobs come in, and threads end when the queue is empty.
    shut: bool,
    /// An initializer has panicked.
    broken: bool,
    /// Threads that block in [`Pool::join`]: they alone are told of progress, since telling nobody costs
    /// a system call as well.
    joiners: usize,
    /// Who waits for the last thread to end.
    waiters: Waiters<Waker>,
}

impl State {
    fn jobs(&self) -> usize {
        let queued = self.queue.iter().filter(|job| job.is_wanted()).count();
        self.running + queued
    }

    /// Nothing is left to wait for.
    fn is_over(&self) -> bool {
        if self.shut {
            self.count.workers() == 0
        } else {
            self.jobs() == 0
        }
    }
}

impl Pool {
    /// A pool without a thread.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            forks: fork::generation(),
            state: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
        }
    }

    /// The most threads that there may be.
    pub(crate) fn max_workers(&self) -> usize {
        self.settings.max_workers
    }

    /// How many threads there are.
    pub(crate) fn workers(&self) -> usize {
        self.with_state(|state| state.count.workers()).unwrap_or(0)
    }

    /// How many jobs run, or wait to be run.
    pub(crate) fn jobs(&self) -> usize {
        self.with_state(State::jobs).unwrap_or(0)
    }

    /// What `f` sees of it; `None` in a forked child, where it has no threads and perhaps never the lock.
    fn with_state<R>(&self, f: impl FnOnce(&State) -> R) -> Option<R> {
        (!self.is_inherited()).then(|| f(&self.lock()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the threads of this pool are another process's.
    fn is_inherited(&self) -> bool {
        self.forks != fork::generation()
    }

    pub(crate) fn execute(self: &Arc<Self>, job: Job) -> Result<(), ExecutorError> {
        // A forked child first: its copy of the lock may be held for ever by a thread that is not there.
        if self.is_inherited() {
            return Err(ExecutorError::ShutDown);
        }
        let queue: Weak<Self> = Arc::downgrade(self);
        job.queued_in(queue);
        let mut state = self.lock();
        if state.broken {
            return Err(ExecutorError::Broken);
        }
        if state.shut {
            return Err(ExecutorError::ShutDown);
        }
        state.queue.push_back(job);
        match state.count.need(self.settings.max_workers) {
            Need::Nothing => {}
            Need::Tell => {
                drop(state);
                self.work.notify_one();
            }
            Need::Start => {
                if let Err(error) = self.start_thread(&mut state) {
                    if state.count.workers() == 0 {
                        // Nobody would ever come to it. It goes with nothing locked.
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

    fn start_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let settings = &self.settings;
        let name = format!("{}_{}", settings.thread_name_prefix, state.started);
        let mut builder = thread::Builder::new().name(name);
        if let Some(size) = settings.stack_size {
            builder = builder.stack_size(size);
        }
        let pool = Arc::clone(self);
        builder.spawn(move || Worker { pool }.work())?;
        state.started += 1;
        state.count.started();
        Ok(())
    }

    /// The next job for a thread, which has just ended one or not; `None` when the thread is to end, and then it does not
    /// count any more: a job that comes later finds room for another.
    fn next(&self, ended_one: bool) -> Option<Job> {
        let mut state = self.lock();
        if ended_one {
            state.running -= 1;
            if state.joiners > 0 {
                self.progress.notify_all();
            }
        }
        loop {
            while let Some(job) = state.queue.pop_front() {
                // What nobody wants has nothing foreign in it any more, and may be dropped here.
                if job.is_wanted() {
                    state.running += 1;
                    return Some(job);
                }
                state.withdrawn = state.withdrawn.saturating_sub(1);
            }
            if state.shut {
                break;
            }
            let unparked;
            (state, unparked) = self.sleep(state);
            if unparked == Unparked::End {
                break;
            }
        }
        self.end(state);
        None
    }

    /// Sleeps until told, or for too long.
    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, Unparked) {
        state.count.park();
        let asleep = Instant::now();
        loop {
            let left = self.settings.keep_alive.saturating_sub(asleep.elapsed());
            let slept = self.work.wait_timeout(state, left);
            state = slept.unwrap_or_else(PoisonError::into_inner).0;
            let too_long = asleep.elapsed() >= self.settings.keep_alive;
            let shut = state.shut;
            match state.count.unpark(shut, too_long) {
                Unparked::Sleep => {}
                unparked => return (state, unparked),
            }
        }
    }

    /// A thread ends. Under the lock under which it has found nothing to do: no job may count on it in between.
    fn end(&self, mut state: MutexGuard<'_, State>) {
        let mut woken = Vec::new();
        if state.count.ended() {
            state.waiters.take_all(&mut woken);
        }
        state.leaving += 1;
        drop(state);
        self.progress.notify_all();
        for waker in woken {
            catch_panic("Exception in a waker", || waker.wake());
        }
        self.lock().leaving -= 1;
        self.progress.notify_all();
    }

    /// No more jobs; those that wait are run, or dropped.
    pub(crate) fn shut(&self, drop_queue: bool) {
        if self.is_inherited() {
            return;
        }
        let dropped = {
            let mut state = self.lock();
            state.shut = true;
            drop_queue.then(|| std::mem::take(&mut state.queue))
        };
        self.work.notify_all();
        drop_quietly(dropped);
    }

    /// An initializer has panicked: nothing runs any more.
    fn break_down(&self) {
        let refused = {
            let mut state = self.lock();
            state.broken = true;
            state.shut = true;
            std::mem::take(&mut state.queue)
        };
        self.work.notify_all();
        for job in refused {
            job.refuse(ExecutorError::Broken);
        }
    }
}

impl Withdraw for Pool {
    /// Throws away what nobody wants, once that is half of the queue: each such job then costs as much as it would have
    /// cost to run into it.
    fn withdrawn(&self) {
        if self.is_inherited() {
            return;
        }
        let mut state = self.lock();
        state.withdrawn += 1;
        if state.withdrawn * 2 > state.queue.len() {
            // There is nothing foreign in what goes.
            state.queue.retain(Job::is_wanted);
            state.withdrawn = 0;
            drop(state);
            self.progress.notify_all();
        }
    }
}

/// A thread of a pool.
struct Worker {
    pool: Arc<Pool>,
}

impl Worker {
    fn work(self) {
        let pool = &*self.pool;
        if let Some(initializer) = &pool.settings.initializer {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| initializer())) {
                report_panic(INITIALIZER, Panicked::new(payload));
                pool.break_down();
                return pool.end(pool.lock());
            }
        }
        let mut ended_one = false;
        while let Some(job) = pool.next(ended_one) {
            job.run();
            ended_one = true;
        }
    }
}

/// How those who wait for threads do.
impl Pool {
    /// Blocks until every job is done, and after a shutdown until every thread has ended, but no longer than `limit`.
    pub(crate) fn join(&self, limit: Duration) -> Result<(), StuckJobs> {
        if self.is_inherited() {
            return Ok(());
        }
        let mut state = self.lock();
        state.joiners += 1;
        let waited = self
            .progress
            .wait_timeout_while(state, limit, |state| !state.is_over());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.joiners -= 1;
        let jobs = state.jobs();
        drop(state);
        if jobs == 0 {
            self.settle();
            Ok(())
        } else {
            Err(StuckJobs { jobs })
        }
    }

    /// After a shutdown whose last thread has said that it ends: waits until all have nothing left to do here. The last
    /// thing that a thread does is to wake whoever waits for it, and it may be in the midst of that: foreign code, and so
    /// not waited for without end. No thread is joined, since destructors of its thread-locals may take as long as they
    /// like.
    pub(crate) fn settle(&self) {
        if self.is_inherited() {
            return;
        }
        let leaving = |state: &mut State| state.count.workers() == 0 && state.leaving > 0;
        let waited = self
            .progress
            .wait_timeout_while(self.lock(), SETTLED_WITHIN, leaving);
        drop(waited);
    }

    /// True once the pool is shut and its last thread has ended; until then `waker` stands in `place`.
    pub(crate) fn poll_ended(&self, place: &mut Option<WaiterId>, waker: &Waker) -> bool {
        if self.is_inherited() {
            return true;
        }
        let waker = waker.clone();
        let mut state = self.lock();
        if state.is_over() {
            return true;
        }
        let replaced = state.waiters.wait(place, waker);
        drop(state);
        drop(replaced);
        false
    }

    /// Gives up a place that [`poll_ended`](Self::poll_ended) gave.
    pub(crate) fn leave(&self, place: WaiterId) {
        if self.is_inherited() {
            return;
        }
        let left = self.lock().waiters.leave(place);
        drop(left);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ThreadPoolExecutor");
        shown.field("max_workers", &self.max_workers());
        self.with_state(|state| {
            shown.field("workers", &state.count.workers());
            shown.field("jobs", &state.jobs());
            shown.field("queue", &state.queue.len());
            shown.field("shut_down", &state.shut);
        });
        shown.finish()
    }
}
