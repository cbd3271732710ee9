//! `ProcessPoolExecutor`: the pool's side. It gives jobs to workers, and starts, replaces and ends them.
//!
//! ```text
//!   run ─► semaphore ─► a worker: idle, or started now ─► request ─► response ─► idle again
//!         (a FIFO queue)   │ future dropped: killed                    │ max_tasks_per_child reached: retired
//!                          └ died: the job fails, and the next job starts another worker
//! ```
//! A worker has one job at a time, and no job is sent to it in advance. So a worker that dies fails one job only. The loop
//! that started a worker watches its socket and its exit, so other loops do not use it. A pool may outlive a loop, but its
//! workers do not.

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
use crate::process_pool::serve::{WORKER_ARGUMENT, is_registered};
use crate::sync::lock::Lock;
use crate::sync::semaphore::Semaphore;

/// The executable of this process, even if its file has been replaced. A worker of another version could not be understood.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How many bytes of a response are read at first. Memory is allocated as the bytes arrive, and not for the length that the
/// worker claims.
const FIRST_CHUNK: usize = 64 * 1024;

/// A pool of processes: asyncio's `ProcessPoolExecutor`, for [`Function`]s.
///
/// Workers start on demand, one for each concurrent job up to [`max_workers`](Self::max_workers), and are reused.
/// Clones are the same pool. When the last one is dropped, idle workers exit.
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
    /// One permit for each worker that there may be. A job holds one while it has a worker.
    permits: Semaphore,
    idle: RefCell<Vec<Worker>>,
    /// Workers that get no more jobs and may not have exited yet. They stay here until they have, so that a shutdown
    /// can wait for them even if an earlier one was dropped before its end.
    retired: RefCell<Vec<Rc<Process>>>,
    /// How many processes were ever started.
    started: Cell<usize>,
    shut_down: Cell<bool>,
    /// Held by one shutdown at a time: two that each hold some permits would wait for each other's.
    shutdown_lock: Lock<()>,
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
        // Workers have process groups of their own, so that Ctrl-C at a terminal reaches the program only.
        let mut command = Command::new(THIS_PROGRAM)
            .arg(WORKER_ARGUMENT)
            .process_group(0);
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

    /// Sends a request, and returns the response without its length.
    async fn exchange(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.socket.write_all(request).await?;
        let mut length = [0; 8];
        self.socket.read_exact(&mut length).await?;
        let length = usize::try_from(u64::from_le_bytes(length)).map_err(io::Error::other)?;
        let mut response = Vec::new();
        while response.len() < length {
            let start = response.len();
            let end = length.min(start + FIRST_CHUNK.max(start));
            response.try_reserve_exact(end - start)?;
            response.resize(end, 0);
            self.socket.read_exact(&mut response[start..]).await?;
        }
        Ok(response)
    }

    /// Closes the worker's socket, which makes the worker exit, and returns its process.
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
    /// Creates a pool with as many workers as there are cores.
    ///
    /// ```
    /// let pool = callsoon::process_pool::ProcessPoolExecutor::new();
    /// assert!(pool.max_workers() >= 1);
    /// ```
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder for a pool with other settings.
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

    /// Returns the most workers that there may be at a time.
    ///
    /// ```
    /// assert!(callsoon::process_pool::ProcessPoolExecutor::new().max_workers() >= 1);
    /// ```
    pub fn max_workers(&self) -> usize {
        self.pool.max_workers
    }

    /// Returns how many workers were started, including those that have exited.
    ///
    /// ```
    /// assert_eq!(callsoon::process_pool::ProcessPoolExecutor::new().started(), 0);
    /// ```
    pub fn started(&self) -> usize {
        self.pool.started.get()
    }

    /// Calls `function` with `argument` in a worker process, and returns its value.
    ///
    /// Jobs begin in the order in which they are first polled.
    ///
    /// # Errors
    /// - [`Panicked`](ProcessPoolError::Panicked) if the function panicked.
    /// - [`WorkerDied`](ProcessPoolError::WorkerDied) if its worker exited during the job. No other job fails.
    /// - [`Codec`](ProcessPoolError::Codec) if the argument or the result cannot be serialized or deserialized.
    /// - [`NoWorkerEntry`](ProcessPoolError::NoWorkerEntry) and [`UnknownFunction`](ProcessPoolError::UnknownFunction) if the
    ///   function was not registered by [`worker`](crate::process_pool::worker).
    /// - [`ShutDown`](ProcessPoolError::ShutDown) after [`shutdown`](Self::shutdown).
    /// - [`Io`](ProcessPoolError::Io) if a worker cannot be started or reached.
    ///
    /// # Panics
    /// When awaited outside a running loop.
    ///
    /// # Cancellation
    /// Dropping it before the job has begun removes the job. Later it kills the worker, whatever the function is doing.
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
        let _permit = self.pool.permits.acquire().await;
        if self.pool.shut_down.get() {
            return Err(ProcessPoolError::ShutDown);
        }
        // A virtual clock does not advance while a worker runs the job.
        let handle = get_running_loop();
        let _inhibitor = handle.state.inhibit();
        let worker = self.worker(&handle)?;
        // From here on until the response is complete, dropping the worker kills it.
        let response = match worker.exchange(&request).await {
            Ok(response) => response,
            Err(error) => return Err(died(function.name(), worker, error).await),
        };
        self.give_back(worker);
        result(function.name(), &response)
    }

    /// Returns an idle worker that still runs, or starts a new one.
    fn worker(&self, handle: &LoopHandle) -> io::Result<Worker> {
        loop {
            let idle = self.pool.idle.borrow_mut().pop();
            match idle {
                None => break,
                Some(worker) if !worker.process.is_watched_by(handle) => drop(worker.retire()),
                Some(worker) if !worker.process.has_exited() => return Ok(worker),
                // The worker died while it was idle, so no job fails.
                Some(dead) => drop(dead),
            }
        }
        let worker = Worker::start()?;
        self.pool.started.set(self.pool.started.get() + 1);
        Ok(worker)
    }

    /// Makes a worker idle after a job, or retires it if it has done as many jobs as it may.
    fn give_back(&self, mut worker: Worker) {
        worker.jobs += 1;
        let has_done_all = |max: NonZero<usize>| worker.jobs >= max.get();
        if self.pool.max_tasks.is_some_and(has_done_all) {
            self.retire(worker);
        } else {
            self.pool.idle.borrow_mut().push(worker);
        }
    }

    /// Retires a worker: it exits, and a shutdown waits for that.
    fn retire(&self, worker: Worker) {
        let mut retired = self.pool.retired.borrow_mut();
        // Dropping a process that has exited runs no user code.
        retired.retain(|process| !process.has_exited());
        retired.push(Rc::new(worker.retire()));
    }

    /// Shuts the pool down. Waits until all running jobs are done and every worker has exited.
    ///
    /// New jobs and jobs that have not begun end as [`ProcessPoolError::ShutDown`].
    ///
    /// # Cancellation
    /// Dropping it ends the wait. The pool stays shut down, and another call waits for the same workers.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let pool = callsoon::process_pool::ProcessPoolExecutor::new();
    /// pool.shutdown().await;
    /// # }).unwrap();
    /// ```
    pub async fn shutdown(&self) {
        self.pool.shut_down.set(true);
        let _locked = self.pool.shutdown_lock.acquire().await;
        let mut permits = Vec::new();
        for _ in 0..self.pool.max_workers {
            permits.push(self.pool.permits.acquire().await);
        }
        let here = try_get_running_loop();
        for worker in self.pool.idle.take() {
            self.retire(worker);
        }
        loop {
            let retired = self.pool.retired.borrow().first().cloned();
            let Some(process) = retired else { break };
            // A worker that another loop watches cannot be waited for: that loop is not running.
            let is_here = |here: &_| process.is_watched_by(here);
            if here.as_ref().is_some_and(is_here) {
                // If other code has reaped the worker, its status is unknown, but it has exited.
                let _ = process.wait().await;
            }
            let mut retired = self.pool.retired.borrow_mut();
            retired.retain(|kept| !Rc::ptr_eq(kept, &process));
        }
    }
}

