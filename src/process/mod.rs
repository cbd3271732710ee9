//! Child processes: started, awaited, and connected to by pipes.
//!
//! [`create_subprocess_exec`] and [`create_subprocess_shell`] give a [`Process`] whose pipes are a
//! [`StreamWriter`](crate::stream::StreamWriter) and two [`StreamReader`](crate::stream::StreamReader)s.
//! [`subprocess_exec`](crate::LoopHandle::subprocess_exec) calls a [`SubprocessProtocol`] instead.
//!
//! # Differences from asyncio
//! - A child is watched and signalled by its pidfd. So a signal never reaches another process that has got the same number.
//!   asyncio signals by number, and watches by pidfd or by a child watcher.
//! - No child is left as a zombie: its loop reaps it even when its [`Process`] was dropped.
//! - A child that still runs when its loop closes is killed. asyncio kills it when its transport is garbage-collected.
//! - Any object that turns into an `OwnedFd` can be a child's input or output. asyncio takes a descriptor's number.
//! - A virtual clock does not advance while a program waits for a child or reads from it.

pub(crate) mod child;
pub(crate) mod command;
mod communicate;
mod error;
mod exit;
mod into_args;
mod pipes;
pub(crate) mod protocol;
mod stdio;
mod transport;

pub use child::{Process, spawn};
pub use command::{Command, Starting, create_subprocess_exec, create_subprocess_shell};
pub use error::StartError;
pub use into_args::IntoArgs;
pub use protocol::{ChildPipe, SubprocessProtocol, SubprocessTransport};
pub use stdio::{DEVNULL, INHERIT, PIPE, STDOUT, Stdio};
