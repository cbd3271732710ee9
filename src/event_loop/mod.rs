//! A loop as programs see it: its owner, the handle for its own thread, and the handle for all other threads.
//!
//! [`EventLoop`](crate::EventLoop) owns the loop. Only the owner runs and closes it, and a run borrows the owner, so no
//! safe program can drop a loop that is running. [`LoopHandle`](crate::LoopHandle) has every other method, for the loop's
//! own thread. [`RemoteHandle`](crate::RemoteHandle) posts callbacks and coroutines from other threads. The kernel below
//! has no public interface of its own.

pub(crate) mod builder;
pub(crate) mod error;
pub(crate) mod exception_handler;
mod fd_callbacks;
pub(crate) mod free;
pub(crate) mod handle;
mod in_context;
pub(crate) mod owner;
pub(crate) mod remote;
pub(crate) mod run_coroutine;
pub(crate) mod tasks;
pub(crate) mod thread_future;
pub(crate) mod thread_result;
pub(crate) mod wrap_future;
