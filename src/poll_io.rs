//! Reading and writing bytes by poll functions: what all byte streams of the crate have in common.
//!
//! Sockets, their halves, streams, pipes and files implement these traits; so do bytes in memory, a slice as a source and a
//! `Vec` as a sink; and so may a program's own types. Everything that
//! works on any byte stream stands on them: [`copy`](crate::copy()), and the adapters to the traits of other crates. Their
//! names differ from those of the `futures` and `tokio` traits, so that all may be imported in one file.
//!
//! An implementation never blocks, and when it returns `Pending` the task of the context is woken once another call may
//! do better. One direction of a stream remembers one waker, the last. A call that is not repeated loses nothing: bytes
//! leave a stream only in a call that returns them, and a write has taken what it says it took.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

/// A source of bytes.
///
/// ```
/// use std::io;
/// use std::task::{Context, Poll};
///
/// use callsoon::PollRead;
///
/// /// Endless zeros.
/// struct Zeros;
///
/// impl PollRead for Zeros {
///     fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
///         buffer.fill(0);
///         Poll::Ready(Ok(buffer.len()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no byte stream of callsoon that can be read",
    note = "a reader and a writer become one stream by `callsoon::stream::join(reader, writer)`",
    note = "sockets and files of the standard library become one by `from_std` of `callsoon::net` and `callsoon::fs`"
)]
pub trait PollRead {
    /// Reads at least one byte into the start of `buffer` and returns how many. 0 means that nothing more comes, or that
    /// `buffer` is empty.
    ///
    /// # Errors
    /// Those of the stream. No `WouldBlock` and no `Interrupted`.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>>;
}

/// A source of bytes that keeps what it has received, so that a caller can look at bytes before it takes them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no byte stream of callsoon with a buffer",
    note = "`callsoon::open_connection(socket)` makes a `StreamReader` of a socket, which has a buffer"
)]
pub trait PollBufRead: PollRead {
    /// Returns what was received and not taken yet. Empty means that nothing more comes.
    ///
    /// # Errors
    /// Those of the stream.
    fn poll_fill_buf(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>>;

    /// Takes so many bytes of what [`poll_fill_buf`](Self::poll_fill_buf) returned, at most all of them.
    fn consume(&mut self, count: usize);
}

/// A sink of bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no byte stream of callsoon that can be written",
    note = "a reader and a writer become one stream by `callsoon::stream::join(reader, writer)`",
    note = "sockets and files of the standard library become one by `from_std` of `callsoon::net` and `callsoon::fs`"
)]
pub trait PollWrite {
    /// Takes at least one of the bytes, from the start, and returns how many. 0 only if `bytes` is empty.
    ///
    /// # Errors
    /// Those of the stream. No `WouldBlock` and no `Interrupted`.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Does the same with several pieces. Without an implementation of its own it takes of the first that is not empty.
    ///
    /// # Errors
    /// Those of [`poll_write`](Self::poll_write).
    fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        self.poll_write(context, first.map_or(&[], |piece| &piece[..]))
    }

    /// Returns whether [`poll_write_vectored`](Self::poll_write_vectored) is better than writing pieces one by one.
    fn is_write_vectored(&self) -> bool {
        false
    }

    /// Waits until what was taken is with the system, or with whatever the sink writes to.
    ///
    /// # Errors
    /// Those of the stream.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Flushes, then tells the other side that nothing more comes. Its answers can still be read.
    ///
    /// # Errors
    /// Those of the stream.
    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Returns how many bytes a call has moved, if that is no more than it could.
///
/// # Errors
/// `InvalidData` otherwise. The stream is a program's own then and breaks its contract, which must not become a panic in
/// code that has only passed its bytes on.
pub(crate) fn at_most(room: usize, count: usize) -> io::Result<usize> {
    match count <= room {
        true => Ok(count),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a stream has moved more bytes than it was given",
        )),
    }
}

impl<T: PollRead + ?Sized> PollRead for &mut T {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_read(context, buffer)
    }
}

impl<T: PollBufRead + ?Sized> PollBufRead for &mut T {
    fn poll_fill_buf(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        (**self).poll_fill_buf(context)
    }

    fn consume(&mut self, count: usize) {
        (**self).consume(count);
    }
}

impl<T: PollWrite + ?Sized> PollWrite for &mut T {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        (**self).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        (**self).is_write_vectored()
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_shutdown(context)
    }
}

/// Bytes in memory: what was read is cut off the front.
///
/// ```
/// callsoon::run(async {
///     let mut lines = callsoon::lines(&b"one\ntwo\n"[..]);
///     assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(&b"one\n"[..]));
/// }).unwrap();
/// ```
impl PollRead for &[u8] {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(io::Read::read(self, buffer))
    }
}

impl PollBufRead for &[u8] {
    fn poll_fill_buf(&mut self, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Poll::Ready(Ok(*self))
    }

    fn consume(&mut self, count: usize) {
        *self = self.get(count..).unwrap_or_default();
    }
}

/// Memory that grows: what is written comes to the end. Without memory for it a write is `OutOfMemory` and has taken
/// nothing.
///
/// ```
/// callsoon::run(async {
///     let mut copy = Vec::new();
///     assert_eq!(callsoon::copy(&b"hello"[..], &mut copy).await.unwrap(), 5);
///     assert_eq!(copy, b"hello");
/// }).unwrap();
/// ```
impl PollWrite for Vec<u8> {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Err(error) = self.try_reserve(bytes.len()) {
            return Poll::Ready(Err(error.into()));
        }
        self.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
