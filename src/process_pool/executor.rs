//! The pool's side: who has a job, who is idle, who is replaced.
//!
//! ```text
//!   run ─► line of jobs ─► a worker: idle, or started now ─► request ─► response ─► idle again
//!            (semaphore)        │ dropped meanwhile: killed            │ its last: it ends
//!                               └ died: the job's error; the next job starts another
//! ```
//! A worker has one job at a time, and nothing is sent to it before: so a job that fails with its worker is the only one
//! that does. A worker's socket and end are watched by the loop that started it, so another loop does not use it: the
//! pool may outlive a loop, its workers do not.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::rc::Rc;
use std::thread::available_parallelism;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event_loop::free::{get_running_loop, try_get_running_loop};
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::net::unix::UnixStream;
use crate::process::child::Process;
use crate::process::command::Command;
use crate::process_pool::error::ProcessPoolError;
use crate::process_pool::function::{Function, request, result};
use crate::process_pool::serve::{MARK, is_registered};
use crate::sync::lock::Lock;
use crate::sync::semaphore::Semaphore;

/// This program, also after its file was replaced: a worker of another version would speak another language.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// What is read at a time of a result: its length is believed as far as bytes follow.
const PIECE: usize = 64 * 1024;

/// A pool of processes: asyncio's `ProcessPoolExecutor`, for [`Function`]s.
///
/// Workers start on demand, one for each job up to the most that there may be, and stay. Clones are the same pool; when
/// the last one is dropped idle workers end.
///
/// ```no_run
/// use callsoon::process_pool::{Function, ProcessPoolExecutor, worker};
/// static SQUARE: Function<u64, u64> = Function::new("square", |n| n * n);
///
/// fn main() {
///     worker(&[&SQUARE]);
///     callsoon::run(async {
///         let pool = ProcessPoolExecutor::builder().max_workers(2).build();
///         assert_eq!(pool.run(&SQUARE, 12).await.unwrap(), 144);
///         pool.shutdown().await;
///     }).unwrap();
/// }
/// ```
#[derive(Clone)]
pub struct ProcessPoolExecutor {
    pool: Rc<Pool>,
}

struct Pool {
    max_workers: usize,
    max_tasks: Option<NonZero<usize>>,
    /// One permit for each worker that there may be; a job has one from its turn to its end.
    turns: Semaphore,
    idle: RefCell<Vec<Worker>>,
    /// Workers that take no more jobs and have perhaps not ended. They stay here until they have: a shutdown that was given
    /// up half-way leaves them to the next one.
    retired: RefCell<Vec<Rc<Process>>>,
    /// Processes ever started.
    started: Cell<usize>,
    shut: Cell<bool>,
    /// Held by one shutdown at a time: two that each have some of the turns would wait for each other's.
    ending: Lock<()>,
}

struct Worker {
    process: Process,
    socket: UnixStream,
    jobs: usize,
}

impl Worker {
    fn start() -> io::Result<Self> {
        let (here, there) = StdStream::pair()?;
        here.set_nonblocking(true)?;
        // Ctrl-C at a terminal is the program's to handle, so workers are no part of its group.
        let mut command = Command::new(THIS_PROGRAM).arg(MARK).process_group(0);
        if let Some(name) = std::env::args_os().next() {
            command.as_std_mut().arg0(name);
        }
        let mut command = command.stdin(OwnedFd::from(there)).kill_on_drop(true);
        let process = command.spawn()?;
        let socket = UnixStream::from_std(here)?;
        Ok(Self {
            process,
            socket,
            jobs: 0,
        })
    }

    async fn exchange(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.socket.write_all(request).await?;
        let mut length = [0; 8];
        self.socket.read_exact(&mut length).await?;
        let length = usize::try_from(u64::from_le_bytes(length)).map_err(io::Error::other)?;
        let mut response = Vec::new();
        while response.len() < length {
            let start = response.len();
            let end = length.min(start + PIECE.max(start));
            response.try_reserve_exact(end - start)?;
            response.resize(end, 0);
            self.socket.read_exact(&mut response[start..]).await?;
        }
        Ok(response)
    }

    /// Lets it end by itself: its socket closes, and that is all it waits for.
    fn retire(mut self) -> Process {
        self.process.kill_on_drop = false;
        self.process
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in self.idle.take() {
            drop(worker.retire());
        }
    }
}

