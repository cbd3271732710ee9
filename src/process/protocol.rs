//! `SubprocessProtocol`, which a program implements for a child, and `SubprocessTransport`, by which it controls the child.
//!
//! ```text
//! connection_made → pipe_data_received(fd)* → pipe_connection_lost(fd)   for each pipe
//!                   process_exited                                       once, before or after those
//!                   → connection_lost                                    when all of these have been called
//! ```
//! A grandchild may hold a pipe open after the child's exit. Then `process_exited` comes long before `connection_lost`.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::process::ExitStatus;
use std::rc::Rc;

use crate::kernel::callee::Reported;
use crate::kernel::context::Context;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::process::child::Watched;
use crate::transport::protocol::Transport;

/// The callbacks of a child process. The default of each method does nothing.
///
/// They run in the loop, like callbacks of `call_soon`. A panic is reported to the exception handler, and later methods are
/// still called.
///
/// # Differences from asyncio
/// Every method has the transport as an argument, and takes `&self`, since a call of the transport may call the protocol
/// again.
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
    /// Called first, when the process has been started.
    fn connection_made(&self, transport: &SubprocessTransport) {}

    /// Called when the child has written to its descriptor 1 or 2. `data` is valid for this call only.
    fn pipe_data_received(&self, transport: &SubprocessTransport, fd: i32, data: &[u8]) {}

    /// Called when a pipe is closed: 0 when this side closed it or the child closed its end, 1 and 2 when everything
    /// has been read.
    fn pipe_connection_lost(
        &self,
        transport: &SubprocessTransport,
        fd: i32,
        error: Option<io::Error>,
    ) {
    }

    /// Called when the process has exited. [`SubprocessTransport::returncode`] has the status.
    fn process_exited(&self, transport: &SubprocessTransport) {}

    /// Called last, when the process has exited and all its pipes are closed.
    fn connection_lost(&self, transport: &SubprocessTransport, error: Option<io::Error>) {}

    /// Called when the buffer for the child's input exceeds the high-water mark.
    fn pause_writing(&self, transport: &SubprocessTransport) {}

    /// Called when the buffer for the child's input has drained below the low-water mark.
    fn resume_writing(&self, transport: &SubprocessTransport) {}
}

/// The state behind a transport. The loop holds it until `connection_lost` has been called.
pub(crate) struct Subprocess {
    pub(crate) watched: Watched,
    pub(crate) protocol: RefCell<Option<Rc<dyn SubprocessProtocol>>>,
    /// The transports of descriptors 0, 1 and 2, until `pipe_connection_lost` is called for them.
    pub(crate) pipes: RefCell<[Option<Transport>; 3]>,
    /// How many pipes there are for which `pipe_connection_lost` has not been called.
    pub(crate) open: Cell<usize>,
    /// `process_exited` has been called.
    pub(crate) exited: Cell<bool>,
    /// `close` has been called.
    pub(crate) closing: Cell<bool>,
    /// `connection_lost` has been queued.
    pub(crate) finished: Cell<bool>,
    /// A copy of the context in which the child was started.
    pub(crate) context: Option<Context>,
    /// Where it was started.
    pub(crate) location: &'static Location<'static>,
}

/// Controls a child process that has a protocol. Clones are the same transport. Dropping them does nothing to the child.
///
/// ```
/// # use callsoon::doctest::Idle;
/// # use callsoon::process::{Command, SubprocessTransport};
/// # callsoon::doctest::run(async {
/// let event_loop = callsoon::get_running_loop();
/// let (transport, _) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
/// let transport: SubprocessTransport = transport.clone();
/// assert!(transport.returncode().is_none());
/// transport.close();
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct SubprocessTransport {
    pub(crate) subprocess: Rc<Subprocess>,
}

impl Reported for SubprocessTransport {
    #[cold]
    fn reported(&self) -> Rc<dyn Any> {
        Rc::new(self.clone())
    }
}

impl ExceptionContext {
    /// Returns the transport of the child whose protocol has panicked.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_exception_handler(|_, context| {
    ///     if let Some(transport) = context.subprocess_transport() {
    ///         eprintln!("child {}: {context}", transport.pid());
    ///     }
    /// });
    /// ```
    pub fn subprocess_transport(&self) -> Option<&SubprocessTransport> {
        self.about_transport.as_ref()?.downcast_ref()
    }
}

