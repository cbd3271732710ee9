//! asyncio's event loop for Rust: one thread, one loop, one FIFO queue.
//!
//! A mio reactor, a timer wheel on a slab and a FIFO ready queue drive hand-rolled [`Task`]s and [`Future`]s. Whoever
//! knows asyncio guesses every name; whoever knows Rust is never surprised by a type.
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
//!     callsoon::get_running_loop().call_soon(|| println!("callbacks stand in the same line"));
//!     callsoon::yield_now().await;
//! })
//! .unwrap();
//! ```
//!
//! # Three promises
//! - **Order.** Everything that is ready stands in one FIFO queue. A turn runs what is ready when it begins, and what
//!   that schedules runs in the next turn. Timers fire in the order of their deadlines, equal ones in the order of their
//!   creation, and never early.
//! - **Nothing is lost.** The loop owns its tasks: dropping a handle cancels nothing. A panic in a callback or a task
//!   does not stop the loop, and one that nobody looks at is reported.
//! - **Nothing is sent.** Futures need not be `Send`, nor `'static` for [`EventLoop::run_until_complete`]; what belongs
//!   to the loop's thread does not compile elsewhere. Other threads have a door, [`RemoteHandle`].
//!
//! Two pages are in the documentation alone: [`docs::differences`] has every deviation from asyncio in one table, and
//! [`docs::changelog`] what changed in each version.
//!
//! # Where everything is
//! The house has two wings. All stations of one event's path live in `kernel/`; everything else is a client of it. The
//! modules form a total order: each imports only from those that stand before it in this list, which a test holds them
//! to.
//!
//! ```text
//! order of modules
//!   error                    errors that cross modules
//!   sys/clock                the monotonic clock in nanoseconds
//!   sys/sigpipe              calls that may raise SIGPIPE
//!   sys/memchr               a byte among many
//!   sys/sendfile             from a file to a socket
//!   sys/socket               receiving into slices, a peer's credentials
//!   sys/timerfd              a timer descriptor, to the microsecond
//!   sys/dns                  the system's resolver
//!   sys/source               types that the poller can register
//!   sys/epoll                level-triggered registrations in the poller's set
//!   sys/notifier             ends a wait from another thread
//!   sys/fd                   questions about any descriptor
//!   sys/fork                 forks, and in which process a loop was made
//!   sys/sync                 the inbox's locks, or a model checker's
//!   sys/pidfd                a child by descriptor
//!   sys/child_exit           waiting for a child without a descriptor
//!   sys/signal               signal dispositions and the signal handler
//!   kernel/inline_fn         closures without a box
//!   kernel/inbox             other threads' posts and wakes
//!   kernel/registry          from a loop's id to its inbox
//!   kernel/inhibit           guards that keep a virtual clock from jumping
//!   kernel/clock             real and virtual time
//!   kernel/context           the values of context variables
//!   kernel/timers            the timer wheel
//!   kernel/wake_time         until when a loop may sleep
//!   kernel/wait/waiters      a list of waiters
//!   kernel/io/readiness      the cached readiness of one source
//!   kernel/io/fd_table       users' own descriptors
//!   kernel/io/reactor        mio and the slab of sources
//!   kernel/report            reports of failures, the default handler
//!   kernel/task/key          keys and identities of tasks
//!   kernel/task/state        the states of a task
//!   kernel/cancel/node       a scope, or a pending await
//!   kernel/cancel/tree       all scopes of a loop
//!   kernel/cancel/request    the rules: ask, count votes, decide
//!   kernel/cancel/detached   requests that outlive a tree, or a poll
//!   kernel/cancel/lifecycle  nodes are opened, polled, completed, dropped
//!   kernel/task/cold_fields  what most tasks never need
//!   kernel/task/cell         a task's one allocation
//!   kernel/task/header       requests, drop panic and name of a task
//!   kernel/task/root         the future of run_until_complete as a task
//!   kernel/task/slots        where tasks are kept
//!   kernel/ready             the ready queue
//!   kernel/queues            the ready queue and the tasks under one borrow
//!   kernel/budget            how many operations may end in one poll
//!   kernel/loop_state        the parts of one loop
//!   kernel/task/lookup       from keys and identities to tasks
//!   kernel/loop_handle       LoopHandle, ExceptionHandler
//!   kernel/current_context   the current context of a loop
//!   kernel/handlers          the exception handler and the task hook
//!   kernel/task/waker        wakers that are keys; the current loop
//!   kernel/enter             THE door into user code
//!   kernel/proceed           taking from the budget of the current loop
//!   kernel/wait/queue        waiting for a condition
//!   kernel/cancel/awaits     pending awaits as nodes
//!   kernel/cancel/delivery   requests before and after a task's poll
//!   kernel/cancel/cycles     tasks that wait for one another in a circle
//!   kernel/cancel/scope      a scope, as its future holds it
//!   kernel/cancel/token      Cancelled
//!   kernel/callback          Handle, TimerHandle
//!   kernel/task/reference    TaskRef
//!   kernel/task/handle       Task
//!   kernel/future            Future
//!   kernel/await_future      awaiting a Future
//!   kernel/io/source         registered sources and operations on them
//!   kernel/io/fd_ops         callbacks of and operations on users' descriptors
//!   kernel/local             per-loop slots
//!   kernel/background        background futures
//!   kernel/io/call_observer  calling the observer of a ready source
//!   kernel/turn              THE loop body
//!   kernel/close             the end of a loop
//!   debug/metrics            counters
//!   context_var              ContextVar, copy_context
//!   event_loop/remote        RemoteHandle, ThreadsafeHandle
//!   event_loop/handle        LoopHandle, TaskBuilder
//!   event_loop/fd_callbacks  add_reader, add_writer
//!   event_loop/owner         EventLoop
//!   event_loop/builder       Builder
//!   event_loop/free          the free functions
//!   event_loop/thread_future run_coroutine_threadsafe
//!   event_loop/wrap_future   wrap_future
//!   time/sleep               sleep, sleep_until, sleep_with
//!   time/interval            interval
//!   time/region              a timeout around a future
//!   time/timeout             timeout, timeout_at, wait_for, move_on_after, Timeout
//!   scope/catch              catch_cancelled
//!   sync/wait_list           the line before a primitive
//!   sync/lock                Lock
//!   sync/event               Event
//!   sync/condition           Condition
//!   sync/semaphore           Semaphore, BoundedSemaphore
//!   sync/barrier             Barrier
//!   queue/error              why an item was not taken or given
//!   queue/store              in which order items come out
//!   queue/base               Queue
//!   queue/calls              calls of a store, and whom they concern
//!   queue/ordered            LifoQueue, PriorityQueue
//!   combine/observer         one who waits for many tasks
//!   combine/wait             wait
//!   combine/as_completed     as_completed
//!   combine/shield           shield
//!   combine/cancel_on_drop   cancel_on_drop
//!   combine/child_count      how many children are left
//!   combine/tasks            children in a list or a tuple
//!   combine/gather           gather
//!   combine/try_gather       try_gather
//!   combine/group/error      what goes wrong in a group
//!   combine/group/state      a group and its children
//!   combine/group/handle     TaskGroup
//!   combine/group/scope      task_group
//!   combine/for_each         for_each_limit
//!   executor/error           why a job gave no result
//!   executor/job             a job and its future
//!   executor/worker_count    how many threads a pool has, and what they are up to
//!   executor/workers         a pool's queue, and who empties it
//!   executor/pool            ThreadPoolExecutor
//!   executor/default         run_in_executor, to_thread
//!   signal/error             why a signal is not listened for
//!   signal/listeners         who listens for signals
//!   signal/stream            signal, ctrl_c
//!   signal/interrupts        Ctrl-C for what runs a program
//!   async_fd                 AsyncFd, ReadyGuard
//!   net/stream_kind          in what TCP and Unix streams differ
//!   net/nonblocking          what keeps a call from blocking
//!   net/stream               SocketStream: what TCP and Unix streams share
//!   net/accept_error         what an error of accept is about
//!   net/listener             SocketListener: what their listeners share
//!   net/tcp                  TcpStream, TcpListener
//!   net/halves               the two sides of a stream
//!   net/gai_error            GaiError
//!   net/resolver             threads that look names up
//!   net/hosts_file           names that end in a number
//!   net/dns                  lookup_host
//!   net/addr_info            getaddrinfo, getnameinfo
//!   net/happy_eyeballs       staggered_race, interleave
//!   net/connect              ConnectOptions, ConnectError
//!   net/listen_options       ListenOptions
//!   net/unix                 UnixStream, UnixListener
//!   net/datagram             DatagramSocket: what UDP and Unix datagrams share
//!   net/udp                  UdpSocket
//!   net/unix_datagram        UnixDatagram
//!   net/sock                 sock_recv and its kin
//!   net/sendfile             sendfile, sock_sendfile
//!   transport/address        the name of one end of a connection
//!   transport/shared_mode    a mode that others share
//!   transport/pipe_end       one end of a pipe
//!   transport/socket         the sockets under stream transports
//!   transport/buffer         what the system has not taken yet
//!   transport/file_turn      what waits while a file is sent
//!   transport/hold           why a connection does not read
//!   transport/flow           high and low water
//!   transport/membership     a connection's place with its server
//!   transport/protocol       Protocol, BufferedProtocol, Transport
//!   transport/traffic        what a connection exchanges with its socket
//!   transport/connection     how a connection begins and ends
//!   transport/reading        when a connection reads
//!   transport/ready          what a connection does when its socket is ready
//!   transport/writing        what a program writes
//!   transport/handle         what a program asks of a transport besides
//!   transport/target         ConnectTo, ListenOn
//!   transport/attempt        from a name to a connected socket
//!   transport/connect        create_connection
//!   transport/pipes          connect_read_pipe, connect_write_pipe
//!   transport/sendfile       sendfile over a transport
//!   transport/listen         listening sockets that call back
//!   transport/serving        a server at work
//!   transport/server         Server
//!   transport/create_server  create_server
//!   transport/datagram/protocol DatagramProtocol, DatagramTransport
//!   transport/datagram/endpoint an endpoint at work
//!   transport/datagram/handle what a program asks of an endpoint
//!   transport/datagram/create create_datagram_endpoint
//!   stream/error             why a read gave something else
//!   stream/incoming          what was not read yet
//!   stream/protocol          between a transport and a stream
//!   stream/waiting           reads that wait
//!   stream/reader            StreamReader
//!   stream/writer            StreamWriter
//!   stream/client            a server's clients as tasks
//!   stream/open              open_connection, start_server
//!   stream/pipes             open_read_pipe, open_write_pipe
//!   process/stdio            PIPE, DEVNULL, STDOUT
//!   process/exit             what becomes readable when a child exits
//!   process/pipes            this process's ends of a child's pipes
//!   process/child            spawn, Process
//!   process/communicate      all of a child's input and output
//!   process/command          create_subprocess_exec, create_subprocess_shell, Command
//!   process/protocol         SubprocessProtocol, SubprocessTransport
//!   process/transport        subprocess_exec, subprocess_shell
//!   process_pool/error       why a job in another process gave no result
//!   process_pool/function    a function by name, and its bytes
//!   process_pool/serve       the worker's side
//!   process_pool/executor    ProcessPoolExecutor
//!   async_drop               defer_async_drop
//!   runner                   run, Runner
//!   docs/changelog           a page: what changed in each version
//!   docs/differences         a page: every deviation from asyncio
//! ```
//!
//! One event's walk: `turn` asks the reactor to wait → `reactor` turns a mio token into a slab entry, generation checked
//! → `readiness` sets its bits and takes its waiters out; the borrow ends, and they are woken → `task/waker` finds the
//! loop: on this thread directly, on another one through `inbox` → `ready` appends the task to the ready queue → `turn`
//! pops this turn's share → `enter` sets the current task → `task/cell` polls → `future` stores a result and wakes its
//! awaiter, which is the walk again.

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
    "callsoon needs Linux, Android, macOS, FreeBSD, NetBSD or OpenBSD: it has not been compiled for any other system, and \
     what is no Unix lacks the descriptors and signals that it is built on"
);

