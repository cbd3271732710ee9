//! Streams: connections for code that reads from top to bottom, with asyncio's names.
//!
//! A [`StreamReader`] and a [`StreamWriter`] are two ends of one protocol. What arrives is kept for the reader, up to a
//! limit beyond which reading is paused, so that the peer has to wait. What is written goes to the transport, and
//! [`StreamWriter::drain`] waits until the peer keeps up. One end of a pipe is one of the two; so is one end of a child's
//! pipe. [`net`](crate::net) has the same sockets without a buffer between: it is for code that brings its own.
//!
//! A read that is dropped before it is done has taken nothing out.

mod client_task;
pub(crate) mod error;
mod feeder;
mod incoming;
pub(crate) mod joined;
pub(crate) mod lines;
pub(crate) mod open;
mod pipes;
mod poll_ends;
pub(crate) mod protocol;
pub(crate) mod reader;
#[cfg(feature = "tls")]
mod ssl;
mod waiting;
pub(crate) mod writer;

pub use client_task::ClientResult;
pub use error::{FailedRead, IncompleteRead, LimitOverrun, ReadError};
pub use feeder::StreamFeeder;
pub use joined::{Joined, join};
pub use lines::ReaderLines;
pub use open::{OpenConnection, StartServer, open_connection, start_server};
pub use open::{open_unix_connection, start_unix_server};
pub use pipes::{OpenReadPipe, OpenWritePipe, open_read_pipe, open_write_pipe};
pub use reader::StreamReader;
pub use writer::StreamWriter;
