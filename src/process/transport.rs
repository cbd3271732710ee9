//! `subprocess_exec` and `subprocess_shell`: they start a child, and call its protocol for its pipes and its exit.
//!
//! ```text
//!   pipe readable ─► transport of the pipe ─► PipeProtocol ─► pipe_data_received, pipe_connection_lost ─┐
//!   pidfd readable ─► background future ─► ready queue ─► process_exited ───────────────────────────────┤
//!                                                    all pipes closed and the process exited ─► finish ─┘
//!                                                         finish ─► ready queue ─► connection_lost
//! ```
//! `process_exited` and `connection_lost` are queued as callbacks, so they never run inside a call of the program.
//! Every method of the protocol is entered by `kernel/enter`.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::background::keep;
use crate::kernel::callee::Callee;
use crate::kernel::enter::{Entry, InContext};
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::process::command::Command;
use crate::process::pipes::{self, Pipes};
use crate::process::protocol::{Subprocess, SubprocessProtocol, SubprocessTransport};
use crate::process::stdio::PIPE;
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::try_factory::TryFactory;

impl LoopHandle {
    /// Starts a process for a protocol. Returns the transport and the protocol when `connection_made` has run.
    ///
    /// A standard descriptor for which the command sets nothing is a pipe.
    ///
    /// # Errors
    /// Awaiting it gives the errors of [`spawn_process`](Self::spawn_process). No process is left then, and `factory`
    /// has not been called. `InvalidInput` if [`STDOUT`](crate::process::STDOUT) is set for another descriptor than
    /// stderr.
    ///
    /// # Cancellation
    /// It starts the process at its first poll, and is ready then. Dropping it before starts nothing.
    ///
    /// ```
    /// use callsoon::process::{Command, SubprocessProtocol, SubprocessTransport};
    /// struct Idle;
    /// impl SubprocessProtocol for Idle {}
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let (transport, _idle) = event_loop.subprocess_exec(|| Idle, Command::new("cat")).await?;
    ///     transport.terminate()
    /// }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn subprocess_exec<F, P>(
        &self,
        factory: F,
        mut command: Command,
    ) -> impl Future<Output = io::Result<(SubprocessTransport, Rc<P>)>> + use<F, P>
    where
        F: FnOnce() -> P,
        P: SubprocessProtocol,
    {
        let (handle, location) = (self.clone(), Location::caller());
        async move {
            proceed().await;
            start(&handle, || Ok(factory()), &mut command, location)
        }
    }

    /// Starts a process as [`subprocess_exec`](Self::subprocess_exec) does. The factory may fail: then the process is killed
    /// and reaped, and awaiting gives the error.
    ///
    /// # Errors
    /// Those of [`subprocess_exec`](Self::subprocess_exec), and that of the factory. An `io::Error` comes as it is; another
    /// error is inside one of kind `Other`.
    ///
    /// # Cancellation
    /// Like [`subprocess_exec`](Self::subprocess_exec).
    ///
    /// ```
    /// use callsoon::process::Command;
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let factory = || Err::<Idle, _>("no licence");
    /// let started = event_loop.try_subprocess_exec(factory, Command::new("cat")).await;
    /// assert_eq!(started.map(drop).unwrap_err().to_string(), "no licence");
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_subprocess_exec<F, P, E>(
        &self,
        factory: F,
        mut command: Command,
    ) -> impl Future<Output = io::Result<(SubprocessTransport, Rc<P>)>> + use<F, P, E>
    where
        F: FnOnce() -> Result<P, E>,
        P: SubprocessProtocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let (handle, location) = (self.clone(), Location::caller());
        async move {
            proceed().await;
            let make = || TryFactory(factory).make();
            start(&handle, make, &mut command, location)
        }
    }

    /// Runs a shell command for a protocol: [`subprocess_exec`](Self::subprocess_exec) with `/bin/sh -c`.
    ///
    /// # Errors
    /// Those of [`subprocess_exec`](Self::subprocess_exec).
    ///
    /// # Cancellation
    /// Like [`subprocess_exec`](Self::subprocess_exec).
    ///
    /// ```
    /// use callsoon::process::SubprocessProtocol;
    /// struct Idle;
    /// impl SubprocessProtocol for Idle {}
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let (_transport, _idle) = event_loop.subprocess_shell(|| Idle, "exit 3").await?;
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn subprocess_shell<F, P>(
        &self,
        factory: F,
        line: &str,
    ) -> impl Future<Output = io::Result<(SubprocessTransport, Rc<P>)>> + use<F, P>
    where
        F: FnOnce() -> P,
        P: SubprocessProtocol,
    {
        self.subprocess_exec(factory, Command::shell(line))
    }

    /// Runs a shell command as [`subprocess_shell`](Self::subprocess_shell) does, with a factory that may fail.
    ///
    /// # Errors
    /// Those of [`try_subprocess_exec`](Self::try_subprocess_exec).
    ///
    /// # Cancellation
    /// Like [`subprocess_exec`](Self::subprocess_exec).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let factory = || Ok::<_, std::io::Error>(Idle);
    /// let (_transport, _idle) = event_loop.try_subprocess_shell(factory, "exit 3").await?;
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_subprocess_shell<F, P, E>(
        &self,
        factory: F,
        line: &str,
    ) -> impl Future<Output = io::Result<(SubprocessTransport, Rc<P>)>> + use<F, P, E>
    where
        F: FnOnce() -> Result<P, E>,
        P: SubprocessProtocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.try_subprocess_exec(factory, Command::shell(line))
    }
}

