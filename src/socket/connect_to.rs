//! What a connection is made to: an address, several addresses, a host, or a socket that is connected already.
//!
//! The calls take `impl Into<ConnectTo>`, so that one call covers all of these, and so that what makes no sense does not
//! compile. A text that names no place is an error when the call is awaited, like a host that is not found.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use socket2::Socket;

use crate::kernel::io::readiness::Direction;
use crate::socket::dns::{Target, ToSocketAddrs};
use crate::socket::nonblocking::{adopt_stream, from_sockets};
use crate::socket::stream_socket::StreamSocket;

/// What [`create_connection`](crate::LoopHandle::create_connection) connects to: what [`ToSocketAddrs`] names, such as
/// a host and a port, or a socket that is connected already.
///
/// ```
/// use callsoon::transport::ConnectTo;
/// let http = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
/// let https = std::net::SocketAddr::from(([127, 0, 0, 1], 443));
/// let one = ConnectTo::from(http);
/// let two = ConnectTo::from([http, https]);
/// let host = ConnectTo::from(("localhost", 80));
/// ```
#[derive(Debug)]
pub struct ConnectTo(pub(crate) Destination);

/// The cases of a [`ConnectTo`].
#[derive(Debug)]
pub(crate) enum Destination {
    /// Addresses, or a name; an error if the text named no place.
    Named(io::Result<Target>),
    Socket(AcceptedSocket),
    Path(PathBuf),
    /// One end of a pipe.
    Pipe(OwnedFd, Direction),
}

impl ConnectTo {
    /// A Unix socket at a path, or at an abstract name after a NUL byte.
    pub(crate) fn path(path: impl Into<PathBuf>) -> Self {
        Self(Destination::Path(path.into()))
    }

    /// One end of a pipe.
    pub(crate) fn pipe(pipe: OwnedFd, direction: Direction) -> Self {
        Self(Destination::Pipe(pipe, direction))
    }

    fn socket(socket: Socket) -> Self {
        Self(Destination::Socket(AcceptedSocket(socket)))
    }
}

/// A connected stream socket that was made by other means.
///
/// ```
/// use callsoon::transport::AcceptedSocket;
/// let (one, _other) = std::os::unix::net::UnixStream::pair()?;
/// let socket = AcceptedSocket::from(one);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AcceptedSocket(Socket);

impl AcceptedSocket {
    /// Returns the socket for a transport, switched to non-blocking mode.
    ///
    /// # Errors
    /// `InvalidInput` if it is no stream socket.
    pub(crate) fn into_stream(self) -> io::Result<StreamSocket> {
        let socket = adopt_stream(self.0)?;
        let is_unix = socket.local_addr()?.is_unix();
        Ok(StreamSocket::new(socket, is_unix))
    }
}

impl<T: ToSocketAddrs> From<T> for ConnectTo {
    fn from(place: T) -> Self {
        Self(Destination::Named(place.into_target()))
    }
}

impl From<AcceptedSocket> for ConnectTo {
    fn from(socket: AcceptedSocket) -> Self {
        Self(Destination::Socket(socket))
    }
}

from_sockets!(AcceptedSocket, AcceptedSocket; TcpStream, UnixStream, Socket);
from_sockets!(ConnectTo, ConnectTo::socket; TcpStream, UnixStream, Socket);
