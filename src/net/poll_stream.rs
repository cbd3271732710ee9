//! Sockets and their halves as byte streams that are polled.
//!
//! A socket is read and written through `&self`, so a reference to one is a byte stream too. All poll functions of one
//! direction of a socket, also those of its halves, share one waker, the last: of two tasks that poll the same direction
//! only the later one is woken. Tasks that await `read` or `write` meanwhile have wakers of their own.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::task::{Context, Poll};

use crate::kernel::io::readiness::Direction;
use crate::net::halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::stream::SocketStream;
use crate::poll_io::{PollRead, PollWrite};
use crate::socket::nonblocking::{receive, send, send_vectored};
use crate::socket::stream_socket::StreamSocket;

/// Nothing in it refers to itself, whatever the kind.
impl<K> Unpin for SocketStream<K> {}

impl<K> SocketStream<K> {
    /// Polls whether a read is worth trying: data has come, or the end, or an error. The answer may be wrong: try to
    /// read, and poll again on `WouldBlock`.
    ///
    /// Of all poll functions for one direction of a socket, only the last that was pending has its task woken.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed. An error of the connection is returned by the next read.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// far.try_write(b"x")?;
    /// poll_fn(|context| near.poll_read_ready(context)).await?;
    /// assert_eq!(near.try_read(&mut [0; 8])?, 1);
    /// # Ok(()) });
    /// ```
    pub fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(Direction::Read, context)
    }

    /// Polls whether a write is worth trying. The answer may be wrong: try to write, and poll again on `WouldBlock`.
    ///
    /// Of all poll functions for one direction of a socket, only the last that was pending has its task woken.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed. An error of the connection is returned by the next write.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// poll_fn(|context| near.poll_write_ready(context)).await?;
    /// assert_eq!(near.try_write(b"x")?, 1);
    /// # Ok(()) });
    /// ```
    pub fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(Direction::Write, context)
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        let read = |socket: &StreamSocket| receive(socket, buffer);
        let short = |&count: &usize| 0 < count && count < room;
        self.io.poll_operate(Direction::Read, context, read, short)
    }

    fn poll_send(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let write = |socket: &StreamSocket| send(socket, bytes);
        self.io
            .poll_operate(Direction::Write, context, write, |_| false)
    }

    fn poll_send_vectored(
        &self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // The system takes a bounded number of pieces, which may be the empty ones.
        let first = pieces.iter().position(|piece| !piece.is_empty());
        let Some(first) = first else {
            return Poll::Ready(Ok(0));
        };
        let write = |socket: &StreamSocket| send_vectored(socket, &pieces[first..]);
        self.io
            .poll_operate(Direction::Write, context, write, |_| false)
    }

    /// Ends the writing direction. The system has all that was written, so nothing is waited for.
    fn poll_end_writing(&self) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown(Shutdown::Write))
    }
}

/// ```
/// use std::future::poll_fn;
///
/// use callsoon::PollRead;
/// # callsoon::doctest::run(async {
/// let (near, far) = callsoon::net::UnixStream::pair()?;
/// far.write_all(b"hello").await?;
/// let mut buffer = [0; 16];
/// let count = poll_fn(|context| (&near).poll_read(context, &mut buffer)).await?;
/// assert_eq!(&buffer[..count], b"hello");
/// # Ok(()) });
/// ```
impl<K> PollRead for &SocketStream<K> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_receive(context, buffer)
    }
}

/// `poll_flush` has nothing to do, since the system has all that was written. `poll_shutdown` ends the writing direction,
/// and returns `NotConnected` if the connection has ended already.
impl<K> PollWrite for &SocketStream<K> {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end_writing()
    }
}

impl<K> PollRead for SocketStream<K> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_receive(context, buffer)
    }
}

impl<K> PollWrite for SocketStream<K> {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end_writing()
    }
}

impl<K> PollRead for ReadHalf<'_, K> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_receive(context, buffer)
    }
}

impl<K> PollWrite for WriteHalf<'_, K> {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_send(context, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_send_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_end_writing()
    }
}

impl<K> PollRead for OwnedReadHalf<K> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_receive(context, buffer)
    }
}

impl<K> PollWrite for OwnedWriteHalf<K> {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_send(context, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_send_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_end_writing()
    }
}
