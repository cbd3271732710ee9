//! How a child's pipes and its exit come to its protocol.
//!
//! Bytes are delivered straight from the loop's line, one read for each time that a pipe is ready; every end goes through
//! the line as a callback, so that nothing is called from within a call of the program.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, Read};
use std::panic::Location;
use std::rc::{Rc, Weak};

use mio::unix::pipe::Receiver;

use crate::kernel::background::keep;
use crate::kernel::io::Io;
use crate::kernel::local::LoopLocal;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::readiness::{Direction, Readiness};
use crate::kernel::watch::Watch;
use crate::process::command::Command;
use crate::process::pipe_reader::MANY;
use crate::process::pipe_writer::Listener;
use crate::process::protocol::{ReadPipe, Subprocess, SubprocessProtocol, SubprocessTransport};
use crate::process::stdio::PIPE;

/// What all children of a loop are read into. Taken out while a protocol looks at it.
static READ_BUFFER: LoopLocal<Cell<Vec<u8>>> = LoopLocal::new(|| Cell::new(Vec::new()));

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
        async move { start(&handle, factory, &mut command, location) }
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
        async move { start(&handle, factory, &mut command, location) }
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
        stdin: RefCell::new(pipes.stdin),
        outputs: RefCell::default(),
        open: Cell::new(0),
        exited: Cell::new(false),
        closing: Cell::new(false),
        over: Cell::new(false),
        location,
    });
    let transport = SubprocessTransport { subprocess };
    // Whatever comes goes through the loop's line, behind this.
    transport.connect(pipes.stdout, pipes.stderr)?;
    transport.call("connection_made", |protocol| {
        protocol.connection_made(&transport);
    });
    Ok((transport, protocol))
}

