//! `Process`: one child process, from its start to its exit.
//!
//! ```text
//!   spawn ─► running ──► exited: the pidfd is readable ──► reaped: every waiter gets the status
//!               │ Process dropped: a background future of the loop waits for the exit, and reaps
//!               └ loop closed: killed, and reaped
//! ```
//! No thread blocks until a child exits, and no child is left as a zombie. The first waiter that is polled after the exit
//! reaps the child. If the `Process` was dropped, that waiter is a background future.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future as _, poll_fn};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus};
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;

use crate::event_loop::free::get_running_loop;
use crate::kernel::background::keep;
use crate::kernel::events::{process_exited, process_started};
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::note_wait::rename_wait;
use crate::kernel::proceed::proceed;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::process::exit::{Exit, reap_by_thread};
use crate::process::pipes::{self, Pipes};
use crate::stream::protocol::LIMIT;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;

/// How long to wait for the exit of a child that was killed. It takes less than a millisecond, unless the machine is very
/// busy, or the child hangs in the kernel, and then it may take for ever.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// Starts the process that std's `Command` describes, on the running loop. See [`LoopHandle::spawn_process`].
///
/// # Errors
/// Those of [`LoopHandle::spawn_process`].
///
/// # Panics
/// Outside a running loop.
///
/// ```
/// use std::process::Command;
/// callsoon::run(async {
///     let process = callsoon::process::spawn(&mut Command::new("true")).unwrap();
///     assert!(process.wait().await.unwrap().success());
/// }).unwrap();
/// ```
#[track_caller]
pub fn spawn(command: &mut Command) -> io::Result<Process> {
    get_running_loop().spawn_process(command)
}

impl LoopHandle {
    /// Starts the process that std's `Command` describes. This loop watches it.
    ///
    /// The standard descriptors that the command connects to pipes are fields of the [`Process`].
    ///
    /// # Errors
    /// No process is left in each case.
    /// - `NotFound` if there is no such program or folder, `PermissionDenied` if it may not be executed.
    /// - `WouldBlock` (`EAGAIN`) if the limit of processes is reached.
    /// - `EMFILE` or `ENFILE` if the process or the system has no descriptor left.
    /// - [`LoopClosed`](crate::LoopClosed), inside an `io::Error`, if the loop is closed.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let process = event_loop.spawn_process(&mut std::process::Command::new("true"))?;
    /// assert!(event_loop.run_until_complete(process.wait())??.success());
    /// assert!(event_loop.spawn_process(&mut std::process::Command::new("/no/such/program")).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn spawn_process(&self, command: &mut Command) -> io::Result<Process> {
        if self.is_closed() {
            return Err(crate::error::LoopClosed.into());
        }
        let watched = Watched::new(self, command.spawn()?)?;
        let pipes = watched.take_pipes(None)?;
        Process::new(watched, pipes, LIMIT, Location::caller())
    }
}

/// A child and the descriptor that tells when it exits.
pub(crate) struct Watched {
    io: Io<Exit>,
    /// Keeps the status once the child has been reaped.
    child: RefCell<Child>,
    /// The child has been reaped, here or by other code.
    reaped: Cell<bool>,
}

