//! What a server listens on: an address, several addresses, hosts, or a socket that is bound already.
//!
//! The calls take `impl Into<ListenOn>`, as those that connect take `impl Into<ConnectTo>`.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use socket2::Socket;

use crate::socket::dns::{Target, ToSocketAddrs};
use crate::socket::nonblocking::from_sockets;

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
    /// Addresses; an error if the text named no place.
    Named(io::Result<Target>),
    Hosts(Vec<String>, u16),
    Socket(Socket),
    Path(PathBuf),
}

impl<T: ToSocketAddrs> From<T> for ListenOn {
    fn from(place: T) -> Self {
        Self(match place.into_target() {
            Ok(Target::Host(host, port)) => Site::Hosts(vec![host], port),
            target => Site::Named(target),
        })
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
        Self::from((Vec::from(hosts), port))
    }
}

impl ListenOn {
    fn socket(socket: Socket) -> Self {
        Self(Site::Socket(socket))
    }
}

from_sockets!(ListenOn, ListenOn::socket; TcpListener, UnixListener, Socket);
