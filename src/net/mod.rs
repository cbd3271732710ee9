//! Sockets with async methods, for code that reads from top to bottom.
//!
//! A socket belongs to the loop that was running when it was made, and closes when it is dropped. Methods take `&self`,
//! so that one task may read while another writes. A method borrows its buffer until its future ends.
//!
//! TCP and Unix streams are one type, [`SocketStream<K>`](SocketStream), where `K` is [`Tcp`] or [`Unix`]; so are their
//! listeners and, with [`Udp`] and [`Unix`], the sockets for datagrams. The kind decides the types of addresses and those
//! of the standard library, and nothing else.

pub(crate) mod connect_options;
pub(crate) mod datagram;
pub(crate) mod halves;
pub(crate) mod listen_options;
pub(crate) mod listener;
mod poll_datagram;
mod poll_stream;
pub(crate) mod sendfile;
mod sock;
pub(crate) mod stream;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod unix;
mod unix_datagram;

pub use crate::socket::addr_info::{AddrInfo, AddrInfoHints};
pub use crate::socket::connect_error::ConnectError;
pub use crate::socket::dns::{ToSocketAddrs, lookup_host};
pub use crate::socket::gai_error::GaiError;
pub use crate::socket::happy_eyeballs::{interleave, staggered_race};
pub use crate::socket::lookup_error::LookupError;
pub use crate::socket::send_error::SendError;
pub use connect_options::ConnectOptions;
pub use datagram::DatagramSocket;
pub use halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
pub use listen_options::ListenOptions;
pub use listener::SocketListener;
pub use stream::SocketStream;
pub use tcp::{Tcp, TcpListener, TcpStream};
pub use udp::{Udp, UdpSocket};
pub use unix::{UCred, Unix, UnixListener, UnixStream};
pub use unix_datagram::UnixDatagram;
