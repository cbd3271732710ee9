//! From what a program wants to reach to a socket that is connected.
//!
//! A host is looked up, off the loop; its addresses are tried by RFC 8305, families by turns and each a little after the
//! one before, every attempt on a socket of its own. The first that answers wins, and the sockets of all others are
//! closed before anybody hears of it.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use crate::kernel::io::Io;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::readiness::{Direction, Readiness};
use crate::net::connect::{HappyEyeballs, is_under_way};
use crate::net::dns::{Target, first_of};
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
                let readiness = Readiness::new(socket.short_read_drains(), true);
                let interest = socket.interest();
                return Ok((Io::new(handle, socket, interest, readiness)?, peer));
            }
            #[cfg(unix)]
            Destination::Path(path) => {
                let address = crate::transport::unix_path::address(&path)?;
                return connect_unix(handle, address).await;
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
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
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

/// One attempt at a Unix socket, and more while its server has no room.
#[cfg(unix)]
async fn connect_unix(handle: &LoopHandle, address: socket2::SockAddr) -> io::Result<Reached> {
    use std::time::Duration;

    /// Between two attempts at a server whose backlog is full, of which no event tells when it has room.
    const RETRIES: [u64; 5] = [1, 2, 5, 10, 20];
    let mut attempts = 0;
    loop {
        let socket = crate::transport::unix_path::new_socket()?;
        match socket.connect(&address) {
            Ok(()) => {
                let socket =
                    std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(socket));
                let socket = StreamSocket::from(socket);
                let interest = socket.interest();
                let readiness = Readiness::new(socket.short_read_drains(), true);
                let io = Io::new(handle, socket, interest, readiness)?;
                return Ok((io, Some(Address::from(address))));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                drop(socket);
                let pause = RETRIES[RETRIES.len().min(attempts + 1) - 1];
                crate::time::sleep(Duration::from_millis(pause)).await;
                attempts += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
