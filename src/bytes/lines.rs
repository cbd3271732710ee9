//! The lines of any buffered byte stream.
//!
//! A stream gives its bytes in pieces, and a line may begin in one piece and end in another: what has come of it is kept
//! in [`Lines`] until its end comes. So a wait that is given up loses nothing as long as the `Lines` lives.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::task::{Context, Poll, ready};

use crate::kernel::proceed::poll_within_budget;
use crate::poll_io::PollBufRead;
use crate::stream::error::{LimitOverrun, ReadError};
use crate::stream::protocol::LIMIT;
use crate::sys::memchr::memchr;

/// Cuts a byte stream into lines.
///
/// A [`StreamReader`](crate::stream::StreamReader) has [`lines`](crate::stream::StreamReader::lines) of its own, which keep
/// to its limit and leave a line that has not ended in the reader.
///
/// ```
/// # callsoon::doctest::run(async {
/// let file = callsoon::fs::File::open("/proc/self/status").await?;
/// let mut lines = callsoon::lines(file);
/// let mut parent = None;
/// while let Some(line) = lines.next_line().await? {
///     if let Some(number) = line.strip_prefix(b"PPid:") {
///         parent = Some(String::from_utf8_lossy(number).trim().to_owned());
///     }
/// }
/// assert!(parent.unwrap().parse::<u32>().is_ok());
/// # Ok(()) });
/// ```
pub fn lines<R: PollBufRead>(reader: R) -> Lines<R> {
    Lines {
        reader,
        limit: LIMIT,
        begun: Vec::new(),
        failed: None,
        ended: false,
    }
}

/// The lines of a byte stream. [`lines`] makes it.
///
/// ```
/// # callsoon::doctest::run(async {
/// let null = callsoon::fs::File::open("/dev/null").await?;
/// let mut lines: callsoon::Lines<callsoon::fs::File> = callsoon::lines(null);
/// assert_eq!(lines.next_line().await?, None);
/// # Ok(()) });
/// ```
pub struct Lines<R> {
    reader: R,
    limit: NonZeroUsize,
    /// What has come of the next line.
    begun: Vec<u8>,
    /// What the reader has failed with, after the beginning of a line.
    failed: Option<io::Error>,
    /// The last call returned no line. A stream of the lines, as the feature `futures` has it, ends then.
    pub(crate) ended: bool,
}

/// What a call returns: a line, or `None` after the last one.
type Line = Option<Vec<u8>>;

impl<R: PollBufRead> Lines<R> {
    /// Sets how long a line may be, in bytes, not counting its `\n`. 64 KiB by default.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let file = callsoon::fs::File::open("/proc/self/limits").await?;
    /// let limit = std::num::NonZeroUsize::new(5).unwrap();
    /// let error = callsoon::lines(file).limit(limit).next_line().await.unwrap_err();
    /// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidData);
    /// # Ok(()) });
    /// ```
    pub fn limit(mut self, bytes: NonZeroUsize) -> Self {
        self.limit = bytes;
        self
    }

    /// Reads the next line, with its `\n`. The last line may have none. `None` after it.
    ///
    /// # Errors
    /// [`ReadError::LimitOverrun`] if there is no `\n` within the limit: every further call gives it too, and
    /// [`into_parts`](Self::into_parts) returns what has come of the line. [`ReadError::Io`] if the reader fails: what had
    /// come of a line is returned first, as a last line without its `\n`.
    ///
    /// # Cancellation
    /// Dropped before it is done it loses nothing: what has come of the line is kept for the next call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut lines = callsoon::lines(callsoon::fs::File::open("/proc/self/limits").await?);
    /// assert!(lines.next_line().await?.unwrap().ends_with(b"\n"));
    /// # Ok(()) });
    /// ```
    pub async fn next_line(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        poll_fn(|context| self.poll_next_line(context)).await
    }

    /// Polls for the next line: see [`next_line`](Self::next_line).
    ///
    /// # Errors
    /// Those of [`next_line`](Self::next_line).
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut lines = callsoon::lines(callsoon::fs::File::open("/proc/self/limits").await?);
    /// let first = std::future::poll_fn(|context| lines.poll_next_line(context)).await?;
    /// assert!(first.is_some());
    /// # Ok(()) });
    /// ```
    pub fn poll_next_line(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Vec<u8>>, ReadError>> {
        loop {
            // Each piece takes from the budget: a line may have very many, and a program's own reader may always be ready.
            let polled = poll_within_budget(context, |context| self.poll_piece(context));
            if let Some(line) = ready!(polled).transpose() {
                self.ended = !matches!(line, Ok(Some(_)));
                return Poll::Ready(line);
            }
        }
    }

    /// Takes one piece of what has come. `None` if the line goes on behind it.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Line>, ReadError>> {
        // A line that is over the limit stays where it is.
        if self.begun.len() > self.limit.get() {
            return Poll::Ready(Err(overrun(self.begun.len())));
        }
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error.into()));
        }
        let piece = match ready!(self.reader.poll_fill_buf(context)) {
            Ok(piece) => piece,
            Err(error) if self.begun.is_empty() => return Poll::Ready(Err(error.into())),
            Err(error) => {
                self.failed = Some(error);
                &[]
            }
        };
        if piece.is_empty() {
            let last = std::mem::take(&mut self.begun);
            return Poll::Ready(Ok(Some((!last.is_empty()).then_some(last))));
        }
        // No more than what shows that the line is too long.
        let room = (self.limit.get() - self.begun.len()).saturating_add(1);
        let piece = &piece[..piece.len().min(room)];
        let end = memchr(b'\n', piece).map(|at| at + 1);
        let count = end.unwrap_or(piece.len());
        if let Err(error) = self.begun.try_reserve(count) {
            return Poll::Ready(Err(io::Error::from(error).into()));
        }
        self.begun.extend_from_slice(&piece[..count]);
        self.reader.consume(count);
        let line = end.map(|_| Some(std::mem::take(&mut self.begun)));
        Poll::Ready(Ok(line))
    }

    /// Returns the reader, and what has come of the next line.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let mut lines = callsoon::lines(callsoon::fs::File::open("/proc/self/limits").await?);
    /// let first = lines.next_line().await?.unwrap();
    /// let (file, begun) = lines.into_parts();
    /// assert_eq!((file.position(), begun.len()), (first.len() as u64, 0));
    /// # Ok(()) });
    /// ```
    pub fn into_parts(self) -> (R, Vec<u8>) {
        (self.reader, self.begun)
    }
}

#[cold]
fn overrun(consumed: usize) -> ReadError {
    ReadError::LimitOverrun(LimitOverrun { consumed })
}

impl<R: fmt::Debug> fmt::Debug for Lines<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("reader", &self.reader)
            .field("limit", &self.limit)
            .field("begun", &self.begun.len())
            .field("ended", &self.ended)
            .finish()
    }
}
