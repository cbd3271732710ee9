//! A reader and a writer as one byte stream, for code that takes a connection as one value.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use crate::poll_io::{PollBufRead, PollRead, PollWrite};
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;

/// Makes one byte stream of a reader and a writer: the two ends of a connection, or a child's output and input.
///
/// ```
/// use std::future::poll_fn;
///
/// use callsoon::{PollRead, PollWrite};
/// # callsoon::doctest::with_stream(async |reader, writer, there| {
/// let mut stream = callsoon::stream::join(reader, writer);
/// poll_fn(|context| stream.poll_write(context, b"ping")).await?;
/// std::io::Write::write_all(&mut &there, b"pong")?;
/// let mut answer = [0; 4];
/// assert_eq!(poll_fn(|context| stream.poll_read(context, &mut answer)).await?, 4);
/// # Ok(()) });
/// ```
pub fn join<R, W>(reader: R, writer: W) -> Joined<R, W> {
    Joined { reader, writer }
}

/// A reader and a writer as one byte stream. It reads from the one and writes to the other. Made by [`join`].
///
/// With the features `futures` and `tokio-io` it implements the traits of those crates too, which crates for TLS, HTTP and
/// WebSocket ask for.
///
/// ```
/// # callsoon::doctest::with_stream(async |reader, writer, there| {
/// let stream: callsoon::stream::Joined = callsoon::stream::join(reader, writer);
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct Joined<R = StreamReader, W = StreamWriter> {
    reader: R,
    writer: W,
}

impl<R, W> Joined<R, W> {
    /// Returns the reader, to read in other ways.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |reader, writer, there| {
    /// let mut stream = callsoon::stream::join(reader, writer);
    /// std::io::Write::write_all(&mut &there, b"a line\n")?;
    /// assert_eq!(stream.reader().readline().await?, b"a line\n");
    /// # Ok(()) });
    /// ```
    pub fn reader(&mut self) -> &mut R {
        &mut self.reader
    }

    /// Returns the writer, to write in other ways.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |reader, writer, there| {
    /// let mut stream = callsoon::stream::join(reader, writer);
    /// assert!(stream.writer().can_write_eof());
    /// # Ok(()) });
    /// ```
    pub fn writer(&mut self) -> &mut W {
        &mut self.writer
    }

    /// Returns both.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |reader, writer, there| {
    /// let stream = callsoon::stream::join(reader, writer);
    /// let (reader, writer) = stream.into_parts();
    /// # Ok(()) });
    /// ```
    pub fn into_parts(self) -> (R, W) {
        (self.reader, self.writer)
    }
}

impl<R: PollRead, W> PollRead for Joined<R, W> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.reader.poll_read(context, buffer)
    }
}

impl<R: PollBufRead, W> PollBufRead for Joined<R, W> {
    fn poll_fill_buf(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.reader.poll_fill_buf(context)
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
    }
}

impl<R, W: PollWrite> PollWrite for Joined<R, W> {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer.poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.writer.is_write_vectored()
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_shutdown(context)
    }
}
