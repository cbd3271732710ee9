//! The reading end of a stream.
//!
//! Every read checks what has arrived, and waits for more if that is not enough. It takes bytes out only when it has
//! everything that it returns, so a read that is dropped while it waits has taken nothing.
//!
//! A connection that fails keeps what arrived before. The reads return those bytes first, then one of them returns
//! the error, and later ones find the end. asyncio returns the error at once and never the bytes.

use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;

use crate::kernel::io::readiness::Direction;
use crate::stream::error::{FailedRead, IncompleteRead, LimitOverrun, ReadError};
use crate::stream::incoming::find_first;
use crate::stream::protocol::StreamProtocol;
use crate::stream::waiting::Stream;
use crate::transport::protocol::Transport;

/// The reading end of a connection, or of a child's output. Once it is dropped, what arrives is thrown away; the
/// reading end of a pipe closes.
///
/// If there is no memory for what a read returns, the read fails with an error of kind `OutOfMemory` and has taken
/// nothing. If there is none to keep what arrives, the connection is lost to such an error.
///
/// If the connection fails, the reads return what arrived before, then one of them returns the error, and later ones
/// find the end. asyncio returns the error at once and never the bytes.
///
/// ```
/// callsoon::run(async {
///     let (here, there) = std::os::unix::net::UnixStream::pair()?;
///     let (mut reader, _writer) = callsoon::stream::open_connection(here).await?;
///     std::io::Write::write_all(&mut &there, b"one\ntwo\n")?;
///     drop(there);
///     assert_eq!(reader.readline().await?, b"one\n");
///     assert_eq!(reader.readline().await?, b"two\n");
///     assert_eq!(reader.readline().await?, b"");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
pub struct StreamReader {
    stream: Stream,
}

impl StreamReader {
    pub(crate) fn new(protocol: &Rc<StreamProtocol>, transport: &Transport) -> Self {
        Self {
            stream: Stream::new(protocol, transport),
        }
    }

    /// Reads what is there: at least one byte unless the peer has finished, and at most `n`. asyncio reads to the end
    /// if `n` is negative; [`read_to_end`](Self::read_to_end) does that here.
    ///
    /// # Errors
    /// The error that the connection was lost to, such as `ConnectionReset` or `BrokenPipe`, when all that arrived
    /// before has been read. Only one read returns it. `NotConnected` on a closed loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"hello")?;
    /// assert_eq!(reader.read(100).await?, b"hello");
    /// # Ok(()) });
    /// ```
    pub fn read(&mut self, n: usize) -> impl Future<Output = io::Result<Vec<u8>>> {
        self.stream.read(move |stream| {
            if n == 0 {
                return Some(Ok(Vec::new()));
            }
            let most = stream.length().min(n);
            if most > 0 {
                return Some(stream.take(most));
            }
            let eof = stream.protocol.eof.get();
            eof.then(|| stream.protocol.take_failure().map_or(Ok(Vec::new()), Err))
        })
    }

    /// Reads like [`read`](Self::read), but into memory of the caller's and without an allocation. Returns how many
    /// bytes were read. 0 means that the peer has finished, or that the buffer is empty. asyncio has no such method.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"hello")?;
    /// let mut buffer = [0; 100];
    /// let count = reader.read_into(&mut buffer).await?;
    /// assert_eq!(&buffer[..count], b"hello");
    /// # Ok(()) });
    /// ```
    pub fn read_into(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.stream.fetch(buffer)
    }

