//! From a name to a connected socket, for `create_connection` and its kin.
//!
//! A host is looked up off the loop. Its addresses are tried by RFC 8305: the families take turns, each address starts a
//! little after the one before, and every attempt has a socket of its own. The first that connects wins. The sockets of
//! all others are closed before the caller learns of the winner.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket};

use crate::error::invalid_input;
use crate::kernel::io::readiness::Readiness;
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::address::{Address, address_of};
use crate::socket::bind_error::BindError;
use crate::socket::connect::{connect_unix, finish, start};
use crate::socket::connect_error::ConnectError;
use crate::socket::connect_to::{ConnectTo, Destination};
use crate::socket::dns::{Target, first_of};
use crate::socket::happy_eyeballs::HappyEyeballs;
use crate::socket::pipe_end::PipeEnd;
use crate::socket::stream_socket::StreamSocket;

/// A registered socket that is connected, and its peer.
type Reached = (Io<StreamSocket>, Option<Address>);

/// How a connection is made.
#[derive(Default, Debug)]
pub(crate) struct Connector {
    /// What the socket is bound to first.
    pub(crate) local: Option<io::Result<Target>>,
    /// Addresses of other families are left out.
    pub(crate) family: Option<Domain>,
    pub(crate) eyeballs: HappyEyeballs,
}

impl Connector {
    /// Looks a name up if need be, and connects.
    pub(crate) async fn connect(self, handle: &LoopHandle, to: ConnectTo) -> io::Result<Reached> {
        let target = match to.0 {
            Destination::Named(target) => target?,
            Destination::Socket(socket) => {
                let socket = socket.into_stream()?;
                let peer = Address::of(socket.with(Socket::peer_addr));
                return Ok((socket.watched(handle)?, peer));
            }
            Destination::Path(path) => {
                let reached = connect_path(handle, &path).await;
                return reached.map_err(ConnectError::naming_unix(path.display()));
            }
            Destination::Pipe(pipe, direction) => {
                let io = StreamSocket::Pipe(PipeEnd::new(pipe, direction)?).watched(handle)?;
                if io.source().pipe().is_some_and(PipeEnd::may_be_read) {
                    io.readiness(Readiness::assume_readable)?;
                }
                return Ok((io, None));
            }
        };
        let local = match self.local {
            Some(local) => Some(local?.addresses(handle).await?),
            None => None,
        };
        let addresses = target.of_family(self.family, handle).await?;
        let local = local.as_deref();
        let attempt = |address| async move {
            let bind = |socket: &Socket| {
                local.map_or(Ok(()), |local| bind_fitting(socket, local, address))
            };
            let io = finish(handle, start(address, bind)?).await?;
            Ok((io, Some(address.into())))
        };
        self.eyeballs.race(addresses, attempt).await
    }
}

/// Connects to a Unix socket at a path.
async fn connect_path(handle: &LoopHandle, path: &Path) -> io::Result<Reached> {
    let socket = connect_unix(&address_of(path)?).await?;
    let peer = Address::from(SockAddr::unix(path)?);
    Ok((StreamSocket::Unix(socket).watched(handle)?, Some(peer)))
}

/// Binds to the first local address of the same family that the system grants.
fn bind_fitting(socket: &Socket, local: &[SocketAddr], address: SocketAddr) -> io::Result<()> {
    let fits = |it: &SocketAddr| it.is_ipv4() == address.is_ipv4();
    let fitting = local.iter().copied().filter(fits);
    let bound = first_of(fitting, |local| {
        let bound = socket.bind(&local.into());
        bound.map_err(BindError::naming(local))
    });
    bound.map_err(|refusal| {
        refusal.unwrap_or_else(|| invalid_input("no local address is of the same family"))
    })
}
