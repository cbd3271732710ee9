//! How a child's pipes and its exit come to its protocol.
//!
//! Bytes are delivered straight from the loop's line, one read for each time that a pipe is ready; every end goes through
//! the line as a callback, so that nothing is called from within a call of the program.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::background::keep;
use crate::kernel::enter::{Callee, Entry, InContext};
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::process::command::Command;
use crate::process::pipes::{self, Pipes};
use crate::process::protocol::{Subprocess, SubprocessProtocol, SubprocessTransport};
use crate::process::stdio::PIPE;
use crate::transport::protocol::{Protocol, Transport};

impl LoopHandle {
    /// Starts a process for a protocol, and gives the transport and the protocol once `connection_made` has run. What the
    /// command says nothing about is a pipe.
    ///
    /// # Errors
    /// The system's. Awaiting gives it; nothing is left behind then, and no protocol has been made.
    ///
    /// # Cancellation
    /// Dropped before its first poll it starts nothing; it is done with that.
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
            start(&handle, factory, &mut command, location)
        }
    }

    /// [`subprocess_exec`](Self::subprocess_exec) for a line for `/bin/sh`.
    ///
    /// # Errors
    /// As [`subprocess_exec`](Self::subprocess_exec).
    ///
    /// # Cancellation
    /// As [`subprocess_exec`](Self::subprocess_exec).
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
        let (handle, location) = (self.clone(), Location::caller());
        let mut command = Command::shell(line);
        async move {
            proceed().await;
            start(&handle, factory, &mut command, location)
        }
    }
}

fn start<P: SubprocessProtocol>(
    handle: &LoopHandle,
    factory: impl FnOnce() -> P,
    command: &mut Command,
    location: &'static Location<'static>,
) -> io::Result<(SubprocessTransport, Rc<P>)> {
    let (watched, both) = command.start_watched(handle, &PIPE)?;
    // Should anything fail from here on, dropping the child kills and reaps it.
    let pipes = watched.take_pipes(both)?;
    let protocol = Rc::new(factory());
    let subprocess = Rc::new(Subprocess {
        watched,
        protocol: RefCell::new(Some(Rc::clone(&protocol) as Rc<dyn SubprocessProtocol>)),
        pipes: RefCell::default(),
        open: Cell::new(0),
        exited: Cell::new(false),
        closing: Cell::new(false),
        over: Cell::new(false),
        context: handle.state.copy_context(),
        location,
    });
    let transport = SubprocessTransport { subprocess };
    // Whatever comes goes through the loop's line, behind this.
    transport.connect(pipes)?;
    transport.call("connection_made", |protocol| {
        protocol.connection_made(&transport);
    });
    Ok((transport, protocol))
}

impl SubprocessTransport {
    /// Begins to hear of the child.
    fn connect(&self, pipes: Pipes) -> io::Result<()> {
        let subprocess = &self.subprocess;
        for (fd, pipe) in pipes.into_iter().enumerate() {
            let Some(pipe) = pipe else { continue };
            let end = End {
                fd,
                caller: Caller(self.clone()),
            };
            match pipes::connect(pipe, Rc::new(end), subprocess.location) {
                Ok(transport) => subprocess.pipes.borrow_mut()[fd] = Some(transport),
                Err(closed) => {
                    subprocess.pipes.take();
                    return Err(closed);
                }
            }
            subprocess.open.set(subprocess.open.get() + 1);
        }
        let caller = Caller(self.clone());
        keep(&self.handle(), async move {
            // A status that somebody else has taken is an exit as well.
            let _ = caller.0.subprocess.watched.exited().await;
            caller.queue(|transport| {
                transport.call("process_exited", |protocol| {
                    protocol.process_exited(transport);
                });
                transport.subprocess.exited.set(true);
                transport.finish();
            });
        });
        Ok(())
    }

    /// Calls the protocol with nothing borrowed; its panic is reported.
    fn call(&self, name: &'static str, call: impl FnOnce(&dyn SubprocessProtocol)) {
        let protocol = self.subprocess.protocol.borrow().clone();
        let Some(protocol) = protocol else { return };
        let handle = self.handle();
        let entry = Entry {
            state: &handle.state,
            callee: Callee::SubprocessProtocol(name),
            location: self.subprocess.location,
        };
        let context = InContext::Of(&self.subprocess.context);
        // Its panic is in the report, and costs the protocol this call only.
        let _ = entry.run_on(context, protocol, call);
    }

    /// Makes the last call once everything is over.
    fn finish(&self) {
        let subprocess = &self.subprocess;
        if !subprocess.exited.get() || subprocess.open.get() > 0 || subprocess.over.replace(true) {
            return;
        }
        Caller(self.clone()).queue(|transport| {
            transport.call("connection_lost", |protocol| {
                protocol.connection_lost(transport, None);
            });
            transport.release();
        });
    }

    /// Lets go of the protocol.
    fn release(&self) {
        let protocol = self.subprocess.protocol.borrow_mut().take();
        let state = &self.handle().state;
        state.catch_panic("Exception in the destructor of a protocol", || {
            drop(protocol);
        });
    }
}

/// Held by whoever will call the protocol. When the loop closes nobody will, and a protocol that holds its transport is
/// held by it.
struct Caller(SubprocessTransport);

impl Caller {
    /// Puts calls of the protocol into the loop's line. A closed loop makes none.
    fn queue(self, call: impl FnOnce(&SubprocessTransport) + 'static) {
        let (handle, location) = (self.0.handle(), self.0.subprocess.location);
        if !handle.is_closed() {
            handle.queue_call(move || call(&self.0), location);
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if self.0.handle().is_closed() {
            self.0.release();
        }
    }
}

/// What the transport of a pipe calls.
struct End {
    fd: usize,
    caller: Caller,
}

impl End {
    fn call(
        &self,
        name: &'static str,
        call: impl FnOnce(&dyn SubprocessProtocol, &SubprocessTransport),
    ) {
        let transport = &self.caller.0;
        transport.call(name, |protocol| call(protocol, transport));
    }
}

impl Protocol for End {
    fn data_received(&self, _: &Transport, data: &[u8]) {
        self.call("pipe_data_received", |protocol, transport| {
            protocol.pipe_data_received(transport, self.fd as i32, data);
        });
    }

    fn connection_lost(&self, _: &Transport, error: Option<io::Error>) {
        let subprocess = &self.caller.0.subprocess;
        let pipe = subprocess.pipes.borrow_mut()[self.fd].take();
        drop(pipe);
        self.call("pipe_connection_lost", |protocol, transport| {
            protocol.pipe_connection_lost(transport, self.fd as i32, error);
        });
        subprocess.open.set(subprocess.open.get() - 1);
        self.caller.0.finish();
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
