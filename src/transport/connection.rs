//! What a connection does when its socket is ready, and how it ends.
//!
//! ```text
//!           begin            close            outgoing is empty
//!   (new) ────────► open ───────────► closing ─────────────────► lost ──► over
//!                    │                   │                        ▲
//!                    └───────────────────┴──── abort, an error ───┘
//! ```
//!
//! `lost` means that `connection_lost` is in the loop's line; when it has run the socket is closed. Each callback of the
//! protocol runs under [`Transport::enter`], with nothing borrowed, since it may call anything here. One event is one
//! `recv` at most: what is left puts the connection at the end of the line again.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use crate::error::Panicked;
use crate::kernel::callback::warn_slow;
use crate::kernel::io::Io;
use crate::kernel::local::LoopLocal;
use crate::kernel::readiness::{Direction, Readiness};
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::waker::{key_of, wake_key};
use crate::kernel::waiters::WaiterId;
use crate::kernel::watch::Watch;
use crate::transport::address::Address;
use crate::transport::buffer::WriteBuffer;
use crate::transport::flow::WaterMarks;
use crate::transport::membership::Membership;
use crate::transport::protocol::{BufferedProtocol, Connection, Protocol, Transport};
use crate::transport::socket::{MOST_AT_ONCE, StreamSocket};

/// The most that one read takes: large enough that a system call is a small part of it, small enough to stay in a
/// processor's near cache until it is looked at, and a connection that floods us is served for some ten microseconds
/// before it is others' turn. asyncio's 256 KiB measure no better and wait longer.
pub(crate) const MOST_READ: usize = 64 * 1024;

/// What all connections of a loop read into. Taken out while a protocol looks at it.
static READ_BUFFER: LoopLocal<Cell<Vec<u8>>> = LoopLocal::new(|| Cell::new(Vec::new()));

/// What one read has brought.
enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The peer has finished writing.
    End,
    /// Nothing for now.
    Nothing,
    /// A buffered protocol has lent no memory.
    NoBuffer,
    Failed(io::Error),
}

/// What a fetch came to.
pub(crate) enum Fetched {
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// Nothing is read now, or nothing more ever comes.
    Ended,
}

/// A callback of the protocol panicked, or there was no protocol to call.
pub(crate) struct Failed;

impl Transport {
    /// A connection of a socket that is connected. The loop keeps it from here on; [`begin`](Self::begin) is due.
    pub(crate) fn new(
        io: Io<StreamSocket>,
        protocol: Rc<dyn Protocol>,
        peer: Option<Address>,
        location: &'static Location<'static>,
    ) -> io::Result<Self> {
        // Small writes are sent at once; a socket that cannot be told so is none that would wait.
        let _ = io.source().send_at_once();
        let pipe = direction_of(&io);
        let handle = io.handle();
        let context = handle.state.peek_context().map(|context| context.copy());
        let connection = Rc::new(Connection {
            handle,
            io: RefCell::new(Some(io)),
            protocol: RefCell::new(Some(protocol)),
            outgoing: RefCell::new(WriteBuffer::default()),
            marks: RefCell::new(WaterMarks::default()),
            made: Cell::new(false),
            reading_paused: Cell::new(false),
            // The end of a pipe is closed in one direction from the start.
            ended: Cell::new(pipe == Some(Direction::Write)),
            finishing: Cell::new(pipe == Some(Direction::Read)),
            closing: Cell::new(false),
            lost: Cell::new(false),
            writes_refused: Cell::new(0),
            sending_file: Cell::new(false),
            file_turn: Cell::new(None),
            membership: Cell::new(None),
            context,
            location,
            peer,
        });
        let watcher = Rc::clone(&connection);
        connection
            .with_io(|io| io.watch(watcher))
            .unwrap_or(Ok(()))?;
        Ok(Self { connection })
    }

    pub(crate) fn join(&self, membership: Membership) {
        self.connection.membership.set(Some(membership));
    }

