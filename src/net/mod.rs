//! Sockets with async methods, for code that reads from top to bottom.
//!
//! A socket belongs to the loop that was running when it was made, and closes when it is dropped. Methods take `&self`,
//! so that one task may read while another writes; what a method lends is given back when its future ends. TCP and Unix
//! streams are one type with two kinds of sockets, and so are their listeners and the sockets for datagrams.

pub(crate) mod accept_error;
mod addr_info;
pub(crate) mod connect;
pub(crate) mod datagram;
pub(crate) mod dns;
mod gai_error;
mod halves;
mod happy_eyeballs;
mod hosts_file;
pub(crate) mod listen_options;
pub(crate) mod listener;
pub(crate) mod nonblocking;
mod resolver;
#[cfg(unix)]
pub(crate) mod sendfile;
#[cfg(unix)]
mod sock;
mod stream;
pub(crate) mod stream_kind;
mod tcp;
pub(crate) mod udp;
#[cfg(unix)]
pub(crate) mod unix;
#[cfg(unix)]
mod unix_datagram;

pub use addr_info::{AddrInfo, AddrInfoHints};
pub use connect::{ConnectError, ConnectOptions};
pub use datagram::{DatagramKind, DatagramSocket};
pub use dns::{ToSocketAddrs, lookup_host};
pub use gai_error::GaiError;
pub use halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
pub use happy_eyeballs::{interleave, staggered_race};
pub use listen_options::ListenOptions;
pub use listener::SocketListener;
pub use stream::SocketStream;
pub use stream_kind::StreamKind;
pub use tcp::{Tcp, TcpListener, TcpStream};
pub use udp::{Udp, UdpSocket};
#[cfg(unix)]
pub use unix::{UCred, Unix, UnixListener, UnixStream};
#[cfg(unix)]
pub use unix_datagram::UnixDatagram;
