//! A loop as programs see it: its owner, the handle for its own thread, and the handle for all other threads.
//!
//! [`EventLoop`] owns the loop. Only the owner runs and closes it, and a run borrows the owner, so no
//! safe program can drop a loop that is running. [`LoopHandle`](crate::LoopHandle) has every other method, for the loop's
//! own thread. [`RemoteHandle`] posts callbacks and coroutines from other threads. The kernel below
//! has no public interface of its own.

pub(crate) mod builder;
mod cancel_handle;
pub(crate) mod clock_handle;
pub(crate) mod error;
pub(crate) mod exception_handler;
mod fd_callbacks;
pub(crate) mod free;
pub(crate) mod handle;
mod host;
mod in_context;
pub(crate) mod owner;
pub(crate) mod pending;
pub(crate) mod remote;
mod reported_task;
pub(crate) mod run_coroutine;
pub(crate) mod tasks;
pub(crate) mod thread_future;
pub(crate) mod thread_result;
mod wrap_future;

pub use builder::Builder;
pub use cancel_handle::CancelHandle;
pub use clock_handle::{ClockGuard, ClockHandle};
pub use error::ThreadFutureError;
pub use free::{
    YieldNow, all_tasks, create_task, current_task, get_running_loop, task_builder,
    try_get_running_loop, yield_now,
};
pub use owner::EventLoop;
pub use pending::{PendingCallback, PendingKind};
pub use remote::{RemoteHandle, ThreadsafeHandle};
pub use reported_task::{ReportedTask, ReportedTaskBuilder};
pub use tasks::TaskBuilder;
pub use thread_future::ThreadFuture;
pub use wrap_future::{WrappedFuture, wrap_future};
