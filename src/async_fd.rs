//! `AsyncFd`: async waits for any pollable descriptor that has no type of its own in this crate.
//!
//! The crate only knows when such a descriptor is ready; reading and writing are the user's. Readiness is
//! edge-triggered, as for sockets: a descriptor counts as ready until an operation returns `WouldBlock`. [`ReadyGuard`]
//! and `read_with` record that.
//!
//! The blocking mode belongs to the open file description, and everyone who shares it may change it. So it is checked
//! right before each operation. `socket/nonblocking.rs` compares this with other kinds of descriptors.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};

use mio::Interest;
use mio::unix::SourceFd;

use crate::event_loop::free::get_running_loop;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::sys::fd::set_nonblocking;
use crate::sys::source::{Act, Pollable};

/// An object with a descriptor, as a source of the reactor.
struct Watched<T>(T);

impl<T: AsFd> AsRawFd for Watched<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> Pollable for Watched<T> {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        act(&mut SourceFd(&self.as_raw_fd()))
    }
}

/// An object with a descriptor that the loop watches: inotify, a terminal, a serial port, a socket of another library.
///
/// It owns the object; [`into_inner`](Self::into_inner) gives it back. The object is switched to non-blocking mode, and
/// again before an operation if another owner of the file description has switched it back. For callbacks instead of
/// async waits there is [`LoopHandle::add_reader`](crate::LoopHandle::add_reader).
///
/// ```
/// use std::io::{Read, Write};
/// callsoon::run(async {
///     let (near, mut far) = std::os::unix::net::UnixStream::pair()?;
///     let near = callsoon::AsyncFd::new(near)?;
///     far.write_all(b"hello")?;
///     let mut buffer = [0; 16];
///     assert_eq!(near.read_with(|mut near| near.read(&mut buffer)).await?, 5);
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct AsyncFd<T: AsFd> {
    io: Io<Watched<T>>,
}

