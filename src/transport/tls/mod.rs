//! TLS on transports and streams, by [rustls](https://docs.rs/rustls): `ssl` on everything that connects or listens, and
//! `start_tls` on a connection that is open already.
//!
//! A program brings rustls's own configuration, as a [`ClientContext`] or a [`ServerContext`], and so decides which
//! certificates it trusts and shows, which versions, ciphers and application protocols it allows, and which crate does
//! the cryptography. Protocols and streams notice nothing but what this page says.
//!
//! - **Beginning.** `connection_made` is called after the handshake. If the handshake fails, the caller that connects is
//!   given the error, and a server makes no protocol and goes on; in debug mode its exception handler is told. The error
//!   names the peer: a [`HandshakeError`] is inside. An error of TLS has the kind `InvalidData`: a certificate, a name that
//!   differs, an alert of the peer. A peer that leaves gives `ConnectionReset`. After 60 seconds, or
//!   `ssl_handshake_timeout`, the error is `ConnectionAborted`. After the handshake an error of TLS is an
//!   [`io::Error`](std::io::Error) of kind `InvalidData` whose [`get_ref`](std::io::Error::get_ref) is a [`rustls::Error`].
//! - **End.** `close` sends what is buffered, then a close_notify, and waits for the peer's. When nothing moves for 30
//!   seconds, or `ssl_shutdown_timeout`, the connection is lost to `TimedOut`. A peer that closes its socket instead of
//!   answering has ended too. asyncio limits the whole time and not the standstill, and so cuts slow downloads off.
//! - **Truncation.** The peer's close_notify is the end of file. A peer that leaves without one may have been cut off by
//!   somebody else: what came before is delivered, and the connection is lost to `UnexpectedEof`.
//! - **No half.** After the peer's end of file the connection closes, whatever `eof_received` returns, as in asyncio: the
//!   peer chooses the version, and TLS 1.2 has no half-open connections. So `can_write_eof` is false. `write_eof` sends
//!   the close_notify all the same, for a peer of which the program knows that it reads on. A task that reads the end may
//!   still write in that step, and that is sent before the connection closes: the peer may well read it.
//! - **Flow.** The marks for writing are 512 KiB and 128 KiB, asyncio's. While reading is paused nothing is received, so
//!   at most 64 KiB that were received and 16 KiB that were decrypted wait in a connection. During a handshake that is at
//!   most 64 KiB, the largest message that rustls takes.
//! - **Fairness.** A turn of the loop receives once for a connection, at most 64 KiB, and delivers once.
//!
//! TLS inside TLS and early data are not supported. `sendfile` reads the file and encrypts it.

pub(crate) mod connecting;
pub(crate) mod context;
pub(crate) mod encrypted;
pub(crate) mod error;
pub(crate) mod handshake;
pub(crate) mod info;
pub(crate) mod options;
pub(crate) mod session;
mod shutdown;
pub(crate) mod start_tls;

pub use context::{ClientContext, Context, ServerContext};
pub use error::HandshakeError;
pub use info::TlsInfo;
pub use rustls;
pub use start_tls::StartTls;