impl ProcessPoolExecutor {
    /// A pool with as many workers as there are cores.
    ///
    /// ```
    /// let pool = callsoon::process_pool::ProcessPoolExecutor::new();
    /// assert!(pool.max_workers() >= 1);
    /// ```
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A pool with settings of its own.
    ///
    /// ```
    /// let pool = callsoon::process_pool::ProcessPoolExecutor::builder().max_workers(3).build();
    /// assert_eq!(pool.max_workers(), 3);
    /// ```
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder {
            max_workers: available_parallelism().map_or(1, NonZero::get),
            max_tasks: None,
        }
    }

    /// The most workers that there may be at a time.
    ///
    /// ```
    /// assert!(callsoon::process_pool::ProcessPoolExecutor::new().max_workers() >= 1);
    /// ```
    pub fn max_workers(&self) -> usize {
        self.pool.max_workers
    }

    /// How many workers it has started, those included that have ended.
    ///
    /// ```
    /// assert_eq!(callsoon::process_pool::ProcessPoolExecutor::new().started(), 0);
    /// ```
    pub fn started(&self) -> usize {
        self.pool.started.get()
    }

    /// Has a worker run `function` on `argument`, and gives what it returns. Jobs begin in the order in which they are
    /// first polled.
    ///
    /// # Errors
    /// See [`ProcessPoolError`]. A worker that dies fails the job that it had, and no other; another takes its place.
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before its turn, the job never runs. Afterwards its worker is killed, in the midst of whatever it does.
    ///
    /// ```no_run
    /// # use callsoon::process_pool::{Function, ProcessPoolExecutor};
    /// static SQUARE: Function<u64, u64> = Function::new("square", |n| n * n);
    /// # callsoon::run(async {
    /// let pool = ProcessPoolExecutor::new();
    /// assert_eq!(pool.run(&SQUARE, 12).await.unwrap(), 144);
    /// # }).unwrap();
    /// ```
    pub async fn run<A: Serialize, R: DeserializeOwned>(
        &self,
        function: &Function<A, R>,
        argument: A,
    ) -> Result<R, ProcessPoolError> {
        proceed().await;
        match is_registered(function.name()) {
            None => return Err(ProcessPoolError::NoWorkerEntry),
            Some(false) => return Err(ProcessPoolError::UnknownFunction(function.name())),
            Some(true) => {}
        }
        let request = request(function.name(), &argument)?;
        drop(argument);
        let _turn = self.pool.turns.acquire().await;
        if self.pool.shut.get() {
            return Err(ProcessPoolError::ShutDown);
        }
        // While a process works for the loop, a virtual clock stands still.
        let handle = get_running_loop();
        let _held = handle.state.inhibit();
        let worker = self.worker(&handle)?;
        // Dropped from here on until its answer is there, the worker is killed.
        let response = match worker.exchange(&request).await {
            Ok(response) => response,
            Err(error) => return Err(died(worker, error).await),
        };
        self.give_back(worker);
        result(&response)
    }

    /// One that is idle and lives, or a new one.
    fn worker(&self, handle: &LoopHandle) -> io::Result<Worker> {
        loop {
            let idle = self.pool.idle.borrow_mut().pop();
            match idle {
                None => break,
                Some(worker) if !worker.process.is_watched_by(handle) => drop(worker.retire()),
                Some(worker) if !worker.process.is_over() => return Ok(worker),
                // It died while it had nothing to do, which is nobody's error.
                Some(dead) => drop(dead),
            }
        }
        let worker = Worker::start()?;
        self.pool.started.set(self.pool.started.get() + 1);
        Ok(worker)
    }

    fn give_back(&self, mut worker: Worker) {
        worker.jobs += 1;
        let is_done = |most: NonZero<usize>| worker.jobs >= most.get();
        if self.pool.max_tasks.is_some_and(is_done) {
            self.retire(worker);
        } else {
            self.pool.idle.borrow_mut().push(worker);
        }
    }

    /// Lets a worker end, which a shutdown waits for.
    fn retire(&self, worker: Worker) {
        let mut retired = self.pool.retired.borrow_mut();
        // There is nothing foreign in one that has ended.
        retired.retain(|process| !process.is_over());
        retired.push(Rc::new(worker.retire()));
    }

    /// Takes no more jobs: those that wait for their turn end as [`ProcessPoolError::ShutDown`]. Waits until the others
    /// are done and every worker has ended.
    ///
    /// # Cancellation
    /// Dropped, it waits no longer; the pool stays shut down. Another call waits for the same workers.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let pool = callsoon::process_pool::ProcessPoolExecutor::new();
    /// pool.shutdown().await;
    /// # }).unwrap();
    /// ```
    pub async fn shutdown(&self) {
        self.pool.shut.set(true);
        let _ending = self.pool.ending.acquire().await;
        let mut turns = Vec::new();
        for _ in 0..self.pool.max_workers {
            turns.push(self.pool.turns.acquire().await);
        }
        let here = try_get_running_loop();
        for worker in self.pool.idle.take() {
            self.retire(worker);
        }
        loop {
            let retired = self.pool.retired.borrow().first().cloned();
            let Some(process) = retired else { break };
            // What another loop watches cannot be waited for here: that loop does not run.
            if here
                .as_ref()
                .is_some_and(|here| process.is_watched_by(here))
            {
                // A status that somebody else has taken is an end as well.
                let _ = process.wait().await;
            }
            self.pool
                .retired
                .borrow_mut()
                .retain(|kept| !Rc::ptr_eq(kept, &process));
        }
    }
}

