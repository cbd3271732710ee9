//! tokio's `AsyncRead`, `AsyncBufRead` and `AsyncWrite` for sockets, halves, streams and files, by their poll functions, and
//! `AsyncSeek` for files.
//!
//! The traits alone: nothing here needs a tokio runtime, and code that does, such as `tokio::time`, does not work on this
//! loop.

use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::fs::file::File;
use crate::net::halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::stream::SocketStream;
use crate::poll_io::{PollBufRead, PollRead, PollWrite, at_most};
use crate::stream::joined::Joined;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::testing::duplex::DuplexStream;

/// Reads into the unfilled part. It has to be initialised, which happens once for each buffer.
fn read(
    source: &mut impl PollRead,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let count = ready!(source.poll_read(context, buffer.initialize_unfilled()))?;
    buffer.advance(at_most(buffer.remaining(), count)?);
    Poll::Ready(Ok(()))
}

impl<K> AsyncRead for SocketStream<K> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        read(self.get_mut(), context, buffer)
    }
}

impl<K> AsyncWrite for SocketStream<K> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write_vectored(self.get_mut(), context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        PollWrite::is_write_vectored(self)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl<K> AsyncRead for &SocketStream<K> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        read(self.get_mut(), context, buffer)
    }
}

impl<K> AsyncWrite for &SocketStream<K> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write_vectored(self.get_mut(), context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        PollWrite::is_write_vectored(self)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl<K> AsyncRead for ReadHalf<'_, K> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        read(self.get_mut(), context, buffer)
    }
}

impl<K> AsyncWrite for WriteHalf<'_, K> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write_vectored(self.get_mut(), context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        PollWrite::is_write_vectored(self)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl<K> AsyncRead for OwnedReadHalf<K> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        read(self.get_mut(), context, buffer)
    }
}

impl<K> AsyncWrite for OwnedWriteHalf<K> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write_vectored(self.get_mut(), context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        PollWrite::is_write_vectored(self)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        read(self.get_mut(), context, buffer)
    }
}

impl AsyncBufRead for StreamReader {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        PollBufRead::poll_fill_buf(self.get_mut(), context)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        PollBufRead::consume(self.get_mut(), count);
    }
}

impl AsyncWrite for StreamWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write_vectored(self.get_mut(), context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        PollWrite::is_write_vectored(self)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl<R: PollRead + Unpin, W: Unpin> AsyncRead for Joined<R, W> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        read(self.get_mut(), context, buffer)
    }
}

impl<R: PollBufRead + Unpin, W: Unpin> AsyncBufRead for Joined<R, W> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        PollBufRead::poll_fill_buf(self.get_mut(), context)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        PollBufRead::consume(self.get_mut(), count);
    }
}

impl<R: Unpin, W: PollWrite + Unpin> AsyncWrite for Joined<R, W> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write_vectored(self.get_mut(), context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        PollWrite::is_write_vectored(self)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl AsyncRead for File {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        read(self.get_mut(), context, buffer)
    }
}

impl AsyncBufRead for File {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        PollBufRead::poll_fill_buf(self.get_mut(), context)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        PollBufRead::consume(self.get_mut(), count);
    }
}

/// A write returns when its bytes are on their way; flushing waits for them, and so does shutting down.
impl AsyncWrite for File {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write_vectored(self.get_mut(), context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        PollWrite::is_write_vectored(self)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

/// A seek is noted by `start_seek` and done by `poll_complete`, as with tokio's own file.
///
/// ```
/// # callsoon::doctest::run(async {
/// use std::io::SeekFrom;
/// use tokio::io::{AsyncReadExt, AsyncSeekExt};
/// let mut file = callsoon::fs::File::open("/proc/self/limits").await?;
/// assert_eq!(AsyncSeekExt::seek(&mut file, SeekFrom::Start(2)).await?, 2);
/// let mut text = [0; 3];
/// file.read_exact(&mut text).await?;
/// assert_eq!(&text, b"mit");
/// # Ok(()) });
/// ```
impl AsyncSeek for File {
    fn start_seek(self: Pin<&mut Self>, target: SeekFrom) -> io::Result<()> {
        self.get_mut().start_seek(target);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.get_mut().poll_seek_end(context)
    }
}

impl AsyncRead for DuplexStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        read(self.get_mut(), context, buffer)
    }
}

impl AsyncBufRead for DuplexStream {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        PollBufRead::poll_fill_buf(self.get_mut(), context)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        PollBufRead::consume(self.get_mut(), count);
    }
}

impl AsyncWrite for DuplexStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        PollWrite::poll_write(self.get_mut(), context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}