    /// Reads until the peer has finished, whatever the limit.
    ///
    /// # Errors
    /// The error that the connection was lost to, since the rest is missing then. What arrived before stays in the
    /// reader, and the next read returns it.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"all of it")?;
    /// drop(there);
    /// assert_eq!(reader.read_to_end().await?, b"all of it");
    /// # Ok(()) });
    /// ```
    pub async fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.read_all().await?;
        self.take_all()
    }

    /// Reads to the end, and keeps what arrived.
    pub(crate) async fn read_all(&mut self) -> io::Result<()> {
        let end = |stream: &Stream| {
            let eof = stream.protocol.eof.get();
            eof.then(|| stream.protocol.take_failure().map_or(Ok(()), Err))
        };
        self.stream.read(end).await
    }

    /// Takes what is kept.
    pub(crate) fn take_all(&mut self) -> io::Result<Vec<u8>> {
        self.stream.take(self.stream.length())
    }

    /// Reads exactly `n` bytes, which may be more than the limit.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] if the peer finishes before, with what had arrived; [`ReadError::Failed`] if the
    /// connection fails before, with what had arrived and the error; [`ReadError::Io`] if it has failed and nothing
    /// had arrived.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"hello")?;
    /// assert_eq!(reader.readexactly(2).await?, b"he");
    /// assert_eq!(reader.readexactly(3).await?, b"llo");
    /// # Ok(()) });
    /// ```
    pub fn readexactly(&mut self, n: usize) -> impl Future<Output = Result<Vec<u8>, ReadError>> {
        self.stream.read(move |stream| {
            if stream.length() >= n {
                return Some(stream.take(n).map_err(ReadError::from));
            }
            let eof = stream.protocol.eof.get();
            eof.then(|| Err(cut_short(stream, Some(n))))
        })
    }

    /// Reads a line, with its `\n`. The last line may have none. After it, the line is empty.
    ///
    /// # Errors
    /// [`ReadError::LimitOverrun`] if there is no `\n` within the limit. Then nothing is taken out of the reader,
    /// where asyncio drops the line. [`ReadError::Io`] if the connection has failed: what had arrived comes first, as a
    /// last line without its `\n`.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"one\ntwo")?;
    /// drop(there);
    /// assert_eq!(reader.readline().await?, b"one\n");
    /// assert_eq!(reader.readline().await?, b"two");
    /// assert_eq!(reader.readline().await?, b"");
    /// # Ok(()) });
    /// ```
    pub async fn readline(&mut self) -> Result<Vec<u8>, ReadError> {
        match self.until(&[b"\n"]).await {
            Err(ReadError::Incomplete(incomplete)) => Ok(incomplete.partial),
            Err(ReadError::Failed(failed)) => Ok(failed.partial),
            result => result,
        }
    }

    /// Reads like [`readline`](Self::readline), for loops: `None` after the last line. asyncio has `async for`
    /// instead.
    ///
    /// # Errors
    /// As [`readline`](Self::readline).
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"one\ntwo\n")?;
    /// drop(there);
    /// let mut lines = Vec::new();
    /// while let Some(line) = reader.next_line().await? {
    ///     lines.push(line);
    /// }
    /// assert_eq!(lines, [b"one\n", b"two\n"]);
    /// # Ok(()) });
    /// ```
    pub async fn next_line(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let line = self.readline().await?;
        Ok((!line.is_empty()).then_some(line))
    }

    /// Reads up to a separator, with it.
    ///
    /// # Errors
    /// [`ReadError::Incomplete`] if the peer finishes before, with what had arrived. [`ReadError::LimitOverrun`] if
    /// there is no separator within the limit, not counting the separator; then nothing is taken out of the reader.
    /// [`ReadError::Failed`] if the connection fails before, with what had arrived and the error; [`ReadError::Io`]
    /// if it has failed and nothing had arrived.
    ///
    /// # Panics
    /// If the separator is empty.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"head\r\n\r\nbody")?;
    /// assert_eq!(reader.readuntil(b"\r\n\r\n").await?, b"head\r\n\r\n");
    /// # Ok(()) });
    /// ```
    pub async fn readuntil(&mut self, separator: impl AsRef<[u8]>) -> Result<Vec<u8>, ReadError> {
        self.readuntil_any(&[separator.as_ref()]).await
    }

    /// Reads like [`readuntil`](Self::readuntil) for several separators: up to the one that ends earliest.
    ///
    /// # Errors
    /// As [`readuntil`](Self::readuntil).
    ///
    /// # Panics
    /// If there is no separator, or an empty one.
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// std::io::Write::write_all(&mut &there, b"one;two,three")?;
    /// assert_eq!(reader.readuntil_any(&[b",", b";"]).await?, b"one;");
    /// assert_eq!(reader.readuntil_any(&[b",", b";"]).await?, b"two,");
    /// # Ok(()) });
    /// ```
    pub async fn readuntil_any(&mut self, separators: &[&[u8]]) -> Result<Vec<u8>, ReadError> {
        if separators.is_empty() || separators.iter().any(|separator| separator.is_empty()) {
            panic!(
                "readuntil: a separator has at least one byte, and there is at least one separator"
            );
        }
        self.until(separators).await
    }

    /// Reads up to the end of a separator, which none of them is without.
    fn until(&mut self, separators: &[&[u8]]) -> impl Future<Output = Result<Vec<u8>, ReadError>> {
        // What lies before cannot be the beginning of a separator, so no byte is searched twice.
        let mut looked_at = 0;
        self.stream.read(move |stream| {
            let limit = stream.protocol.limit.get();
            let incoming = stream.protocol.incoming.borrow();
            let found = find_first(incoming.bytes(), looked_at, separators);
            drop(incoming);
            if let Some(found) = found {
                return Some(match found.start > limit {
                    true => Err(overrun(found.start)),
                    false => stream.take(found.end).map_err(ReadError::from),
                });
            }
            let longest = separators.iter().map(|separator| separator.len()).max();
            looked_at = (stream.length() + 1).saturating_sub(longest.unwrap_or(1));
            if looked_at > limit {
                return Some(Err(overrun(looked_at)));
            }
            let eof = stream.protocol.eof.get();
            eof.then(|| Err(cut_short(stream, None)))
        })
    }

    /// Returns whether the peer has finished and everything has been read, also the error of a connection that has
    /// failed.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// assert!(!reader.at_eof());
    /// drop(there);
    /// reader.read_to_end().await?;
    /// assert!(reader.at_eof());
    /// # Ok(()) });
    /// ```
    pub fn at_eof(&self) -> bool {
        let protocol = &self.stream.protocol;
        protocol.eof.get()
            && protocol.incoming.borrow().len() == 0
            && protocol.peek_failure().is_none()
    }
}

