//! One child process, and how its end comes to the loop.
//!
//! ```text
//!   spawn ─► running ──► exited: pidfd readable ──► reaped: the status is known to all who wait
//!               │ handle dropped: the loop goes on watching, and reaps
//!               └ loop closed: killed, and reaped
//! ```
//! Nobody waits for a child by blocking, and none is left as a zombie: whoever looks first when the descriptor is readable
//! reaps it, and that is the awaiter, or the loop in its stead.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;

use crate::event_loop::free::get_running_loop;
use crate::kernel::background::keep;
use crate::kernel::io::Io;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::readiness::{Direction, Readiness};
use crate::sys::pidfd::PidFd;

/// How long the end of a killed child is waited for: it comes within a millisecond, unless the child hangs in the kernel,
/// and then nobody should wait for it.
const KILLED_WITHIN: Duration = Duration::from_secs(1);

/// Starts a process on the running loop. See [`LoopHandle::spawn_process`].
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
    /// say.
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
    pub fn spawn_process(&self, command: &mut Command) -> io::Result<Process> {
        if self.is_closed() {
            return Err(crate::error::LoopClosed.into());
        }
        let mut child = command.spawn()?;
        let watch = PidFd::open(child.id()).and_then(|pidfd| {
            let readiness = Readiness::new(false, false);
            Io::new(self, pidfd, Interest::READABLE, readiness)
        });
        match watch {
            Ok(io) => Ok(Process {
                watched: Rc::new(Watched {
                    io,
                    child: RefCell::new(child),
                }),
            }),
            Err(error) => {
                // Nobody could ever hear of its end.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

struct Watched {
    io: Io<PidFd>,
    /// Remembers its status once it has been reaped.
    child: RefCell<Child>,
}

impl Watched {
    /// Reaps the child if it has exited; `WouldBlock` while it runs.
    fn reap(&self) -> io::Result<ExitStatus> {
        let status = self.child.borrow_mut().try_wait()?;
        status.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    async fn exited(&self) -> io::Result<ExitStatus> {
        let reap = |_: &PidFd| self.reap();
        self.io.operate(Direction::Read, reap, |_| false).await
    }

    /// The status, if it is known or to be had.
    fn status(&self) -> Option<io::Result<ExitStatus>> {
        match self.reap() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }
}

/// The last who knows of the child: the loop has closed, or nobody watches it any more.
impl Drop for Watched {
    fn drop(&mut self) {
        // A forked copy of this process must leave its parent's children alone.
        if self.io.handle().state.is_inherited() || self.status().is_some() {
            return;
        }
        let pidfd = self.io.source();
        if pidfd.send_signal(libc::SIGKILL).is_ok() {
            pidfd.wait_exit(KILLED_WITHIN);
        }
        let _ = self.status();
    }
}

/// A process that this one has started.
///
/// Dropping it does nothing to the process: it runs on, and its loop reaps it when it ends. One that still runs when the
/// loop closes is killed.
///
/// ```
/// use std::process::{Command, Stdio};
/// callsoon::run(async {
///     let mut command = Command::new("echo");
///     let mut process: callsoon::process::Process =
///         callsoon::process::spawn(command.arg("hello").stdout(Stdio::piped())).unwrap();
///     let mut stdout = process.take_stdout().unwrap();
///     let text = callsoon::to_thread(move || std::io::read_to_string(&mut stdout)).await.unwrap();
///     assert_eq!(text.unwrap(), "hello\n");
///     assert!(process.wait().await.unwrap().success());
/// }).unwrap();
/// ```
pub struct Process {
    watched: Rc<Watched>,
}

impl Process {
    /// The process's number.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let process = callsoon::process::spawn(&mut std::process::Command::new("true")).unwrap();
    /// assert_ne!(process.id(), std::process::id());
    /// # }).unwrap();
    /// ```
    pub fn id(&self) -> u32 {
        self.watched.child.borrow().id()
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
        // Known already, also after the loop's end.
        if let Some(status) = self.watched.status() {
            return status;
        }
        let _held = self.watched.io.handle().state.inhibit();
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

    /// Sends the process a signal. It reaches this process or none.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped; `EINVAL` for a number that is no signal's.
    ///
    /// ```
    /// # callsoon::run(async {
    /// use std::os::unix::process::ExitStatusExt;
    /// let process = callsoon::process::spawn(std::process::Command::new("sleep").arg("100")).unwrap();
    /// process.send_signal(libc::SIGINT).unwrap();
    /// assert_eq!(process.wait().await.unwrap().signal(), Some(libc::SIGINT));
    /// assert!(process.send_signal(libc::SIGINT).is_err());
    /// # }).unwrap();
    /// ```
    pub fn send_signal(&self, signum: i32) -> io::Result<()> {
        self.watched.io.source().send_signal(signum)
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

    /// The writing end of the process's input, if it was piped and not taken. It blocks, as std's does.
    ///
    /// ```
    /// # callsoon::run(async {
    /// use std::process::{Command, Stdio};
    /// let mut process = callsoon::process::spawn(Command::new("cat").stdin(Stdio::piped())).unwrap();
    /// drop(process.take_stdin());
    /// assert!(process.wait().await.unwrap().success());
    /// # }).unwrap();
    /// ```
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.watched.child.borrow_mut().stdin.take()
    }

    /// The reading end of the process's output, if it was piped and not taken. It blocks, as std's does.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let mut process = callsoon::process::spawn(&mut std::process::Command::new("true")).unwrap();
    /// assert!(process.take_stdout().is_none(), "it was not piped");
    /// # }).unwrap();
    /// ```
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.watched.child.borrow_mut().stdout.take()
    }

    /// The reading end of the process's errors, if they were piped and not taken. It blocks, as std's does.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let mut process = callsoon::process::spawn(&mut std::process::Command::new("true")).unwrap();
    /// assert!(process.take_stderr().is_none(), "they were not piped");
    /// # }).unwrap();
    /// ```
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.watched.child.borrow_mut().stderr.take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let handle = self.watched.io.handle();
        if handle.is_closed() || self.watched.status().is_some() {
            return;
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
