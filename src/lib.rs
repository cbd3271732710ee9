//! lib
mod debug;
mod error;
mod event_loop;
mod kernel;
pub mod net;
mod runner;
mod sys;
mod time;
pub use debug::metrics::Metrics;
pub use error::{Cancelled, FutureError, InvalidState, LoopClosed, Panicked, RunError, TaskError};
pub use event_loop::builder::Builder;
pub use event_loop::free::{
    YieldNow, all_tasks, create_task, current_task, get_running_loop, task_builder,
    try_get_running_loop, yield_now,
};
pub use event_loop::handle::TaskBuilder;
pub use event_loop::owner::EventLoop;
pub use event_loop::remote::{RemoteHandle, ThreadsafeHandle};
pub use kernel::callback::{Handle, TimerHandle};
pub use kernel::clock::Clock;
pub use kernel::future::Future;
pub use kernel::local::LoopLocal;
pub use kernel::loop_state::LoopHandle;
pub use kernel::report::ExceptionContext;
pub use kernel::task::handle::Task;
pub use kernel::task::reference::{CallbackId, TaskId, TaskRef};
pub use runner::run;
pub use time::{Sleep, sleep, sleep_until};
