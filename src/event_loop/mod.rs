//! The faces of a loop: its owner, the handle for its own thread, the handle for all others.
//!
//! [`EventLoop`] owns: it alone runs, turns and closes, so no safe program can drop a loop that is running.
//! [`LoopHandle`](crate::LoopHandle) does everything else, on the loop's thread. [`RemoteHandle`] reaches the loop from
//! other threads. The kernel below has no public face of its own.

pub(crate) mod builder;
#[cfg(unix)]
mod fd_callbacks;
pub(crate) mod free;
pub(crate) mod handle;
pub(crate) mod owner;
pub(crate) mod remote;
pub(crate) mod thread_future;
pub(crate) mod wrap_future;
