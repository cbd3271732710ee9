//! How a connection begins and ends, and how its protocol is called in between.
//!
//! ```text
//!           begin            close            outgoing is empty
//!   (new) ────────► open ───────────► closing ─────────────────► lost ──► over
//!                    │                   │                        ▲
//!                    └───────────────────┴──── abort, an error ───┘
//! ```
//!
//! `lost` means that `connection_lost` is in the loop's line; when it has run the socket is closed. Each callback of the
//! protocol runs under [`Transport::enter`], with nothing borrowed, since it may call anything here.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::enter::{Callee, Entry, Failed, InContext};
use crate::kernel::io::readiness::Direction;
use crate::kernel::io::source::Io;
use crate::socket::address::Address;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::buffer::WriteBuffer;
use crate::transport::flow::WaterMarks;
use crate::transport::hold::Holds;
use crate::transport::membership::Membership;
use crate::transport::protocol::{Connection, Protocol, Transport};
use crate::transport::traffic::direction_of;

impl Transport {
    /// A connection of a socket that is connected. The loop keeps it from here on; [`announce`](Self::announce) is due.
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
        let context = handle.state.copy_context();
        let connection = Rc::new(Connection {
            handle,
            io: RefCell::new(Some(io)),
            protocol: RefCell::new(Some(protocol)),
            outgoing: RefCell::new(WriteBuffer::default()),
            marks: RefCell::new(WaterMarks::default()),
            holds: Holds::not_begun(),
            // The end of a pipe is closed in one direction from the start.
            ended: Cell::new(pipe == Some(Direction::Write)),
            finishing: Cell::new(pipe == Some(Direction::Read)),
            closing: Cell::new(false),
            lost: Cell::new(false),
            delivers_rest: Cell::new(false),
            failure: Cell::new(None),
            writes_refused: Cell::new(0),
            sending_file: Cell::new(false),
            file_turn: Cell::new(None),
            membership: Cell::new(None),
            context,
            location,
            peer,
        });
        let observer = Rc::clone(&connection);
        connection
            .with_io(|io| io.observe(observer))
            .unwrap_or(Ok(()))?;
        Ok(Self { connection })
    }

    pub(crate) fn join(&self, membership: Membership) {
        self.connection.membership.set(Some(membership));
    }

    /// Calls `connection_made`, once. Reading begins with [`begin_reading`](Self::begin_reading).
    pub(crate) fn announce(&self) {
        self.enter_or_abort("connection_made", |protocol| protocol.connection_made(self));
    }

    /// Calls the protocol, with nothing borrowed and in the connection's context. A panic is reported.
    pub(crate) fn enter<R>(
        &self,
        call: &'static str,
        f: impl FnOnce(&dyn Protocol) -> R,
    ) -> Result<R, Failed> {
        let connection = &self.connection;
        let protocol = connection.protocol.borrow().clone().ok_or(Failed)?;
        let entry = Entry {
            state: &connection.handle.state,
            callee: Callee::Protocol(call),
            location: connection.location,
        };
        let context = InContext::Of(&connection.context);
        entry.run_on(context, protocol, f)
    }

    /// [`enter`](Self::enter) for a call whose failure the connection does not survive.
    pub(crate) fn enter_or_abort<R>(
        &self,
        call: &'static str,
        f: impl FnOnce(&dyn Protocol) -> R,
    ) -> Option<R> {
        match self.enter(call, f) {
            Ok(value) => Some(value),
            Err(Failed) => {
                self.fail(io::Error::other(format!("the protocol's {call} panicked")));
                None
            }
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
        connection.delivers_rest.set(false);
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
        self.connection.delivers_rest.set(false);
        self.force_close(None);
    }

    /// Ends the connection because of an error, which the protocol is told.
    pub(crate) fn fail(&self, error: io::Error) {
        self.force_close(Some(error));
    }

    pub(crate) fn force_close(&self, error: Option<io::Error>) {
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
    pub(crate) fn over(&self, error: Option<io::Error>) {
        let _ = self.enter("connection_lost", |protocol| {
            protocol.connection_lost(self, error);
        });
        self.connection.release();
    }
}

impl Connection {
    /// Deregisters and closes the socket, then drops what is foreign with nothing borrowed.
    pub(crate) fn release(&self) {
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
            .catch_panic("Exception in the destructor of a protocol", || {
                drop(protocol);
            });
        if let Some(membership) = self.membership.take() {
            membership.end();
        }
    }
}
