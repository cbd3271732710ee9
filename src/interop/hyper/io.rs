//! A byte stream as hyper's connection.
//!
//! hyper lends memory that may be uninitialised, and a stream of ours reads into initialised memory. Clearing all that
//! hyper lends, 8 KiB at least, costs more than most requests have bytes. So a read goes to memory of the thread's,
//! which was cleared once, and what has come is copied from there: no unsafe code, and a cost per byte that arrived.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::poll_io::{PollRead, PollWrite, at_most};

/// A stream of bytes as hyper's `Read` and `Write`.
///
/// It takes whatever has [`PollRead`] and [`PollWrite`]: sockets, and a reader and a writer that were
/// [joined](crate::stream::join).
///
/// hyper's `with_upgrades` wants a stream that is `Send`, and no stream of a loop is. For an upgrade await
/// `without_shutdown` of a connection of HTTP/1 without it, on either side: of what that returns, `io` gives the stream back
/// by [`into_inner`](Self::into_inner), and `read_buf` has the bytes that came behind the head.
///
/// ```
/// use callsoon::interop::hyper::HyperIo;
///
/// # callsoon::doctest::run(async {
/// let (near, _far) = callsoon::net::UnixStream::pair()?;
/// let connection = HyperIo::new(near);
/// let near: callsoon::net::UnixStream = connection.into_inner();
/// # Ok(()) });
/// ```
pub struct HyperIo<T> {
    stream: T,
}

impl<T> HyperIo<T> {
    /// Wraps a stream.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// let connection = callsoon::interop::hyper::HyperIo::new(near);
    /// # Ok(()) });
    /// ```
    pub fn new(stream: T) -> Self {
        Self { stream }
    }

    /// Returns the stream.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// let connection = callsoon::interop::hyper::HyperIo::new(near);
    /// assert!(connection.get_ref().peer_addr().is_ok());
    /// # Ok(()) });
    /// ```
    pub fn get_ref(&self) -> &T {
        &self.stream
    }

    /// Returns the stream, to be changed. Bytes that are read or written here are missing in hyper's exchange.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// let mut connection = callsoon::interop::hyper::HyperIo::new(near);
    /// connection.get_mut().try_write(b"before any request")?;
    /// # Ok(()) });
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Returns the stream that was wrapped.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// let connection = callsoon::interop::hyper::HyperIo::new(near);
    /// let near = connection.into_inner();
    /// # Ok(()) });
    /// ```
    pub fn into_inner(self) -> T {
        self.stream
    }
}

/// Nothing is pinned: streams are polled by plain references.
impl<T> Unpin for HyperIo<T> {}

/// The most that one read takes. hyper's buffers begin with 8 KiB and grow while reads fill them.
const MOST_READ: usize = 64 * 1024;

thread_local! {
    /// What reads of this thread go to: empty before the first one, and during each one.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<T: PollRead> Read for HyperIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // Taken out, not borrowed: a stream may be a program's own, which may read another one inside.
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        if scratch.is_empty() {
            scratch = vec![0; MOST_READ];
        }
        let room = buffer.remaining().min(MOST_READ);
        let polled = self
            .get_mut()
            .stream
            .poll_read(context, &mut scratch[..room])
            .map(|count| at_most(room, count?));
        if let Poll::Ready(Ok(count)) = polled {
            buffer.put_slice(&scratch[..count]);
        }
        // In the last destructors of a thread there is no place to keep it.
        let _ = SCRATCH.try_with(|place| place.set(scratch));
        ready!(polled)?;
        Poll::Ready(Ok(()))
    }
}

impl<T: PollWrite> Write for HyperIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = self.get_mut().stream.poll_write(context, bytes);
        polled.map(|count| at_most(bytes.len(), count?))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = pieces.iter().map(|piece| piece.len()).sum();
        let polled = self.get_mut().stream.poll_write_vectored(context, pieces);
        polled.map(|count| at_most(room, count?))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.poll_shutdown(context)
    }
}

impl<T: fmt::Debug> fmt::Debug for HyperIo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HyperIo").field(&self.stream).finish()
    }
}