/// The connection ended in the midst of a job: says how the worker did.
async fn died(mut worker: Worker, error: io::Error) -> ProcessPoolError {
    // A function that has closed its socket by itself goes no further.
    let _ = worker.process.kill();
    worker.process.kill_on_drop = false;
    match worker.process.wait().await {
        Ok(status) => ProcessPoolError::WorkerDied(status),
        Err(_) => ProcessPoolError::Io(error),
    }
}

impl Default for ProcessPoolExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolExecutor")
            .field("max_workers", &self.max_workers())
            .field("started", &self.started())
            .field("idle", &self.pool.idle.borrow().len())
            .field("shut_down", &self.pool.shut.get())
            .finish()
    }
}

/// How a [`ProcessPoolExecutor`] is set up.
///
/// ```
/// use std::num::NonZero;
/// let pool = callsoon::process_pool::ProcessPoolExecutor::builder()
///     .max_workers(2)
///     .max_tasks_per_child(NonZero::new(100).unwrap())
///     .build();
/// # assert_eq!(pool.max_workers(), 2);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until `build()`"]
pub struct ProcessPoolBuilder {
    max_workers: usize,
    max_tasks: Option<NonZero<usize>>,
}

impl ProcessPoolBuilder {
    /// The most workers that there may be at a time; at least one.
    ///
    /// ```
    /// use callsoon::process_pool::ProcessPoolExecutor;
    /// assert_eq!(ProcessPoolExecutor::builder().max_workers(0).build().max_workers(), 1);
    /// ```
    pub fn max_workers(mut self, processes: usize) -> Self {
        self.max_workers = processes.max(1);
        self
    }

    /// How many jobs a worker does before another takes its place: what a function leaks, it leaks for so long. Without
    /// it a worker stays.
    ///
    /// ```
    /// use std::num::NonZero;
    /// let one_each = NonZero::new(1).unwrap();
    /// let pool = callsoon::process_pool::ProcessPoolExecutor::builder().max_tasks_per_child(one_each).build();
    /// ```
    pub fn max_tasks_per_child(mut self, jobs: NonZero<usize>) -> Self {
        self.max_tasks = Some(jobs);
        self
    }

    /// Makes the pool, and no process yet.
    ///
    /// ```
    /// let pool = callsoon::process_pool::ProcessPoolExecutor::builder().build();
    /// assert_eq!(pool.started(), 0);
    /// ```
    pub fn build(self) -> ProcessPoolExecutor {
        ProcessPoolExecutor {
            pool: Rc::new(Pool {
                max_workers: self.max_workers,
                max_tasks: self.max_tasks,
                turns: Semaphore::new(self.max_workers),
                idle: RefCell::default(),
                retired: RefCell::default(),
                started: Cell::new(0),
                shut: Cell::new(false),
                ending: Lock::new(()),
            }),
        }
    }
}
