//! futures-io's `AsyncRead`, `AsyncBufRead` and `AsyncWrite` for sockets, halves, streams and files, by their poll
//! functions, and `AsyncSeek` for files.
//!
//! `poll_close` is [`PollWrite::poll_shutdown`]: it flushes and ends the writing direction. What the peer still sends can be
//! read. The socket closes when it is dropped.

use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};

use crate::fs::file::File;
use crate::net::halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::stream::SocketStream;
use crate::poll_io::{PollBufRead, PollRead, PollWrite};
use crate::stream::joined::Joined;
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::testing::duplex::DuplexStream;

impl<K> AsyncRead for SocketStream<K> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        PollRead::poll_read(self.get_mut(), context, buffer)
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl<K> AsyncRead for &SocketStream<K> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        PollRead::poll_read(self.get_mut(), context, buffer)
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl<K> AsyncRead for ReadHalf<'_, K> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        PollRead::poll_read(self.get_mut(), context, buffer)
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl<K> AsyncRead for OwnedReadHalf<K> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        PollRead::poll_read(self.get_mut(), context, buffer)
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl AsyncRead for StreamReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        PollRead::poll_read(self.get_mut(), context, buffer)
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl<R: PollRead + Unpin, W: Unpin> AsyncRead for Joined<R, W> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        PollRead::poll_read(self.get_mut(), context, buffer)
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

impl AsyncRead for File {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        PollRead::poll_read(self.get_mut(), context, buffer)
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

/// A write returns when its bytes are on their way; flushing waits for them, and so does closing.
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_flush(self.get_mut(), context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}

/// ```
/// # callsoon::doctest::run(async {
/// use std::io::SeekFrom;
/// use futures_lite::{AsyncReadExt, AsyncSeekExt};
/// let mut file = callsoon::fs::File::open("/proc/self/limits").await?;
/// assert_eq!(AsyncSeekExt::seek(&mut file, SeekFrom::Start(2)).await?, 2);
/// let mut text = [0; 3];
/// file.read_exact(&mut text).await?;
/// assert_eq!(&text, b"mit");
/// # Ok(()) });
/// ```
impl AsyncSeek for File {
    fn poll_seek(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        self.get_mut().poll_seek(context, target)
    }
}

impl AsyncRead for DuplexStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        PollRead::poll_read(self.get_mut(), context, buffer)
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

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        PollWrite::poll_shutdown(self.get_mut(), context)
    }
}
