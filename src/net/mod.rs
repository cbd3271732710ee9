//! Sockets with async methods, for code that reads from top to bottom.
//!
//! A socket belongs to the loop that was running when it was made, and closes when it is dropped. Methods take `&self`,
//! so that one task may read while another writes; what a method lends is given back when its future ends. Addresses
//! are numeric here: nothing in this module starts a thread.

mod halves;
pub(crate) mod listener;
mod stream;

pub use halves::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
pub use listener::{ListenOptions, TcpListener};
pub use stream::TcpStream;