    /// Calls `connection_made`, once; reading begins after it.
    pub(crate) fn begin(&self) {
        self.enter_or_abort("connection_made", |protocol| protocol.connection_made(self));
        self.connection.made.set(true);
        self.look_again();
    }

    /// Calls the protocol, with nothing borrowed and in the connection's context. A panic is reported.
    pub(crate) fn enter<R>(
        &self,
        call: &str,
        f: impl FnOnce(&dyn Protocol) -> R,
    ) -> Result<R, Failed> {
        let protocol = self.connection.protocol.borrow().clone().ok_or(Failed)?;
        let state = &self.connection.handle.state;
        let careful = state.careful.get();
        let outer = careful.then(|| state.swap_context(self.connection.context.clone()));
        let start = (careful && state.debug.get()).then(Instant::now);
        let result = catch_unwind(AssertUnwindSafe(|| f(&*protocol)));
        let took = start.map(|start| start.elapsed());
        if let Some(took) = took.filter(|took| *took >= state.slow_callback_duration.get()) {
            warn_slow(call, self.connection.location, took);
        }
        if let Some(outer) = outer {
            let own = state.swap_context(outer);
            state.shielded("Exception in the destructor of a context", || drop(own));
        }
        // The last reference, if the protocol was replaced meanwhile.
        if Rc::strong_count(&protocol) == 1 {
            state.shielded("Exception in the destructor of a protocol", || {
                drop(protocol)
            });
        }
        result.map_err(|payload| {
            state.report(ExceptionContext {
                message: format!("Exception in a protocol's {call}"),
                panic: Some(Panicked::new(payload)),
                location: Some(self.connection.location),
                ..ExceptionContext::default()
            });
            Failed
        })
    }

    /// [`enter`](Self::enter) for a call whose failure the connection does not survive.
    fn enter_or_abort<R>(&self, call: &str, f: impl FnOnce(&dyn Protocol) -> R) -> Option<R> {
        match self.enter(call, f) {
            Ok(value) => Some(value),
            Err(Failed) => {
                self.fail(io::Error::other(format!("the protocol's {call} panicked")));
                None
            }
        }
    }

    /// What one event is worth to the reader.
    fn read_ready(&self) {
        if !self.connection.may_read() {
            return;
        }
        let ready = |io: &Io<StreamSocket>| {
            io.readiness(|readiness| readiness.is_ready(Direction::Read)) == Ok(true)
        };
        if self.connection.with_io(ready) != Some(true) {
            return;
        }
        let lent = self.enter_or_abort("get_buffer", |protocol| {
            let buffered = protocol.buffered()?;
            Some(self.receive_lent(buffered))
        });
        match lent {
            Some(None) => self.read_shared(),
            Some(Some(Received::Bytes(count))) => {
                self.enter_or_abort("buffer_updated", |protocol| {
                    if let Some(buffered) = protocol.buffered() {
                        buffered.buffer_updated(self, count);
                    }
                });
            }
            Some(Some(other)) => self.read_nothing(other),
            None => {}
        }
        self.look_again();
    }

    fn receive_lent(&self, buffered: &dyn BufferedProtocol) -> Received {
        let mut received = Received::NoBuffer;
        buffered.get_buffer(self, MOST_READ, &mut |buffer| {
            if matches!(received, Received::NoBuffer) && !buffer.is_empty() {
                received = self.connection.receive(buffer);
            }
        });
        received
    }

    fn read_shared(&self) {
        READ_BUFFER.with(&self.connection.handle, |place| {
            let mut buffer = place.take();
            if buffer.is_empty() {
                buffer = vec![0; MOST_READ];
            }
            match self.connection.receive(&mut buffer) {
                Received::Bytes(count) => {
                    self.enter_or_abort("data_received", |protocol| {
                        protocol.data_received(self, &buffer[..count]);
                    });
                }
                other => self.read_nothing(other),
            }
            place.set(buffer);
        });
    }

