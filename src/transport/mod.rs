//! Transports and protocols: connections by callbacks, without a task for each.
//!
//! A *transport* is a connected socket with a buffer for what the system does not take at once. A *protocol* is what a
//! program does with the bytes. The loop calls the protocol straight from its ready queue when the socket is ready: a
//! message costs one `recv`, one `send`, no task, no waker and no allocation. A silent connection takes about half a
//! kilobyte. One that a task of its own reads through a stream takes twice that and the task's state.
//!
//! ```text
//! connection_made → data_received* → eof_received? → connection_lost
//!                   pause_writing ⇄ resume_writing, in between
//! ```
//!
//! 1. `connection_made` is called first and once, before anything is read. Nothing is read either before the caller of
//!    `create_connection` has the transport: a `set_protocol` or `pause_reading` right after the await is in time.
//! 2. `data_received` has at least one byte, and is called at most once in a turn of the loop, however often the socket
//!    was ready: a connection that always has data takes turns with the others.
//! 3. Nothing is delivered while reading is paused, after `close` or `abort`, or after `eof_received`. What is queued when
//!    reading is resumed runs before anything is delivered.
//! 4. `eof_received` is called at most once. `true` keeps the writing side open, and the transport until `close`.
//! 5. `pause_writing` and `resume_writing` alternate. The former is the first, and is called from within the call that
//!    makes it necessary: `write`, `writelines`, `set_write_buffer_limits` or `sendfile`.
//! 6. `connection_lost` is called once and last, always from the ready queue, never from within a call of the program.
//!    When it has returned the socket is closed. A loop that closes drops its connections without this call. If a write
//!    fails, what the system had received by then is delivered before, unless the program has paused reading; the
//!    transport is closing already then. asyncio drops it.
//! 7. A panic in a callback goes to the exception handler and ends its own connection, not the loop. One in
//!    `pause_writing` or `resume_writing` ends nothing.
//!
//! Where asyncio asks `get_extra_info` for a word, there is a method with a type: `peername`, `sockname`, `socket`, `pipe`.
//! The parameters `proto` and `flags` of asyncio's `create_connection` belong to
//! [`getaddrinfo`](crate::LoopHandle::getaddrinfo) here, whose addresses `create_connection` and `create_server` take as a
//! list.
//!
//! Protocols take `&self`, and so keep what changes in cells, since a call into a transport may call back: `write` calls
//! `pause_writing`. Every callback is given the transport, so a protocol need not keep it. One that does makes a reference
//! cycle, which ends with the connection.

// The rest is for those who change the crate.
//
// A protocol is called by `Transport::enter` in `lifecycle.rs`, and for a read by `receive_for_protocol` in `read.rs`, and by
// nothing else. Protocols of datagrams and of subprocesses are called by `datagram/endpoint.rs` and `process/transport.rs`.
//
// The way of a byte
//
// From the return of `epoll_wait` to a protocol, nine files. Each line is a function. Indented ones are called by the line
// above that is not indented, and have returned when the next such line is called. Helpers that only pass on are left out,
// and so is the system call below the socket.
//
// kernel/turn           poll_events          the turn polls for events
//   kernel/io/reactor     Reactor::poll        a mio token becomes a slab entry, its generation checked
//   kernel/io/readiness   Readiness::note      the readable bit is set; the reactor lists the connection
//   kernel/ready          push_source          the connection is queued
// kernel/turn           run_entry            the turn pops its share of the queue
// kernel/io/call_observer call_observer      the connection is found, and named in case of a panic
// transport/read        ready → read_ready → receive_for_protocol
// kernel/enter          Entry::run_on        the door into user code: context, timing, panics
// transport/read        receive
//   transport/layer       Plain::receive       the layer: here bytes pass as they are
//   socket/stream_socket  StreamSocket::receive  recv(2)
// the protocol          data_received, or buffer_updated
//
// From the return of `epoll_wait` to the step of a stream's task, eleven files. The task waits in the socket's own wait
// queue, so the connection is not called, unless it has something to write, and the bytes go straight into the task's
// memory. Helpers that only pass on are left out here too.
//
// kernel/turn           poll_events
//   kernel/io/reactor     Reactor::poll
//   kernel/io/readiness   Readiness::note      the readable bit is set, the waker of the task taken
//   kernel/enter          LoopState::wake      a waker of ours is a key
//   kernel/task/waker     wake_key             the task of this key, on this thread
//   kernel/ready          push_task            the task is queued
// kernel/turn           run_entry → run_task
// kernel/enter          plain_step           the door into user code
// kernel/task/cell      step                 the task's future, which awaits StreamReader::read_into
// stream/waiting        Fetch::poll
// transport/read        fetch
//   transport/layer       Plain::receive
//   socket/stream_socket  StreamSocket::receive  recv(2)
// the task              the read returns
//
// A read of a line or of so many bytes waits for the protocol instead: the first walk up to `stream/protocol`'s
// `data_received`, which wakes the task, and from there the second one.

pub(crate) mod any_layer;
pub(crate) mod buffer;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod create_server;
pub(crate) mod datagram;
pub(crate) mod layer;
mod lifecycle;
pub(crate) mod pipe;
pub(crate) mod protocol;
pub(crate) mod read;
mod sendfile;
pub(crate) mod server;
mod serving;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "without_tls/mod.rs"]
pub(crate) mod tls;
#[expect(
    clippy::module_inception,
    reason = "the file is named after what it holds"
)]
mod transport;
mod try_client;
pub(crate) mod try_factory;
mod write;

pub use crate::socket::address::Address;
pub use crate::socket::bind_error::BindError;
pub use crate::socket::connect_to::{AcceptedSocket, ConnectTo};
pub use crate::socket::listen_on::ListenOn;
pub use buffer::InvalidLimits;
pub use client::CreateConnection;
pub use create_server::CreateServer;
pub use datagram::{CreateDatagramEndpoint, DatagramProtocol, DatagramTransport};
pub use pipe::{ConnectPipe, stdin, stdout};
pub use protocol::{BufferedProtocol, Protocol, Transport};
pub use server::{ServeError, Server};
pub use try_factory::TryFactory;
pub use write::CannotWrite;
