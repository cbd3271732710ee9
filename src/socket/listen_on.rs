//! What a server listens on: an address, several addresses, hosts, or a socket that is bound already.
//!
//! The calls take `impl Into<ListenOn>`, as those that connect take `impl Into<ConnectTo>`.

use std::io;
use std::path::PathBuf;

use socket2::Socket;

use crate::socket::dns::{Target, ToSocketAddrs};

/// What [`create_server`](crate::LoopHandle::create_server) listens on: what [`ToSocketAddrs`] names, such as a host
/// and a port, several hosts and a port, or a socket that is bound already.
///
/// The empty host means all interfaces, of both families. For port 0 the system chooses a free port, another one for
/// each address.
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

/// The cases of a [`ListenOn`].
#[derive(Debug)]
pub(crate) enum Site {
    /// Addresses, or a name; an error if the text named no place.
    Named(io::Result<Target>),
    Hosts(Vec<String>, u16),
    Socket(Socket),
    Path(PathBuf),
}

/// Returns the error for a socket that is no stream.
pub(crate) fn not_a_stream() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "a stream socket is expected, and this is of another type",
    )
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
