//! asyncio's event loop for Rust: one thread, one loop, one FIFO ready queue.
//!
//! Tasks, futures, cancellation, task groups, timeouts, queues, streams, transports, subprocesses, signals and executors
//! have asyncio's names and asyncio's behaviour, with Rust's types. mio polls for events. Everything above mio is written
//! here: the reactor, a timer wheel, the ready queue, [`Task`] and [`Future`].
//!
//! ```
//! use std::time::Duration;
//!
//! async fn say_after(delay: Duration, what: &str) {
//!     callsoon::sleep(delay).await;
//!     println!("{what}");
//! }
//!
//! callsoon::run(async {
//!     let hello = callsoon::create_task(say_after(Duration::from_millis(10), "hello"));
//!     let world = callsoon::create_task(say_after(Duration::from_millis(20), "world"));
//!     hello.await.unwrap();
//!     world.await.unwrap();
//!     callsoon::get_running_loop().call_soon(|| println!("callbacks and tasks share one queue"));
//!     callsoon::yield_now().await;
//! })
//! .unwrap();
//! ```
//!
//! # Three promises
//! - **Order.** Everything that is ready waits in one FIFO queue. A turn of the loop runs what is ready when the turn
//!   begins; what that schedules runs in the next turn. Timers fire in the order of their deadlines, and timers of the same
//!   deadline in the order of their creation. No timer fires early.
//! - **Nothing is lost.** The loop owns its tasks, and dropping a handle cancels nothing. A panic in a callback or a task
//!   does not stop the loop. A panic that no code retrieves is reported, and so is an `Err` of a task on which
//!   [`report_errors`](Task::report_errors) was called.
//! - **Nothing is sent.** Futures need not be `Send`, and for [`EventLoop::run_until_complete`] they need not be `'static`.
//!   What belongs to the loop's thread does not compile on another one. Other threads use a [`RemoteHandle`].
//!
//! # From asyncio
//! | asyncio | here |
//! |---|---|
//! | `asyncio.run`, `Runner`, `new_event_loop` | [`run`], [`Runner`], [`EventLoop::new`] |
//! | `create_task`, `Task`, `current_task`, `all_tasks` | [`create_task`], [`task_builder`], [`Task`], [`current_task`], [`all_tasks`] |
//! | `get_running_loop`, `call_soon`, `call_later`, `call_at` | [`get_running_loop`], [`LoopHandle::call_soon`], [`LoopHandle::call_later`], [`LoopHandle::call_at`] |
//! | `call_soon_threadsafe`, `run_coroutine_threadsafe` | [`RemoteHandle::call_soon_threadsafe`], [`CancelHandle`], [`RemoteHandle::run_coroutine_threadsafe`] |
//! | `Future`, `loop.create_future` | [`Future`], [`LoopHandle::create_future`] |
//! | `sleep`, `sleep(1, result)`, `sleep(0)` | [`sleep`](sleep()), [`sleep_with`], [`yield_now`](yield_now()) |
//! | `gather`, `TaskGroup`, `wait`, `as_completed`, `shield` | [`gather`](gather()), [`gather!`], [`try_gather`](try_gather()), [`task_group`], [`wait`](wait()), [`as_completed`](as_completed()), [`shield`](shield()) |
//! | `timeout`, `timeout_at`, `wait_for` | [`timeout`](timeout()), [`timeout_at`], [`wait_for`] |
//! | `except CancelledError` | [`catch_cancelled`] |
//! | `Lock`, `Event`, `Condition`, `Semaphore`, `Barrier` | [`Lock`], [`Event`], [`Condition`], [`Semaphore`], [`BoundedSemaphore`], [`Barrier`], [`sync`] |
//! | `Queue`, `LifoQueue`, `PriorityQueue` | [`Queue`], [`LifoQueue`], [`PriorityQueue`] |
//! | `open_connection`, `start_server`, `StreamReader`, `StreamWriter` | [`stream`] |
//! | `create_connection`, `create_server`, `Protocol`, `Transport` | [`transport`] |
//! | `sock_recv` and its kin; sockets with async methods | [`net`] |
//! | `ssl=`, `start_tls` | [`transport`], feature `tls` |
//! | `create_subprocess_exec`, `create_subprocess_shell` | [`create_subprocess_exec`], [`create_subprocess_shell`], [`process`] |
//! | `add_signal_handler` | [`LoopHandle::add_signal_handler`], [`signal`](signal()), [`ctrl_c`] |
//! | `to_thread`, `run_in_executor` | [`to_thread`], [`run_in_executor`] |
//! | `ContextVar`, `copy_context` | [`ContextVar`], [`copy_context`] |
//! | debug mode, `set_exception_handler`, `ps`, `pstree` | [`Builder::debug`], [`LoopHandle::set_exception_handler`], [`CallGraph`], [`Builder::inspector`] |
//! | `IsolatedAsyncioTestCase` | [`testing`] |
//!
//! # To read
//! [`docs::guide`] is the guide: tasks, cancellation, waiting for several things, the three levels of I/O, threads, testing,
//! debugging. Then, as they are needed:
//!
//! | page | what it has |
//! |---|---|
//! | [`docs::differences`] | every deviation from asyncio, in one table |
//! | [`docs::errors`] | every error: when, what it gives back, what it turns into |
//! | [`docs::system_errors`] | what follows each error of the system's calls, and the test of it |
//! | [`docs::tutorials`] | the programs of asyncio's documentation, and where each is here |
//! | [`docs::from_tokio`], [`docs::tokio_beside`] | for those who come from tokio; which of its crates work here |
//! | [`docs::events`] | what is said through `tracing`, or on standard error |
//! | [`docs::security`] | what a peer can make a program hold, who can reach what, how to report a vulnerability |
//! | [`docs::changelog`] | what changed in each version |
//! | [`docs::modules`] | for those who change the crate: where everything is |
//!
//! # Features
//! All are off by default.
//!
//! | feature | gives |
//! |---|---|
//! | `futures` | the traits of futures-io, futures-core and futures-sink for byte streams, queues, ticks, listeners |
//! | `tokio-io` | tokio's `AsyncRead` and `AsyncWrite`, without tokio's runtime |
//! | `tls` | TLS by rustls; the program chooses its cryptography |
//! | `tls-native-roots` | `tls` with the certificates that the system trusts |
//! | `hyper` | the traits of `hyper::rt`: HTTP/1 and HTTP/2, clients and servers |
//! | `process-pool` | worker processes |
//!
//! # Environment variables
//! | variable | effect |
//! |---|---|
//! | `CALLSOON_DEBUG=1` | every loop that is built from then on is in debug mode, see [`Builder::debug`] |
//! | `CALLSOON_SHUFFLE_SEED=n` | tests that [`testing::shuffle_all`] runs take the seed `n` alone: a failure is seen again |
//!
//! # Systems
//! Linux is what is tested. For Android, macOS, FreeBSD, NetBSD and OpenBSD the crate has been compiled, no more, and there
//! are no subprocesses. Other systems are refused. Rust 1.85 or later.