/// Returns why a read ends before it has all that it wants.
#[cold]
fn cut_short(stream: &Stream, expected: Option<usize>) -> ReadError {
    let partial = match stream.take(stream.length()) {
        Ok(partial) => partial,
        Err(error) => return error.into(),
    };
    if partial.is_empty() {
        if let Some(error) = stream.protocol.take_failure() {
            return error.into();
        }
    }
    match stream.protocol.peek_failure() {
        Some(error) => ReadError::Failed(FailedRead {
            partial,
            expected,
            error,
        }),
        None => ReadError::Incomplete(IncompleteRead { partial, expected }),
    }
}

fn overrun(consumed: usize) -> ReadError {
    ReadError::LimitOverrun(LimitOverrun { consumed })
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.stream.protocol.reader_dropped.set(true);
        self.stream.protocol.incoming.borrow_mut().clear();
        self.stream.protocol.spare_memory(&self.stream.transport);
        let connection = &self.stream.transport.connection;
        if connection.pipe_direction() == Some(Direction::Read) {
            // Nobody writes to a pipe, so nobody else would close it.
            return self.stream.transport.close();
        }
        // The end of the connection is still noticed. What arrives until then is thrown away.
        self.stream.transport.resume_for_reader();
        // A read that had to wait was woken itself, and the connection was not called: what it left must not be forgotten.
        self.stream.transport.requeue_if_readable();
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("buffered", &self.stream.protocol.incoming.borrow().len())
            .field("eof", &self.stream.protocol.eof.get())
            .field("limit", &self.stream.protocol.limit)
            .field("transport", &self.stream.transport)
            .finish()
    }
}
