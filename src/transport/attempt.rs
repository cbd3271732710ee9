//! From what a program wants to reach to a socket that is connected.
//!
//! A host is looked up, off the loop; its addresses are tried by RFC 8305, families by turns and each a little after the
//! one before, every attempt on a socket of its own. The first that answers wins, and the sockets of all others are
//! closed before anybody hears of it.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::net::connect::{HappyEyeballs, is_under_way};
use crate::net::dns::{Target, first_of};
use crate::net::stream_kind::new_socket;
use crate::transport::address::Address;
use crate::transport::socket::StreamSocket;
use crate::transport::target::{ConnectTo, Destination};

/// A watched socket that is connected, and its peer.
type Reached = (Io<StreamSocket>, Option<Address>);

/// How a connection is sought.
#[derive(Default, Debug)]
pub(crate) struct Approach {
    /// What the socket is bound to first.
    pub(crate) local: Option<io::Result<Target>>,
    /// Addresses of other families are left out.
    pub(crate) family: Option<Domain>,
    pub(crate) eyeballs: HappyEyeballs,
}

impl Approach {
    pub(crate) async fn connect(self, handle: &LoopHandle, to: ConnectTo) -> io::Result<Reached> {
        let target = match to.0 {
            Destination::Named(target) => target?,
            Destination::Socket(socket) => {
                let socket = socket.into_stream()?;
                let peer = Address::of(socket.peer());
                return Ok((socket.watched(handle)?, peer));
            }
            #[cfg(unix)]
            Destination::Path(path) => {
                return connect_unix(handle, &path).await;
            }
        };
        let local = match self.local {
            Some(local) => Some(local?.addresses(handle).await?),
            None => None,
        };
        let mut addresses = target.addresses(handle).await?;
        let fits = |address: &SocketAddr| {
            let of = |family| family == Domain::for_address(*address);
            self.family.is_none_or(of)
        };
        addresses.retain(fits);
        let local = local.as_deref();
        let attempt = |address| async move {
            let io = connect_one(handle, address, local).await?;
            Ok((io, Some(address.into())))
        };
        self.eyeballs.connect(addresses, attempt).await
    }
}

/// One attempt at one address.
async fn connect_one(
    handle: &LoopHandle,
    address: SocketAddr,
    local: Option<&[SocketAddr]>,
) -> io::Result<Io<StreamSocket>> {
    let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
    if let Some(local) = local {
        bind_fitting(&socket, local, address)?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    let socket = StreamSocket::from(std::net::TcpStream::from(socket));
    let interest = socket.interest();
    // Not writable until the system says so: that is how a connection announces itself.
    let io = Io::new(handle, socket, interest, Readiness::new(true, false))?;
    io.operate(Direction::Write, StreamSocket::connected, |_| false)
        .await?;
    Ok(io)
}

/// Binds to the first local address of the same family that the system grants.
fn bind_fitting(socket: &Socket, local: &[SocketAddr], address: SocketAddr) -> io::Result<()> {
    let fits = |it: &SocketAddr| it.is_ipv4() == address.is_ipv4();
    let fitting = local.iter().copied().filter(fits);
    let bound = first_of(fitting, |local| socket.bind(&local.into()));
    bound.map_err(|refusal| {
        refusal.unwrap_or_else(|| {
            let why = format!("no local address is of the family of {address}");
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })
    })
}

#[cfg(unix)]
async fn connect_unix(handle: &LoopHandle, path: &std::path::Path) -> io::Result<Reached> {
    use crate::net::unix;
    let socket = unix::connect(&unix::address_of(path)?).await?;
    let peer = Address::from(socket2::SockAddr::unix(path)?);
    Ok((StreamSocket::Unix(socket).watched(handle)?, Some(peer)))
}
