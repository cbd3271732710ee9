//! One child process, and how its end comes to the loop.
//!
//! ```text
//!   spawn ─► running ──► exited: pidfd readable ──► reaped: the status is known to all who wait
//!               │ handle dropped: the loop goes on watching, and reaps
//!               └ loop closed: killed, and reaped
//! ```
//! Nobody waits for a child by blocking, and none is left as a zombie: whoever looks first when the descriptor is readable
//! reaps it, and that is the awaiter, or the loop in its stead.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::process::{Child, Command, ExitStatus};
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;

use crate::event_loop::free::get_running_loop;
use crate::kernel::background::keep;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::process::exit::Exit;
use crate::process::pipes::{self, Pipes};
use crate::stream::protocol::LIMIT;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;

/// How long the end of a killed child is waited for: it comes within a millisecond, unless the child hangs in the kernel,
/// and then nobody should wait for it.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// Starts a process that std's `Command` describes, on the running loop. See [`LoopHandle::spawn_process`].
///
/// # Errors
/// The system's.
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
    /// Starts a process, which this loop watches. What it is and how its streams are connected is std's `Command`'s to
    /// say; those that are piped are the [`Process`]'s to read and write.
    ///
    /// # Errors
    /// The system's: there is no such program, or no room for a process or a descriptor. Nothing is left behind then.
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
        Process::watch(self, command.spawn()?, None, LIMIT, Location::caller())
    }
}

/// A child, and who tells when it exits.
pub(crate) struct Watched {
    io: Io<Exit>,
    /// Remembers its status once it has been reaped.
    child: RefCell<Child>,
    /// Somebody has reaped it: this, or one who should not have.
    reaped: Cell<bool>,
}