    /// One read for a protocol that fetches by itself, from outside its callbacks. The end and errors go the way of
    /// callbacks.
    pub(crate) fn fetch(&self, buffer: &mut [u8]) -> Fetched {
        if !self.connection.may_read() {
            return Fetched::Ended;
        }
        match self.connection.receive(buffer) {
            Received::Bytes(count) => Fetched::Bytes(count),
            Received::Nothing => Fetched::Nothing,
            other => {
                self.read_nothing(other);
                Fetched::Ended
            }
        }
    }

    /// Has the waker wait in the socket's own line: it is woken when something may have come, and nothing is delivered in
    /// its place. Whoever is woken so fetches until nothing is there, or leaves.
    pub(crate) fn stand_in_line(&self, place: &mut Option<WaiterId>, waker: Waker) {
        let mut waker = Some(waker);
        self.connection.with_io(|io| {
            // A loop that is closed has told everybody.
            let _ = io.readiness(|readiness| readiness.wait(Direction::Read, place, &mut waker));
        });
        drop(waker);
    }

    /// Leaves the socket's line. Who may have been told of something that nobody else was told of looks again.
    pub(crate) fn leave_fetching(&self, place: WaiterId, look_again: bool) {
        let leave =
            |io: &Io<StreamSocket>| io.readiness(|it| it.leave(Direction::Read, place)).ok();
        let left = self.connection.with_io(leave);
        drop(left);
        if look_again {
            self.look_again();
        }
    }

    /// A read that brought no bytes.
    fn read_nothing(&self, received: Received) {
        match received {
            Received::End => {
                self.connection.ended.set(true);
                let keep_open =
                    self.enter_or_abort("eof_received", |protocol| protocol.eof_received(self));
                let over = self.connection.pipe_direction().is_some();
                if keep_open == Some(false) || over {
                    self.close();
                }
            }
            Received::Failed(error) => self.fail(error),
            Received::NoBuffer => {
                let what = "a protocol's get_buffer lent no memory";
                self.connection
                    .handle
                    .state
                    .report(ExceptionContext::new(what));
                self.fail(io::Error::other(what));
            }
            Received::Bytes(_) | Received::Nothing => {}
        }
    }

    /// Puts the connection at the end of the line if its socket may have more to say.
    pub(crate) fn look_again(&self) {
        let connection = &self.connection;
        if connection.may_read() {
            connection.with_io(|io| {
                if io.readiness(|readiness| readiness.is_ready(Direction::Read)) == Ok(true) {
                    io.queue();
                }
            });
        }
    }

    /// What one event is worth to the writer.
    fn write_ready(&self) {
        let connection = &self.connection;
        if connection.lost.get() {
            return;
        }
        if connection.outgoing.borrow().is_empty() {
            return connection.let_file_go_on();
        }
        match connection.flush() {
            Err(error) => return self.fail(error),
            Ok(0) => return,
            Ok(_) => {}
        }
        let size = connection.outgoing.borrow().len();
        if connection.sending_file.get() {
            return match size {
                0 => connection.let_file_go_on(),
                _ => connection.look_again_for_writing(),
            };
        }
        if connection.marks.borrow_mut().may_resume(size) {
            // The protocol may well write at once. Its panic costs it this call only.
            let _ = self.enter("resume_writing", |protocol| protocol.resume_writing(self));
        }
        if connection.lost.get() {
            return;
        }
        if !connection.outgoing.borrow().is_empty() {
            return connection.look_again_for_writing();
        }
        connection.with_io(|io| io.set_writes(false));
        if connection.closing.get() {
            connection.lost.set(true);
            self.over(None);
        } else if connection.finishing.get() {
            connection.end_writing();
        }
    }

