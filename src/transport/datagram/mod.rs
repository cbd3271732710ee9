//! Datagram endpoints: a socket of whole messages by callbacks, UDP's or a Unix socket's.

mod create_endpoint;
mod datagram_protocol;
mod datagram_transport;
mod endpoint;

pub use create_endpoint::CreateDatagramEndpoint;
pub use datagram_protocol::{DatagramProtocol, DatagramTransport};
