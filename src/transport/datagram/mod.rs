//! Datagram endpoints: a socket of whole messages by callbacks, UDP's or a Unix socket's.

mod create;
mod endpoint;
mod handle;
mod protocol;

pub use create::CreateDatagramEndpoint;
pub use protocol::{DatagramProtocol, DatagramTransport};
