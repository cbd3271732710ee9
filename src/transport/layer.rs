//! What lies between the transport and its socket.
//!
//! `read.rs` and `write.rs` reach the socket through [`Layer`] alone. [`Plain`] passes bytes on as they are. With the
//! feature `tls` there is another layer, which encrypts, in `tls/encrypted.rs`. `any_layer.rs` says which of them a
//! connection has. Without the feature the other one has no values, so the choice between them costs nothing.
//!
//! A layer calls no user code and never waits, so its methods run while the connection is borrowed. A layer that keeps
//! bytes of its own has to say so: [`may_receive`](Layer::may_receive) is true while it keeps bytes for the protocol, and
//! [`has_unsent`](Layer::has_unsent) while it keeps bytes for the socket. `sendfile.rs` alone goes past the layer, since the
//! system copies from the file to the socket: over a layer that changes bytes it reads the file instead.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::AsFd as _;

use socket2::SockRef;

use crate::error::LoopClosed;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::socket::stream_socket::{MOST_AT_ONCE, StreamSocket};
use crate::sys::socket::unread;

/// What one receive has brought.
pub(crate) enum Received {
    /// Bytes, at least one.
    Bytes {
        count: usize,
        /// Another receive may bring something at once.
        more: bool,
    },
    /// The peer has finished writing.
    End,
    /// Nothing for now.
    Nothing,
    Failed(io::Error),
}

/// How a transport reaches its socket.
pub(crate) trait Layer {
    /// Returns the socket at the bottom and its place in the loop.
    fn io(&self) -> &Io<StreamSocket>;

    /// Returns whether [`receive`](Self::receive) may bring something now.
    #[inline(always)]
    fn may_receive(&self) -> bool {
        // A loop that is closed has no readiness left.
        self.may_receive_or(|_| ()) == Ok(true)
    }

    /// Does the same, and calls `otherwise` if it may not.
    fn may_receive_or(&self, otherwise: impl FnOnce(&mut Readiness)) -> Result<bool, LoopClosed>;

    /// Receives once into a buffer that is not empty. Called only after [`may_receive`](Self::may_receive) was true.
    fn receive(&self, buffer: &mut [u8]) -> Received;

    /// Sends bytes and returns how many were taken: 0 where the socket takes none now. An event then tells when it does.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends several pieces as [`send`](Self::send) does.
    fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns whether the layer keeps bytes that [`send`](Self::send) took and the socket did not.
    fn has_unsent(&self) -> bool {
        false
    }

    /// Sends what the layer keeps, as far as the socket takes it.
    ///
    /// # Errors
    /// Those of the socket. `WouldBlock` is none.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// Tells the peer that nothing more comes. A peer that has closed already is noticed by the next read.
    fn end_writing(&self);

    /// Returns how many bytes the system has received that were not read yet.
    fn unread(&self) -> usize;
}

/// The layer that changes nothing.
pub(crate) struct Plain {
    pub(crate) io: Io<StreamSocket>,
}

impl From<Io<StreamSocket>> for Plain {
    fn from(io: Io<StreamSocket>) -> Self {
        Self { io }
    }
}

impl Plain {
    /// Makes one attempt to send `total` bytes. Where a short write proves that the socket takes no more now, an event
    /// tells when it does.
    #[inline(always)]
    fn send_with(
        &self,
        total: usize,
        send: impl FnOnce(&StreamSocket) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let sent = self.io.attempt(Direction::Write, send);
        let short = matches!(sent, Ok(count) if count < total.min(MOST_AT_ONCE));
        if short && self.io.source().short_write_fills() {
            self.io.clear_ready(Direction::Write);
        }
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    /// Notes a read that did not fill its buffer, and returns whether another one may bring something all the same.
    #[inline]
    fn may_receive_after_short_read(&self) -> bool {
        let note = |readiness: &mut Readiness| {
            readiness.short_read();
            readiness.is_ready(Direction::Read)
        };
        self.io.readiness(note) == Ok(true)
    }
}

impl Layer for Plain {
    #[inline]
    fn io(&self) -> &Io<StreamSocket> {
        &self.io
    }

    #[inline]
    fn may_receive_or(&self, otherwise: impl FnOnce(&mut Readiness)) -> Result<bool, LoopClosed> {
        self.io.readiness(|readiness| {
            let ready = readiness.is_ready(Direction::Read);
            if !ready {
                otherwise(readiness);
            }
            ready
        })
    }

    #[inline(always)]
    fn receive(&self, buffer: &mut [u8]) -> Received {
        match self.io.source().receive(buffer) {
            Ok(0) => Received::End,
            Ok(count) => Received::Bytes {
                count,
                more: count == buffer.len() || self.may_receive_after_short_read(),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.io.clear_ready(Direction::Read);
                Received::Nothing
            }
            Err(error) => Received::Failed(error),
        }
    }

    #[inline(always)]
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send_with(bytes.len(), |socket| socket.send(bytes))
    }

    fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let total = pieces.iter().map(|piece| piece.len()).sum();
        self.send_with(total, |socket| socket.send_vectored(pieces))
    }

    fn end_writing(&self) {
        let _ = SockRef::from(self.io.source()).shutdown(Shutdown::Write);
    }

    fn unread(&self) -> usize {
        unread(self.io.source().as_fd()).unwrap_or(0)
    }
}
