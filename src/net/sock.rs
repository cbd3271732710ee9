//! `sock_recv` and its kin: operations on sockets that the user keeps, as asyncio's loop has them.
//!
//! Each tries at once and waits only if it must; the socket is watched for the time of the wait and no longer, so it may
//! be closed, handed on, or used by other means before and after. Who does much of it is better served by the sockets of
//! this module's siblings, which stay registered.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use socket2::{SockAddr, Socket};

use crate::kernel::io::readiness::Direction;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::net::datagram::{SendRetry, unless_blocked};
use crate::net::nonblocking::expect_client;
use crate::net::stream_kind::SEND_FLAGS;
use crate::net::tcp::connected;
use crate::sys::fd::set_nonblocking;
use crate::sys::socket;
use crate::time::sleep;

/// A server on a Unix socket whose backlog is full lets a client neither in nor wait, and no event tells when there is
/// room. So the client comes again.
const CONNECT_RETRY: Duration = Duration::from_millis(5);

impl LoopHandle {
    /// Receives at most `most` bytes; none is the end.
    ///
    /// # Errors
    /// `OutOfMemory` where there is none for `most` bytes; what the system says; in debug mode `InvalidInput` for a socket in
    /// blocking mode, as in asyncio. Otherwise such a socket does not hold up the loop either.
    ///
    /// # Cancellation
    /// Dropped before it is done it has received nothing, and the socket is watched no longer.
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

    /// Receives into `buffer` and gives the number of bytes; 0 is the end, or an empty buffer.
    ///
    /// # Errors
    /// The same as of [`sock_recv`](Self::sock_recv).
    ///
    /// # Cancellation
    /// Dropped before it is done it has received nothing, and the socket is watched no longer.
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

    /// Receives a datagram of at most `most` bytes, and its sender. What is longer is cut.
    ///
    /// # Errors
    /// The same as of [`sock_recv`](Self::sock_recv).
    ///
    /// # Cancellation
    /// Dropped before it is done it has received nothing, and the socket is watched no longer.
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

    /// Receives a datagram into `buffer`, and gives its length and sender. What is longer is cut.
    ///
    /// # Errors
    /// The same as of [`sock_recv`](Self::sock_recv).
    ///
    /// # Cancellation
    /// Dropped before it is done it has received nothing, and the socket is watched no longer.
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
    /// What the system says, and some of the bytes may have been sent; in debug mode `InvalidInput` for a socket in
    /// blocking mode. A closed connection is an error and no SIGPIPE.
    ///
    /// # Cancellation
    /// Dropped before it is done it may have sent a part. The socket is watched no longer.
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
                match socket.send_with_flags(rest, SEND_FLAGS) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => rest = &rest[count..],
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        // One operation for all of it: the socket is watched until the last byte is gone.
        self.fd_operation(socket.as_raw_fd(), Direction::Write, send_rest)
            .await
    }

    /// Sends a datagram to `address`, and gives the number of bytes. While the queue of a Unix socket is full this tries again
    /// by timer, after 1 to 64 milliseconds, since no event tells when there is room.
    ///
    /// # Errors
    /// What the system says; in debug mode `InvalidInput` for a socket in blocking mode.
    ///
    /// # Cancellation
    /// Dropped before it is done it has sent nothing, and the socket is watched no longer.
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
        let number = socket.as_raw_fd();
        if !address.is_unix() {
            let send = || socket.send_to_with_flags(bytes, address, SEND_FLAGS);
            return self.fd_operation(number, Direction::Write, send).await;
        }
        let address = socket::sendable(address)?;
        let mut retry = SendRetry::new();
        loop {
            let send = || unless_blocked(socket.send_to_with_flags(bytes, &address, SEND_FLAGS));
            match self.fd_operation(number, Direction::Write, send).await? {
                Some(count) => return Ok(count),
                None => sleep(retry.pause()).await,
            }
        }
    }

    /// Connects to `address`. Names are resolved by [`getaddrinfo`](Self::getaddrinfo) before.
    ///
    /// # Errors
    /// What the system says of the attempt; in debug mode `InvalidInput` for a socket in blocking mode, which is otherwise
    /// switched to non-blocking mode. After a failure the socket is best closed.
    ///
    /// # Cancellation
    /// Dropped before it is done the attempt goes on, but nobody watches it; close the socket.
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
        self.check(socket).await?;
        proceed().await;
        let address = socket::sendable(address)?;
        // The call has no flag against blocking.
        set_nonblocking(socket.as_fd())?;
        loop {
            match socket.connect(&address) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => break,
                // An interrupted attempt goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && address.is_unix() => {
                    sleep(CONNECT_RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
        let ended = || connected(socket);
        self.fd_operation(socket.as_raw_fd(), Direction::Write, ended)
            .await
    }

    /// Accepts a client of a listening socket. The client's socket is in non-blocking mode and closed in child processes.
    ///
    /// # Errors
    /// What the system says, also of clients that are gone and of descriptors that have run out; in debug mode
    /// `InvalidInput` for a socket in blocking mode. Otherwise such a socket is switched to non-blocking mode.
    ///
    /// # Cancellation
    /// Dropped before it is done it has accepted nobody, and the socket is watched no longer.
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
        let accept = || {
            expect_client(socket.as_fd())?;
            let (client, address) = socket.accept()?;
            client.set_nonblocking(true)?;
            Ok((client, address))
        };
        self.fd_operation(socket.as_raw_fd(), Direction::Read, accept)
            .await
    }

    /// In debug mode, whether the socket would hold up the loop.
    pub(super) async fn check(&self, socket: &Socket) -> io::Result<()> {
        if self.debug() && !socket.nonblocking()? {
            proceed().await;
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the socket must be non-blocking",
            ));
        }
        Ok(())
    }
}

/// A buffer of a size that the caller names: more than there is memory for is an error and no abort.
fn room(most: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(most)?;
    buffer.resize(most, 0);
    Ok(buffer)
}