    /// Stops reading; what is buffered is still sent, and then the connection is lost. Calling it again changes nothing.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.write(b"the last words");
    /// transport.close();
    /// assert!(transport.is_closing());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn close(&self) {
        let connection = &self.connection;
        if !connection.closing.replace(true) && connection.has_sent_all() {
            self.lose_soon(None);
        }
    }

    /// Throws away what is buffered; the connection is lost as soon as it is its turn. Calling it again changes nothing.
    ///
    /// ```
    /// # use callsoon::transport::{Protocol, Transport};
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// # let event_loop = callsoon::get_running_loop();
    /// # let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    /// transport.abort();
    /// assert!(transport.is_closing());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn abort(&self) {
        self.force_close(None);
    }

    /// Ends the connection because of an error, which the protocol is told.
    pub(crate) fn fail(&self, error: io::Error) {
        self.force_close(Some(error));
    }

    fn force_close(&self, error: Option<io::Error>) {
        let connection = &self.connection;
        if !connection.lost.get() {
            connection.outgoing.borrow_mut().clear();
            connection.closing.set(true);
            self.lose_soon(error);
        }
    }

    /// Queues `connection_lost`.
    pub(crate) fn lose_soon(&self, error: Option<io::Error>) {
        let connection = &self.connection;
        connection.lost.set(true);
        connection.let_file_go_on();
        if connection.handle.is_closed() {
            // The loop lets go of its connections by itself, or is another process's.
            return;
        }
        let transport = self.clone();
        connection
            .handle
            .queue_call(move || transport.over(error), connection.location);
    }

    /// Tells the protocol, then closes the socket and lets go of everything.
    fn over(&self, error: Option<io::Error>) {
        let _ = self.enter("connection_lost", |protocol| {
            protocol.connection_lost(self, error);
        });
        self.connection.let_go();
    }
}

#[cfg(unix)]
impl Transport {
    /// Ends the writing end of a pipe that nobody reads any more. Events that say so set the reading bit, which nothing
    /// else uses there.
    fn notice_hang_up(&self) {
        let connection = &self.connection;
        let gone = connection.with_io(|io| {
            let pipe = io.source().pipe()?;
            let told = pipe.direction == Direction::Write
                && io.readiness(|readiness| readiness.is_ready(Direction::Read)) == Ok(true);
            if !told {
                return None;
            }
            io.clear_ready(Direction::Read);
            Some(pipe.is_hung_up())
        });
        if gone.flatten() == Some(true) {
            let unsent = !connection.outgoing.borrow().is_empty();
            self.force_close(unsent.then(|| io::ErrorKind::BrokenPipe.into()));
        }
    }
}

/// Which end of a pipe a source is, if it is one.
fn direction_of(io: &Io<StreamSocket>) -> Option<Direction> {
    #[cfg(unix)]
    if let Some(pipe) = io.source().pipe() {
        return Some(pipe.direction);
    }
    let _ = io;
    None
}

impl Connection {
    /// Borrows the socket, while there is one. `f` must not run foreign code.
    pub(crate) fn with_io<R>(&self, f: impl FnOnce(&Io<StreamSocket>) -> R) -> Option<R> {
        self.io.borrow().as_ref().map(f)
    }

    fn may_read(&self) -> bool {
        self.made.get()
            && !self.reading_paused.get()
            && !self.ended.get()
            && !self.closing.get()
            && !self.lost.get()
            && !self.sending_file.get()
    }

