//! The writing end of a stream.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::event_loop::free::yield_now;
use crate::socket::address::Address;
use crate::stream::protocol::StreamProtocol;
use crate::stream::reader::StreamReader;
use crate::stream::waiting::Stream;
use crate::transport::buffer::InvalidLimits;
use crate::transport::connection::State;
use crate::transport::protocol::Transport;

/// The writing end of a connection, or of a child's input. Dropping it closes that, after what was written has been sent.
///
/// ```
/// callsoon::run(async {
///     let (here, there) = std::os::unix::net::UnixStream::pair()?;
///     let (_reader, writer) = callsoon::stream::open_connection(here).await?;
///     writer.write(b"hello");
///     writer.drain().await?;
///     writer.close();
///     writer.wait_closed().await?;
///     assert_eq!(std::io::read_to_string(&there)?, "hello");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
pub struct StreamWriter {
    pub(super) stream: Stream,
}

impl StreamWriter {
    pub(crate) fn new(protocol: &Rc<StreamProtocol>, transport: &Transport) -> Self {
        Self {
            stream: Stream::new(protocol, transport),
        }
    }

    /// Returns the reading end of the same stream.
    pub(crate) fn reader(&self) -> StreamReader {
        StreamReader::new(&self.stream.protocol, &self.stream.transport)
    }

    /// Sends bytes, or buffers them until the system takes them. [`drain`](Self::drain) should follow. See
    /// [`Transport::write`].
    ///
    /// After [`write_eof`](Self::write_eof) the exception handler is told, unless the connection is closing:
    /// [`Transport::try_write`] returns an error instead.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// writer.write("hello ");
    /// writer.write(format!("{}\n", "world"));
    /// writer.drain().await?;
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn write(&self, data: impl AsRef<[u8]>) {
        self.stream.transport.write_bytes(data.as_ref());
    }

    /// Sends several pieces of bytes as if they were one. See [`Transport::writelines`].
    ///
    /// After [`write_eof`](Self::write_eof) the exception handler is told, unless the connection is closing:
    /// [`Transport::try_write`] returns an error instead.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// writer.writelines(&["one\n", "two\n"]);
    /// writer.drain().await?;
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn writelines<B: AsRef<[u8]>>(&self, lines: &[B]) {
        self.stream.transport.writelines(lines);
    }

    /// Waits while too much is buffered, until the peer has taken enough of it. Several tasks may wait at a time.
    ///
    /// # Errors
    /// The error that the connection was lost to. If it ended without one: `ConnectionReset`, and `BrokenPipe` for a
    /// child's input.
    ///
    /// # Cancellation
    /// Dropped before it is done it changes nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// writer.write(b"hello");
    /// writer.drain().await?;
    /// # Ok(()) });
    /// ```
    pub fn drain(&self) -> impl Future<Output = io::Result<()>> {
        Drain {
            stream: &self.stream,
            wait: None,
        }
    }

    /// Sends `count` bytes of a file from `offset` on, or all up to its end, and returns how many were sent. See
    /// [`LoopHandle::sendfile`](crate::LoopHandle::sendfile).
    ///
    /// # Errors
    /// As [`LoopHandle::sendfile`](crate::LoopHandle::sendfile).
    ///
    /// # Cancellation
    /// Dropped before it is done it has sent as much as the file's position says, and the connection goes on.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// let file = std::fs::File::open("/etc/hostname")?;
    /// let length = file.metadata()?.len();
    /// writer.write(format!("Content-Length: {length}\r\n\r\n").as_bytes());
    /// assert_eq!(writer.sendfile(&file, 0, None).await?, length);
    /// # Ok(()) });
    /// ```
    pub async fn sendfile(
        &self,
        file: &std::fs::File,
        offset: u64,
        count: Option<u64>,
    ) -> io::Result<u64> {
        let handle = &self.stream.transport.connection.handle;
        handle
            .sendfile(&self.stream.transport, file, offset, count)
            .await
    }

    /// Ends the writing side. The peer reads to its end and may go on writing. See [`Transport::write_eof`].
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// writer.write(b"all I have to say");
    /// writer.write_eof();
    /// assert_eq!(std::io::read_to_string(&there)?, "all I have to say");
    /// # Ok(()) });
    /// ```
    pub fn write_eof(&self) {
        self.stream.transport.write_eof();
    }

