//! One connection: its state, every transition, and who may write which field.
//!
//! ```text
//!            1 start             2 begin_close               4 finish_close
//!   Made ─────────────► Open ──────────────────► Closing ───────────────────► Lost ───────────► Closed
//!    │ │                 │ │                      ▲   │                        ▲     7 release
//!    │ └─────────────────┼─┼──── 2 begin_close ───┘   │                        │
//!    │                   │ │                          └──── 3 force_close ─────┤
//!    ├───────────────────┼─┴─────────────── 3 force_close ─────────────────────┤
//!    │                   │                                                     │
//!    └───────────────────┴── 5 fail_writing ──► Failing ───── 6 end_failing ───┘
//! ```
//!
//! 1. The caller that asked for the connection has been given it, or `connection_made` of a server's connection has
//!    returned: reading begins. `begin_reading` in `read.rs`.
//! 2. The program closes, or the peer has finished and the protocol does not keep its side open. `close` in `transport.rs`.
//! 3. The program aborts, or an error ends the connection. `force_close` in `lifecycle.rs`.
//! 4. The last buffered byte is sent, or nothing was buffered; an encrypted connection has exchanged close_notify too. `write_ready` in `write.rs`, `begin_close` here, and the end
//!    of a `sendfile`.
//! 5. A write fails: nothing more is sent, and what the system has received is still delivered. `fail_writing` in `write.rs`.
//! 6. All of that is delivered, or the program closes or aborts. `deliver_rest` in `read.rs`.
//! 7. `connection_lost` has returned, or the loop closes, from any state. `lose` in `lifecycle.rs`, `abandon` in `read.rs`.
//!
//! `connection_lost` is queued when `Lost` is entered, with two exceptions: arrow 4 in `write_ready` calls it at once,
//! and arrow 6 has its own queued call. Nothing is ever read in `Closing` or later, except for the rest in `Failing`.
//! Nothing is ever sent in `Failing` or later.
//!
//! # Who touches what
//! | field | who may write it |
//! |---|---|
//! | `state` | the transitions in this file |
//! | `layer`, `protocol` | `new` in `lifecycle.rs`, `release` here; `layer` also `start_tls`; `protocol` also `set_protocol` |
//! | `encrypted` | `start_tls` |
//! | `outgoing` | `write.rs`; the end of a `sendfile`; the transitions that drop it |
//! | `marks` | `write.rs`, `sendfile.rs`; their limits `transport.rs` and the end of a handshake |
//! | `pauses` | `read.rs`, `Transport::pause_reading` and `resume_reading`, and `start_tls` |
//! | `read_ended` | `read.rs` |
//! | `write_ended` | `write.rs`, for `Transport::write_eof` |
//! | `failure` | `fail_writing` sets it, `start` takes it |
//! | `writes_refused` | `write.rs` |
//! | `sending_file`, `file` | `sendfile.rs`; `write.rs` appends to `file`; `wake_file_sender` here takes its waker |
//! | `tracked` | `Serving::connect` sets it, for a server; `release` takes it |
//! | `local` | `keep_name` in `lifecycle.rs`, for `release` |
//! | the others | never change |

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::context::Context;
use crate::kernel::io::readiness::Direction;
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::acceptor::Host;
use crate::socket::address::Address;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::any_layer::{AnyLayer, LayerPlace};
use crate::transport::buffer::{FileInProgress, WaterMarks, WriteBuffer};
use crate::transport::layer::Layer;
use crate::transport::tls::encrypted::IsEncrypted;

/// The states of a connection. A connection only goes to later ones, and none passes through both `Closing` and
/// `Failing`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub(crate) enum State {
    /// The caller that asked for the connection has not been given it: nothing is read yet.
    Made,
    Open,
    /// Nothing is read any more. When everything is sent the connection is lost.
    Closing,
    /// A write has failed, so nothing is sent any more. What the system had received by then is still delivered.
    Failing,
    /// `connection_lost` is queued, or runs.
    Lost,
    /// The socket is closed.
    Closed,
}

/// What the caller of [`Connection::start`] has to do.
#[must_use]
pub(crate) enum Start {
    /// Queue the connection if its socket is readable.
    Read,
    /// Deliver what the system has received: a write failed with this before reading began.
    DeliverRest(io::Error),
}

/// What the caller of [`Connection::begin_close`], [`Connection::finish_close`] or [`Connection::force_close`] has to do.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Close {
    /// Lose the connection: nothing is left to be sent, or nothing more is.
    Lose,
    /// Nothing. The connection ends without the caller.
    Wait,
}

/// What the caller of [`Connection::fail_writing`] has to do.
#[must_use]
pub(crate) enum FailWriting {
    /// Lose the connection to the error, since nothing may be delivered.
    Lose(io::Error),
    /// Deliver what the system has received, then lose the connection to the error.
    DeliverRest(io::Error),
    /// Nothing. [`Connection::start`] hands the error out.
    WaitForStart,
}

