//! Byte streams between two ends, over TCP or a Unix socket: what both have in common, which is nearly everything.
//!
//! A read that fills less than its buffer may prove the socket drained, which saves the system call that would only say
//! so: two system calls a message. Whether it is a proof is a property of the kind; `kernel/readiness.rs` says when
//! it holds. A fresh connection is taken as writable.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;

use crate::event_loop::free::get_running_loop;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::net::stream_kind::{MOST_BUFFERS, StreamKind};

/// A connection over which bytes go both ways: a [`TcpStream`](crate::net::TcpStream) or a
/// [`UnixStream`](crate::net::UnixStream).
///
/// Options that have no method here are set through `socket2::SockRef::from(&stream)`.
///
/// ```
/// use callsoon::net::{SocketStream, StreamKind, UnixStream};
///
/// async fn greet<K: StreamKind>(stream: &SocketStream<K>) -> std::io::Result<()> {
///     stream.write_all(b"hello").await
/// }
///
/// callsoon::run(async {
///     let (near, far) = UnixStream::pair()?;
///     greet(&near).await?;
///     far.read_exact(&mut [0; 5]).await
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SocketStream<K: StreamKind> {
    pub(super) io: Io<K::Socket>,
}

impl<K: StreamKind> SocketStream<K> {
    /// A connection that exists already, made by other means; it is switched to non-blocking mode.
    ///
    /// # Errors
    /// What the system says of switching the mode and of registering.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let socket = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// callsoon::run(async {
    ///     let stream = callsoon::net::TcpStream::from_std(socket).unwrap();
    ///     stream.write_all(b"x").await.unwrap();
    /// }).unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn from_std(socket: K::Std) -> io::Result<Self> {
        let handle = get_running_loop();
        Self::from_mio(&handle, K::adopt(socket)?)
    }

    pub(crate) fn from_mio(handle: &LoopHandle, socket: K::Socket) -> io::Result<Self> {
        let readiness = Readiness::new(K::short_read_drains(&socket), true);
        Ok(Self {
            io: Io::new(handle, socket, K::interest(), readiness)?,
        })
    }

    /// The socket without its loop, still in non-blocking mode.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// let socket: std::os::unix::net::UnixStream = near.into_std();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_std(self) -> K::Std {
        K::release(self.io.into_source())
    }

    /// Waits until a read is worth trying: data is there, or the end, or an error. It may be mistaken, so try and wait
    /// again on `WouldBlock`.
    ///
    /// # Errors
    /// Only that the loop is closed; what is wrong with the connection, the read says.
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// far.try_write(b"x")?;
    /// near.readable().await?;
    /// assert_eq!(near.try_read(&mut [0; 8])?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.io.ready(Direction::Read).await
    }

    /// Waits until a write is worth trying. It may be mistaken, so try and wait again on `WouldBlock`.
    ///
    /// # Errors
    /// Only that the loop is closed; what is wrong with the connection, the write says.
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// near.writable().await?;
    /// assert_eq!(near.try_write(b"x")?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        self.io.ready(Direction::Write).await
    }

    /// Reads what is there, at least one byte and at most `buffer.len()`, and gives the number of bytes. 0 means that
    /// the peer has finished writing, or that the buffer is empty.
    ///
    /// # Errors
    /// What the system says: reset, timed out …
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// drop(client);
    /// assert_eq!(server.read(&mut [0; 16]).await?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let room = buffer.len();
        let read = |socket: &K::Socket| K::read(socket, buffer);
        self.io
            .operate(Direction::Read, read, |&count| 0 < count && count < room)
            .await
    }

    /// Reads what is there into several buffers, filling one after the other, and gives the number of bytes. 0 means the
    /// end, or that there is no room.
    ///
    /// # Errors
    /// What the system says: reset, timed out …
    ///
    /// # Cancellation
    /// Dropped before it is done it has read nothing.
    ///
    /// ```
    /// # use std::io::IoSliceMut;
    /// # callsoon::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// far.write_all(b"headbody").await?;
    /// let (mut head, mut body) = ([0; 4], [0; 16]);
    /// let count = near.read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)]).await?;
    /// assert_eq!((count, &head), (8, b"head"));
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let count = buffers.len().min(MOST_BUFFERS);
        let buffers = &mut buffers[..count];
        let room: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if room == 0 {
            return Ok(0);
        }
        let read = |socket: &K::Socket| K::read_vectored(socket, buffers);
        self.io
            .operate(Direction::Read, read, |&count| 0 < count && count < room)
            .await
    }

    /// Reads what is there and leaves it there for the next read.
    ///
    /// # Errors
    /// What the system says: reset, timed out …
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// far.write_all(b"x").await?;
    /// assert_eq!(near.peek(&mut [0; 8]).await?, 1);
    /// assert_eq!(near.read(&mut [0; 8]).await?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let peek = |socket: &K::Socket| K::peek(socket, buffer);
        // What was looked at is still there: a short look proves nothing.
        self.io.operate(Direction::Read, peek, |_| false).await
    }

    /// Reads without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there yet; else what the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let error = client.try_read(&mut [0; 16]).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io
            .attempt(Direction::Read, |socket| K::read(socket, buffer))
    }

    /// Fills the whole buffer.
    ///
    /// # Errors
    /// `UnexpectedEof` where the peer finishes writing first; else what the system says. The bytes read until then are in
    /// the buffer.
    ///
    /// # Cancellation
    /// Dropped before it is done it may have read a part, which is in the buffer but not counted.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.write_all(b"half").await?;
    /// drop(client);
    /// let error = server.read_exact(&mut [0; 8]).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// Writes what the system takes, and gives the number of bytes.
    ///
    /// # Errors
    /// What the system says: broken pipe, reset …
    ///
    /// # Cancellation
    /// Dropped before it is done it has written nothing.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.write(b"hello").await?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let write = |socket: &K::Socket| K::write(socket, bytes);
        self.io.operate(Direction::Write, write, |_| false).await
    }

    /// Writes without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where the system takes nothing now; else what the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.try_write(b"hello")?, 5);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io
            .attempt(Direction::Write, |socket| K::write(socket, bytes))
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// What the system says; some of the bytes may have been written.
    ///
    /// # Cancellation
    /// Dropped before it is done it may have written a part.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.write_all(b"all of this").await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => rest = &rest[count..],
            }
        }
        Ok(())
    }

    /// Writes what the system takes of several buffers, in their order, and gives the number of bytes.
    ///
    /// # Errors
    /// What the system says: broken pipe, reset …
    ///
    /// # Cancellation
    /// Dropped before it is done it has written nothing.
    ///
    /// ```
    /// # use std::io::IoSlice;
    /// # callsoon::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// assert_eq!(near.write_vectored(&[IoSlice::new(b"head"), IoSlice::new(b"body")]).await?, 8);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let write = |socket: &K::Socket| K::write_vectored(socket, buffers);
        self.io.operate(Direction::Write, write, |_| false).await
    }

    /// Writes all of any number of buffers. What is left of the list afterwards says nothing.
    ///
    /// # Errors
    /// What the system says; some of the bytes may have been written.
    ///
    /// # Cancellation
    /// Dropped before it is done it may have written a part.
    ///
    /// ```
    /// # use std::io::IoSlice;
    /// # callsoon::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// near.write_all_vectored(&mut [IoSlice::new(b"head"), IoSlice::new(b"body")]).await?;
    /// far.read_exact(&mut [0; 8]).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_all_vectored(&self, buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut rest = buffers;
        // Empty buffers go first, so that a write of nothing is never taken for a connection that takes nothing.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.write_vectored(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut rest, count),
            }
        }
        Ok(())
    }

    /// Ends one direction or both. Data on its way still arrives.
    ///
    /// # Errors
    /// What the system says, `NotConnected` above all.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.shutdown(std::net::Shutdown::Write)?;
    /// assert_eq!(server.read(&mut [0; 1]).await?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        K::as_ref(self.io.source()).shutdown(how)
    }

    /// The peer's address; that of a Unix socket without a name is unnamed.
    ///
    /// # Errors
    /// What the system says, `NotConnected` above all.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<K::Address> {
        K::peer_addr(self.io.source())
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, address) = listener.accept().await?;
    /// assert_eq!(client.local_addr()?, address);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<K::Address> {
        K::local_addr(self.io.source())
    }

    /// The error that the system keeps for the socket, if there is one; taking it clears it.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// assert!(near.take_error()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        K::as_ref(self.io.source()).take_error()
    }
}

#[cfg(unix)]
impl<K: StreamKind> std::os::fd::AsFd for SocketStream<K>
where
    K::Socket: std::os::fd::AsFd,
{
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

#[cfg(unix)]
impl<K: StreamKind> std::os::fd::AsRawFd for SocketStream<K>
where
    K::Socket: std::os::fd::AsRawFd,
{
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.io.source().as_raw_fd()
    }
}

impl<K: StreamKind> fmt::Debug for SocketStream<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(K::STREAM).field(self.io.source()).finish()
    }
}
