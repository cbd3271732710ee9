//! Streams: connections for code that reads from top to bottom, with asyncio's names.
//!
//! A [`StreamReader`] and a [`StreamWriter`] are two ends of one protocol. What comes is kept for the reader, up to a
//! limit beyond which the peer has to wait; what is written goes to the transport, and [`StreamWriter::drain`] waits
//! until the peer keeps up. The end of a pipe is one of the two, also of a child's. `net` has the same sockets without a
//! buffer between: it is for code that brings its own.
//!
//! Every read may be dropped before it is done and has then taken nothing out.

mod client_task;
mod error;
mod incoming;
mod open;
#[cfg(unix)]
mod pipes;
pub(crate) mod protocol;
pub(crate) mod reader;
mod waiting;
pub(crate) mod writer;

pub use client_task::ClientResult;
pub use error::{FailedRead, IncompleteRead, LimitOverrun, ReadError};
pub use open::{OpenConnection, StartServer, open_connection, start_server};
#[cfg(unix)]
pub use open::{open_unix_connection, start_unix_server};
#[cfg(unix)]
pub use pipes::{OpenReadPipe, OpenWritePipe, open_read_pipe, open_write_pipe};
pub use reader::StreamReader;
pub use writer::StreamWriter;