/// One reason why an open connection reads nothing. Reading goes on when none is left, so to lift one never undoes another.
#[derive(Clone, Copy)]
pub(crate) enum Pause {
    /// The program has called `pause_reading`.
    ByProgram = 1,
    /// A stream keeps more than twice its reader's limit.
    ForReader = 2,
    /// Reading was resumed while the connection was in the ready queue: callbacks that were queued since then run first.
    UntilQueued = 4,
    /// The handshake of `start_tls` goes on.
    ForHandshake = 8,
}

/// The reasons that hold now, a bit each.
#[derive(Default)]
pub(crate) struct Pauses(Cell<u8>);

impl Pauses {
    #[inline]
    pub(crate) fn none(&self) -> bool {
        self.0.get() == 0
    }

    #[inline]
    pub(crate) fn has(&self, pause: Pause) -> bool {
        self.0.get() & pause as u8 != 0
    }

    pub(crate) fn set(&self, pause: Pause) {
        self.0.set(self.0.get() | pause as u8);
    }

    /// Lifts one reason and returns whether it held.
    #[inline]
    pub(crate) fn lift(&self, pause: Pause) -> bool {
        let held = self.has(pause);
        self.0.set(self.0.get() & !(pause as u8));
        held
    }
}

/// A connection's place in the list of its server.
pub(crate) struct Tracked {
    pub(crate) by: Rc<dyn Host>,
    pub(crate) number: usize,
}

/// One connection, owned by its place in the reactor until it is closed. `P` is `dyn Protocol`: the state machine does not
/// know what a protocol is.
pub(crate) struct Connection<P: ?Sized> {
    pub(crate) handle: LoopHandle,
    /// The way to the socket; gone in `Closed`.
    pub(crate) layer: RefCell<LayerPlace>,
    /// The layer encrypts, or did so before `Closed`.
    pub(crate) encrypted: IsEncrypted,
    /// The protocol to call; `None` in `Closed`.
    pub(crate) protocol: RefCell<Option<Rc<P>>>,
    state: Cell<State>,
    /// What the system has not taken yet. While it is not empty, every write is appended to it.
    pub(crate) outgoing: RefCell<WriteBuffer>,
    pub(crate) marks: RefCell<WaterMarks>,
    /// Why nothing is read now, although the connection is open.
    pub(crate) pauses: Pauses,
    /// The peer has finished writing: nothing more can come.
    pub(crate) read_ended: Cell<bool>,
    /// The program has ended the writing side: the peer is told when `outgoing` is empty.
    pub(crate) write_ended: Cell<bool>,
    /// What a write failed with in `Made`, until `start`.
    failure: Cell<Option<io::Error>>,
    /// How many writes came in `Failing` or later.
    pub(crate) writes_refused: Cell<u8>,
    /// A file is being sent: what is written waits, and nothing is read.
    pub(crate) sending_file: Cell<bool>,
    pub(crate) file: Cell<Option<Box<FileInProgress>>>,
    pub(crate) tracked: Cell<Option<Tracked>>,
    /// The values of context variables for its callbacks, as they were where it was made.
    pub(crate) context: Option<Context>,
    /// Where the program asked for it.
    pub(crate) location: &'static Location<'static>,
    /// The peer's name, asked once: a peer that has closed has none any more.
    pub(crate) peer: Option<Address>,
    /// This end's name, once the socket is closed.
    pub(crate) local: OnceCell<Box<Address>>,
}

impl<P: ?Sized> Connection<P> {
    /// Makes one of a way to a socket and a protocol, in `Made`; without them in `Closed`.
    pub(crate) fn new(
        handle: LoopHandle,
        ends: Option<(AnyLayer, Rc<P>)>,
        peer: Option<Address>,
        location: &'static Location<'static>,
    ) -> Self {
        let context = handle.state.copy_context();
        let state = ends.as_ref().map_or(State::Closed, |_| State::Made);
        let (layer, protocol) = ends.unzip();
        let encrypted = layer.as_ref().and_then(AnyLayer::encrypted).is_some();
        let pipe = layer.as_ref().and_then(|layer| direction_of(layer.io()));
        Self {
            handle,
            encrypted: IsEncrypted::new(encrypted),
            layer: RefCell::new(layer.into()),
            protocol: RefCell::new(protocol),
            state: Cell::new(state),
            outgoing: RefCell::new(WriteBuffer::default()),
            marks: RefCell::new(WaterMarks::default()),
            pauses: Pauses::default(),
            // One end of a pipe is closed in one direction from the start.
            read_ended: Cell::new(pipe == Some(Direction::Write)),
            write_ended: Cell::new(pipe == Some(Direction::Read)),
            failure: Cell::new(None),
            writes_refused: Cell::new(0),
            sending_file: Cell::new(false),
            file: Cell::new(None),
            tracked: Cell::new(None),
            context,
            location,
            peer,
            local: OnceCell::new(),
        }
    }