// To change the crate, begin with `docs/modules.rs`: it has the order of all modules, which a test holds the source to,
// and says where `unsafe` is. In short:
//
//   kernel/                       the body of the loop, the call of user code, tasks, cancellation, the reactor, timers
//   event_loop/                   EventLoop, LoopHandle, RemoteHandle, and the free functions
//   time/ combine/ sync/ queue/   sleeping and timeouts; waiting for several tasks; locks; queues
//   net/ transport/ stream/       sockets with async methods; transports and protocols; streams
//   socket/                       what these share: names and addresses, connecting, accepting, calls that do not block
//   executor/ process/ process_pool/ signal/   threads, child processes, worker processes, signals
//   fs/ bytes/                    files; copying, and lines of any byte stream
//   runner testing/ inspect/ interop/   `run`; tests of programs; what a loop tells; traits of other crates
//   sys/                          system calls, and all unsafe code outside ten files of the kernel

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
compile_error!(
    "callsoon supports Linux, Android, macOS, FreeBSD, NetBSD and OpenBSD: it has not been compiled for any other system, and \
     a system that is no Unix lacks the descriptors and signals that it needs"
);

mod async_drop;
mod async_fd;
mod bytes;
mod cancellation;
mod combine;
mod context_var;
#[cfg(doc)]
pub mod docs;
#[doc(hidden)]
pub mod doctest;
mod error;
mod event_loop;
mod executor;
pub mod fs;
mod inspect;
#[cfg(any(feature = "futures", feature = "hyper", feature = "tokio-io"))]
pub mod interop;
mod kernel;
pub mod net;
mod poll_io;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(all(target_os = "linux", feature = "process-pool"))]
#[cfg_attr(docsrs, doc(cfg(feature = "process-pool")))]
pub mod process_pool;
pub mod queue;
mod runner;
mod scope;
mod signal;
mod socket;
pub mod stream;
pub mod sync;
mod sys;
pub mod testing;
mod time;
pub mod transport;

