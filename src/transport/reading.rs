//! When a connection reads: from its beginning, after a pause, and once more when it can write no more.
//!
//! A connection begins to read when its caller has been given it, so that a caller that replaces the protocol or pauses
//! reading is in time for the first byte. A connection whose write fails has often been told why: the peer has sent an
//! answer and closed. The system still keeps that answer, so it is delivered before `connection_lost`:
//!
//! ```text
//! a write fails → closing, nothing is sent any more → data_received, one read a turn → connection_lost(error)
//! ```
//!
//! As much is delivered as the system kept when the write failed, so a peer that goes on sending cannot put off the end.
//! Nothing is delivered if the program has paused reading before, and nothing more once it closes or aborts the connection.
//! To pause reading meanwhile changes nothing, as on any transport that is closing: what is left is bounded, and would be
//! lost.

use std::io;

use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::hold::Hold;
use crate::transport::protocol::Transport;
use crate::transport::traffic::Received;

impl Transport {
    /// Lets reading begin, once: what has come since the connection was made is delivered from the loop.
    pub(crate) fn begin_reading(&self) {
        let connection = &self.connection;
        connection.holds.lift(Hold::NotBegun);
        if let Some(error) = connection.failure.take() {
            return self.deliver_rest_soon(error);
        }
        // Also the writing end of a pipe, which notices so that nobody reads any more.
        connection.with_io(queue_if_readable);
    }

    /// Lets reading begin behind what is queued now, and so also behind a task that awaits the one that runs.
    pub(crate) fn begin_reading_soon(&self) {
        self.call_soon(Self::begin_reading);
    }

    /// Lets reading go on where it was held up. What is queued already runs before anything is delivered: if the
    /// connection has an entry in the ready queue from the time before, that entry delivers nothing.
    pub(crate) fn read_after_queued(&self) {
        let holds = &self.connection.holds;
        let waits = holds.has(Hold::NotBegun) || holds.has(Hold::Resuming);
        if !waits && self.connection.with_io(Io::is_queued) == Some(true) {
            holds.set(Hold::Resuming);
            self.call_soon(|transport| {
                transport.connection.holds.lift(Hold::Resuming);
                transport.look_again();
            });
        } else {
            self.look_again();
        }
    }

    /// Holds reading up for a stream whose reader keeps too much. The program's own pause is another matter.
    pub(crate) fn hold_for_reader(&self) {
        self.connection.holds.set(Hold::ReaderBehind);
    }

    /// Whether reading is held up for a stream.
    #[inline]
    pub(crate) fn is_held_for_reader(&self) -> bool {
        self.connection.holds.has(Hold::ReaderBehind)
    }

    /// The reader has caught up, or waits.
    #[inline]
    pub(crate) fn go_on_for_reader(&self) {
        if self.connection.holds.lift(Hold::ReaderBehind) {
            self.look_again();
        }
    }

    /// Puts the connection at the end of the ready queue if its socket may have more to read, and says whether it may.
    #[inline]
    pub(crate) fn look_again(&self) -> bool {
        self.connection.may_read() && self.connection.with_io(queue_if_readable) == Some(true)
    }

    /// Ends the connection since nothing can be written any more. What the system has received for it is delivered first.
    #[cold]
    pub(crate) fn fail_writing(&self, error: io::Error) {
        let connection = &self.connection;
        let reads = !connection.closing.get()
            && !connection.ended.get()
            && !connection.holds.has(Hold::Paused);
        if !reads || connection.handle.is_closed() {
            return self.fail(error);
        }
        connection.outgoing.borrow_mut().clear();
        connection.closing.set(true);
        connection.lost.set(true);
        connection.delivers_rest.set(true);
        connection.let_file_go_on();
        if connection.holds.has(Hold::NotBegun) {
            connection.failure.set(Some(error));
        } else {
            self.deliver_rest_soon(error);
        }
    }

    fn deliver_rest_soon(&self, error: io::Error) {
        let unread = self.connection.with_io(|io| io.source().unread());
        self.deliver_soon(error, unread.unwrap_or(0));
    }

    fn deliver_soon(&self, error: io::Error, unread: usize) {
        self.call_soon(move |transport| transport.deliver_rest(error, unread));
    }

    /// One read of what is left; then the next one, or the end.
    #[cold]
    fn deliver_rest(&self, error: io::Error, unread: usize) {
        let connection = &self.connection;
        if connection.delivers_rest.get() && unread > 0 {
            // The poller may not have told of it yet.
            connection.with_io(|io| io.readiness(Readiness::assume_readable));
            if let Some(Received::Bytes(count)) = self.receive_for_protocol() {
                return self.deliver_soon(error, unread.saturating_sub(count));
            }
        }
        connection.delivers_rest.set(false);
        self.over(Some(error));
    }

    /// Queues a call for this connection. A loop that closes drops its connections by itself.
    fn call_soon(&self, call: impl FnOnce(&Self) + 'static) {
        let connection = &self.connection;
        if !connection.handle.is_closed() {
            let transport = self.clone();
            connection
                .handle
                .queue_call(move || call(&transport), connection.location);
        }
    }
}

fn queue_if_readable(io: &Io<StreamSocket>) -> bool {
    let ready = io.readiness(|readiness| readiness.is_ready(Direction::Read)) == Ok(true);
    if ready {
        io.queue();
    }
    ready
}
