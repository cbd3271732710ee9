//! What a connection is made to and what a server listens on, for calls that take either addresses or sockets.
//!
//! The calls take `impl Into<…>`, so that one call covers an address, several of them, and a socket that exists, and what
//! makes no sense does not compile. A text that names no place is an error when the call is awaited, like a host that is
//! not found.

use std::io;

use socket2::{Socket, Type};

use crate::net::dns::{Target, ToSocketAddrs};
use crate::transport::socket::StreamSocket;

/// What [`create_connection`](crate::LoopHandle::create_connection) connects to: whatever
/// [`ToSocketAddrs`] names, a host and a port for one, or a socket that is connected already.
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

#[derive(Debug)]
pub(crate) enum Destination {
    Named(io::Result<Target>),
    Socket(AcceptedSocket),
    #[cfg(unix)]
    Path(std::path::PathBuf),
}

#[cfg(unix)]
impl ConnectTo {
    pub(crate) fn path(path: impl Into<std::path::PathBuf>) -> Self {
        Self(Destination::Path(path.into()))
    }
}

/// What [`create_server`](crate::LoopHandle::create_server) listens on: whatever [`ToSocketAddrs`] names, a host and a
/// port for one, several hosts and a port, or a socket that is bound already.
///
/// The empty host means all interfaces, of both families. A port of 0 is a free one, for each address another.
///
/// ```
/// use callsoon::transport::ListenOn;
/// let bound = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let existing = ListenOn::from(bound);
/// let everywhere = ListenOn::from(("", 8080));
/// let two = ListenOn::from((["localhost", "192.0.2.1"], 8080));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ListenOn(pub(crate) Site);

#[derive(Debug)]
pub(crate) enum Site {
    Named(io::Result<Target>),
    Hosts(Vec<String>, u16),
    Socket(Socket),
    #[cfg(unix)]
    Path(std::path::PathBuf),
}

/// A connected stream socket that somebody else has made.
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
    /// The socket for a transport, switched to non-blocking mode.
    pub(crate) fn into_stream(self) -> io::Result<StreamSocket> {
        let socket = self.0;
        if socket.r#type()? != Type::STREAM {
            return Err(not_a_stream());
        }
        socket.set_nonblocking(true)?;
        #[cfg(unix)]
        if socket.local_addr()?.is_unix() {
            let socket = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(socket));
            return Ok(socket.into());
        }
        Ok(std::net::TcpStream::from(socket).into())
    }
}

/// What is said of a datagram socket.
pub(crate) fn not_a_stream() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "a stream socket is expected, and this is of another type",
    )
}

impl From<std::net::TcpStream> for AcceptedSocket {
    fn from(socket: std::net::TcpStream) -> Self {
        Self(socket.into())
    }
}

#[cfg(unix)]
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

#[cfg(unix)]
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

impl<T: ToSocketAddrs> From<T> for ListenOn {
    fn from(place: T) -> Self {
        Self(Site::Named(place.into_target()))
    }
}

impl<H: Into<String>> From<(Vec<H>, u16)> for ListenOn {
    fn from((hosts, port): (Vec<H>, u16)) -> Self {
        let hosts = hosts.into_iter().map(Into::into).collect();
        Self(Site::Hosts(hosts, port))
    }
}

impl<H: Into<String>, const N: usize> From<([H; N], u16)> for ListenOn {
    fn from((hosts, port): ([H; N], u16)) -> Self {
        let hosts = hosts.into_iter().map(Into::into).collect();
        Self(Site::Hosts(hosts, port))
    }
}

impl From<std::net::TcpListener> for ListenOn {
    fn from(listener: std::net::TcpListener) -> Self {
        Self(Site::Socket(listener.into()))
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixListener> for ListenOn {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Self(Site::Socket(listener.into()))
    }
}

impl From<Socket> for ListenOn {
    fn from(socket: Socket) -> Self {
        Self(Site::Socket(socket))
    }
}
