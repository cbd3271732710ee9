//! Transports on pipes, and on the files that stand for them: one direction each, with the same protocols as sockets.
//!
//! A pipe differs from a socket in three points. A call for the other direction is a mistake and panics. The reading
//! end closes at the end of file, whatever `eof_received` returns, since there is no other side to keep open; the
//! writing end closes with `write_eof`. The writing end notices at once when nobody reads any more, without having to
//! write: the connection is lost then, to `BrokenPipe` if something was still to be sent.

use std::fmt;
use std::future::IntoFuture;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::Location;

use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::connect_to::ConnectTo;
use crate::transport::client::{Connected, CreateConnection};
use crate::transport::protocol::Protocol;

impl LoopHandle {
    /// Makes a transport of the reading end of a pipe: a FIFO, a terminal or another character device, a socket, a
    /// regular file.
    ///
    /// After the end of file come `eof_received` and `connection_lost`. Writing to such a transport panics.
    ///
    /// Other users of the descriptor notice nothing where that is possible. On Linux a pipe, a FIFO and a terminal
    /// are opened again for the transport, and the mode of the shared one stays as it is; so does a socket's. The
    /// controlling side of a pseudo-terminal, a device, and what cannot be opened again are switched to non-blocking
    /// mode, and back when the last transport in this process that shares them has closed. asyncio switches all of
    /// them, and never back.
    ///
    /// A regular file is always ready. It is here because a shell gives it to a program as its standard input or output;
    /// asyncio refuses it. The loop waits for the disk meanwhile, and a file has no end that others could wait for: what
    /// is appended after the end was read does not come. [`fs`](crate::fs) reads and writes files in a thread.
    ///
    /// # Errors
    /// `InvalidInput` for anything else, such as a folder. Awaiting gives it.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// use callsoon::transport::{Protocol, Transport};
    /// struct Print;
    /// impl Protocol for Print {
    ///     fn data_received(&self, _: &Transport, data: &[u8]) {
    ///         println!("{}", data.escape_ascii());
    ///     }
    /// }
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let pipe = std::fs::File::open("/dev/null")?;
    ///     let (transport, _) = event_loop.connect_read_pipe(|| Print, pipe).await?;
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect_read_pipe<F, P>(&self, factory: F, pipe: impl Into<OwnedFd>) -> ConnectPipe<F>
    where
        F: FnOnce() -> P + 'static,
        P: Protocol,
    {
        let (handle, location) = (self.clone(), Location::caller());
        ConnectPipe::new(handle, factory, pipe.into(), Direction::Read, location)
    }

    /// Makes a transport of the writing end of a pipe: a FIFO, a terminal or another character device, a socket, a
    /// regular file.
    ///
    /// Its mode is left alone or given back, as by [`connect_read_pipe`](Self::connect_read_pipe), and a regular file
    /// is always ready, as there: the connection is lost to `StorageFull` when the disk is full. When nobody reads
    /// any more the connection is lost, to `BrokenPipe` if something was still to be sent.
    /// [`write_eof`](crate::transport::Transport::write_eof) is the same as `close`. Nothing is ever read.
    ///
    /// # Errors
    /// As [`connect_read_pipe`](Self::connect_read_pipe).
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let (transport, _) = event_loop.connect_write_pipe(|| Idle, callsoon::transport::stdout()?).await?;
    ///     transport.write(b"hello\n");
    ///     transport.close();
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect_write_pipe<F, P>(&self, factory: F, pipe: impl Into<OwnedFd>) -> ConnectPipe<F>
    where
        F: FnOnce() -> P + 'static,
        P: Protocol,
    {
        let (handle, location) = (self.clone(), Location::caller());
        ConnectPipe::new(handle, factory, pipe.into(), Direction::Write, location)
    }
}

/// A pipe that is about to be connected. Await it. [`LoopHandle::connect_read_pipe`] and
/// [`connect_write_pipe`](LoopHandle::connect_write_pipe) give it.
///
/// ```
/// # use callsoon::doctest::Idle;
/// let event_loop = callsoon::EventLoop::new()?;
/// let folder = std::fs::File::open("/etc")?;
/// let refused = event_loop.run_until_complete(event_loop.connect_read_pipe(|| Idle, folder)).unwrap();
/// assert_eq!(refused.map(drop).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "nothing is connected until it is awaited"]
pub struct ConnectPipe<F>(pub(crate) CreateConnection<F>);

impl<F> ConnectPipe<F> {
    pub(crate) fn new(
        handle: LoopHandle,
        factory: F,
        pipe: OwnedFd,
        direction: Direction,
        location: &'static Location<'static>,
    ) -> Self {
        let end = ConnectTo::pipe(pipe, direction);
        Self(CreateConnection::new(handle, factory, end, location))
    }
}

impl<F: FnOnce() -> P + 'static, P: Protocol> IntoFuture for ConnectPipe<F> {
    type Output = Connected<P>;
    type IntoFuture = <CreateConnection<F> as IntoFuture>::IntoFuture;

    fn into_future(self) -> Self::IntoFuture {
        self.0.into_future()
    }
}

impl<F> fmt::Debug for ConnectPipe<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectPipe").field(&self.0).finish()
    }
}

/// Returns standard input, under a descriptor of its own, for [`connect_read_pipe`](LoopHandle::connect_read_pipe).
///
/// Bytes that [`std::io::stdin`] has read ahead do not come again. Others that share standard input, such as a child
/// or the shell, see no change: see [`connect_read_pipe`](LoopHandle::connect_read_pipe).
///
/// # Errors
/// If standard input is closed, or the process has no descriptor left.
///
/// ```
/// let input = callsoon::transport::stdin()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stdin() -> io::Result<OwnedFd> {
    io::stdin().as_fd().try_clone_to_owned()
}

/// Returns standard output, under a descriptor of its own, for
/// [`connect_write_pipe`](LoopHandle::connect_write_pipe).
///
/// Others that share standard output, `println!` among them, see no change: see
/// [`connect_write_pipe`](LoopHandle::connect_write_pipe).
///
/// # Errors
/// If standard output is closed, or the process has no descriptor left.
///
/// ```
/// let output = callsoon::transport::stdout()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn stdout() -> io::Result<OwnedFd> {
    io::stdout().as_fd().try_clone_to_owned()
}
