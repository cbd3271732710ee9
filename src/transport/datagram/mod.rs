//! Datagram endpoints: UDP or Unix sockets whose messages arrive by callbacks.
//!
//! [`CreateDatagramEndpoint`] binds or connects a socket and makes an `endpoint`. The endpoint receives messages for a
//! [`DatagramProtocol`] and buffers what the system does not take. A [`DatagramTransport`] is the program's handle of it.

mod create_endpoint;
pub(crate) mod datagram_protocol;
mod datagram_transport;
mod endpoint;

pub use create_endpoint::CreateDatagramEndpoint;
pub use datagram_protocol::{DatagramProtocol, DatagramTransport};
