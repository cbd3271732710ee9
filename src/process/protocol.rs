//! A child by callbacks: what a program writes, a protocol, and what it is given for it, a transport.
//!
//! ```text
//! connection_made → pipe_data_received(fd)* → pipe_connection_lost(fd)   for each pipe
//!                   process_exited                                       once, in any order with those
//!                   → connection_lost                                    once all of these have come
//! ```
//! A grandchild may hold a pipe open after the child's exit: `process_exited` then comes long before `connection_lost`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::process::ExitStatus;
use std::rc::Rc;

use crate::kernel::context::Context;
use crate::kernel::loop_handle::LoopHandle;
use crate::process::child::Watched;
use crate::transport::protocol::Transport;

/// What a program does with a child. Every method does nothing unless it is written.
///
/// They run in the loop's own line, like callbacks; a panic in one goes to the exception handler.
///
/// ```
/// use std::cell::RefCell;
/// use callsoon::process::{Command, DEVNULL, SubprocessProtocol, SubprocessTransport};
///
/// #[derive(Default)]
/// struct Date(RefCell<Vec<u8>>);
///
/// impl SubprocessProtocol for Date {
///     fn pipe_data_received(&self, _: &SubprocessTransport, fd: i32, data: &[u8]) {
///         assert_eq!(fd, 1);
///         self.0.borrow_mut().extend(data);
///     }
///     fn connection_lost(&self, transport: &SubprocessTransport, _: Option<std::io::Error>) {
///         assert!(transport.returncode().unwrap().success());
///         callsoon::get_running_loop().stop();
///     }
/// }
///
/// let event_loop = callsoon::EventLoop::new()?;
/// let command = Command::new("echo").arg("today").stdin(DEVNULL).stderr(DEVNULL);
/// let started = event_loop.subprocess_exec(Date::default, command);
/// let (_transport, date) = event_loop.run_until_complete(started)??;
/// event_loop.run_forever()?;
/// assert_eq!(*date.0.borrow(), b"today\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(
    unused_variables,
    reason = "a default does nothing with what it is given"
)]
pub trait SubprocessProtocol: 'static {
    /// The process has been started. The first call, and the only one of its kind.
    fn connection_made(&self, transport: &SubprocessTransport) {}

    /// The child has written to its descriptor 1 or 2. The bytes lie in a buffer that all children share.
    fn pipe_data_received(&self, transport: &SubprocessTransport, fd: i32, data: &[u8]) {}

    /// A pipe is over: 0 where it was closed here or the child reads no more, 1 and 2 where everything has been read.
    fn pipe_connection_lost(
        &self,
        transport: &SubprocessTransport,
        fd: i32,
        error: Option<io::Error>,
    ) {
    }

    /// The process has exited, and its status is known.
    fn process_exited(&self, transport: &SubprocessTransport) {}

    /// The process has exited and all its pipes are over: the last call.
    fn connection_lost(&self, transport: &SubprocessTransport, error: Option<io::Error>) {}

    /// More is kept for the child's input than the high-water mark.
    fn pause_writing(&self, transport: &SubprocessTransport) {}

    /// The child has read enough for writing to go on.
    fn resume_writing(&self, transport: &SubprocessTransport) {}
}

/// What a transport stands for. The loop keeps it until the last call has been made.
pub(crate) struct Subprocess {
    pub(crate) watched: Watched,
    pub(crate) protocol: RefCell<Option<Rc<dyn SubprocessProtocol>>>,
    /// What its descriptors 0, 1 and 2 are connected to here, until the protocol hears of their ends.
    pub(crate) pipes: RefCell<[Option<Transport>; 3]>,
    /// Pipes of whose end the protocol has not heard.
    pub(crate) open: Cell<usize>,
    /// `process_exited` has been called.
    pub(crate) exited: Cell<bool>,
    pub(crate) closing: Cell<bool>,
    /// `connection_lost` stands in line.
    pub(crate) over: Cell<bool>,
    /// Where it was started.
    /// The values of context variables as they were where the child was started.
    pub(crate) context: Option<Context>,
    pub(crate) location: &'static Location<'static>,
}

/// A child for a protocol. Clones are the same; dropping them does nothing to the child.
///
/// ```
/// # use callsoon::process::{Command, SubprocessProtocol, SubprocessTransport};
/// # struct Idle;
/// # impl SubprocessProtocol for Idle {}
/// # callsoon::run(async {
/// let event_loop = callsoon::get_running_loop();
/// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
/// let transport: SubprocessTransport = transport.clone();
/// assert!(transport.returncode().is_none());
/// transport.close();
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct SubprocessTransport {
    pub(crate) subprocess: Rc<Subprocess>,
}

