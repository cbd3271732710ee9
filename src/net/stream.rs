//! Byte streams between two ends, over TCP or a Unix socket: what both have in common, which is nearly everything.
//!
//! A read that fills less than its buffer may prove the socket drained. Then the system call that would only say so is
//! saved: two system calls a message. Whether it is a proof depends on the kind; `kernel/io/readiness.rs` says when it
//! holds. A fresh connection counts as writable.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{SockRef, Socket};

use crate::event_loop::free::get_running_loop;
use crate::kernel::io::readiness::Direction;
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::address::{Address, NetAddress};
use crate::socket::nonblocking::{
    self, MOST_BUFFERS, receive, receive_vectored, send, send_vectored,
};
use crate::socket::stream_socket::StreamSocket;
use crate::sys::fd::set_nonblocking;

/// What differs between TCP and Unix streams: the types of addresses, and those of the standard library. The module is
/// private, so no other crate can name this trait.
pub trait StreamKind: 'static {
    /// What names an end of a stream.
    type Address: NetAddress;
    /// A stream of the standard library.
    type Std: From<Socket> + Into<Socket>;
    /// A listener of the standard library.
    type StdListener: From<Socket> + Into<Socket>;
    const IS_UNIX: bool;
}

/// A connection over which bytes go both ways: a [`TcpStream`](crate::net::TcpStream) or a
/// [`UnixStream`](crate::net::UnixStream).
///
/// Methods take `&self`: one task may read while another writes. asyncio has no such type; the nearest are its
/// `sock_recv` and `sock_sendall`.
///
/// `K` is [`Tcp`](crate::net::Tcp) or [`Unix`](crate::net::Unix). `K::Address` is [`std::net::SocketAddr`] for the former
/// and [`std::os::unix::net::SocketAddr`] for the latter, and `K::Std` is the stream of the standard library. Code that
/// only reads and writes serves both.
///
/// Options that have no method here are set through `socket2::SockRef::from(&stream)`.
///
/// ```
/// use callsoon::net::{SocketStream, UnixStream};
///
/// async fn greet<K>(stream: &SocketStream<K>) -> std::io::Result<()> {
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
pub struct SocketStream<K> {
    pub(super) io: Io<StreamSocket>,
    kind: PhantomData<K>,
}

impl<K: StreamKind> SocketStream<K> {
    /// Takes over a connection that was made by other means, and switches it to non-blocking mode.
    ///
    /// # Errors
    /// `OutOfMemory` or `StorageFull` if the poller has no room for another descriptor, `AlreadyExists` if it has this
    /// one already, `NotConnected` if the loop is closed.
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
        let socket = socket.into();
        set_nonblocking(socket.as_fd())?;
        Self::watch(&handle, socket)
    }

    /// Registers a connected socket in non-blocking mode.
    pub(crate) fn watch(handle: &LoopHandle, socket: Socket) -> io::Result<Self> {
        let socket = StreamSocket::new(socket, K::IS_UNIX);
        Ok(Self::new(socket.watched(handle)?))
    }

    /// Returns the socket without its loop, still in non-blocking mode.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// let socket: std::os::unix::net::UnixStream = near.into_std();
    /// # Ok(()) });
    /// ```
    pub fn into_std(self) -> K::Std {
        self.io.into_source().into_socket().into()
    }

    /// Returns the address of the peer. That of a Unix socket that was not bound is unnamed.
    ///
    /// # Errors
    /// `NotConnected` if the connection has ended.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.peer_addr()?, listener.local_addr()?);
    /// # Ok(()) });
    /// ```
    pub fn peer_addr(&self) -> io::Result<K::Address> {
        K::Address::peer(self.as_fd())
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, address) = listener.accept().await?;
    /// assert_eq!(client.local_addr()?, address);
    /// # Ok(()) });
    /// ```
    pub fn local_addr(&self) -> io::Result<K::Address> {
        K::Address::local(self.as_fd())
    }
}

impl<K> SocketStream<K> {
    pub(super) fn new(io: Io<StreamSocket>) -> Self {
        let kind = PhantomData;
        Self { io, kind }
    }

