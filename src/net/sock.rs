//! `sock_recv` and the other `sock_` methods of asyncio's loop: operations on sockets that belong to the program.
//!
//! Each tries at once and waits only if it must. The socket is watched for the time of the wait and no longer. So before
//! and after, it may be closed, handed on, or used by other means. A program that calls these often should use the
//! sockets of this module's siblings, which stay registered.
//!
//! Unlike asyncio these never block the loop: a socket in blocking mode is an error in debug mode, as there, and works
//! without blocking otherwise.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use socket2::{SockAddr, Socket};

use crate::error::invalid_input;
use crate::kernel::events::blocking_socket;
use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::net::datagram::unless_blocked;
use crate::socket::accept::accept;
use crate::socket::address::Address;
use crate::socket::backoff::Backoff;
use crate::socket::connect::{connect, connected, is_under_way, while_backlog_is_full};
use crate::socket::connect_error::ConnectError;
use crate::socket::nonblocking::{send, send_to};
use crate::socket::send_error::SendError;
use crate::sys::fd::set_nonblocking;
use crate::sys::socket;
use crate::time::sleep;

impl LoopHandle {
    /// Receives at most `most` bytes. An empty result is the end.
    ///
    /// # Errors
    /// `ConnectionReset` if the peer has reset the connection, `TimedOut` if it no longer answers, `NotConnected` if
    /// the socket is not connected, `OutOfMemory` if there is none for `most` bytes. In debug mode `InvalidInput` for a
    /// socket in blocking mode, as in asyncio. `NotConnected` if the loop is closed.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has received nothing. The socket is no longer watched.
    ///
    /// ```
    /// # use socket2::{Domain, Socket, Type};
    /// let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    /// near.set_nonblocking(true)?;
    /// far.send(b"hello")?;
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     assert_eq!(event_loop.sock_recv(&near, 100).await?, b"hello");
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sock_recv(&self, socket: &Socket, most: usize) -> io::Result<Vec<u8>> {
        let mut buffer = room(most)?;
        let count = self.sock_recv_into(socket, &mut buffer).await?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Receives into `buffer` and returns the number of bytes. 0 is the end, or an empty buffer.
    ///
    /// # Errors
    /// Those of [`sock_recv`](Self::sock_recv).
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has received nothing. The socket is no longer watched.
    ///
    /// ```
    /// # use socket2::{Domain, Socket, Type};
    /// # let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    /// # near.set_nonblocking(true)?;
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// far.send(b"hello")?;
    /// assert_eq!(event_loop.sock_recv_into(&near, &mut [0; 3]).await?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sock_recv_into(&self, socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
        self.check(socket).await?;
        let recv = || socket::recv(socket.as_fd(), buffer, 0);
        self.fd_operation(socket.as_raw_fd(), Direction::Read, recv)
            .await
    }

