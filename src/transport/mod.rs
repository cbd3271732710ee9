//! Transports and protocols: sockets by callbacks.
//!
//! A *transport* is a socket with a buffer for what the system does not take at once; a *protocol* is what a program does
//! with what comes in. Protocols take `&self` and so keep what changes in cells, since a call into a transport may call
//! back: `sendto` calls `pause_writing`.

mod datagram;

pub use datagram::{CreateDatagramEndpoint, DatagramProtocol, DatagramTransport};