    /// Waits until a read is worth trying: data has come, or the end, or an error. The answer may be wrong: try to
    /// read, and wait again on `WouldBlock`.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed. An error of the connection is returned by the next read.
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// far.try_write(b"x")?;
    /// near.readable().await?;
    /// assert_eq!(near.try_read(&mut [0; 8])?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.io.ready(Direction::Read).await
    }

    /// Waits until a write is worth trying. The answer may be wrong: try to write, and wait again on `WouldBlock`.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed. An error of the connection is returned by the next write.
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// near.writable().await?;
    /// assert_eq!(near.try_write(b"x")?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        self.io.ready(Direction::Write).await
    }

    /// Reads what has come, at least one byte and at most `buffer.len()`, and returns the number of bytes. 0 means that
    /// the peer has finished writing, or that the buffer is empty.
    ///
    /// # Errors
    /// `ConnectionReset` if the peer has reset the connection, `TimedOut` if it no longer answers, `NotConnected` if
    /// the socket is not connected or the loop is closed.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has read nothing.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// drop(client);
    /// assert_eq!(server.read(&mut [0; 16]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        let room = buffer.len();
        let read = move |socket: &StreamSocket| match room {
            0 => Ok(0),
            _ => receive(socket, buffer),
        };
        let short = move |&count: &usize| 0 < count && count < room;
        self.io
            .operate(Direction::Read, read, short)
            .at_once_if(room == 0)
    }

    /// Reads what has come into several buffers, one after the other, and returns the number of bytes. 0 means that the
    /// peer has finished writing, or that the buffers are empty. At most 1,024 buffers are used.
    ///
    /// # Errors
    /// `ConnectionReset` if the peer has reset the connection, `TimedOut` if it no longer answers, `NotConnected` if
    /// the socket is not connected or the loop is closed.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has read nothing.
    ///
    /// ```
    /// # use std::io::IoSliceMut;
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// far.write_all(b"headbody").await?;
    /// let (mut head, mut body) = ([0; 4], [0; 16]);
    /// let count = near.read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)]).await?;
    /// assert_eq!((count, &head), (8, b"head"));
    /// # Ok(()) });
    /// ```
    pub async fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let count = buffers.len().min(MOST_BUFFERS);
        let buffers = &mut buffers[..count];
        let room: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if room == 0 {
            return Ok(0);
        }
        let read = |socket: &StreamSocket| receive_vectored(socket, buffers);
        let short = |&count: &usize| 0 < count && count < room;
        self.io.operate(Direction::Read, read, short).await
    }

    /// Reads what has come and leaves it for the next read.
    ///
    /// # Errors
    /// `ConnectionReset` if the peer has reset the connection, `TimedOut` if it no longer answers, `NotConnected` if
    /// the socket is not connected or the loop is closed.
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// far.write_all(b"x").await?;
    /// assert_eq!(near.peek(&mut [0; 8]).await?, 1);
    /// assert_eq!(near.read(&mut [0; 8]).await?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let peek = |socket: &StreamSocket| nonblocking::peek(socket, buffer);
        // The bytes are still there, so a short answer proves nothing.
        self.io.operate(Direction::Read, peek, |_| false).await
    }

    /// Reads without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come yet; otherwise those of [`read`](Self::read).
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let error = client.try_read(&mut [0; 16]).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok(()) });
    /// ```
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io
            .attempt(Direction::Read, |socket| receive(socket, buffer))
    }

    /// Fills the whole buffer.
    ///
    /// # Errors
    /// `UnexpectedEof` if the peer finishes writing first; otherwise those of [`read`](Self::read). The bytes that were
    /// read until then are in the buffer.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it may have read a part. That part is in the buffer, but its length is lost.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// client.write_all(b"half").await?;
    /// drop(client);
    /// let error = server.read_exact(&mut [0; 8]).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    /// # Ok(()) });
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

    /// Writes what the system takes, and returns the number of bytes.
    ///
    /// # Errors
    /// `BrokenPipe` if either side has shut this direction down, `ConnectionReset` if the peer has reset the
    /// connection, `TimedOut` if it no longer answers, `NotConnected` if the loop is closed.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has written nothing.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.write(b"hello").await?, 5);
    /// # Ok(()) });
    /// ```
    pub fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        let write = move |socket: &StreamSocket| send(socket, bytes);
        self.io.operate(Direction::Write, write, |_| false)
    }

    /// Writes without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if the system takes nothing now; otherwise those of [`write`](Self::write).
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.try_write(b"hello")?, 5);
    /// # Ok(()) });
    /// ```
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io
            .attempt(Direction::Write, |socket| send(socket, bytes))
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// Those of [`write`](Self::write), and `WriteZero` if the system takes nothing. Some of the bytes may have been
    /// written.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it may have written a part.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.write_all(b"all of this").await?;
    /// # Ok(()) });
    /// ```
    pub fn write_all(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        let mut rest = bytes;
        let write = move |socket: &StreamSocket| {
            if !rest.is_empty() {
                match send(socket, rest)? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => rest = &rest[count..],
                }
            }
            Ok(rest.len())
        };
        self.io
            .operate(Direction::Write, write, |_| false)
            .at_once_if(bytes.is_empty())
            .until_nothing_is_left()
    }

    /// Writes what the system takes of several buffers, in their order, and returns the number of bytes. At most 1,024
    /// buffers are used.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has written nothing.
    ///
    /// ```
    /// # use std::io::IoSlice;
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// assert_eq!(near.write_vectored(&[IoSlice::new(b"head"), IoSlice::new(b"body")]).await?, 8);
    /// # Ok(()) });
    /// ```
    pub async fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let write = |socket: &StreamSocket| send_vectored(socket, buffers);
        self.io.operate(Direction::Write, write, |_| false).await
    }

    /// Writes all of any number of buffers. Afterwards the contents of the list are unspecified.
    ///
    /// # Errors
    /// Those of [`write_all`](Self::write_all).
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it may have written a part.
    ///
    /// ```
    /// # use std::io::IoSlice;
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// near.write_all_vectored(&mut [IoSlice::new(b"head"), IoSlice::new(b"body")]).await?;
    /// far.read_exact(&mut [0; 8]).await?;
    /// # Ok(()) });
    /// ```
    pub async fn write_all_vectored(&self, buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut rest = buffers;
        // Empty buffers are removed first: a write of nothing returns 0, and here 0 means that nothing more is taken.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.write_vectored(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut rest, count),
            }
        }
        Ok(())
    }

    /// Shuts one direction down, or both. Data that was written before still arrives.
    ///
    /// # Errors
    /// `NotConnected` if the connection has ended already.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// client.shutdown(std::net::Shutdown::Write)?;
    /// assert_eq!(server.read(&mut [0; 1]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        SockRef::from(self.io.source()).shutdown(how)
    }

    /// Takes the error that the system keeps for the socket, if there is one, and clears it.
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// assert!(near.take_error()?.is_none());
    /// # Ok(()) });
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self.io.source()).take_error()
    }
}

impl<K> AsFd for SocketStream<K> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

impl<K> AsRawFd for SocketStream<K> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<K> fmt::Debug for SocketStream<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.io.source();
        f.debug_struct("SocketStream")
            .field("local", &Address::of(socket.with(Socket::local_addr)))
            .field("peer", &Address::of(socket.with(Socket::peer_addr)))
            .finish_non_exhaustive()
    }
}