    /// Receives a datagram of at most `most` bytes, and its sender. A longer one is cut.
    ///
    /// # Errors
    /// Those of [`sock_recv`](Self::sock_recv).
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has received nothing. The socket is no longer watched.
    ///
    /// ```
    /// # use socket2::{Domain, Socket, Type};
    /// # let (near, far) = Socket::pair(Domain::UNIX, Type::DGRAM, None)?;
    /// # near.set_nonblocking(true)?;
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// far.send(b"hello")?;
    /// let (datagram, sender) = event_loop.sock_recvfrom(&near, 100).await?;
    /// assert_eq!(datagram, b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sock_recvfrom(
        &self,
        socket: &Socket,
        most: usize,
    ) -> io::Result<(Vec<u8>, SockAddr)> {
        let mut buffer = room(most)?;
        let (count, sender) = self.sock_recvfrom_into(socket, &mut buffer).await?;
        buffer.truncate(count);
        Ok((buffer, sender))
    }

    /// Receives a datagram into `buffer`, and returns its length and its sender. A longer one is cut.
    ///
    /// # Errors
    /// Those of [`sock_recv`](Self::sock_recv).
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has received nothing. The socket is no longer watched.
    ///
    /// ```
    /// # use socket2::{Domain, Socket, Type};
    /// # let (near, far) = Socket::pair(Domain::UNIX, Type::DGRAM, None)?;
    /// # near.set_nonblocking(true)?;
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// far.send(b"hello")?;
    /// assert_eq!(event_loop.sock_recvfrom_into(&near, &mut [0; 100]).await?.0, 5);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sock_recvfrom_into(
        &self,
        socket: &Socket,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SockAddr)> {
        self.check(socket).await?;
        let recv = || socket::recv_from(socket.as_fd(), buffer, 0);
        self.fd_operation(socket.as_raw_fd(), Direction::Read, recv)
            .await
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// `BrokenPipe` if either side has shut this direction down (SIGPIPE is not raised), `ConnectionReset` if the peer
    /// has reset the connection, `TimedOut` if it no longer answers. Some of the bytes may have been sent. In debug
    /// mode `InvalidInput` for a socket in blocking mode, as in asyncio. `NotConnected` if the loop is closed.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it may have sent a part. The socket is no longer watched.
    ///
    /// ```
    /// # use socket2::{Domain, Socket, Type};
    /// # let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    /// # near.set_nonblocking(true)?;
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// event_loop.sock_sendall(&near, b"all of this").await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sock_sendall(&self, socket: &Socket, bytes: &[u8]) -> io::Result<()> {
        self.check(socket).await?;
        let mut rest = bytes;
        let send_rest = || {
            while !rest.is_empty() {
                match send(socket, rest)? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => rest = &rest[count..],
                }
            }
            Ok(())
        };
        // One operation for all of it: the socket is watched until the last byte was sent.
        self.fd_operation(socket.as_raw_fd(), Direction::Write, send_rest)
            .await
    }

    /// Sends a datagram to `address`, and returns the number of bytes.
    ///
    /// While the queue of a Unix receiver is full, this tries again after 1, 2, 4 … 64 ms, since no event tells when
    /// there is room. asyncio waits until the sender is writable, which it always is, and so spins.
    ///
    /// # Errors
    /// Those of [`UdpSocket::send`](crate::net::UdpSocket::send); for a Unix socket those of
    /// [`UnixDatagram::send_to`](crate::net::UnixDatagram::send_to). A [`SendError`] inside has the address. In debug mode
    /// `InvalidInput` for a socket in blocking mode, as in asyncio. `NotConnected` if the loop is closed.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has sent nothing. The socket is no longer watched.
    ///
    /// ```
    /// # use socket2::{Domain, Socket, Type};
    /// let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    /// socket.set_nonblocking(true)?;
    /// socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into())?;
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let own = socket.local_addr()?;
    ///     assert_eq!(event_loop.sock_sendto(&socket, b"to myself", &own).await?, 9);
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sock_sendto(
        &self,
        socket: &Socket,
        bytes: &[u8],
        address: &SockAddr,
    ) -> io::Result<usize> {
        self.check(socket).await?;
        let sent = self.sendto(socket, bytes, address).await;
        sent.map_err(|error| SendError::naming(Address::from(address.clone()))(error))
    }

    async fn sendto(&self, socket: &Socket, bytes: &[u8], address: &SockAddr) -> io::Result<usize> {
        let number = socket.as_raw_fd();
        if !address.is_unix() {
            let send = || send_to(socket, bytes, address);
            return self.fd_operation(number, Direction::Write, send).await;
        }
        let address = socket::sendable(address)?;
        let mut backoff = Backoff::new();
        loop {
            let send = || unless_blocked(send_to(socket, bytes, &address));
            match self.fd_operation(number, Direction::Write, send).await? {
                Some(count) => return Ok(count),
                None => sleep(backoff.pause()).await,
            }
        }
    }

    /// Connects to `address`. [`getaddrinfo`](Self::getaddrinfo) resolves names.
    ///
    /// A socket in blocking mode is switched to non-blocking mode. While the backlog of a Unix server is full, this
    /// tries again after 1, 2, 4 … 64 ms; asyncio takes the refusal for an attempt that goes on, and reports a
    /// connection that is none.
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `NetworkUnreachable`, `HostUnreachable`, `AddrNotAvailable`,
    /// `PermissionDenied`: what became of the attempt. `NotFound` if there is no such Unix socket. In debug mode
    /// `InvalidInput` for a socket in blocking mode, as in asyncio. `NotConnected` if the loop is closed. After a
    /// failure close the socket: whether it can be used again depends on the system. A
    /// [`ConnectError`] inside has the address.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, the attempt goes on, but the socket is no longer watched. Close it.
    ///
    /// ```
    /// # use socket2::{Domain, Socket, Type};
    /// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    /// socket.set_nonblocking(true)?;
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     event_loop.sock_connect(&socket, &server.local_addr()?.into()).await
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sock_connect(&self, socket: &Socket, address: &SockAddr) -> io::Result<()> {
        let connected = self.connect_socket(socket, address).await;
        connected.map_err(|error| ConnectError::wrap(address, error))
    }

    async fn connect_socket(&self, socket: &Socket, address: &SockAddr) -> io::Result<()> {
        self.check(socket).await?;
        proceed().await;
        let address = socket::sendable(address)?;
        let attempt = || {
            // The call has no flag against blocking, and others may change the mode between two attempts.
            set_nonblocking(socket.as_fd())?;
            connect(socket, &address)
        };
        let connected_now = if address.is_unix() {
            while_backlog_is_full(attempt).await
        } else {
            attempt()
        };
        match connected_now {
            Err(error) if is_under_way(&error) => {}
            result => return result,
        }
        let ended = || connected(socket);
        self.fd_operation(socket.as_raw_fd(), Direction::Write, ended)
            .await
    }

    /// Accepts a client of a listening socket. The client's socket is in non-blocking mode and closed in child
    /// processes. A listener in blocking mode is switched to non-blocking mode.
    ///
    /// # Errors
    /// `ConnectionAborted` and others if the client has failed before it was accepted; an error with `EMFILE` or
    /// `ENFILE` inside if there are no descriptors left; `InvalidInput` if the socket does not listen. As in asyncio
    /// these are not retried. In debug mode `InvalidInput` for a socket in blocking mode, as in asyncio. `NotConnected`
    /// if the loop is closed.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has accepted no client. The socket is no longer watched.
    ///
    /// ```
    /// # use socket2::Socket;
    /// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let client = std::net::TcpStream::connect(server.local_addr()?)?;
    /// let server = Socket::from(server);
    /// server.set_nonblocking(true)?;
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let (connection, address) = event_loop.sock_accept(&server).await?;
    ///     assert_eq!(address.as_socket(), Some(client.local_addr()?));
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn sock_accept(&self, socket: &Socket) -> io::Result<(Socket, SockAddr)> {
        self.check(socket).await?;
        let accept = || accept(socket.as_fd());
        let accepted = self.fd_operation(socket.as_raw_fd(), Direction::Read, accept);
        let (client, address) = accepted.await?;
        Ok((client.into(), address))
    }

    /// Fails in debug mode if the socket is in blocking mode.
    pub(super) async fn check(&self, socket: &Socket) -> io::Result<()> {
        if self.debug() && !socket.nonblocking()? {
            proceed().await;
            blocking_socket(socket.as_raw_fd());
            return Err(invalid_input("the socket must be non-blocking"));
        }
        Ok(())
    }
}

/// Returns a buffer of a size that the caller names. If there is not enough memory, that is an error and no abort.
fn room(most: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(most)?;
    buffer.resize(most, 0);
    Ok(buffer)
}
