//! Transports and protocols: connections by callbacks, without a task for each.
//!
//! A *transport* is a connected socket with a buffer for what the system does not take at once; a *protocol* is what a
//! program does with the bytes. The loop calls the protocol straight from its own line when the socket is ready: a
//! message costs one `recv`, one `send`, no task, no waker and no allocation. A silent connection takes about half a
//! kilobyte, one that is read through a stream by a task of its own twice that and the task's state.
//!
//! ```text
//! connection_made → data_received* → eof_received? → connection_lost
//!                   pause_writing ⇄ resume_writing, in between
//! ```
//!
//! 1. `connection_made` comes first and once, before anything is read. Nothing is read either before the caller of
//!    `create_connection` or one of its kin has the transport: a `set_protocol` or `pause_reading` right after the await is
//!    in time.
//! 2. `data_received` has at least one byte, and comes at most once for each time that the socket was ready: a
//!    connection that always has something to say takes its turn like everybody.
//! 3. Nothing is delivered while reading is paused, after `close` or `abort`, or after `eof_received`. What is queued when
//!    reading is resumed runs before anything is delivered.
//! 4. `eof_received` comes at most once. `true` keeps the writing side open, and the transport until `close`.
//! 5. `pause_writing` and `resume_writing` alternate, beginning with the former, which is called from within `write`.
//! 6. `connection_lost` comes once and last, always by way of the loop's line, never from within a call of the program.
//!    When it returns the socket is closed. If a write fails, what the system had received by then is delivered before, with
//!    the transport closing already; asyncio throws it away.
//! 7. A panic in a callback goes to the exception handler and ends its own connection, not the loop.
//!
//! Where asyncio asks `get_extra_info` for a word, there is a method with a type: `peername`, `sockname`, `socket`, `pipe`.
//! Its `proto` and `flags` for a look-up are [`getaddrinfo`](crate::LoopHandle::getaddrinfo)'s, whose addresses
//! `create_connection` and `create_server` take as a list.
//!
//! Protocols take `&self` and so keep what changes in cells, since a call into a transport may call back:
//! `write` calls `pause_writing`. The transport is handed to every callback, so that a protocol need not keep it; one
//! that does makes a cycle, which ends with the connection.

pub(crate) mod address;
pub(crate) mod attempt;
pub(crate) mod buffer;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod create_server;
mod datagram;
pub(crate) mod layer;
mod lifecycle;
mod listen;
#[cfg(unix)]
pub(crate) mod pipe;
#[cfg(unix)]
pub(crate) mod pipe_end;
pub(crate) mod protocol;
pub(crate) mod read;
#[cfg(unix)]
mod sendfile;
pub(crate) mod server;
mod serving;
#[cfg(unix)]
mod shared_mode;
pub(crate) mod socket;
pub(crate) mod target;
#[expect(
    clippy::module_inception,
    reason = "the file is named after what it holds"
)]
mod transport;
mod write;

pub use address::Address;
pub use buffer::InvalidLimits;
pub use client::CreateConnection;
pub use create_server::CreateServer;
pub use datagram::{CreateDatagramEndpoint, DatagramProtocol, DatagramTransport};
#[cfg(unix)]
pub use pipe::{ConnectPipe, stdin, stdout};
pub use protocol::{BufferedProtocol, Protocol, Transport};
pub use server::{ServeError, Server};
pub use target::{AcceptedSocket, ConnectTo, ListenOn};
