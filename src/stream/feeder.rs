//! A reader without a connection, which the program itself feeds: for the tests of a parser.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::rc::Rc;

use crate::event_loop::free::get_running_loop;
use crate::stream::protocol::StreamProtocol;
use crate::stream::reader::StreamReader;
use crate::transport::protocol::{Protocol as _, Transport};

impl StreamReader {
    /// Makes a reader that is connected to nothing, and what feeds it: asyncio's `StreamReader(limit)`.
    ///
    /// A parser that takes a reader is tested so without a socket, byte by byte if need be. Feeding is an object of its
    /// own, since a read borrows the reader until it is done. The limit is that of a line; a reader that nobody reads keeps
    /// whatever it is fed, since there is no peer that could be made to wait.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// use std::num::NonZeroUsize;
    ///
    /// use callsoon::stream::{ReadError, StreamReader};
    ///
    /// /// The parser that is tested: a length, a colon, so many bytes.
    /// async fn netstring(reader: &mut StreamReader) -> Result<Vec<u8>, ReadError> {
    ///     let mut length = reader.readuntil(b":").await?;
    ///     length.pop();
    ///     let length = String::from_utf8_lossy(&length).parse().unwrap_or(0);
    ///     reader.readexactly(length).await
    /// }
    ///
    /// let (mut reader, feeder) = StreamReader::unconnected(NonZeroUsize::new(100).unwrap());
    /// let parsing = callsoon::create_task(async move { netstring(&mut reader).await });
    /// for byte in b"5:hello" {
    ///     feeder.feed_data(&[*byte])?;
    ///     callsoon::yield_now().await;
    /// }
    /// assert_eq!(parsing.await??, b"hello");
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn unconnected(limit: NonZeroUsize) -> (Self, StreamFeeder) {
        let handle = get_running_loop();
        let protocol = StreamProtocol::new(&handle, limit, None);
        let transport = Transport::closed(handle, Location::caller());
        let reader = Self::new(&protocol, &transport);
        let feeder = StreamFeeder {
            protocol,
            transport,
        };
        (reader, feeder)
    }
}

/// What feeds a reader that is [connected to nothing](StreamReader::unconnected). Dropping it ends what it feeds.
///
/// ```
/// # callsoon::doctest::run(async {
/// use callsoon::stream::StreamReader;
/// let (mut reader, feeder) = StreamReader::unconnected(std::num::NonZeroUsize::MAX);
/// feeder.feed_data(b"one\ntwo")?;
/// drop(feeder);
/// assert_eq!(reader.readline().await?, b"one\n");
/// assert_eq!(reader.readline().await?, b"two");
/// assert!(reader.at_eof());
/// # Ok(()) });
/// ```
pub struct StreamFeeder {
    protocol: Rc<StreamProtocol>,
    /// Closed from the start.
    transport: Transport,
}

impl StreamFeeder {
    /// Gives the reader bytes, as if a peer had sent them. Once the reader is dropped they are dropped, too. If there is no
    /// memory for them, the reader gets the error, as it does from a connection.
    ///
    /// # Errors
    /// `BrokenPipe` after [`feed_eof`](Self::feed_eof) or [`set_exception`](Self::set_exception): the reader does not get
    /// the bytes. asyncio asserts that this does not happen.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # use callsoon::stream::StreamReader;
    /// let (mut reader, feeder) = StreamReader::unconnected(std::num::NonZeroUsize::MAX);
    /// feeder.feed_data(b"hello")?;
    /// assert_eq!(reader.read(100).await?, b"hello");
    /// # Ok(()) });
    /// ```
    pub fn feed_data(&self, data: &[u8]) -> io::Result<()> {
        if self.protocol.eof.get() {
            return Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "feed_data after feed_eof",
            ));
        }
        let kept = self.protocol.incoming.borrow_mut().push(data);
        match kept {
            Ok(()) => self.protocol.after_receive(&self.transport, data.len()),
            Err(error) => self.set_exception(error.into()),
        }
        Ok(())
    }

    /// Ends what the reader reads, as if the peer had finished writing.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # use callsoon::stream::StreamReader;
    /// let (mut reader, feeder) = StreamReader::unconnected(std::num::NonZeroUsize::MAX);
    /// feeder.feed_data(b"hel")?;
    /// feeder.feed_eof();
    /// let incomplete = reader.readexactly(5).await.unwrap_err().incomplete().unwrap();
    /// assert_eq!(incomplete.partial, b"hel");
    /// # Ok(()) });
    /// ```
    pub fn feed_eof(&self) {
        self.protocol.eof_received(&self.transport);
    }

    /// Ends what the reader reads with an error, as if the connection had failed. What was fed before is read first, as
    /// from a connection; asyncio drops it. Only the first error counts.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # use callsoon::stream::StreamReader;
    /// let (mut reader, feeder) = StreamReader::unconnected(std::num::NonZeroUsize::MAX);
    /// feeder.feed_data(b"hel")?;
    /// feeder.set_exception(std::io::ErrorKind::ConnectionReset.into());
    /// assert_eq!(reader.read(100).await?, b"hel");
    /// let error = reader.read(100).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    /// # Ok(()) });
    /// ```
    pub fn set_exception(&self, error: io::Error) {
        self.protocol.connection_lost(&self.transport, Some(error));
    }
}

impl Drop for StreamFeeder {
    fn drop(&mut self) {
        if !self.protocol.eof.get() {
            self.feed_eof();
        }
    }
}

impl fmt::Debug for StreamFeeder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamFeeder")
            .field("unread", &self.protocol.incoming.borrow().len())
            .field("eof", &self.protocol.eof.get())
            .finish()
    }
}
