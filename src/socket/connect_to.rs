//! What a connection is made to: an address, several addresses, a host, or a socket that is connected already.
//!
//! The calls take `impl Into<ConnectTo>`, so that one call covers all of these, and so that what makes no sense does not
//! compile. A text that names no place is an error when the call is awaited, like a host that is not found.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use socket2::{Socket, Type};

use crate::socket::dns::{Target, ToSocketAddrs};
use crate::socket::listen_on::not_a_stream;
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
}

impl ConnectTo {
    /// A Unix socket at a path, or at an abstract name after a NUL byte.
    pub(crate) fn path(path: impl Into<PathBuf>) -> Self {
        Self(Destination::Path(path.into()))
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
        let socket = self.0;
        if socket.r#type()? != Type::STREAM {
            return Err(not_a_stream());
        }
        socket.set_nonblocking(true)?;
        if socket.local_addr()?.is_unix() {
            let socket = std::os::unix::net::UnixStream::from(OwnedFd::from(socket));
            return Ok(socket.into());
        }
        Ok(std::net::TcpStream::from(socket).into())
    }
}

impl From<std::net::TcpStream> for AcceptedSocket {
    fn from(socket: std::net::TcpStream) -> Self {
        Self(socket.into())
    }
}

impl From<std::os::unix::net::UnixStream> for AcceptedSocket {
    fn from(socket: std::os::unix::net::UnixStream) -> Self {
        Self(socket.into())
    }
}

impl From<Socket> for AcceptedSocket {
    fn from(socket: Socket) -> Self {
        Self(socket)
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

impl From<std::net::TcpStream> for ConnectTo {
    fn from(socket: std::net::TcpStream) -> Self {
        AcceptedSocket::from(socket).into()
    }
}

impl From<std::os::unix::net::UnixStream> for ConnectTo {
    fn from(socket: std::os::unix::net::UnixStream) -> Self {
        AcceptedSocket::from(socket).into()
    }
}

impl From<Socket> for ConnectTo {
    fn from(socket: Socket) -> Self {
        AcceptedSocket::from(socket).into()
    }
}