    /// Returns whether the writing side can be ended by itself.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// assert!(writer.can_write_eof());
    /// # Ok(()) });
    /// ```
    pub fn can_write_eof(&self) -> bool {
        self.stream.transport.can_write_eof()
    }

    /// Closes the connection, after what was written has been sent.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// writer.close();
    /// writer.wait_closed().await?;
    /// # Ok(()) });
    /// ```
    pub fn close(&self) {
        self.stream.transport.close();
    }

    /// Returns whether the connection is closing or closed.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// assert!(!writer.is_closing());
    /// # Ok(()) });
    /// ```
    pub fn is_closing(&self) -> bool {
        self.stream.transport.is_closing()
    }

    /// Waits until the connection has closed.
    ///
    /// # Errors
    /// The error that it was lost to.
    ///
    /// # Cancellation
    /// Dropped before it is done it changes nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// writer.close();
    /// writer.wait_closed().await?;
    /// # Ok(()) });
    /// ```
    pub async fn wait_closed(&self) -> io::Result<()> {
        self.stream.proceed().await;
        // A read that had to wait may have left the end unread.
        self.stream.transport.requeue_if_readable();
        self.stream
            .protocol
            .wait_to_write(StreamProtocol::is_lost)
            .await;
        match self.stream.protocol.failure() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Returns the peer's name, also after the connection has closed.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// assert_eq!(writer.peername().unwrap().to_string(), "unnamed");
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn peername(&self) -> Option<Address> {
        self.stream.transport.peername()
    }

    /// Returns this end's name, until the connection has closed.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// assert_eq!(writer.sockname().unwrap().to_string(), "unnamed");
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn sockname(&self) -> Option<Address> {
        self.stream.transport.sockname()
    }

    /// Returns how many bytes are written and not yet taken by the system. See [`Transport::write_buffer_size`].
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// writer.write(b"taken at once");
    /// assert_eq!(writer.write_buffer_size(), 0);
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_write_buffer_size")]
    pub fn write_buffer_size(&self) -> usize {
        self.stream.transport.write_buffer_size()
    }

    /// Sets how many bytes may be buffered before [`drain`](Self::drain) waits, and how few let it go on. See
    /// [`Transport::set_write_buffer_limits`].
    ///
    /// # Errors
    /// [`InvalidLimits`] if the low limit would be above the high one.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// writer.set_write_buffer_limits(Some(1 << 20), None).unwrap();
    /// # Ok(()) });
    /// ```
    pub fn set_write_buffer_limits(
        &self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> Result<(), InvalidLimits> {
        self.stream.transport.set_write_buffer_limits(high, low)
    }

    /// Returns the transport, for limits, the socket and `abort`.
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// writer.transport().set_write_buffer_limits(Some(1 << 20), None).unwrap();
    /// # Ok(()) });
    /// ```
    pub fn transport(&self) -> &Transport {
        &self.stream.transport
    }
}

/// See [`StreamWriter::drain`].
struct Drain<'a> {
    stream: &'a Stream,
    /// What few drains come to: boxed, so that it takes no room in each client's task.
    wait: Option<Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>>,
}

impl Future for Drain<'_> {
    type Output = io::Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.stream;
        if self.wait.is_none() {
            // A peer that takes everything at once must not keep the loop from others, nor must one that has closed.
            ready!(stream.protocol.state().poll_begin(context));
            if stream.protocol.may_write() && !stream.transport.is_closing() {
                return Poll::Ready(Ok(()));
            }
        }
        let wait = self.wait.get_or_insert_with(|| wait_until_drained(stream));
        wait.as_mut().poll(context)
    }
}

#[cold]
fn wait_until_drained(stream: &Stream) -> Pin<Box<dyn Future<Output = io::Result<()>> + '_>> {
    Box::pin(async {
        if let Some(error) = stream.protocol.failure() {
            return Err(error);
        }
        if stream.transport.is_closing() {
            // `connection_lost` may be queued already.
            yield_now().await;
        }
        let connection = &stream.transport.connection;
        stream
            .protocol
            .wait_to_write(|protocol| match connection.has_reached(State::Failing) {
                // What was received is delivered first, and then the error is known.
                true => protocol.is_lost(),
                false => !protocol.is_writing_paused(),
            })
            .await;
        match stream.protocol.failure() {
            Some(error) => Err(error),
            None if stream.protocol.is_over() => Err(stream.protocol.end_of_reader()),
            None => Ok(()),
        }
    })
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.stream.transport.close();
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter")
            .field("transport", &self.stream.transport)
            .finish()
    }
}