pub use async_drop::{AsyncDrop, defer_async_drop};
pub use async_fd::{AsyncFd, ReadyGuard};
pub use bytes::{Copying, CopyingBidirectional, Lines, copy, copy_bidirectional, lines};
#[doc(hidden)]
pub use combine::argument as arguments;
pub use combine::{
    AsCompleted, CancelOnDrop, EachCompleted, Failure, FailureCause, Gather, GatherError,
    GatherFutures, GroupClosed, GroupError, IntoShielded, IntoTask, NextCompleted, Outcome, Race,
    RaceFutures, ReturnWhen, Settled, SharedTask, Shield, TaskGroup, Tasks, TryGather,
    TryGatherError, as_completed, for_each_limit, gather, gather_tuple, race, race_tuple, shield,
    task_group, try_gather, wait,
};
pub use context_var::{ContextToken, ContextVar, copy_context};
pub use error::{
    CancelOrigin, Cancellation, FutureError, InvalidState, LoopClosed, NoException, Panicked,
    RunError, TaskError, TimedOut,
};
pub use event_loop::{
    Builder, CancelHandle, ClockGuard, ClockHandle, EventLoop, PendingCallback, PendingKind,
    RemoteHandle, ReportedTask, ReportedTaskBuilder, TaskBuilder, ThreadFuture, ThreadFutureError,
    ThreadsafeHandle, WrappedFuture, YieldNow, all_tasks, create_task, current_task,
    get_running_loop, task_builder, try_get_running_loop, wrap_future, yield_now,
};
pub use executor::{
    Executor, ExecutorError, ExecutorFuture, Job, StuckJobs, ThreadPoolBuilder, ThreadPoolExecutor,
    run_in_executor, to_thread,
};
pub use inspect::{
    CallGraph, CallKind, Histogram, InspectorError, Latencies, LoopMetrics, LoopSnapshot,
    SourceInfo, TaskInfo, TaskState, TimerInfo, WaitInfo, capture_call_graph, format_call_graph,
    future_add_to_awaited_by, print_call_graph,
};
pub use kernel::{
    CallbackId, Cancelled, Clock, Context, ExceptionContext, ExceptionHandler, FailedFuture,
    FailedHandle, Future, Handle, HandleId, LoopHandle, LoopLocal, Task, TaskId, TaskRef,
    TimerHandle, WaitEnd, WaitHooks, WaitKind,
};
pub use poll_io::{PollBufRead, PollRead, PollWrite};
#[cfg(target_os = "linux")]
pub use process::{create_subprocess_exec, create_subprocess_shell};
pub use queue::{LifoQueue, PriorityQueue, Queue};
pub use runner::{Runner, run};
pub use scope::catch_cancelled;
pub use signal::{Signal, SignalError, ctrl_c, signal};
pub use stream::{open_connection, open_unix_connection, start_server, start_unix_server};
pub use sync::{Barrier, BoundedSemaphore, Condition, Event, Lock, Semaphore};
pub use time::{
    Interval, MissedTickBehavior, Sleep, Timeout, TimeoutState, interval, interval_at,
    move_on_after, sleep, sleep_until, sleep_with, timeout, timeout_at, wait_for,
};
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use transport::tls;

/// Tests the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