mod async_drop;
#[cfg(unix)]
mod async_fd;
mod combine;
mod context_var;
mod debug;
#[cfg(doc)]
pub mod docs;
mod error;
mod event_loop;
mod executor;
mod kernel;
pub mod net;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(all(target_os = "linux", feature = "process-pool"))]
#[cfg_attr(docsrs, doc(cfg(feature = "process-pool")))]
pub mod process_pool;
pub mod queue;
mod runner;
mod scope;
#[cfg(unix)]
mod signal;
pub mod stream;
pub mod sync;
mod sys;
mod time;
pub mod transport;

pub use async_drop::{AsyncDrop, defer_async_drop};
#[cfg(unix)]
pub use async_fd::{AsyncFd, ReadyGuard};
pub use combine::{
    AsCompleted, CancelOnDrop, Failure, FailureCause, Gather, GatherError, GatherFutures,
    GroupClosed, GroupError, Outcome, ReturnWhen, Settled, Shield, TaskGroup, Tasks, TryGather,
    TryGatherError, as_completed, for_each_limit, gather, gather_tuple, shield, task_group,
    try_gather, wait,
};
pub use context_var::{ContextToken, ContextVar, copy_context};
pub use debug::metrics::Metrics;
pub use error::{
    CancelOrigin, Cancellation, FutureError, InvalidState, LoopClosed, Panicked, RunError,
    TaskError, TimedOut,
};
pub use event_loop::builder::Builder;
pub use event_loop::free::{
    YieldNow, all_tasks, create_task, current_task, get_running_loop, task_builder,
    try_get_running_loop, yield_now,
};
pub use event_loop::handle::TaskBuilder;
pub use event_loop::owner::EventLoop;
pub use event_loop::remote::{RemoteHandle, ThreadsafeHandle};
pub use event_loop::thread_future::{ThreadFuture, ThreadFutureError};
pub use event_loop::wrap_future::{WrappedFuture, wrap_future};
pub use executor::{
    Executor, ExecutorError, ExecutorFuture, Job, StuckJobs, ThreadPoolBuilder, ThreadPoolExecutor,
    run_in_executor, to_thread,
};
pub use kernel::callback::{Handle, TimerHandle};
pub use kernel::cancel::token::Cancelled;
pub use kernel::clock::Clock;
pub use kernel::context::Context;
pub use kernel::future::Future;
pub use kernel::local::LoopLocal;
pub use kernel::loop_handle::{ExceptionHandler, LoopHandle};
pub use kernel::report::ExceptionContext;
pub use kernel::task::handle::Task;
pub use kernel::task::reference::{CallbackId, TaskId, TaskRef};
#[cfg(target_os = "linux")]
pub use process::{create_subprocess_exec, create_subprocess_shell};
pub use queue::{LifoQueue, PriorityQueue, Queue};
pub use runner::{Runner, run};
pub use scope::catch_cancelled;
#[cfg(unix)]
pub use signal::{Signal, SignalError, ctrl_c, signal};
pub use stream::{open_connection, start_server};
#[cfg(unix)]
pub use stream::{open_unix_connection, start_unix_server};
pub use time::{
    Interval, MissedTickBehavior, Sleep, Timeout, TimeoutState, interval, interval_at,
    move_on_after, sleep, sleep_until, sleep_with, timeout, timeout_at, wait_for,
};

/// The README's examples, kept true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
