//! The lines of a stream, as an iterator that is awaited.
//!
//! It stands on [`next_line`](StreamReader::next_line), with its limit and its errors: a line stays in the reader until all
//! of it has come, so the iterator may be dropped at any time.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::stream::error::ReadError;
use crate::stream::protocol::StreamProtocol;
use crate::stream::reader::StreamReader;

impl StreamReader {
    /// Returns the lines, for loops: asyncio's `async for line in reader`.
    ///
    /// Where the futures crates' `AsyncBufReadExt` is imported, its method of this name comes first: write
    /// `StreamReader::lines(&mut reader)` there.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"one\ntwo\nthree")?;
    /// drop(there);
    /// let mut lines = reader.lines();
    /// let mut lengths = Vec::new();
    /// while let Some(line) = lines.next_line().await? {
    ///     lengths.push(line.len());
    /// }
    /// assert_eq!(lengths, [4, 4, 5]);
    /// # Ok(()) });
    /// ```
    pub fn lines(&mut self) -> ReaderLines<'_> {
        ReaderLines {
            reader: self,
            searched: 0,
            ended: false,
        }
    }
}

/// The lines of a stream. [`StreamReader::lines`] makes it.
///
/// ```
/// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
/// drop(there);
/// let mut lines: callsoon::stream::ReaderLines<'_> = reader.lines();
/// assert_eq!(lines.next_line().await?, None);
/// # Ok(()) });
/// ```
pub struct ReaderLines<'a> {
    reader: &'a mut StreamReader,
    /// So many bytes of what is kept have no `\n`.
    searched: usize,
    /// The last call returned no line. A stream of the lines, as the feature `futures` has it, ends then.
    pub(crate) ended: bool,
}

impl ReaderLines<'_> {
    /// Reads the next line, with its `\n`. The last line may have none. `None` after it. The same as
    /// [`StreamReader::next_line`].
    ///
    /// # Errors
    /// As [`StreamReader::readline`].
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"one\n")?;
    /// assert_eq!(reader.lines().next_line().await?.unwrap(), b"one\n");
    /// # Ok(()) });
    /// ```
    pub async fn next_line(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let _wait = Wait(Rc::clone(&self.reader.stream.protocol));
        poll_fn(|context| self.poll_next_line(context)).await
    }

    /// Polls for the next line: see [`next_line`](Self::next_line).
    ///
    /// # Errors
    /// As [`StreamReader::readline`].
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"one\n")?;
    /// let mut lines = reader.lines();
    /// let line = std::future::poll_fn(|context| lines.poll_next_line(context)).await?;
    /// assert_eq!(line.unwrap(), b"one\n");
    /// # Ok(()) });
    /// ```
    pub fn poll_next_line(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Vec<u8>>, ReadError>> {
        let line = ready!(self.reader.poll_line(context, &mut self.searched));
        self.searched = 0;
        let line = match line {
            Err(ReadError::Incomplete(incomplete)) => Ok(incomplete.partial),
            Err(ReadError::Failed(failed)) => Ok(failed.partial),
            line => line,
        };
        let line = line.map(|line| (!line.is_empty()).then_some(line));
        self.ended = !matches!(line, Ok(Some(_)));
        Poll::Ready(line)
    }
}

/// A wait that holds no virtual clock once it is given up, as a poll would.
struct Wait(Rc<StreamProtocol>);

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.end_polled_wait();
    }
}

impl fmt::Debug for ReaderLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderLines")
            .field("reader", &self.reader)
            .field("ended", &self.ended)
            .finish()
    }
}