    /// Returns whether the state is this one or a later one.
    #[inline]
    pub(crate) fn has_reached(&self, state: State) -> bool {
        self.state.get() >= state
    }

    #[inline]
    pub(crate) fn is(&self, state: State) -> bool {
        self.state.get() == state
    }

    /// Arrow 1.
    pub(crate) fn start(&self) -> Start {
        if self.is(State::Made) {
            self.state.set(State::Open);
        }
        match self.failure.take() {
            Some(error) => Start::DeliverRest(error),
            None => Start::Read,
        }
    }

    /// Arrow 2; in `Failing` arrow 6, whose queued call then ends the connection.
    pub(crate) fn begin_close(&self) -> Close {
        match self.state.get() {
            State::Made | State::Open => {
                self.state.set(State::Closing);
                self.finish_close()
            }
            State::Failing => {
                self.end_failing();
                Close::Wait
            }
            State::Closing | State::Lost | State::Closed => Close::Wait,
        }
    }

    /// Arrow 4, if nothing is left to be sent.
    pub(crate) fn finish_close(&self) -> Close {
        if !self.is(State::Closing) || self.has_unsent() || self.sending_file.get() {
            return Close::Wait;
        }
        if self.with_encrypted(|layer| layer.finish()) == Some(false) {
            return Close::Wait;
        }
        self.state.set(State::Lost);
        Close::Lose
    }

    /// Arrow 3: drops what is buffered.
    pub(crate) fn force_close(&self) -> Close {
        if self.has_reached(State::Failing) {
            return Close::Wait;
        }
        self.outgoing.borrow_mut().clear();
        self.state.set(State::Lost);
        Close::Lose
    }

    /// Arrow 5: drops what is buffered. Where nothing may be delivered, the caller takes arrow 3 instead.
    pub(crate) fn fail_writing(&self, error: io::Error) -> FailWriting {
        let reads = !self.has_reached(State::Closing)
            && !self.read_ended.get()
            && !self.pauses.has(Pause::ByProgram);
        if !reads || self.handle.is_closed() {
            return FailWriting::Lose(error);
        }
        self.outgoing.borrow_mut().clear();
        if self.state.replace(State::Failing) == State::Open {
            return FailWriting::DeliverRest(error);
        }
        self.failure.set(Some(error));
        FailWriting::WaitForStart
    }

    /// Arrow 6, if the state is `Failing`.
    pub(crate) fn end_failing(&self) {
        if self.is(State::Failing) {
            self.state.set(State::Lost);
        }
    }

    /// Arrow 7: deregisters and closes the socket, then drops the protocol with nothing borrowed.
    pub(crate) fn release(&self) {
        self.keep_name();
        self.state.set(State::Closed);
        self.wake_file_sender();
        // Only a program that is inside `Transport::socket` just now can hold the borrow. The socket then closes with the
        // last transport.
        drop(self.layer.try_borrow_mut().map(|mut place| place.vacate()));
        self.outgoing.borrow_mut().clear();
        let protocol = self.protocol.borrow_mut().take();
        let what = "Exception in the destructor of a protocol";
        self.handle.state.catch_panic(what, || drop(protocol));
        if let Some(tracked) = self.tracked.take() {
            tracked.by.closed(tracked.number);
        }
    }

    /// Returns whether reading is in order now: the connection is open and nothing pauses it.
    #[inline]
    pub(crate) fn may_read(&self) -> bool {
        self.is(State::Open)
            && self.pauses.none()
            && !self.read_ended.get()
            && !self.sending_file.get()
    }

    /// Returns whether bytes are buffered that the system has not taken.
    #[inline]
    pub(crate) fn has_unsent(&self) -> bool {
        // The plain layer keeps nothing, so it need not be borrowed to say so.
        !self.outgoing.borrow().is_empty()
            || self.encrypted.get() && self.with_layer(AnyLayer::has_unsent) == Some(true)
    }

