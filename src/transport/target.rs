//! What a connection is made to and what a server listens on, for calls that take either addresses or sockets.
//!
//! The calls take `impl Into<…>`, so that one call covers an address, several of them, and a socket that exists, and what
//! makes no sense does not compile. A way to find addresses by name is another `From`.

use std::io;
use std::net::SocketAddr;

use socket2::{Socket, Type};

use crate::transport::socket::StreamSocket;

/// What [`create_connection`](crate::LoopHandle::create_connection) connects to: an address, several that are tried in
/// their order, or a socket that is connected already.
///
/// ```
/// use callsoon::transport::ConnectTo;
/// let http = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
/// let https = std::net::SocketAddr::from(([127, 0, 0, 1], 443));
/// let one = ConnectTo::from(http);
/// let two = ConnectTo::from([http, https]);
/// ```
#[derive(Debug)]
pub struct ConnectTo(pub(crate) Destination);

#[derive(Debug)]
pub(crate) enum Destination {
    Addresses(Vec<SocketAddr>),
    Socket(AcceptedSocket),
    #[cfg(unix)]
    Path(std::path::PathBuf),
}

/// What [`create_server`](crate::LoopHandle::create_server) listens on: an address, several, or a socket that is bound
/// already.
///
/// ```
/// use callsoon::transport::ListenOn;
/// let bound = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let existing = ListenOn::from(bound);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ListenOn(pub(crate) Site);

#[derive(Debug)]
pub(crate) enum Site {
    Addresses(Vec<SocketAddr>),
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

impl From<SocketAddr> for ConnectTo {
    fn from(address: SocketAddr) -> Self {
        Self(Destination::Addresses(vec![address]))
    }
}

impl From<Vec<SocketAddr>> for ConnectTo {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self(Destination::Addresses(addresses))
    }
}

impl From<&[SocketAddr]> for ConnectTo {
    fn from(addresses: &[SocketAddr]) -> Self {
        addresses.to_vec().into()
    }
}

impl<const N: usize> From<[SocketAddr; N]> for ConnectTo {
    fn from(addresses: [SocketAddr; N]) -> Self {
        addresses.to_vec().into()
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

impl From<SocketAddr> for ListenOn {
    fn from(address: SocketAddr) -> Self {
        Self(Site::Addresses(vec![address]))
    }
}

impl From<Vec<SocketAddr>> for ListenOn {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self(Site::Addresses(addresses))
    }
}

impl From<&[SocketAddr]> for ListenOn {
    fn from(addresses: &[SocketAddr]) -> Self {
        addresses.to_vec().into()
    }
}

impl<const N: usize> From<[SocketAddr; N]> for ListenOn {
    fn from(addresses: [SocketAddr; N]) -> Self {
        addresses.to_vec().into()
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
