//! Unix sockets for whole messages. No message between two of them is lost: a sender that is too fast waits.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockRef, Type};

use crate::event_loop::free::get_running_loop;
use crate::kernel::proceed::proceed;
use crate::net::datagram::{DatagramKind, DatagramSocket, Received};
use crate::net::unix::Unix;
use crate::socket::address::{NetAddress as _, address_of, std_address, unnamed};
use crate::socket::bind_error::BindError;
use crate::socket::connect_error::ConnectError;
use crate::socket::nonblocking::new_socket;
use crate::socket::send_error::SendError;
use crate::socket::socket_file::{SocketFile, bind};
use crate::sys::socket;

/// A Unix socket for whole messages. The file of one that is bound is removed when the socket is dropped.
///
/// ```
/// use callsoon::net::UnixDatagram;
/// callsoon::run(async {
///     let name = format!("\0callsoon-doc-datagram-{}", std::process::id());
///     let server = UnixDatagram::bind(&name).await?;
///     let client = UnixDatagram::unbound()?;
///     client.send_to(b"hello", &name).await?;
///     assert_eq!(server.recv(&mut [0; 16]).await?, 5);
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixDatagram = DatagramSocket<Unix>;

impl DatagramKind for Unix {
    type Address = SocketAddr;
    type Std = std::os::unix::net::UnixDatagram;
    const ROOM_IS_TOLD: bool = false;

    fn recv_from(socket: &Self::Std, buffer: &mut [u8], flags: i32) -> Received<SocketAddr> {
        if flags == 0 {
            return socket.recv_from(buffer);
        }
        // No call of the standard library takes flags.
        let (count, address) = socket::recv_from(socket.as_fd(), buffer, flags)?;
        Ok((count, std_address(&address).unwrap_or_else(unnamed)))
    }
}

impl UnixDatagram {
    /// Returns a socket that is bound to a path, or to the abstract name after a NUL byte. A socket file on which no
    /// socket answers is replaced. The file is removed when the socket is dropped, if it is still the same one.
    ///
    /// # Errors
    /// Those of [`ListenOptions::bind_unix`](crate::net::ListenOptions::bind_unix).
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let name = format!("\0callsoon-doc-bound-{}", std::process::id());
    /// let socket = callsoon::net::UnixDatagram::bind(&name).await?;
    /// # Ok(()) });
    /// ```
    pub async fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let handle = get_running_loop();
        proceed().await;
        let path = path.as_ref();
        let bound = || {
            let socket = new_socket(Domain::UNIX, Type::DGRAM)?;
            bind(&socket, path, true)?;
            let file = SocketFile::at(path, true);
            Self::watch(&handle, socket, file)
        };
        bound().map_err(BindError::naming(path.display()))
    }

    /// Returns a socket without a name. It can send, but it cannot be answered.
    ///
    /// # Errors
    /// An error with `EMFILE` or `ENFILE` inside if there are no descriptors left, `NotConnected` if the loop is
    /// closed.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UnixDatagram::unbound()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn unbound() -> io::Result<Self> {
        let handle = get_running_loop();
        let socket = new_socket(Domain::UNIX, Type::DGRAM)?;
        Self::watch(&handle, socket, None)
    }

    /// Returns two connected sockets without names.
    ///
    /// # Errors
    /// An error with `EMFILE` or `ENFILE` inside if there are no descriptors left, `NotConnected` if the loop is
    /// closed.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixDatagram::pair()?;
    /// near.send(b"x").await?;
    /// assert_eq!(far.recv(&mut [0; 8]).await?, 1);
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let handle = get_running_loop();
        let (one, other) = mio::net::UnixDatagram::pair()?;
        Ok((
            Self::watch(&handle, one, None)?,
            Self::watch(&handle, other, None)?,
        ))
    }

    /// Sets the peer: [`send`](Self::send) sends to the socket at `path`, and only what comes from it is received.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `ConnectionRefused` if no socket is bound to it, `PermissionDenied` if this
    /// user may not write to it, `InvalidInput` if the path is empty or too long. A
    /// [`ConnectError`] inside has the path.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let name = format!("\0callsoon-doc-connect-{}", std::process::id());
    /// let server = callsoon::net::UnixDatagram::bind(&name).await?;
    /// let client = callsoon::net::UnixDatagram::unbound()?;
    /// client.connect(&name).await?;
    /// client.send(b"hello").await?;
    /// # Ok(()) });
    /// ```
    pub async fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        proceed().await;
        let path = path.as_ref();
        let address = address_of(path).and_then(|address| address.to_system());
        let connected = address.and_then(|address| SockRef::from(self).connect(&address));
        connected.map_err(ConnectError::naming_unix(path.display()))
    }

    /// Sends a message to the socket at `path`, or at the abstract name after a NUL byte, and returns the number of
    /// bytes.
    ///
    /// While the queue of the receiver is full, this tries again after 1, 2, 4 … 64 ms, since no event tells when there
    /// is room.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect), an error with `EMSGSIZE` inside if the message is too long, `NotConnected`
    /// if the loop is closed. A [`SendError`] inside has the path.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has sent nothing.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let socket = callsoon::net::UnixDatagram::unbound()?;
    /// let error = socket.send_to(b"x", "/nobody/here").await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # Ok(()) });
    /// ```
    pub async fn send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        let address = match address_of(path) {
            Ok(address) => address,
            Err(error) => {
                proceed().await;
                return Err(SendError::naming(path.display())(error));
            }
        };
        self.send_to_address(bytes, &address).await
    }

    /// Sends a message to an address, such as [`recv_from`](Self::recv_from) gives.
    ///
    /// # Errors
    /// Those of [`send_to`](Self::send_to). `InvalidInput` for the address of a socket without a name.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has sent nothing.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let name = format!("\0callsoon-doc-send-{}", std::process::id());
    /// let socket = callsoon::net::UnixDatagram::bind(&name).await?;
    /// socket.send_to_addr(b"to myself", &socket.local_addr()?).await?;
    /// # Ok(()) });
    /// ```
    pub async fn send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.send_to_address(bytes, address).await
    }

    /// Sends without waiting. See [`send_to`](Self::send_to). [`writable`](Self::writable) does not wait for the
    /// receiver.
    ///
    /// # Errors
    /// `WouldBlock` if the receiver takes nothing now; otherwise those of [`send_to`](Self::send_to).
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let name = format!("\0callsoon-doc-try-{}", std::process::id());
    /// let socket = callsoon::net::UnixDatagram::bind(&name).await?;
    /// assert_eq!(socket.try_send_to(b"x", &name)?, 1);
    /// # Ok(()) });
    /// ```
    pub fn try_send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        let address = address_of(path).map_err(SendError::naming(path.display()))?;
        self.try_send_to_address(bytes, &address)
    }

    /// Shuts one direction down, or both.
    ///
    /// # Errors
    /// `NotConnected` if the socket has no peer.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixDatagram::pair()?;
    /// near.shutdown(std::net::Shutdown::Write)?;
    /// assert_eq!(near.send(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    /// # Ok(()) });
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        SockRef::from(self).shutdown(how)
    }
}