impl SubprocessTransport {
    /// Begins to hear of the child.
    fn connect(
        &self,
        stdout: Option<Io<Receiver>>,
        stderr: Option<Io<Receiver>>,
    ) -> io::Result<()> {
        let subprocess = &self.subprocess;
        if let Some(stdin) = subprocess.stdin.borrow().clone() {
            subprocess.open.set(1);
            stdin.listen(Rc::new(Input(Rc::downgrade(subprocess))));
        }
        for (place, io) in [stdout, stderr].into_iter().enumerate() {
            let Some(io) = io else { continue };
            let pipe = Rc::new(ReadPipe {
                fd: place as i32 + 1,
                subprocess: Rc::clone(subprocess),
                io: RefCell::new(Some(io)),
                paused: Cell::new(false),
            });
            let watcher = Rc::clone(&pipe);
            if let Err(closed) = pipe.with_io(|io| io.watch(watcher)).unwrap_or(Ok(())) {
                subprocess.outputs.take();
                return Err(closed.into());
            }
            subprocess.open.set(subprocess.open.get() + 1);
            subprocess.outputs.borrow_mut()[place] = Some(pipe);
        }
        let kept = Kept(self.clone());
        keep(&self.handle(), async move {
            // A status that somebody else has taken is an exit as well.
            let _ = kept.0.subprocess.watched.exited().await;
            kept.0.queue(|transport| {
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
    fn call(&self, name: &str, call: impl FnOnce(&dyn SubprocessProtocol)) {
        let protocol = self.subprocess.protocol.borrow().clone();
        if let Some(protocol) = protocol {
            let message = format!("Exception in a subprocess protocol's {name}");
            let state = &self.handle().state;
            state.shielded(&message, || call(&*protocol));
        }
    }

    /// Puts a call of the protocol into the loop's line. A closed loop makes none.
    fn queue(&self, call: impl FnOnce(&Self) + 'static) {
        let handle = self.handle();
        if !handle.is_closed() {
            let kept = Kept(self.clone());
            handle.queue_call(move || call(&kept.0), self.subprocess.location);
        }
    }

    /// Ends what holds each other, on a loop that makes no call any more: the pipes, and the protocol, which may have this
    /// transport.
    fn dismantle(&self) {
        let outputs = self.subprocess.outputs.take();
        drop(outputs);
        self.drop_protocol();
    }

    fn drop_protocol(&self) {
        let protocol = self.subprocess.protocol.borrow_mut().take();
        let state = &self.handle().state;
        state.shielded("Exception in the destructor of a protocol", || {
            drop(protocol);
        });
    }

    /// A pipe has ended: tells the protocol in its turn.
    fn pipe_over(&self, fd: i32, error: Option<io::Error>) {
        self.queue(move |transport| {
            let subprocess = &transport.subprocess;
            match fd {
                0 => drop(subprocess.stdin.borrow_mut().take()),
                fd => drop(subprocess.outputs.borrow_mut()[fd as usize - 1].take()),
            }
            transport.call("pipe_connection_lost", |protocol| {
                protocol.pipe_connection_lost(transport, fd, error);
            });
            subprocess.open.set(subprocess.open.get() - 1);
            transport.finish();
        });
    }

    /// Makes the last call once everything is over.
    fn finish(&self) {
        let subprocess = &self.subprocess;
        if !subprocess.exited.get() || subprocess.open.get() > 0 || subprocess.over.replace(true) {
            return;
        }
        self.queue(|transport| {
            transport.call("connection_lost", |protocol| {
                protocol.connection_lost(transport, None);
            });
            transport.drop_protocol();
        });
    }
}

/// A transport in the loop's hands, which something is still to come for. Where the loop has closed instead, nothing will.
struct Kept(SubprocessTransport);

impl Drop for Kept {
    fn drop(&mut self) {
        let handle = self.0.handle();
        // A forked child's copy of a loop is closed as well, but its parent's protocols are not to be ended there.
        if handle.is_closed() && !handle.state.is_inherited() {
            self.0.dismantle();
        }
    }
}

/// Hears of the child's input. Not its owner: a pipe that nothing is written to must not keep the rest.
struct Input(Weak<Subprocess>);

impl Input {
    fn transport(&self) -> Option<SubprocessTransport> {
        let subprocess = self.0.upgrade()?;
        Some(SubprocessTransport { subprocess })
    }
}

/// With the pipe's watch goes what a program's own ring of references may have kept.
impl Drop for Input {
    fn drop(&mut self) {
        drop(self.transport().map(Kept));
    }
}

impl Listener for Input {
    fn lost(&self, error: Option<io::Error>) {
        if let Some(transport) = self.transport() {
            transport.pipe_over(0, error);
        }
    }

    fn pause_writing(&self) {
        if let Some(transport) = self.transport() {
            transport.call("pause_writing", |protocol| {
                protocol.pause_writing(&transport)
            });
        }
    }

    fn resume_writing(&self) {
        if let Some(transport) = self.transport() {
            transport.call("resume_writing", |protocol| {
                protocol.resume_writing(&transport);
            });
        }
    }
}

impl ReadPipe {
    /// Borrows the pipe, while there is one. `f` runs nothing foreign.
    fn with_io<R>(&self, f: impl FnOnce(&Io<Receiver>) -> R) -> Option<R> {
        self.io.borrow().as_ref().map(f)
    }

    /// Stands in line again if there may be more.
    pub(crate) fn look_again(&self) {
        self.with_io(|io| {
            if io.readiness(|readiness| readiness.is_ready(Direction::Read)) == Ok(true) {
                io.queue();
            }
        });
    }

    /// The end.
    pub(crate) fn lose(&self, error: Option<io::Error>) {
        let io = self.io.borrow_mut().take();
        if io.is_some() {
            drop(io);
            let subprocess = Rc::clone(&self.subprocess);
            SubprocessTransport { subprocess }.pipe_over(self.fd, error);
        }
    }

    /// One read, if the pipe is believed to have something.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len();
        let received = self.with_io(|io| {
            let received = io.attempt(Direction::Read, |mut receiver| receiver.read(buffer));
            if matches!(received, Ok(count) if 0 < count && count < room) {
                // On a closed loop there is nothing to note.
                let _ = io.readiness(Readiness::short_read);
            }
            received
        });
        received.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }
}

impl Watch for ReadPipe {
    fn ready(self: Rc<Self>) {
        if self.paused.get() {
            return;
        }
        let subprocess = Rc::clone(&self.subprocess);
        let transport = SubprocessTransport { subprocess };
        READ_BUFFER.with(&transport.handle(), |place| {
            let mut buffer = place.take();
            if buffer.is_empty() {
                buffer = vec![0; MANY];
            }
            match self.receive(&mut buffer) {
                Ok(0) => self.lose(None),
                Ok(count) => transport.call("pipe_data_received", |protocol| {
                    protocol.pipe_data_received(&transport, self.fd, &buffer[..count]);
                }),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => self.lose(Some(error)),
            }
            place.set(buffer);
        });
        if !self.paused.get() {
            self.look_again();
        }
    }

    fn abandon(self: Rc<Self>) {
        let io = self.io.borrow_mut().take();
        drop(io);
        let subprocess = Rc::clone(&self.subprocess);
        SubprocessTransport { subprocess }.dismantle();
    }
}
