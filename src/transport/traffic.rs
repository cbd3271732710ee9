//! What a connection exchanges with its socket: one `recv`, one `send`, and what is kept between two of them.
//!
//! Nothing here calls a protocol, so everything may happen with the socket borrowed. Nothing here waits either: what the
//! system does not take stays in the buffer, and what it does not have is no error.

use std::io;

use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::socket::stream_socket::{MOST_AT_ONCE, StreamSocket};
use crate::transport::protocol::Connection;

/// What one read has brought.
pub(crate) enum Received {
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

/// Which end of a pipe a source is, if it is one.
pub(crate) fn direction_of(io: &Io<StreamSocket>) -> Option<Direction> {
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

    pub(crate) fn may_read(&self) -> bool {
        self.holds.none()
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
    pub(crate) fn let_file_go_on(&self) {
        if !self.sending_file.get() {
            return;
        }
        let Some(mut turn) = self.file_turn.take() else {
            return;
        };
        let sender = turn.sender.take();
        self.file_turn.set(Some(turn));
        if let Some(sender) = sender {
            self.handle.state.wake(sender);
        }
    }

    /// One `recv`, if the socket is believed to be ready.
    #[inline]
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Received {
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

    /// One attempt to send `total` bytes; how many the system took. Where a short write proves that it takes no more now, an
    /// event will tell when it does.
    pub(crate) fn send(
        &self,
        total: usize,
        send: impl FnOnce(&StreamSocket) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let sent = self.with_io(|io| {
            let sent = io.attempt(Direction::Write, send);
            let short = matches!(sent, Ok(count) if count < total.min(MOST_AT_ONCE));
            if short && io.source().short_write_fills() {
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
    pub(crate) fn flush(&self) -> io::Result<usize> {
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
}
