//! A reader and a writer as one stream: for code that wants one value for both directions.
//!
//! Streams are opened as pairs, and HTTP, WebSockets and the traits of other crates take one value. The pair may as well
//! be two pipes, such as a child's input and output.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use crate::poll_io::{PollBufRead, PollRead, PollWrite};

/// A source and a sink of bytes as one stream.
///
/// ```
/// # callsoon::doctest::with_stream(async |reader, writer, there| {
/// let stream = callsoon::Joined::new(reader, writer);
/// let (reader, writer) = stream.into_parts();
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct Joined<R, W> {
    /// What is read from.
    pub reader: R,
    /// What is written to.
    pub writer: W,
}

impl<R, W> Joined<R, W> {
    /// Makes one stream of two halves.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |reader, writer, there| {
    /// let stream = callsoon::Joined::new(reader, writer);
    /// assert!(!stream.reader.at_eof());
    /// # Ok(()) });
    /// ```
    pub fn new(reader: R, writer: W) -> Self {
        Self { reader, writer }
    }

    /// Returns the halves.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |reader, writer, there| {
    /// let (reader, writer) = callsoon::Joined::new(reader, writer).into_parts();
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
