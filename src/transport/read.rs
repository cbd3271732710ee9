//! Reading: one receive for one event, and the protocol entered once for it.
//!
//! What is left in the socket puts the connection at the end of the ready queue again. A connection begins to read when
//! its caller has been given it, so that a caller that replaces the protocol or pauses reading is in time for the first
//! byte.
//!
//! A connection whose write fails could often read why: the peer has sent an answer and closed. The system still keeps
//! that answer, so it is delivered before `connection_lost`:
//!
//! ```text
//! a write fails → Failing, nothing is sent any more → data_received, one read a turn → connection_lost(error)
//! ```
//!
//! As much is delivered as the system kept when the write failed, so a peer that goes on sending cannot put off the end.
//! Nothing is delivered if the program has paused reading before, and nothing more once it closes or aborts the
//! connection. To pause reading meanwhile changes nothing, as on any transport that is closing: what is left is bounded,
//! and would be lost.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use crate::error::LoopClosed;
use crate::kernel::callee::{Callee, Reported as _};
use crate::kernel::enter::{Entry, Failed, InContext};
use crate::kernel::io::readiness::{Direction, Observer, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::local::LoopLocal;
use crate::kernel::report::ExceptionContext;
use crate::kernel::wait::waiters::WaiterId;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::any_layer::AnyLayer;
use crate::transport::connection::{Connection, Pause, Start, State};
use crate::transport::layer::{Layer, Received};
use crate::transport::protocol::{BufferedProtocol, Protocol, Transport};

/// The most that one read takes: large enough that a system call is a small part of it, small enough to stay in a
/// processor's near cache until the protocol reads it, and a connection that floods us is served for some ten microseconds
/// before others have their turn. asyncio's 256 KiB measure no better and wait longer.
const MOST_READ: usize = 64 * 1024;

/// What all connections of a loop read into. It is taken out while a protocol reads it, or while a stream in bulk keeps
/// what it has received there.
static READ_BUFFER: LoopLocal<Cell<Vec<u8>>> = LoopLocal::new(|| Cell::new(Vec::new()));

/// What a fetch came to.
pub(crate) enum Fetched {
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// What was received, encrypted, holds no bytes for the program, and more is there.
    Progress,
    /// Nothing is read now, or nothing more ever comes.
    Ended,
}

impl Observer for Connection<dyn Protocol> {
    fn ready(self: Rc<Self>) {
        let transport = Transport { connection: self };
        if transport.session_ready() {
            return;
        }
        transport.read_ready();
        transport.write_ready();
        transport.notice_hang_up();
    }

    fn panicked(self: Rc<Self>, error: io::Error) {
        Transport { connection: self }.fail(error);
    }

    fn abandon(self: Rc<Self>) {
        if !self.has_reached(State::Closing) {
            self.handle
                .state
                .warn_unclosed("a transport", self.location);
        }
        self.release();
    }
}

impl Transport {
    /// Reads once after an event: asyncio's `_read_ready`.
    fn read_ready(&self) {
        let connection = &self.connection;
        if !connection.may_read() || connection.with_layer(AnyLayer::may_receive) != Some(true) {
            return;
        }
        let received = self.receive_for_protocol();
        if connection.encrypted.get() && matches!(received, Some(Received::Nothing)) {
            // Records may hold nothing for the protocol, and more may follow.
            self.requeue_if_readable();
        }
        match received {
            Some(Received::Bytes { more, .. }) => {
                if more && connection.may_read() {
                    connection.with_io(Io::queue);
                }
            }
            Some(Received::End) => self.end_reading(),
            Some(Received::Failed(error)) => self.fail(error),
            Some(Received::Nothing) | None => {}
        }
    }

    /// Receives once and gives the protocol the bytes, in one entry. `None` where the protocol has failed, which has ended
    /// the connection.
    #[inline]
    fn receive_for_protocol(&self) -> Option<Received> {
        let connection = &self.connection;
        let protocol = connection.protocol.borrow().clone()?;
        // The method that is called at the time, for reports.
        let method = Cell::new("get_buffer");
        let entry = Entry {
            state: &connection.handle.state,
            callee: Callee::ProtocolStep(&method, self),
            location: connection.location,
        };
        let context = InContext::Of(&connection.context);
        let received = READ_BUFFER.with(&connection.handle, |shared| {
            let mut buffer = Vec::new();
            let received = entry.run_on(context, protocol, |protocol| {
                if let Some(buffered) = protocol.buffered() {
                    return self.receive_lent(buffered, &method);
                }
                buffer = shared.take();
                if buffer.is_empty() {
                    buffer = vec![0; MOST_READ];
                }
                let received = self.receive(&mut buffer);
                if let Received::Bytes { count, .. } = received {
                    method.set("data_received");
                    protocol.data_received(self, &buffer[..count]);
                }
                Some(received)
            });
            if !buffer.is_empty() {
                shared.set(buffer);
            }
            received
        });
        match received {
            Ok(Some(received)) => return Some(received),
            Ok(None) => self.fail_without_buffer(),
            Err(Failed) => self.fail_of_panic(method.get()),
        }
        None
    }

    /// Receives once into memory of the protocol. `None` where it lends none.
    fn receive_lent(
        &self,
        buffered: &dyn BufferedProtocol,
        method: &Cell<&'static str>,
    ) -> Option<Received> {
        let mut received = None;
        buffered.get_buffer(self, MOST_READ, &mut |buffer| {
            if received.is_none() && !buffer.is_empty() {
                received = Some(self.receive(buffer));
            }
        });
        match received {
            Some(Received::Bytes { count, .. }) => {
                method.set("buffer_updated");
                buffered.buffer_updated(self, count);
            }
            Some(_) => {
                method.set("buffer_unused");
                buffered.buffer_unused(self);
            }
            None => {}
        }
        received
    }

    /// Receives once, unless the protocol has just paused or ended the connection.
    #[inline]
    fn receive(&self, buffer: &mut [u8]) -> Received {
        let connection = &self.connection;
        if !connection.may_read() && !connection.is(State::Failing) {
            return Received::Nothing;
        }
        connection
            .with_layer(|layer| layer.receive(buffer))
            .unwrap_or(Received::Nothing)
    }

    #[cold]
    fn fail_without_buffer(&self) {
        let what = "a protocol's get_buffer lent no memory";
        let state = &self.connection.handle.state;
        state.report(ExceptionContext {
            about_transport: Some(self.reported()),
            ..ExceptionContext::new(what)
        });
        self.fail(io::Error::other(what));
    }

    /// Notes that the peer has finished writing, and asks the protocol whether to keep this side open.
    fn end_reading(&self) {
        self.connection.read_ended.set(true);
        let keep_open = self.enter_or_abort("eof_received", |protocol| protocol.eof_received(self));
        // A pipe has no other side to keep open.
        if keep_open != Some(true) || self.connection.pipe_direction().is_some() {
            self.close();
        } else if self.connection.encrypted.get() {
            // TLS has none that can be relied upon. But a task that learns of the end may say its last words first, as a
            // protocol may in `eof_received`: HTTP/2 ends so.
            self.call_soon(Self::close);
        }
    }

    /// Returns the loop's memory for reading, if nobody uses it now. Its bytes are of no meaning.
    pub(crate) fn take_read_buffer(&self) -> Vec<u8> {
        READ_BUFFER.with(&self.connection.handle, Cell::take)
    }

    /// Gives back memory for reading. It is dropped where it is of no use, or the loop has some already.
    pub(crate) fn give_read_buffer(&self, memory: Vec<u8>) {
        if memory.len() == MOST_READ {
            READ_BUFFER.with(&self.connection.handle, |place| {
                let present = place.take();
                place.set(if present.is_empty() { memory } else { present });
            });
        }
    }
}

/// When reading begins, pauses and goes on.
impl Transport {
    /// Lets reading begin, once: what has come since the connection was made is delivered from the loop.
    pub(crate) fn begin_reading(&self) {
        match self.connection.start() {
            Start::DeliverRest(error) => self.deliver_rest_soon(error),
            // Also the writing end of a pipe, which notices so that nobody reads any more.
            Start::Read => drop(self.connection.with_layer(queue_if_readable)),
        }
    }

    /// Lets reading begin after what is queued now, and so also after a task that awaits the one that runs.
    pub(crate) fn begin_reading_soon(&self) {
        self.call_soon(Self::begin_reading);
    }

    /// Lets reading go on where it was paused. What is queued already runs before anything is delivered: if the connection
    /// has an entry in the ready queue from the time before, that entry delivers nothing.
    pub(crate) fn read_after_queued(&self) {
        let connection = &self.connection;
        let waits = !connection.is(State::Open) || connection.pauses.has(Pause::UntilQueued);
        if !waits && connection.with_io(Io::is_queued) == Some(true) {
            connection.pauses.set(Pause::UntilQueued);
            self.call_soon(|transport| {
                transport.connection.pauses.lift(Pause::UntilQueued);
                transport.requeue_if_readable();
            });
        } else {
            self.requeue_if_readable();
        }
    }

    /// Pauses reading for a stream whose reader keeps too much. The program's own pause is another matter.
    pub(crate) fn pause_for_reader(&self) {
        self.connection.pauses.set(Pause::ForReader);
    }

    /// Returns whether reading is paused for a stream.
    #[inline]
    pub(crate) fn is_paused_for_reader(&self) -> bool {
        self.connection.pauses.has(Pause::ForReader)
    }

    /// Lets reading go on: the reader has room again, or waits.
    #[inline]
    pub(crate) fn resume_for_reader(&self) {
        if self.is_paused_for_reader() {
            self.connection.pauses.lift(Pause::ForReader);
            self.requeue_if_readable();
        }
    }

    /// Puts the connection at the end of the ready queue if its socket may have more to read, and returns whether it may.
    #[inline]
    pub(crate) fn requeue_if_readable(&self) -> bool {
        self.connection.may_read() && self.connection.with_layer(queue_if_readable) == Some(true)
    }

    /// Ends the writing end of a pipe that nobody reads any more. Events that say so set the reading bit, which nothing
    /// else uses there.
    fn notice_hang_up(&self) {
        let connection = &self.connection;
        if connection.is(State::Made) {
            return;
        }
        let hung_up = connection.with_io(|io| {
            let pipe = io.source().pipe()?;
            if pipe.direction != Direction::Write || !is_readable(io) {
                return None;
            }
            io.clear_ready(Direction::Read);
            Some(pipe.is_hung_up())
        });
        if hung_up.flatten() == Some(true) {
            let unsent = connection.has_unsent();
            self.force_close(unsent.then(|| io::ErrorKind::BrokenPipe.into()));
        }
    }
}

/// For streams, whose tasks receive by themselves.
impl Transport {
    /// Receives once for a task, from outside the protocol's callbacks. The protocol hears of the end and of errors.
    ///
    /// If nothing can be there, `wait` is called: it may have a waker wait in the socket's own queue. That is woken when
    /// something may have come, and nothing is delivered to the protocol instead. A task that is woken so fetches until
    /// nothing is there, or leaves.
    #[inline]
    pub(crate) fn fetch(&self, buffer: &mut [u8], wait: impl FnOnce(&mut Readiness)) -> Fetched {
        let connection = &self.connection;
        if !connection.may_read() {
            return Fetched::Ended;
        }
        let receive = |layer: &AnyLayer| match layer.may_receive_or(wait) {
            Ok(true) => Some(layer.receive(buffer)),
            Ok(false) => Some(Received::Nothing),
            Err(LoopClosed) => None,
        };
        let receive = || connection.with_layer(receive).flatten();
        match self.enter_to_fetch(receive) {
            Some(Received::Bytes { count, .. }) => Fetched::Bytes(count),
            Some(Received::Nothing)
                if connection.encrypted.get()
                    && connection.with_layer(AnyLayer::may_receive) == Some(true) =>
            {
                Fetched::Progress
            }
            Some(Received::Nothing) => Fetched::Nothing,
            ended => {
                self.end_fetching(ended);
                Fetched::Ended
            }
        }
    }

    #[cold]
    fn end_fetching(&self, received: Option<Received>) {
        match received {
            Some(Received::End) => self.end_reading(),
            Some(Received::Failed(error)) => self.fail(error),
            _ => {}
        }
    }

    /// Leaves the socket's queue. A task that may have consumed an event without fetching has the connection queued, so
    /// that the event is not lost.
    pub(crate) fn leave_fetching(&self, place: WaiterId, requeue: bool) {
        let leave =
            |io: &Io<StreamSocket>| io.readiness(|it| it.leave(Direction::Read, place)).ok();
        let left = self.connection.with_io(leave);
        drop(left);
        if requeue {
            self.requeue_if_readable();
        }
    }
}

/// Delivering the rest, in `Failing`.
impl Transport {
    /// Delivers what the system has received, then loses the connection to the error.
    pub(crate) fn deliver_rest_soon(&self, error: io::Error) {
        let unread = self.connection.with_layer(AnyLayer::unread).unwrap_or(0);
        self.call_soon(move |transport| transport.deliver_rest(error, unread));
    }

    /// Reads once of what is left. Then comes the next read, or the end.
    #[cold]
    fn deliver_rest(&self, error: io::Error, unread: usize) {
        let connection = &self.connection;
        if connection.is(State::Failing) && unread > 0 {
            // The poller may not have reported it yet.
            connection.with_io(|io| io.readiness(Readiness::assume_readable));
            if let Some(Received::Bytes { count, .. }) = self.receive_for_protocol() {
                let left = unread.saturating_sub(count);
                return self.call_soon(move |transport| transport.deliver_rest(error, left));
            }
        }
        connection.end_failing();
        self.lose(Some(error));
    }
}

fn is_readable(io: &Io<StreamSocket>) -> bool {
    io.readiness(|readiness| readiness.is_ready(Direction::Read)) == Ok(true)
}

fn queue_if_readable(layer: &AnyLayer) -> bool {
    let readable = layer.may_receive();
    if readable {
        layer.io().queue();
    }
    readable
}