impl Watched {
    /// Watches a child that has just been started. If that fails, the child is killed and reaped.
    pub(crate) fn new(handle: &LoopHandle, mut child: Child) -> io::Result<Self> {
        let watch = Exit::of(child.id()).and_then(|exit| {
            let readiness = Readiness::new(false, false);
            Io::new(handle, exit, Interest::READABLE, readiness)
        });
        match watch {
            Ok(io) => {
                if handle.state.debug.get() {
                    process_started(child.id());
                }
                Ok(Self {
                    io,
                    child: RefCell::new(child),
                    reaped: Cell::new(false),
                })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub(crate) fn handle(&self) -> LoopHandle {
        self.io.handle()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Reaps the child if it has exited. Returns `WouldBlock` while it runs.
    fn reap(&self) -> io::Result<ExitStatus> {
        let status = self.child.borrow_mut().try_wait();
        let was_reaped = self.reaped.replace(!matches!(status, Ok(None)));
        if let (Ok(Some(status)), false) = (&status, was_reaped) {
            let debug = self.io.handle().state.debug.get();
            debug.then(|| process_exited(self.pid(), status));
        }
        status?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Waits for the exit of the child, and reaps it.
    pub(crate) async fn exited(&self) -> io::Result<ExitStatus> {
        let reap = |_: &Exit| self.reap();
        let mut exited = self.io.operate(Direction::Read, reap, |_| false);
        poll_fn(|context| {
            let polled = Pin::new(&mut exited).poll(context);
            if polled.is_pending() {
                rename_wait(WaitKind::Process, || u64::from(self.child.borrow().id()));
            }
            polled
        })
        .await
    }

    /// Returns the status if the child has exited, and reaps it if that has not been done.
    pub(crate) fn status(&self) -> Option<io::Result<ExitStatus>> {
        match self.reap() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }

    pub(crate) fn send_signal(&self, signum: i32) -> io::Result<()> {
        // In a forked process a child of the parent is a sibling, and is left alone. A reaped child is refused here because
        // the system may accept a signal for a short time after the reaping.
        if self.io.handle().state.is_inherited() || self.reaped.get() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        self.io.source().send_signal(signum)
    }

    /// Takes this process's ends of the child's pipes, and registers them. `both` is the end of an output that is
    /// stdout and stderr in one.
    pub(crate) fn take_pipes(&self, both: Option<OwnedFd>) -> io::Result<Pipes> {
        let mut child = self.child.borrow_mut();
        let handle = self.io.handle();
        let register = |pipe: Option<OwnedFd>, direction| {
            pipe.map(|pipe| pipes::register(&handle, pipe, direction))
                .transpose()
        };
        let stdout = both.or(child.stdout.take().map(OwnedFd::from));
        Ok([
            register(child.stdin.take().map(OwnedFd::from), Direction::Write)?,
            register(stdout, Direction::Read)?,
            register(child.stderr.take().map(OwnedFd::from), Direction::Read)?,
        ])
    }
}

/// Kills and reaps a child that still runs. That is so if the loop has closed, or if the child could not be set up. One that
/// cannot be killed, or takes its time on a busy machine, is reaped by a thread.
impl Drop for Watched {
    fn drop(&mut self) {
        // A forked process must not touch children of its parent.
        if self.io.handle().state.is_inherited() || self.status().is_some() {
            return;
        }
        let exit = self.io.source();
        if exit.send_signal(libc::SIGKILL).is_ok() {
            exit.wait(KILLED_WITHIN);
        }
        if self.status().is_none() {
            reap_by_thread(self.pid());
        }
    }
}

/// A child process.
///
/// Dropping it closes the pipes. The process runs on, unless
/// [`kill_on_drop`](crate::process::Command::kill_on_drop) was set, and its loop reaps it when it exits. A child that still
/// runs when its loop closes is killed.
///
/// # Differences from asyncio
/// asyncio kills a child that still runs when its transport is garbage-collected, and not when the loop closes. Its signals
/// go to a process id, which may belong to another process by then.
///
/// ```
/// use std::process::{Command, Stdio};
/// callsoon::run(async {
///     let mut command = Command::new("echo");
///     let mut process: callsoon::process::Process =
///         callsoon::process::spawn(command.arg("hello").stdout(Stdio::piped()))?;
///     assert_eq!(process.stdout.as_mut().unwrap().readline().await?, b"hello\n");
///     assert!(process.wait().await?.success());
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
pub struct Process {
    watched: Rc<Watched>,
    /// The writing end of the child's input, if that is a pipe.
    pub stdin: Option<StreamWriter>,
    /// The reading end of the child's output, if that is a pipe.
    pub stdout: Option<StreamReader>,
    /// The reading end of the child's errors, if that is a pipe of its own and not one stream with the output.
    pub stderr: Option<StreamReader>,
    pub(crate) kill_on_drop: bool,
}

impl Process {
    /// Makes streams of a child's pipes. If that fails, the child is killed and reaped.
    pub(crate) fn new(
        watched: Watched,
        [stdin, stdout, stderr]: Pipes,
        limit: NonZeroUsize,
        location: &'static Location<'static>,
    ) -> io::Result<Self> {
        let reader = |pipe| pipes::reader(pipe, limit, location);
        let writer = |pipe| pipes::writer(pipe, location);
        Ok(Self {
            watched: Rc::new(watched),
            stdin: stdin.map(writer).transpose()?,
            stdout: stdout.map(reader).transpose()?,
            stderr: stderr.map(reader).transpose()?,
            kill_on_drop: false,
        })
    }

    /// Returns the process id: asyncio's `pid`.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let process = callsoon::process::spawn(&mut std::process::Command::new("true")).unwrap();
    /// assert_ne!(process.pid(), std::process::id());
    /// # }).unwrap();
    /// ```
    #[doc(alias = "id")]
    pub fn pid(&self) -> u32 {
        self.watched.pid()
    }

    /// Waits until the process has exited, and returns its status.
    ///
    /// Any number of tasks may wait, and all get the same status. This does not wait for the pipes, which a grandchild may
    /// hold open. A virtual clock does not advance while a task waits.
    ///
    /// # Errors
    /// - `ECHILD` if other code in this program has reaped the process, or SIGCHLD is ignored. The status is then unknown.
    /// - [`LoopClosed`](crate::LoopClosed), inside an `io::Error`, if the loop has closed.
    ///
    /// # Cancellation
    /// Dropping it does nothing to the process.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let mut command = std::process::Command::new("sh");
    /// let process = callsoon::process::spawn(command.args(["-c", "exit 3"])).unwrap();
    /// assert_eq!(process.wait().await.unwrap().code(), Some(3));
    /// # }).unwrap();
    /// ```
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        let handle = self.watched.handle();
        if self.watched.reaped.get() || handle.is_closed() {
            // The status may be known already, also after the loop has closed.
            proceed().await;
            if let Some(status) = self.watched.status() {
                return status;
            }
        }
        let _inhibitor = handle.state.inhibit();
        self.watched.exited().await
    }

    /// Returns the status if the process has exited.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let process = callsoon::process::spawn(std::process::Command::new("sleep").arg("100")).unwrap();
    /// assert!(process.returncode().is_none());
    /// process.kill().unwrap();
    /// process.wait().await.unwrap();
    /// assert!(process.returncode().is_some());
    /// # }).unwrap();
    /// ```
    pub fn returncode(&self) -> Option<ExitStatus> {
        self.watched.status()?.ok()
    }

    /// Returns whether the process has exited, even if its status is unknown.
    #[cfg(feature = "process-pool")]
    pub(crate) fn has_exited(&self) -> bool {
        self.watched.status().is_some()
    }

    /// Returns whether `handle` is the loop that watches this process.
    #[cfg(feature = "process-pool")]
    pub(crate) fn is_watched_by(&self, handle: &LoopHandle) -> bool {
        self.watched.handle().state.epoch == handle.state.epoch
    }

    /// Sends a signal to the process. It never reaches another process.
    ///
    /// # Errors
    /// `ESRCH` if the process has been reaped. `EINVAL` if there is no signal of this number. `EPERM` if the process has
    /// changed its user.
    ///
    /// ```
    /// # callsoon::run(async {
    /// use std::os::unix::process::ExitStatusExt;
    /// let process = callsoon::process::spawn(std::process::Command::new("sleep").arg("100")).unwrap();
    /// process.send_signal(libc::SIGUSR1).unwrap();
    /// assert_eq!(process.wait().await.unwrap().signal(), Some(libc::SIGUSR1));
    /// assert!(process.send_signal(libc::SIGUSR1).is_err());
    /// # }).unwrap();
    /// ```
    pub fn send_signal(&self, signum: i32) -> io::Result<()> {
        self.watched.send_signal(signum)
    }

    /// Sends SIGTERM, which asks the process to end.
    ///
    /// # Errors
    /// Those of [`send_signal`](Self::send_signal).
    ///
    /// ```
    /// # callsoon::run(async {
    /// let process = callsoon::process::spawn(std::process::Command::new("sleep").arg("100")).unwrap();
    /// process.terminate().unwrap();
    /// assert!(!process.wait().await.unwrap().success());
    /// # }).unwrap();
    /// ```
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(libc::SIGTERM)
    }

    /// Sends SIGKILL, which ends the process.
    ///
    /// # Errors
    /// Those of [`send_signal`](Self::send_signal).
    ///
    /// ```
    /// # callsoon::run(async {
    /// let process = callsoon::process::spawn(std::process::Command::new("sleep").arg("100")).unwrap();
    /// process.kill().unwrap();
    /// assert!(!process.wait().await.unwrap().success());
    /// # }).unwrap();
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.send_signal(libc::SIGKILL)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let handle = self.watched.handle();
        if handle.is_closed() || self.watched.status().is_some() {
            return;
        }
        if self.kill_on_drop {
            // This fails only if the process has exited.
            let _ = self.kill();
        }
        let watched = Rc::clone(&self.watched);
        keep(&handle, async move {
            let _ = watched.exited().await;
        });
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid())
            .field("returncode", &self.returncode())
            .finish()
    }
}