impl<T: AsFd> AsyncFd<T> {
    /// Watches `inner` for reading and writing.
    ///
    /// # Errors
    /// `PermissionDenied` for a regular file or a directory, which is always ready; `AlreadyExists` if the loop watches
    /// the descriptor already; `NotConnected` if the loop is closed; otherwise the error of the system. `inner` was
    /// dropped then.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let error = callsoon::AsyncFd::new(std::fs::File::open("/etc/passwd")?).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn new(inner: T) -> io::Result<Self> {
        Self::with_interest(inner, Interest::READABLE | Interest::WRITABLE)
    }

    /// Watches `inner` for reading only. Use it for a descriptor that cannot be written, or that would be writable all
    /// the time.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (reader, _writer) = std::os::unix::net::UnixStream::pair()?;
    /// let reader = callsoon::AsyncFd::new_readable(reader)?;
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn new_readable(inner: T) -> io::Result<Self> {
        Self::with_interest(inner, Interest::READABLE)
    }

    #[track_caller]
    fn with_interest(inner: T, interest: Interest) -> io::Result<Self> {
        let handle = get_running_loop();
        set_nonblocking(inner.as_fd())?;
        let readiness = Readiness::new(false, interest.is_writable());
        let io = Io::new(&handle, Watched(inner), interest, readiness)?;
        Ok(Self { io })
    }

    /// Returns the object.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (reader, _writer) = std::os::unix::net::UnixStream::pair()?;
    /// let reader = callsoon::AsyncFd::new_readable(reader)?;
    /// let same: &std::os::unix::net::UnixStream = reader.get_ref();
    /// # Ok(()) });
    /// ```
    pub fn get_ref(&self) -> &T {
        &self.io.source().0
    }

    /// Stops watching the object and returns it, still in non-blocking mode.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (reader, _writer) = std::os::unix::net::UnixStream::pair()?;
    /// let reader: std::os::unix::net::UnixStream = callsoon::AsyncFd::new_readable(reader)?.into_inner();
    /// # Ok(()) });
    /// ```
    pub fn into_inner(self) -> T {
        self.io.into_source().0
    }

    /// Waits until the descriptor is readable. The guard records whether the read that follows met `WouldBlock`.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed; no other error.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait and changes nothing else.
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # callsoon::doctest::run(async {
    /// let (reader, mut writer) = std::os::unix::net::UnixStream::pair()?;
    /// let reader = callsoon::AsyncFd::new_readable(reader)?;
    /// writer.write_all(b"x")?;
    /// let mut ready = reader.readable().await?;
    /// assert_eq!(ready.try_io(|mut reader| reader.read(&mut [0; 8]))?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn readable(&self) -> io::Result<ReadyGuard<'_, T>> {
        self.wait_ready(Direction::Read).await
    }

    /// Waits until the descriptor is writable. The guard records whether the write that follows met `WouldBlock`.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed; no other error.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait and changes nothing else.
    ///
    /// ```
    /// # use std::io::Write;
    /// # callsoon::doctest::run(async {
    /// let (_reader, writer) = std::os::unix::net::UnixStream::pair()?;
    /// let writer = callsoon::AsyncFd::new(writer)?;
    /// let mut ready = writer.writable().await?;
    /// assert_eq!(ready.try_io(|mut writer| writer.write(b"x"))?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn writable(&self) -> io::Result<ReadyGuard<'_, T>> {
        self.wait_ready(Direction::Write).await
    }

    /// Polls whether the descriptor is readable: [`readable`](Self::readable) as a poll function. Of all calls that are
    /// pending, the last has its task woken.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed; no other error.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use std::io::{Read, Write};
    /// # callsoon::doctest::run(async {
    /// let (reader, mut writer) = std::os::unix::net::UnixStream::pair()?;
    /// let reader = callsoon::AsyncFd::new_readable(reader)?;
    /// writer.write_all(b"x")?;
    /// let mut ready = poll_fn(|context| reader.poll_read_ready(context)).await?;
    /// assert_eq!(ready.try_io(|mut reader| reader.read(&mut [0; 8]))?, 1);
    /// # Ok(()) });
    /// ```
    pub fn poll_read_ready(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<ReadyGuard<'_, T>>> {
        self.poll_ready(Direction::Read, context)
    }

    /// Polls whether the descriptor is writable: [`writable`](Self::writable) as a poll function. Of all calls that are
    /// pending, the last has its task woken.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed; no other error.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use std::io::Write;
    /// # callsoon::doctest::run(async {
    /// let (_reader, writer) = std::os::unix::net::UnixStream::pair()?;
    /// let writer = callsoon::AsyncFd::new(writer)?;
    /// let mut ready = poll_fn(|context| writer.poll_write_ready(context)).await?;
    /// assert_eq!(ready.try_io(|mut writer| writer.write(b"x"))?, 1);
    /// # Ok(()) });
    /// ```
    pub fn poll_write_ready(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<ReadyGuard<'_, T>>> {
        self.poll_ready(Direction::Write, context)
    }

    fn poll_ready(
        &self,
        direction: Direction,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<ReadyGuard<'_, T>>> {
        ready!(self.io.poll_ready(direction, context))?;
        let fd = self;
        Poll::Ready(Ok(ReadyGuard { fd, direction }))
    }

    async fn wait_ready(&self, direction: Direction) -> io::Result<ReadyGuard<'_, T>> {
        self.io.ready(direction).await?;
        Ok(ReadyGuard {
            fd: self,
            direction,
        })
    }

    /// Calls `op` when the descriptor is readable, and again until it does not return `WouldBlock`.
    ///
    /// # Errors
    /// The error of `op`, except `WouldBlock` and `Interrupted`, after which it is called again; `NotConnected` if the
    /// loop is closed; the error of the system if non-blocking mode cannot be set.
    ///
    /// # Cancellation
    /// If the future is dropped before it completes, `op` has not succeeded.
    ///
    /// ```
    /// # use std::io::{Read, Write};
    /// # callsoon::doctest::run(async {
    /// let (reader, mut writer) = std::os::unix::net::UnixStream::pair()?;
    /// let reader = callsoon::AsyncFd::new_readable(reader)?;
    /// writer.write_all(b"x")?;
    /// assert_eq!(reader.read_with(|mut reader| reader.read(&mut [0; 8])).await?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn read_with<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.operate(Direction::Read, op).await
    }

    /// Calls `op` when the descriptor is writable, and again until it does not return `WouldBlock`.
    ///
    /// # Errors
    /// The error of `op`, except `WouldBlock` and `Interrupted`, after which it is called again; `NotConnected` if the
    /// loop is closed; the error of the system if non-blocking mode cannot be set.
    ///
    /// # Cancellation
    /// If the future is dropped before it completes, `op` has not succeeded.
    ///
    /// ```
    /// # use std::io::Write;
    /// # callsoon::doctest::run(async {
    /// let (_reader, writer) = std::os::unix::net::UnixStream::pair()?;
    /// let writer = callsoon::AsyncFd::new(writer)?;
    /// assert_eq!(writer.write_with(|mut writer| writer.write(b"x")).await?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn write_with<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.operate(Direction::Write, op).await
    }

    async fn operate<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        // Behind a reference, so that the closure can be moved whatever it captures.
        let op: &mut dyn FnMut(&T) -> io::Result<R> = &mut op;
        let op = |watched: &Watched<T>| {
            set_nonblocking(watched.0.as_fd())?;
            op(&watched.0)
        };
        self.io.operate(direction, op, |_| false).await
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncFd").field(self.get_ref()).finish()
    }
}