    /// Whether nothing that was asked for is still to be sent.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.outgoing.borrow().is_empty() && !self.sending_file.get()
    }

    /// Wakes the one who sends a file, if anybody does.
    fn let_file_go_on(&self) {
        if !self.sending_file.get() {
            return;
        }
        let Some(mut turn) = self.file_turn.take() else {
            return;
        };
        let sender = turn.sender.take();
        self.file_turn.set(Some(turn));
        self.wake(sender);
    }

    fn wake(&self, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        match key_of(&waker) {
            Some(key) => wake_key(key),
            None => {
                let state = &self.handle.state;
                state.shielded("Exception in a waker", || waker.wake());
            }
        }
    }

    /// One `recv`, if the socket is believed to be ready.
    #[inline]
    fn receive(&self, buffer: &mut [u8]) -> Received {
        let room = buffer.len();
        let received = self.with_io(|io| {
            if io.readiness(|readiness| readiness.is_ready(Direction::Read)) != Ok(true) {
                return Received::Nothing;
            }
            match io.source().receive(buffer) {
                Ok(0) => Received::End,
                Ok(count) => {
                    if count < room {
                        // On a closed loop there is nothing to note.
                        let _ = io.readiness(Readiness::short_read);
                    }
                    Received::Bytes(count)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    io.clear_ready(Direction::Read);
                    Received::Nothing
                }
                Err(error) => Received::Failed(error),
            }
        });
        received.unwrap_or(Received::Nothing)
    }

    /// One attempt to send `total` bytes; how many the system took. Fewer than all means that it takes no more now, and
    /// that an event will tell when it does.
    pub(crate) fn send(
        &self,
        total: usize,
        send: impl FnOnce(&StreamSocket) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let sent = self.with_io(|io| {
            let sent = io.attempt(Direction::Write, send);
            if matches!(sent, Ok(count) if count < total.min(MOST_AT_ONCE)) {
                let _ = io.readiness(|readiness| readiness.blocked(Direction::Write));
            }
            sent
        });
        match sent {
            None => Ok(0),
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Some(result) => result,
        }
    }

    /// One attempt to send what is buffered.
    fn flush(&self) -> io::Result<usize> {
        let mut outgoing = self.outgoing.borrow_mut();
        let sent = match outgoing.only() {
            Some(bytes) => self.send(bytes.len(), |socket| socket.send(bytes))?,
            None => {
                let pieces = outgoing.front();
                let total = pieces.iter().map(|piece| piece.len()).sum();
                self.send(total, |socket| socket.send_vectored(&pieces))?
            }
        };
        outgoing.consume(sent);
        Ok(sent)
    }

    /// Puts the connection at the end of the line if its socket takes more although something is left: what is left was
    /// more than one call's worth.
    pub(crate) fn look_again_for_writing(&self) {
        self.with_io(|io| {
            io.set_writes(true);
            if io.readiness(|readiness| readiness.is_ready(Direction::Write)) == Ok(true) {
                io.queue();
            }
        });
    }

    /// Which end of a pipe it is, if it is one.
    pub(crate) fn pipe_direction(&self) -> Option<Direction> {
        self.with_io(direction_of).flatten()
    }

    /// Tells the peer that nothing more comes. One that is gone already will be noticed by the next read.
    pub(crate) fn end_writing(&self) {
        self.with_io(|io| {
            let _ = io.source().shutdown(std::net::Shutdown::Write);
        });
    }

    /// Deregisters and closes the socket, then drops what is foreign with nothing borrowed.
    fn let_go(&self) {
        self.lost.set(true);
        self.closing.set(true);
        self.let_file_go_on();
        // Only a program that is inside `Transport::socket` just now can hold the borrow; the socket then closes with
        // the last transport.
        let io = self.io.try_borrow_mut().map(|mut io| io.take());
        drop(io);
        self.outgoing.borrow_mut().clear();
        let protocol = self.protocol.borrow_mut().take();
        self.handle
            .state
            .shielded("Exception in the destructor of a protocol", || {
                drop(protocol);
            });
        if let Some(membership) = self.membership.take() {
            membership.end();
        }
    }
}

impl Watch for Connection {
    fn ready(self: Rc<Self>) {
        let transport = Transport { connection: self };
        transport.read_ready();
        transport.write_ready();
        #[cfg(unix)]
        transport.notice_hang_up();
    }

    fn abandon(self: Rc<Self>) {
        self.let_go();
    }
}
