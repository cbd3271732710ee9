//! Streams on pipes: the reading end as a reader, the writing end as a writer.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::pin::Pin;

use crate::event_loop::free::get_running_loop;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::readiness::Direction;
use crate::stream::protocol::{LIMIT, StreamProtocol};
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;

/// A reader of the reading end of a pipe: a FIFO, a terminal or another character device, a socket. Dropping the reader
/// closes the pipe.
///
/// asyncio's users write this with `connect_read_pipe` and a `StreamReaderProtocol`. See
/// [`connect_read_pipe`](LoopHandle::connect_read_pipe).
///
/// # Errors
/// `InvalidInput` for anything else, a regular file first of all. Awaiting gives it.
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
    OpenReadPipe {
        handle: get_running_loop(),
        pipe: pipe.into(),
        limit: LIMIT,
        location: Location::caller(),
    }
}

/// A reader about to be opened: await it. [`open_read_pipe`] gives it.
///
/// ```
/// # callsoon::run(async {
/// let opening = callsoon::stream::open_read_pipe(callsoon::transport::stdin()?);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[must_use = "nothing is opened until it is awaited"]
pub struct OpenReadPipe {
    handle: LoopHandle,
    pipe: OwnedFd,
    limit: NonZeroUsize,
    location: &'static Location<'static>,
}

impl OpenReadPipe {
    /// How long a line may be, in bytes; half of what is kept for the reader before the other end has to wait. 64 KiB by
    /// default.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let (_input, output) = std::os::unix::net::UnixStream::pair()?;
    /// let limit = std::num::NonZeroUsize::new(1 << 20).unwrap();
    /// let reader = callsoon::stream::open_read_pipe(output).limit(limit).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn limit(mut self, bytes: NonZeroUsize) -> Self {
        self.limit = bytes;
        self
    }
}

impl IntoFuture for OpenReadPipe {
    type Output = io::Result<StreamReader>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (handle, limit) = (self.handle.clone(), self.limit);
            let factory = move || StreamProtocol::new(&handle, limit, None);
            let connecting =
                self.handle
                    .connect_pipe(factory, self.pipe, Direction::Read, self.location);
            let (transport, protocol) = connecting.await?;
            Ok(StreamReader::new(&protocol, &transport))
        })
    }
}

impl fmt::Debug for OpenReadPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenReadPipe")
            .field("pipe", &self.pipe)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// A writer to the writing end of a pipe: a FIFO, a terminal or another character device, a socket. Dropping the writer
/// closes the pipe, after what was written has been sent.
///
/// See [`connect_write_pipe`](LoopHandle::connect_write_pipe).
///
/// # Errors
/// `InvalidInput` for anything else, a regular file first of all. Awaiting gives it.
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
    OpenWritePipe {
        handle: get_running_loop(),
        pipe: pipe.into(),
        location: Location::caller(),
    }
}

/// A writer about to be opened: await it. [`open_write_pipe`] gives it.
///
/// ```
/// # callsoon::run(async {
/// let opening = callsoon::stream::open_write_pipe(callsoon::transport::stdout()?);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[must_use = "nothing is opened until it is awaited"]
pub struct OpenWritePipe {
    handle: LoopHandle,
    pipe: OwnedFd,
    location: &'static Location<'static>,
}

impl IntoFuture for OpenWritePipe {
    type Output = io::Result<StreamWriter>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let handle = self.handle.clone();
            let factory = move || StreamProtocol::new(&handle, LIMIT, None);
            let connecting =
                self.handle
                    .connect_pipe(factory, self.pipe, Direction::Write, self.location);
            let (transport, protocol) = connecting.await?;
            Ok(StreamWriter::new(&protocol, &transport))
        })
    }
}

impl fmt::Debug for OpenWritePipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenWritePipe")
            .field("pipe", &self.pipe)
            .finish_non_exhaustive()
    }
}