impl SubprocessTransport {
    pub(crate) fn handle(&self) -> LoopHandle {
        self.subprocess.watched.handle()
    }

    /// Returns the process id.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// assert_ne!(transport.pid(), std::process::id());
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_pid")]
    pub fn pid(&self) -> u32 {
        self.subprocess.watched.pid()
    }

    /// Returns the status if the process has exited.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// assert!(transport.returncode().is_none());
    /// # Ok(()) });
    /// ```
    pub fn returncode(&self) -> Option<ExitStatus> {
        self.subprocess.watched.status()?.ok()
    }

    /// Returns this process's end of the pipe of the child's descriptor 0, 1 or 2. Returns `None` if that is no pipe, or is
    /// closed.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// transport.pipe_transport(0).unwrap().write(b"hello");
    /// assert!(transport.pipe_transport(3).is_none());
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_pipe_transport")]
    pub fn pipe_transport(&self, fd: i32) -> Option<ChildPipe> {
        let pipes = self.subprocess.pipes.borrow();
        let pipe = pipes.get(usize::try_from(fd).ok()?)?;
        let transport = pipe.clone()?;
        Some(ChildPipe { transport })
    }

    /// Sends a signal to the process. It never reaches another process.
    ///
    /// # Errors
    /// `ESRCH` if the process has been reaped. `EINVAL` if there is no signal of this number. `EPERM` if the process has
    /// changed its user.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// transport.send_signal(libc::SIGUSR1)?;
    /// # Ok(()) });
    /// ```
    pub fn send_signal(&self, signum: i32) -> io::Result<()> {
        self.subprocess.watched.send_signal(signum)
    }

    /// Sends SIGTERM, which asks the process to end.
    ///
    /// # Errors
    /// Those of [`send_signal`](Self::send_signal).
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// transport.terminate()?;
    /// # Ok(()) });
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
    /// # callsoon::doctest::with_child(async |transport| {
    /// transport.kill()?;
    /// # Ok(()) });
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        self.send_signal(libc::SIGKILL)
    }

    /// Closes the pipes, and kills the process if it still runs. The protocol's methods for these events are called. A
    /// second call does nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// transport.close();
    /// assert!(transport.is_closing());
    /// # Ok(()) });
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
        // This fails only if the process has exited.
        let _ = self.kill();
    }

    /// Returns whether [`close`](Self::close) has been called.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// assert!(!transport.is_closing());
    /// # Ok(()) });
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
/// # use callsoon::process::ChildPipe;
/// # callsoon::doctest::with_child(async |transport| {
/// let stdin: ChildPipe = transport.pipe_transport(0).unwrap();
/// stdin.write(b"hello");
/// stdin.close();
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct ChildPipe {
    transport: Transport,
}

impl ChildPipe {
    /// Writes to the child's input. What the pipe has no room for is buffered.
    ///
    /// It does nothing after the pipe was closed, and for the child's output.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// transport.pipe_transport(0).unwrap().write(b"hello");
    /// # Ok(()) });
    /// ```
    pub fn write(&self, data: impl AsRef<[u8]>) {
        if self.transport.can_write_eof() {
            self.transport.write_bytes(data.as_ref());
        }
    }

    /// Returns how many bytes are buffered for the child's input.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// assert_eq!(transport.pipe_transport(0).unwrap().write_buffer_size(), 0);
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_write_buffer_size")]
    pub fn write_buffer_size(&self) -> usize {
        self.transport.write_buffer_size()
    }

    /// Stops reading the child's output. The child blocks when the pipe is full.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// transport.pipe_transport(1).unwrap().pause_reading();
    /// # Ok(()) });
    /// ```
    pub fn pause_reading(&self) {
        self.transport.pause_reading();
    }

    /// Continues to read the child's output.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// transport.pipe_transport(1).unwrap().resume_reading();
    /// # Ok(()) });
    /// ```
    pub fn resume_reading(&self) {
        self.transport.resume_reading();
    }

    /// Closes the pipe. For the child's input, buffered bytes are written first. For its output, unread bytes are
    /// discarded.
    ///
    /// ```
    /// # callsoon::doctest::with_child(async |transport| {
    /// transport.pipe_transport(0).unwrap().close();
    /// # Ok(()) });
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