fn start<P: SubprocessProtocol>(
    handle: &LoopHandle,
    make: impl FnOnce() -> io::Result<P>,
    command: &mut Command,
    location: &'static Location<'static>,
) -> io::Result<(SubprocessTransport, Rc<P>)> {
    // If anything fails from here on, dropping `watched` kills and reaps the child.
    let (watched, pipes) = command.start(handle, &PIPE)?;
    let protocol = Rc::new(make()?);
    let subprocess = Rc::new(Subprocess {
        watched,
        protocol: RefCell::new(Some(Rc::clone(&protocol) as Rc<dyn SubprocessProtocol>)),
        pipes: RefCell::default(),
        open: Cell::new(0),
        exited: Cell::new(false),
        closing: Cell::new(false),
        finished: Cell::new(false),
        context: handle.state.copy_context(),
        location,
    });
    let transport = SubprocessTransport { subprocess };
    // Events of the child are queued, so they come after `connection_made`.
    transport.connect(pipes)?;
    transport.call("connection_made", |protocol| {
        protocol.connection_made(&transport);
    });
    Ok((transport, protocol))
}

impl SubprocessTransport {
    /// Connects the pipes to the protocol, and keeps a background future that waits for the exit.
    fn connect(&self, pipes: Pipes) -> io::Result<()> {
        let subprocess = &self.subprocess;
        for (fd, pipe) in pipes.into_iter().enumerate() {
            let Some(pipe) = pipe else { continue };
            let protocol = PipeProtocol {
                fd,
                guard: ProtocolGuard(self.clone()),
            };
            match pipes::connect(pipe, Rc::new(protocol), subprocess.location) {
                Ok(transport) => subprocess.pipes.borrow_mut()[fd] = Some(transport),
                Err(closed) => {
                    subprocess.pipes.take();
                    return Err(closed);
                }
            }
            subprocess.open.set(subprocess.open.get() + 1);
        }
        let guard = ProtocolGuard(self.clone());
        keep(&self.handle(), async move {
            // If other code has reaped the child, the status is unknown, but it has exited.
            let _ = guard.0.subprocess.watched.exited().await;
            guard.queue(|transport| {
                transport.call("process_exited", |protocol| {
                    protocol.process_exited(transport);
                });
                transport.subprocess.exited.set(true);
                transport.finish();
            });
        });
        Ok(())
    }