/// Returns the error of a job whose worker's connection has failed: how the worker exited.
async fn died(function: &'static str, mut worker: Worker, error: io::Error) -> ProcessPoolError {
    // The worker may still run: its function may have closed the socket.
    let _ = worker.process.kill();
    worker.process.kill_on_drop = false;
    match worker.process.wait().await {
        Ok(status) => ProcessPoolError::WorkerDied { function, status },
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
            .field("shut_down", &self.pool.shut_down.get())
            .finish()
    }
}

/// The settings of a [`ProcessPoolExecutor`] that is to be created.
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
    /// Sets the most workers that there may be at a time. The least is one.
    ///
    /// ```
    /// use callsoon::process_pool::ProcessPoolExecutor;
    /// assert_eq!(ProcessPoolExecutor::builder().max_workers(0).build().max_workers(), 1);
    /// ```
    pub fn max_workers(mut self, processes: usize) -> Self {
        self.max_workers = processes.max(1);
        self
    }

    /// Sets how many jobs a worker runs before it is replaced, which bounds what a function may leak. By default a
    /// worker is never replaced.
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

    /// Creates the pool, without processes.
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
                permits: Semaphore::new(self.max_workers),
                idle: RefCell::default(),
                retired: RefCell::default(),
                started: Cell::new(0),
                shut_down: Cell::new(false),
                shutdown_lock: Lock::new(()),
            }),
        }
    }
}
