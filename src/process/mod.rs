//! Child processes: watched by descriptor, awaited by any number, talked to through pipes, never left as zombies.
//!
//! [`create_subprocess_exec`] and [`create_subprocess_shell`] give a [`Process`] whose pipes are a
//! [`StreamWriter`](crate::stream::StreamWriter) and [`StreamReader`](crate::stream::StreamReader)s;
//! [`subprocess_exec`](crate::LoopHandle::subprocess_exec) gives the same to a [`SubprocessProtocol`] by callbacks. A child
//! is asked to end by its pidfd, so no signal ever reaches a stranger that has got its number.

pub(crate) mod child;
pub(crate) mod command;
mod communicate;
mod error;
mod exit;
mod pipes;
mod protocol;
mod stdio;
mod transport;

pub use child::{Process, spawn};
pub use command::{Command, Starting, create_subprocess_exec, create_subprocess_shell};
pub use protocol::{ChildPipe, SubprocessProtocol, SubprocessTransport};
pub use stdio::{DEVNULL, INHERIT, PIPE, STDOUT, Stdio};
