//! Sockets that carry whole messages, over UDP or a Unix socket: what both have in common.
//!
//! A short read proves nothing here, since a message is read whole or cut. So only EAGAIN ends readiness. A fresh socket
//! counts as writable.
//!
//! A Unix socket that sends to an address is refused while the receiver's queue is full, and no event tells when there is
//! room: the sender itself stays writable, and each refusal even reports it writable once more. A wait for events would
//! be a busy loop, so the sender tries again by timer: `socket/backoff.rs`.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::SockRef;

use crate::event_loop::free::get_running_loop;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::address::NetAddress;
use crate::socket::backoff::Backoff;
use crate::socket::nonblocking::{self, Watchable, receive};
use crate::socket::send_error::SendError;
use crate::socket::socket_file::SocketFile;
use crate::socket::stream_socket::BOTH;
use crate::sys::fd::set_nonblocking;
use crate::time::sleep::{Sleep, sleep};

/// Makes `WouldBlock` a result, for an operation that must not wait for an event then.
pub(crate) fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// A message's length and its sender.
pub(crate) type Received<A> = io::Result<(usize, A)>;

/// How UDP and Unix datagrams differ. The module is private, so no other crate can name this trait.
pub trait DatagramKind: Clone + 'static {
    /// What names a socket.
    type Address: NetAddress;
    /// A socket of the standard library.
    type Std: AsFd + AsRawFd + fmt::Debug;
    /// Whether an event tells when a message to an address can be sent. None does where the receiver's queue decides.
    const ROOM_IS_TOLD: bool;

    /// Receives a message and its sender. With the flag `MSG_PEEK` the message stays there.
    fn recv_from(socket: &Self::Std, buffer: &mut [u8], flags: i32) -> Received<Self::Address>;
}

/// A socket for whole messages: a [`UdpSocket`](crate::net::UdpSocket) or a [`UnixDatagram`](crate::net::UnixDatagram).
///
/// A message may be empty. One that does not fit into the buffer is cut, and the rest of it is lost. Options that have
/// no method here are set through `socket2::SockRef::from(&socket)`.
///
/// `K` is [`Udp`](crate::net::Udp) or [`Unix`](crate::net::Unix). `K::Address` is [`std::net::SocketAddr`] for the former
/// and [`std::os::unix::net::SocketAddr`] for the latter, and `K::Std` is the socket of the standard library.
///
/// ```
/// use callsoon::net::{DatagramSocket, Unix, UnixDatagram};
///
/// callsoon::run(async {
///     let (near, far): (DatagramSocket<Unix>, _) = UnixDatagram::pair()?;
///     near.send(b"ping").await?;
///     assert_eq!(far.recv(&mut [0; 16]).await?, 4);
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct DatagramSocket<K: DatagramKind> {
    pub(crate) io: Io<Watchable<K::Std>>,
    /// What is removed after the socket has closed.
    file: Option<SocketFile>,
    /// The pause of a polled send whose receiver is full.
    pub(super) pause: Cell<Option<(Sleep, Backoff)>>,
}

impl<K: DatagramKind> DatagramSocket<K> {
    /// Registers a socket in non-blocking mode.
    pub(crate) fn watch(
        handle: &LoopHandle,
        socket: impl Into<K::Std>,
        file: Option<SocketFile>,
    ) -> io::Result<Self> {
        let (socket, readiness) = (Watchable(socket.into()), Readiness::new(false, true));
        let io = Io::new(handle, socket, BOTH, readiness)?;
        let pause = Cell::new(None);
        Ok(Self { io, file, pause })
    }

    /// Takes over a socket that was made by other means, and switches it to non-blocking mode.
    ///
    /// # Errors
    /// `OutOfMemory` or `StorageFull` if the poller has no room for another descriptor, `AlreadyExists` if it has this
    /// one already, `NotConnected` if the loop is closed.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// callsoon::run(async {
    ///     let socket = callsoon::net::UdpSocket::from_std(socket)?;
    ///     socket.send_to(b"to myself", socket.local_addr()?).await
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn from_std(socket: K::Std) -> io::Result<Self> {
        let handle = get_running_loop();
        set_nonblocking(socket.as_fd())?;
        // A socket's file belongs to the program that has made it.
        Self::watch(&handle, socket, None)
    }