    /// Calls a method of the protocol with nothing borrowed. A panic is reported.
    fn call(&self, name: &'static str, call: impl FnOnce(&dyn SubprocessProtocol)) {
        let protocol = self.subprocess.protocol.borrow().clone();
        let Some(protocol) = protocol else { return };
        let handle = self.handle();
        let entry = Entry {
            state: &handle.state,
            callee: Callee::SubprocessProtocol(name, self),
            location: self.subprocess.location,
        };
        let context = InContext::Of(&self.subprocess.context);
        // The protocol is still called after a panic, which has been reported.
        let _ = entry.run_on(context, protocol, call);
    }

    /// Queues `connection_lost` if the process has exited and all pipes are closed.
    fn finish(&self) {
        let subprocess = &self.subprocess;
        if !subprocess.exited.get()
            || subprocess.open.get() > 0
            || subprocess.finished.replace(true)
        {
            return;
        }
        ProtocolGuard(self.clone()).queue(|transport| {
            transport.call("connection_lost", |protocol| {
                protocol.connection_lost(transport, None);
            });
            transport.release();
        });
    }

    /// Warns that the loop has closed before the subprocess has ended. Of all who tell it so, the first finds the protocol.
    fn warn_if_open(&self) {
        let subprocess = &self.subprocess;
        let is_ending = subprocess.closing.get() || subprocess.finished.get();
        if !is_ending && subprocess.protocol.borrow().is_some() {
            let state = &self.handle().state;
            state.warn_unclosed("a subprocess transport", subprocess.location);
        }
    }

    /// Drops this reference to the protocol. A panic of its destructor is reported.
    fn release(&self) {
        let protocol = self.subprocess.protocol.borrow_mut().take();
        let state = &self.handle().state;
        state.catch_panic("Exception in the destructor of a protocol", || {
            drop(protocol);
        });
    }
}

/// Held by everything that will call the protocol later. When the loop has closed, its drop releases the protocol, which
/// may be in a reference cycle with its transport.
struct ProtocolGuard(SubprocessTransport);

impl ProtocolGuard {
    /// Queues a call of the protocol. On a closed loop the call is dropped.
    fn queue(self, call: impl FnOnce(&SubprocessTransport) + 'static) {
        let (handle, location) = (self.0.handle(), self.0.subprocess.location);
        if !handle.is_closed() {
            handle.queue_call(move || call(&self.0), location);
        }
    }
}

impl Drop for ProtocolGuard {
    fn drop(&mut self) {
        if self.0.handle().is_closed() {
            self.0.warn_if_open();
            self.0.release();
        }
    }
}

/// The protocol of one pipe, which calls the subprocess protocol.
struct PipeProtocol {
    fd: usize,
    guard: ProtocolGuard,
}

impl PipeProtocol {
    fn call(
        &self,
        name: &'static str,
        call: impl FnOnce(&dyn SubprocessProtocol, &SubprocessTransport),
    ) {
        let transport = &self.guard.0;
        transport.call(name, |protocol| call(protocol, transport));
    }
}

impl Protocol for PipeProtocol {
    fn data_received(&self, _: &Transport, data: &[u8]) {
        self.call("pipe_data_received", |protocol, transport| {
            protocol.pipe_data_received(transport, self.fd as i32, data);
        });
    }

    fn connection_lost(&self, _: &Transport, error: Option<io::Error>) {
        let subprocess = &self.guard.0.subprocess;
        let pipe = subprocess.pipes.borrow_mut()[self.fd].take();
        drop(pipe);
        self.call("pipe_connection_lost", |protocol, transport| {
            protocol.pipe_connection_lost(transport, self.fd as i32, error);
        });
        subprocess.open.set(subprocess.open.get() - 1);
        self.guard.0.finish();
    }

    fn pause_writing(&self, _: &Transport) {
        self.call("pause_writing", |protocol, transport| {
            protocol.pause_writing(transport);
        });
    }

    fn resume_writing(&self, _: &Transport) {
        self.call("resume_writing", |protocol, transport| {
            protocol.resume_writing(transport);
        });
    }
}