impl SubprocessTransport {
    pub(crate) fn handle(&self) -> LoopHandle {
        self.subprocess.watched.handle()
    }

    /// The process's number.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("true")).await?;
    /// assert_ne!(transport.pid(), std::process::id());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[doc(alias = "get_pid")]
    pub fn pid(&self) -> u32 {
        self.subprocess.watched.id()
    }

    /// The status, if the process has exited.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// assert!(transport.returncode().is_none());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn returncode(&self) -> Option<ExitStatus> {
        self.subprocess.watched.status()?.ok()
    }

    /// This end of the pipe that is the child's descriptor 0, 1 or 2; `None` where there is no pipe, or where it is over.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// transport.pipe_transport(0).unwrap().write(b"hello");
    /// assert!(transport.pipe_transport(3).is_none());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[doc(alias = "get_pipe_transport")]
    pub fn pipe_transport(&self, fd: i32) -> Option<ChildPipe> {
        let pipes = self.subprocess.pipes.borrow();
        let pipe = pipes.get(usize::try_from(fd).ok()?)?;
        let transport = pipe.clone()?;
        Some(ChildPipe { transport })
    }

    /// Sends the process a signal. It reaches this process or none.
    ///
    /// # Errors
    /// `ESRCH` once the process has been reaped; `EINVAL` for a number that is no signal's.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// transport.send_signal(libc::SIGUSR1)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn send_signal(&self, signum: i32) -> io::Result<()> {
        self.subprocess.watched.send_signal(signum)
    }

    /// Asks the process to end: SIGTERM.
    ///
    /// # Errors
    /// As [`send_signal`](Self::send_signal).
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// transport.terminate()?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
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
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// transport.kill()?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.send_signal(libc::SIGKILL)
    }

    /// Closes the pipes, and kills the process if it still runs. The protocol hears of the ends. Calling it again changes
    /// nothing.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// transport.close();
    /// assert!(transport.is_closing());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn close(&self) {
        if self.subprocess.closing.replace(true) {
            return;
        }
        for fd in 0..3 {
            if let Some(pipe) = self.pipe_transport(fd) {
                pipe.close();
            }
        }
        // It can only fail for one that has ended.
        let _ = self.kill();
    }

    /// Whether it was closed.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// assert!(!transport.is_closing());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn is_closing(&self) -> bool {
        self.subprocess.closing.get()
    }
}

impl fmt::Debug for SubprocessTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubprocessTransport")
            .field("pid", &self.pid())
            .field("open_pipes", &self.subprocess.open.get())
            .field("exited", &self.subprocess.exited.get())
            .field("closing", &self.is_closing())
            .finish()
    }
}

/// This process's end of one of a child's pipes. See [`SubprocessTransport::pipe_transport`].
///
/// ```
/// # use callsoon::process::{ChildPipe, Command, SubprocessProtocol};
/// # struct Idle;
/// # impl SubprocessProtocol for Idle {}
/// # callsoon::run(async {
/// # let event_loop = callsoon::get_running_loop();
/// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
/// let stdin: ChildPipe = transport.pipe_transport(0).unwrap();
/// stdin.write(b"hello");
/// stdin.close();
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct ChildPipe {
    transport: Transport,
}

impl ChildPipe {
    /// Writes to the child's input, or keeps what it has no room for. After the end it does nothing, and so it does on an
    /// output.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// transport.pipe_transport(0).unwrap().write(b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn write(&self, data: &[u8]) {
        if self.transport.can_write_eof() {
            self.transport.write(data);
        }
    }

    /// How many bytes are kept that the child has not made room for.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// assert_eq!(transport.pipe_transport(0).unwrap().get_write_buffer_size(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_write_buffer_size(&self) -> usize {
        self.transport.get_write_buffer_size()
    }

    /// Nothing is delivered any more: the child has to wait as soon as the pipe is full.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// transport.pipe_transport(1).unwrap().pause_reading();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn pause_reading(&self) {
        self.transport.pause_reading();
    }

    /// What the child says is delivered again.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// transport.pipe_transport(1).unwrap().resume_reading();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn resume_reading(&self) {
        self.transport.resume_reading();
    }

    /// Closes it: an input after what was written has gone, an output without reading what is left.
    ///
    /// ```
    /// # use callsoon::process::{Command, SubprocessProtocol};
    /// # struct Idle;
    /// # impl SubprocessProtocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    /// transport.pipe_transport(0).unwrap().close();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn close(&self) {
        self.transport.close();
    }
}

impl fmt::Debug for ChildPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildPipe")
            .field("transport", &self.transport)
            .finish()
    }
}