    /// Returns how many bytes are buffered, those that the layer keeps included.
    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        let in_layer = self.with_encrypted(|layer| layer.unsent()).unwrap_or(0);
        self.outgoing.borrow().len() + in_layer
    }

    /// Returns how many bytes are buffered, those that wait for a file included.
    pub(crate) fn buffered(&self) -> usize {
        let before = self.unsent();
        let Some(file) = self.file.take() else {
            return before;
        };
        let after = file.after.len();
        self.file.set(Some(file));
        before + after
    }

    /// Wakes the task that sends a file, if one does.
    #[inline]
    pub(crate) fn wake_file_sender(&self) {
        if !self.sending_file.get() {
            return;
        }
        let Some(mut file) = self.file.take() else {
            return;
        };
        let sender = file.sender.take();
        self.file.set(Some(file));
        if let Some(sender) = sender {
            self.handle.state.wake(sender);
        }
    }

    /// Borrows the layer, while there is one. `f` must not run user code.
    #[inline]
    pub(crate) fn with_layer<R>(&self, f: impl FnOnce(&AnyLayer) -> R) -> Option<R> {
        self.layer.borrow().there().map(f)
    }

    /// Borrows the socket and its place in the loop, while there is one. `f` must not run user code.
    #[inline]
    pub(crate) fn with_io<R>(&self, f: impl FnOnce(&Io<StreamSocket>) -> R) -> Option<R> {
        self.with_layer(|layer| f(layer.io()))
    }

    /// Returns which end of a pipe this is, if it is one.
    pub(crate) fn pipe_direction(&self) -> Option<Direction> {
        self.with_io(direction_of).flatten()
    }
}

fn direction_of(io: &Io<StreamSocket>) -> Option<Direction> {
    io.source().pipe().map(|pipe| pipe.direction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::owner::EventLoop;

    /// A connection of no protocol at all, on one end of a pair of sockets.
    fn with_connection(test: impl FnOnce(&Connection<()>)) {
        let event_loop = EventLoop::new().unwrap();
        let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let io = StreamSocket::Unix(here.into()).watched(&event_loop.handle());
        let place = Location::caller();
        let ends = Some((io.unwrap().into(), Rc::new(())));
        let connection = Connection::new(event_loop.handle(), ends, None, place);
        test(&connection);
        connection.release();
        assert!(connection.is(State::Closed));
        event_loop.close().unwrap();
    }

    fn start(connection: &Connection<()>) {
        assert!(matches!(connection.start(), Start::Read));
    }

    fn fail(connection: &Connection<()>) -> FailWriting {
        connection.fail_writing(io::ErrorKind::BrokenPipe.into())
    }

    #[test]
    fn a_close_waits_for_what_is_buffered() {
        with_connection(|connection| {
            start(connection);
            connection.outgoing.borrow_mut().push(b"rest").unwrap();
            assert_eq!(connection.begin_close(), Close::Wait);
            assert!(connection.is(State::Closing) && !connection.may_read());
            assert_eq!(connection.finish_close(), Close::Wait);
            connection.outgoing.borrow_mut().consume(4);
            assert_eq!(connection.finish_close(), Close::Lose);
            assert_eq!(connection.finish_close(), Close::Wait, "once");
            assert_eq!(connection.force_close(), Close::Wait);
            assert!(connection.is(State::Lost));
        });
    }

    #[test]
    fn a_forced_close_drops_what_is_buffered_and_comes_once() {
        with_connection(|connection| {
            connection.outgoing.borrow_mut().push(b"rest").unwrap();
            assert_eq!(connection.force_close(), Close::Lose);
            assert!(connection.is(State::Lost) && !connection.has_unsent());
            assert_eq!(connection.force_close(), Close::Wait);
            assert_eq!(connection.begin_close(), Close::Wait);
            start(connection);
            assert!(connection.is(State::Lost), "a start opens nothing");
        });
    }

    #[test]
    fn a_failed_write_delivers_the_rest_unless_the_program_has_paused_or_closed() {
        with_connection(|connection| {
            start(connection);
            assert!(connection.may_read());
            assert!(matches!(fail(connection), FailWriting::DeliverRest(_)));
            assert!(connection.is(State::Failing) && !connection.may_read());
            assert!(matches!(fail(connection), FailWriting::Lose(_)));
            assert_eq!(connection.force_close(), Close::Wait);
            assert_eq!(connection.begin_close(), Close::Wait);
            assert!(connection.is(State::Lost), "its queued call ends it");
        });
        with_connection(|connection| {
            start(connection);
            connection.pauses.set(Pause::ByProgram);
            assert!(matches!(fail(connection), FailWriting::Lose(_)));
            assert!(connection.is(State::Open), "the caller forces the close");
        });
    }

    #[test]
    fn a_write_that_fails_before_reading_begins_is_told_at_the_start() {
        with_connection(|connection| {
            assert!(matches!(fail(connection), FailWriting::WaitForStart));
            assert!(connection.is(State::Failing));
            assert!(matches!(connection.start(), Start::DeliverRest(_)));
            start(connection);
        });
    }

    #[test]
    fn reasons_to_pause_are_lifted_one_by_one() {
        let pauses = Pauses::default();
        pauses.set(Pause::ByProgram);
        pauses.set(Pause::ForReader);
        assert!(pauses.lift(Pause::ForReader) && !pauses.none());
        assert!(!pauses.lift(Pause::ForReader), "once");
        assert!(pauses.lift(Pause::ByProgram) && pauses.none());
    }
}
