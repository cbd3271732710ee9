//! Streams on pipes: the reading end as a reader, the writing end as a writer.

use std::future::{Future, IntoFuture};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::pin::Pin;

use crate::event_loop::free::get_running_loop;
use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::stream::protocol::{LIMIT, StreamProtocol};
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::pipe::ConnectPipe;

/// Opens a reader of the reading end of a pipe: a FIFO, a terminal or another character device, a socket, a regular
/// file. Dropping the reader closes the pipe.
///
/// In asyncio this takes `connect_read_pipe` and a `StreamReaderProtocol`. See
/// [`connect_read_pipe`](LoopHandle::connect_read_pipe).
///
/// # Errors
/// `InvalidInput` for anything else, such as a folder. Awaiting gives it.
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// Dropped before it is done it closes the pipe.
///
/// ```
/// callsoon::run(async {
///     let (mut input, output) = std::os::unix::net::UnixStream::pair()?;
///     let mut reader = callsoon::stream::open_read_pipe(output).await?;
///     std::io::Write::write_all(&mut input, b"one\ntwo\n")?;
///     assert_eq!(reader.readline().await?, b"one\n");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
#[track_caller]
pub fn open_read_pipe(pipe: impl Into<OwnedFd>) -> OpenReadPipe {
    let (handle, end) = (get_running_loop(), ReadingEnd { limit: LIMIT });
    OpenReadPipe::new(
        handle,
        end,
        pipe.into(),
        Direction::Read,
        Location::caller(),
    )
}

/// A reader that is about to be opened. Await it. [`open_read_pipe`] gives it.
///
/// ```
/// # callsoon::doctest::run(async {
/// let opening = callsoon::stream::open_read_pipe(callsoon::transport::stdin()?);
/// # Ok(()) });
/// ```
pub type OpenReadPipe = ConnectPipe<ReadingEnd>;

/// What [`open_read_pipe`] makes of a pipe. For this crate only.
#[derive(Debug)]
pub struct ReadingEnd {
    limit: NonZeroUsize,
}

impl OpenReadPipe {
    /// Sets how long a line may be, in bytes. 64 KiB by default. When the reader keeps more than twice as much,
    /// reading is paused, so that the other end has to wait.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (_input, output) = std::os::unix::net::UnixStream::pair()?;
    /// let limit = std::num::NonZeroUsize::new(1 << 20).unwrap();
    /// let reader = callsoon::stream::open_read_pipe(output).limit(limit).await?;
    /// # Ok(()) });
    /// ```
    pub fn limit(mut self, bytes: NonZeroUsize) -> Self {
        self.0.factory.limit = bytes;
        self
    }
}

impl IntoFuture for OpenReadPipe {
    type Output = io::Result<StreamReader>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let make = |handle: &LoopHandle, end: ReadingEnd| {
                Ok(StreamProtocol::new(handle, end.limit, None))
            };
            let (transport, protocol) = self.0.connect(make).await?;
            transport.begin_reading();
            Ok(StreamReader::new(&protocol, &transport))
        })
    }
}

/// Opens a writer to the writing end of a pipe: a FIFO, a terminal or another character device, a socket, a regular
/// file. Dropping the writer closes the pipe, after what was written has been sent.
///
/// See [`connect_write_pipe`](LoopHandle::connect_write_pipe).
///
/// # Errors
/// `InvalidInput` for anything else, such as a folder. Awaiting gives it.
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// Dropped before it is done it closes the pipe.
///
/// ```
/// callsoon::run(async {
///     let writer = callsoon::stream::open_write_pipe(callsoon::transport::stdout()?).await?;
///     writer.write(b"hello\n");
///     writer.drain().await?;
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
#[track_caller]
pub fn open_write_pipe(pipe: impl Into<OwnedFd>) -> OpenWritePipe {
    let (handle, end) = (get_running_loop(), WritingEnd);
    OpenWritePipe::new(
        handle,
        end,
        pipe.into(),
        Direction::Write,
        Location::caller(),
    )
}

/// A writer that is about to be opened. Await it. [`open_write_pipe`] gives it.
///
/// ```
/// # callsoon::doctest::run(async {
/// let opening = callsoon::stream::open_write_pipe(callsoon::transport::stdout()?);
/// # Ok(()) });
/// ```
pub type OpenWritePipe = ConnectPipe<WritingEnd>;

/// What [`open_write_pipe`] makes of a pipe. For this crate only.
#[derive(Debug)]
pub struct WritingEnd;

impl IntoFuture for OpenWritePipe {
    type Output = io::Result<StreamWriter>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let make = |handle: &LoopHandle, _| Ok(StreamProtocol::new(handle, LIMIT, None));
            let (transport, protocol) = self.0.connect(make).await?;
            transport.begin_reading();
            Ok(StreamWriter::new(&protocol, &transport))
        })
    }
}