    /// Returns the socket without its loop, still in non-blocking mode.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// let socket: std::net::UdpSocket = socket.into_std();
    /// # Ok(()) });
    /// ```
    pub fn into_std(self) -> K::Std {
        SocketFile::forget(self.file);
        self.io.into_source().0
    }

    /// Sends a message to the address that the socket is connected to.
    ///
    /// # Errors
    /// `NotConnected` if the socket has no peer or the loop is closed, an error with `EMSGSIZE` inside if the message
    /// is too long, `ConnectionRefused` if an earlier message found no socket at its destination, `NetworkUnreachable`
    /// or `HostUnreachable` if there is no way to it, `PermissionDenied` if a firewall refuses it or it is a broadcast
    /// that is not allowed. The socket stays usable.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has sent nothing.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixDatagram::pair()?;
    /// assert_eq!(near.send(b"").await?, 0);
    /// assert_eq!(far.recv(&mut [0; 16]).await?, 0, "an empty message is a message");
    /// # Ok(()) });
    /// ```
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let send = |socket: &Watchable<K::Std>| nonblocking::send(socket, bytes);
        self.io.operate(Direction::Write, send, |_| false).await
    }

    /// Sends without waiting. See [`send`](Self::send).
    ///
    /// # Errors
    /// `WouldBlock` if the system takes nothing now; otherwise those of [`send`](Self::send).
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixDatagram::pair()?;
    /// assert_eq!(near.try_send(b"x")?, 1);
    /// # Ok(()) });
    /// ```
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.io
            .attempt(Direction::Write, |socket| nonblocking::send(socket, bytes))
    }

    /// Sends a message to an address.
    pub(crate) async fn send_to_address(
        &self,
        bytes: &[u8],
        address: &K::Address,
    ) -> io::Result<usize> {
        let send = |socket: &Watchable<K::Std>| address.send(socket.as_fd(), bytes);
        if K::ROOM_IS_TOLD {
            let sent = self.io.operate(Direction::Write, send, |_| false).await;
            return sent.map_err(SendError::to(address));
        }
        let mut backoff = Backoff::new();
        loop {
            let send = |socket: &Watchable<K::Std>| unless_blocked(send(socket));
            let sent = self.io.operate(Direction::Write, send, |_| false).await;
            match sent.map_err(SendError::to(address))? {
                Some(count) => return Ok(count),
                None => sleep(backoff.pause()).await,
            }
        }
    }

    /// Sends a message to an address without waiting.
    pub(crate) fn try_send_to_address(
        &self,
        bytes: &[u8],
        address: &K::Address,
    ) -> io::Result<usize> {
        let send = |socket: &Watchable<K::Std>| address.send(socket.as_fd(), bytes);
        if K::ROOM_IS_TOLD {
            let sent = self.io.attempt(Direction::Write, send);
            return sent.map_err(SendError::to(address));
        }
        // One receiver that takes nothing says nothing about another, so the cached readiness stays.
        let open = self.io.readiness(|_| ()).map_err(io::Error::from);
        let sent = open.and_then(|()| send(self.io.source()));
        sent.map_err(SendError::to(address))
    }

    /// Receives a message and returns its length, or the length of the buffer if the message was longer.
    ///
    /// # Errors
    /// `ConnectionRefused` if the socket is connected and an earlier message found no socket at its destination,
    /// `NotConnected` if the loop is closed. The socket stays usable.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has received nothing.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixDatagram::pair()?;
    /// near.send(b"one").await?;
    /// near.send(b"two!").await?;
    /// assert_eq!(far.recv(&mut [0; 16]).await?, 3);
    /// assert_eq!(far.recv(&mut [0; 16]).await?, 4);
    /// # Ok(()) });
    /// ```
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let recv = |socket: &Watchable<K::Std>| receive(socket, buffer);
        self.io.operate(Direction::Read, recv, |_| false).await
    }

    /// Receives without waiting. See [`recv`](Self::recv).
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come yet; otherwise those of [`recv`](Self::recv).
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixDatagram::pair()?;
    /// assert_eq!(near.try_recv(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok(()) });
    /// ```
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io
            .attempt(Direction::Read, |socket| receive(socket, buffer))
    }

    /// Receives a message and returns its sender, and its length, or the length of the buffer if the message was
    /// longer.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has received nothing.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// let address = socket.local_addr()?;
    /// socket.send_to(b"to myself", address).await?;
    /// assert_eq!(socket.recv_from(&mut [0; 16]).await?, (9, address));
    /// # Ok(()) });
    /// ```
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, K::Address)> {
        let recv = |socket: &Watchable<K::Std>| K::recv_from(&socket.0, buffer, 0);
        self.io.operate(Direction::Read, recv, |_| false).await
    }

    /// Receives without waiting. See [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come yet; otherwise those of [`recv`](Self::recv).
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.try_recv_from(&mut [0; 16]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok(()) });
    /// ```
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, K::Address)> {
        self.io
            .attempt(Direction::Read, |socket| K::recv_from(&socket.0, buffer, 0))
    }

    /// Receives a message as [`recv`](Self::recv) does, but leaves it for the next call.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixDatagram::pair()?;
    /// near.send(b"once").await?;
    /// assert_eq!(far.peek(&mut [0; 16]).await?, 4);
    /// assert_eq!(far.recv(&mut [0; 16]).await?, 4);
    /// # Ok(()) });
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let peek = |socket: &Watchable<K::Std>| nonblocking::peek(socket, buffer);
        self.io.operate(Direction::Read, peek, |_| false).await
    }

    /// Receives a message as [`recv_from`](Self::recv_from) does, but leaves it for the next call. A Unix sender whose
    /// path fills the whole address, 108 bytes on Linux, is unnamed here; `recv_from` names it.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// let address = socket.local_addr()?;
    /// socket.send_to(b"x", address).await?;
    /// assert_eq!(socket.peek_from(&mut [0; 16]).await?, (1, address));
    /// # Ok(()) });
    /// ```
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, K::Address)> {
        let peek = |socket: &Watchable<K::Std>| K::recv_from(&socket.0, buffer, libc::MSG_PEEK);
        self.io.operate(Direction::Read, peek, |_| false).await
    }

    /// Waits until receiving is worth trying. The answer may be wrong: try, and wait again on `WouldBlock`.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed.
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixDatagram::pair()?;
    /// far.try_send(b"x")?;
    /// near.readable().await?;
    /// assert_eq!(near.try_recv(&mut [0; 8])?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.io.ready(Direction::Read).await
    }

    /// Waits until sending is worth trying. The answer may be wrong: try, and wait again on `WouldBlock`.
    ///
    /// # Errors
    /// `NotConnected` if the loop is closed.
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixDatagram::pair()?;
    /// near.writable().await?;
    /// # Ok(()) });
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        self.io.ready(Direction::Write).await
    }

    /// Returns the address that the socket is bound to.
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// assert!(socket.local_addr()?.port() > 0);
    /// # Ok(()) });
    /// ```
    pub fn local_addr(&self) -> io::Result<K::Address> {
        K::Address::local(self.as_fd())
    }

    /// Returns the address that the socket is connected to.
    ///
    /// # Errors
    /// `NotConnected` if it is not connected.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.peer_addr().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    /// # Ok(()) });
    /// ```
    pub fn peer_addr(&self) -> io::Result<K::Address> {
        K::Address::peer(self.as_fd())
    }

    /// Takes the error that the system keeps for the socket, if there is one, and clears it.
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixDatagram::pair()?;
    /// assert!(near.take_error()?.is_none());
    /// # Ok(()) });
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }
}

impl<K: DatagramKind> AsFd for DatagramSocket<K> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

impl<K: DatagramKind> AsRawFd for DatagramSocket<K> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<K: DatagramKind> fmt::Debug for DatagramSocket<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = &self.io.source().0;
        f.debug_tuple("DatagramSocket").field(socket).finish()
    }
}