/// A descriptor that was ready when this guard was made. It counts as ready until [`try_io`](Self::try_io) meets
/// `WouldBlock` or [`clear_ready`](Self::clear_ready) is called.
///
/// ```
/// # callsoon::doctest::run(async {
/// let (_reader, writer) = std::os::unix::net::UnixStream::pair()?;
/// let writer = callsoon::AsyncFd::new(writer)?;
/// let guard: callsoon::ReadyGuard<'_, _> = writer.writable().await?;
/// # Ok(()) });
/// ```
#[must_use = "unless `try_io` or `clear_ready` is called, the next wait returns at once"]
pub struct ReadyGuard<'a, T: AsFd> {
    fd: &'a AsyncFd<T>,
    direction: Direction,
}

impl<T: AsFd> ReadyGuard<'_, T> {
    /// Tries an operation. If it returns `WouldBlock`, the next wait waits for a new event.
    ///
    /// # Errors
    /// The error of `op`, including `WouldBlock`; or that of the system if non-blocking mode cannot be set.
    ///
    /// ```
    /// # use std::io::Read;
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// let near = callsoon::AsyncFd::new(near)?;
    /// let mut ready = near.writable().await?;
    /// let error = ready.try_io(|mut near| near.read(&mut [0; 8])).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok(()) });
    /// ```
    pub fn try_io<R>(&mut self, op: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        let object = self.fd.get_ref();
        set_nonblocking(object.as_fd())?;
        let result = op(object);
        if let Err(error) = &result {
            if error.kind() == io::ErrorKind::WouldBlock {
                self.clear_ready();
            }
        }
        result
    }

    /// Records that an operation met `WouldBlock`: the next wait waits for a new event. If no operation did, that wait
    /// may never end.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// let near = callsoon::AsyncFd::new(near)?;
    /// near.writable().await?.clear_ready();
    /// # Ok(()) });
    /// ```
    pub fn clear_ready(&mut self) {
        self.fd.io.clear_ready(self.direction);
    }

    /// Returns the object.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (_reader, writer) = std::os::unix::net::UnixStream::pair()?;
    /// let writer = callsoon::AsyncFd::new(writer)?;
    /// let ready = writer.writable().await?;
    /// let same: &std::os::unix::net::UnixStream = ready.get_ref();
    /// # Ok(()) });
    /// ```
    pub fn get_ref(&self) -> &T {
        self.fd.get_ref()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for ReadyGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyGuard")
            .field("fd", self.fd)
            .field("direction", &self.direction)
            .finish()
    }
}