impl Watched {
    /// Watches a child that has just been started. Where that cannot be, it is killed: nobody could ever hear of its end.
    pub(crate) fn new(handle: &LoopHandle, mut child: Child) -> io::Result<Self> {
        let watch = Exit::of(child.id()).and_then(|exit| {
            let readiness = Readiness::new(false, false);
            Io::new(handle, exit, Interest::READABLE, readiness)
        });
        match watch {
            Ok(io) => Ok(Self {
                io,
                child: RefCell::new(child),
                reaped: Cell::new(false),
            }),
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

    pub(crate) fn id(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Reaps the child if it has exited; `WouldBlock` while it runs.
    fn reap(&self) -> io::Result<ExitStatus> {
        let status = self.child.borrow_mut().try_wait();
        self.reaped.set(!matches!(status, Ok(None)));
        status?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Waits for its end, and reaps it.
    pub(crate) async fn exited(&self) -> io::Result<ExitStatus> {
        let reap = |_: &Exit| self.reap();
        self.io.operate(Direction::Read, reap, |_| false).await
    }

    /// The status, if it is known or to be had.
    pub(crate) fn status(&self) -> Option<io::Result<ExitStatus>> {
        match self.reap() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }

    pub(crate) fn send_signal(&self, signum: i32) -> io::Result<()> {
        // In a forked process its parent's child is its sibling. And one whose end is known has ended, also for the moment in
        // which the system still lets signals go to what is left of it.
        if self.io.handle().state.is_inherited() || self.reaped.get() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        self.io.source().send_signal(signum)
    }

    /// What the child's input, output and errors are connected to here.
    pub(crate) fn take_pipes(&self, both: Option<OwnedFd>) -> io::Result<Pipes> {
        let mut child = self.child.borrow_mut();
        let handle = self.io.handle();
        let watch = |pipe: Option<OwnedFd>, direction| {
            pipe.map(|pipe| pipes::watch(&handle, pipe, direction))
                .transpose()
        };
        let stdout = both.or(child.stdout.take().map(OwnedFd::from));
        Ok([
            watch(child.stdin.take().map(OwnedFd::from), Direction::Write)?,
            watch(stdout, Direction::Read)?,
            watch(child.stderr.take().map(OwnedFd::from), Direction::Read)?,
        ])
    }
}

/// The last who knows of the child: the loop has closed, or nobody watches it any more.
impl Drop for Watched {
    fn drop(&mut self) {
        // A forked copy of this process must leave its parent's children alone.
        if self.io.handle().state.is_inherited() || self.status().is_some() {
            return;
        }
        let exit = self.io.source();
        if exit.send_signal(libc::SIGKILL).is_ok() {
            exit.wait(KILLED_WITHIN);
        }
        let _ = self.status();
    }
}

/// A process that this one has started.
///
/// Dropping it closes the pipes and does nothing else to the process: it runs on, unless
/// [`kill_on_drop`](crate::process::Command::kill_on_drop) was said, and its loop reaps it when it ends. One that still
/// runs when the loop closes is killed.
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
    /// The writing end of its input, if it was piped and not taken.
    pub stdin: Option<StreamWriter>,
    /// The reading end of its output, if it was piped and not taken.
    pub stdout: Option<StreamReader>,
    /// The reading end of its errors, if they were piped, not in one stream with the output, and not taken.
    pub stderr: Option<StreamReader>,
    pub(crate) kill_on_drop: bool,
}

impl Process {
    /// Watches a child that has just been started; one that cannot be is killed.
    pub(crate) fn watch(
        handle: &LoopHandle,
        child: Child,
        both: Option<OwnedFd>,
        limit: NonZeroUsize,
        location: &'static Location<'static>,
    ) -> io::Result<Self> {
        let watched = Watched::new(handle, child)?;
        let [stdin, stdout, stderr] = watched.take_pipes(both)?;
        let reader = |pipe: Option<_>| {
            pipe.map(|pipe| pipes::reader(pipe, limit, location))
                .transpose()
        };
        Ok(Self {
            watched: Rc::new(watched),
            stdin: stdin
                .map(|pipe| pipes::writer(pipe, location))
                .transpose()?,
            stdout: reader(stdout)?,
            stderr: reader(stderr)?,
            kill_on_drop: false,
        })
    }

    /// The process's number: asyncio's `pid`.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let process = callsoon::process::spawn(&mut std::process::Command::new("true")).unwrap();
    /// assert_ne!(process.id(), std::process::id());
    /// # }).unwrap();
    /// ```
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.watched.id()
    }

    /// Waits until the process has exited. Any number may wait; all get the same status. It does not wait for the
    /// streams, which a grandchild may hold open.
    ///
    /// While somebody waits a virtual clock stands still.
    ///
    /// # Errors
    /// `ECHILD` where somebody else in this program has reaped the process, or its SIGCHLD is ignored: then nobody knows
    /// the status. [`LoopClosed`](crate::LoopClosed), inside an `io::Error`.
    ///
    /// # Cancellation
    /// Dropped, it does nothing to the process.
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
            // Known already, also after the loop's end.
            proceed().await;
            if let Some(status) = self.watched.status() {
                return status;
            }
        }
        let _held = handle.state.inhibit();
        self.watched.exited().await
    }

    /// The status, if the process has exited.
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

    /// Whether it has exited, also where nobody knows its status.
    #[cfg(feature = "process-pool")]
    pub(crate) fn is_over(&self) -> bool {
        self.watched.status().is_some()
    }

    /// Whether it is that loop that hears of its end.
    #[cfg(feature = "process-pool")]
    pub(crate) fn is_watched_by(&self, handle: &LoopHandle) -> bool {
        self.watched.handle().state.epoch == handle.state.epoch
    }

    /// Sends the process a signal. It reaches this process or none.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped; `EINVAL` for a number that is no signal's.
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

    /// Asks the process to end: SIGTERM.
    ///
    /// # Errors
    /// As [`send_signal`](Self::send_signal).
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

    /// Ends the process: SIGKILL.
    ///
    /// # Errors
    /// As [`send_signal`](Self::send_signal).
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
            // It can only fail for one that has ended.
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
            .field("id", &self.id())
            .field("returncode", &self.returncode())
            .finish()
    }
}
