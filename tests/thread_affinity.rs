//! Fault M1, wrong thread: what belongs to a loop stays on its thread, which the
//! compiler checks, and what is meant for other threads may go there. An assertion that does not hold does not compile.

use callsoon::fs::{File, PathError};
use callsoon::net::{
    AddrInfo, AddrInfoHints, ConnectError, ConnectOptions, DatagramSocket, GaiError, ListenOptions,
    LookupError, OwnedReadHalf, OwnedWriteHalf, ReadHalf, SendError, SocketListener, SocketStream,
    Tcp, TcpListener, TcpStream, UCred, Udp, UdpSocket, Unix, UnixDatagram, UnixListener,
    UnixStream, WriteHalf,
};
use callsoon::process::{
    ChildPipe, Command, Process, StartError, Starting, Stdio, SubprocessTransport,
};
use callsoon::queue::{GetError, PutError, ShutDown, TooManyTasksDone};
#[cfg(feature = "futures")]
use callsoon::queue::{Items, OwnedItems, Puts};
use callsoon::stream::{
    FailedRead, IncompleteRead, Joined, LimitOverrun, OpenConnection, OpenReadPipe, OpenWritePipe,
    ReadError, ReaderLines, StartServer, StreamFeeder, StreamReader, StreamWriter,
};
use callsoon::sync::{
    Barrier, BoundedSemaphore, BrokenBarrier, Condition, Event, Lock, LockGuard, NotLocked,
    Semaphore, SemaphoreGuard, TooManyPermits,
};
use callsoon::testing::{DuplexStream, Faults, Leftover, TestBuilder, TestError, Trace};
use callsoon::transport::{
    AcceptedSocket, Address, BindError, CannotWrite, ConnectPipe, ConnectTo, CreateConnection,
    CreateDatagramEndpoint, CreateServer, DatagramTransport, InvalidLimits, ListenOn, ServeError,
    Server, Transport, TryFactory,
};
use callsoon::{
    AsCompleted, AsyncDrop, AsyncFd, Builder, CallGraph, CallKind, CallbackId, CancelHandle,
    CancelOnDrop, CancelOrigin, Cancellation, Cancelled, Clock, ClockGuard, ClockHandle, Copying,
    CopyingBidirectional, EventLoop, ExceptionContext, ExceptionHandler, ExecutorError,
    ExecutorFuture, FailedFuture, FailedHandle, Failure, FailureCause, FutureError, Gather,
    GatherError, GroupClosed, GroupError, Handle, HandleId, Histogram, InspectorError, Interval,
    InvalidState, Job, Latencies, LifoQueue, Lines, LoopClosed, LoopHandle, LoopLocal, LoopMetrics,
    LoopSnapshot, MissedTickBehavior, NoException, Panicked, PendingCallback, PendingKind,
    PriorityQueue, Queue, Race, ReadyGuard, RemoteHandle, ReportedTask, ReportedTaskBuilder,
    ReturnWhen, RunError, Runner, Settled, SharedTask, Shield, Signal, SignalError, Sleep,
    SourceInfo, StuckJobs, Task, TaskBuilder, TaskError, TaskGroup, TaskId, TaskInfo, TaskRef,
    TaskState, ThreadFuture, ThreadFutureError, ThreadPoolBuilder, ThreadPoolExecutor,
    ThreadsafeHandle, TimedOut, Timeout, TimeoutState, TimerHandle, TimerInfo, TryGather,
    TryGatherError, WaitEnd, WaitHooks, WaitInfo, WaitKind, WrappedFuture, YieldNow,
};

/// Compiles only if the type has all the traits.
macro_rules! assert_impl {
    ($type:ty: $($bound:path),+) => {
        const _: fn() = || {
            fn has<T: ?Sized $(+ $bound)+>() {}
            has::<$type>();
        };
    };
}

/// Compiles only if the type has none of the traits: one that it had would make `some` ambiguous.
macro_rules! assert_not_impl {
    ($type:ty: $($bound:path),+) => {
        $(const _: fn() = || {
            trait AmbiguousIfImplemented<A> {
                fn some() {}
            }
            struct Implemented;
            impl<T: ?Sized> AmbiguousIfImplemented<()> for T {}
            impl<T: ?Sized + $bound> AmbiguousIfImplemented<Implemented> for T {}
            <$type as AmbiguousIfImplemented<_>>::some();
        };)+
    };
}

// What belongs to a loop.
assert_not_impl!(EventLoop: Send, Sync, Clone);
assert_not_impl!(LoopHandle: Send, Sync);
assert_not_impl!(ExceptionHandler: Send, Sync);
assert_not_impl!(Handle: Send, Sync, Clone);
assert_not_impl!(TimerHandle: Send, Sync, Clone);
assert_impl!(HandleId: Send, Sync, Copy, Unpin, std::hash::Hash, Ord);
assert_impl!(PendingCallback: Send, Sync, Copy, Unpin);
assert_impl!(PendingKind: Send, Sync, Copy, Unpin, std::hash::Hash);
assert_impl!(WaitEnd: Send, Sync, Copy, Unpin);
assert_not_impl!(dyn WaitHooks: Send, Sync);
assert_impl!(BindError: Send, Sync, Unpin, std::error::Error);
assert_impl!(SendError: Send, Sync, Unpin, std::error::Error);
assert_impl!(StartError: Send, Sync, Unpin, std::error::Error);
assert_impl!(CannotWrite: Send, Sync, Copy, Unpin, std::error::Error);
assert_not_impl!(Task<u8>: Send, Sync, Clone);
assert_not_impl!(TaskRef: Send, Sync);
assert_not_impl!(TaskBuilder: Send, Sync);
assert_not_impl!(ReportedTaskBuilder: Send, Sync);
assert_not_impl!(callsoon::Future<u8>: Send, Sync);
assert_not_impl!(Sleep: Send, Sync);
assert_not_impl!(ClockHandle: Send, Sync);
assert_impl!(ClockGuard: Send, Sync, Unpin);
assert_not_impl!(DuplexStream: Send, Sync, Clone);
assert_impl!(DuplexStream: Unpin);
assert_impl!(Faults: Send, Unpin);
assert_impl!(Leftover: Send, Sync, Clone);
assert_impl!(TestBuilder: Send, Sync, Clone);
assert_impl!(TestError: Send, Sync);
assert_impl!(TestError: Unpin, std::error::Error);
assert_impl!(Trace: Send, Sync, Clone);
assert_not_impl!(Process: Send, Sync, Clone);
assert_not_impl!(SubprocessTransport: Send, Sync);
assert_not_impl!(ChildPipe: Send, Sync);
#[cfg(feature = "process-pool")]
assert_not_impl!(callsoon::process_pool::ProcessPoolExecutor: Send, Sync);
#[cfg(feature = "process-pool")]
assert_impl!(callsoon::process_pool::ProcessPoolBuilder: Send, Sync, Unpin);
#[cfg(feature = "process-pool")]
assert_impl!(callsoon::process_pool::ProcessPoolError: Send, Sync, Unpin, std::error::Error);
#[cfg(feature = "process-pool")]
assert_impl!(callsoon::process_pool::Function<u8, u8>: Send, Sync, Unpin);
assert_impl!(Command: Send, Unpin);
assert_impl!(Starting: Send, Unpin);
assert_impl!(Stdio: Send, Sync, Unpin);
assert_not_impl!(Signal: Send, Sync, Clone);
assert_not_impl!(Interval: Send, Sync, Clone);
assert_not_impl!(AsCompleted<u8>: Send, Sync, Clone);
assert_not_impl!(callsoon::EachCompleted<u8>: Send, Sync, Clone);
assert_not_impl!(callsoon::NextCompleted<u8>: Send, Sync, Clone);
assert_not_impl!(Gather<Vec<Task<u8>>>: Send, Sync, Clone);
assert_not_impl!(Gather<(Task<u8>, Task<()>)>: Send, Sync, Clone);
assert_not_impl!(Settled<Vec<Task<u8>>>: Send, Sync, Clone);
assert_not_impl!(TryGather<u8, u8>: Send, Sync, Clone);
assert_not_impl!(TaskGroup: Send, Sync);
assert_not_impl!(Timeout: Send, Sync);
assert_not_impl!(GroupError: Clone);
assert_not_impl!(Failure: Clone);
assert_not_impl!(FailureCause: Clone);
assert_not_impl!(Shield<Task<u8>>: Send, Sync, Clone);
assert_not_impl!(Shield<&'static mut Task<u8>>: Send, Sync, Clone);
assert_not_impl!(Shield<callsoon::Future<u8>>: Send, Sync, Clone);
assert_not_impl!(SharedTask<u8>: Send, Sync);
assert_impl!(SharedTask<std::marker::PhantomPinned>: Clone, Unpin);
assert_not_impl!(ExceptionContext: Send, Sync);
assert_impl!(FailedFuture: Send, Sync, Clone, Unpin);
assert_impl!(FailedHandle: Send, Sync, Clone, Unpin);
assert_not_impl!(Cancelled: Send, Sync, Clone);
assert_impl!(Cancelled: Unpin, std::error::Error);
assert_impl!(CancelHandle: Send, Sync, Clone, Unpin);
assert_not_impl!(CancelOnDrop<u8>: Send, Sync, Clone);
assert_not_impl!(AsyncDrop: Send, Sync, Clone);
assert_not_impl!(Runner: Send, Sync, Clone);
// Children may fail with errors that stay on their thread.
assert_impl!(GroupError: Send, Sync, Unpin, std::error::Error);
assert_impl!(Failure: Send, Sync, Unpin, std::error::Error);
assert_impl!(FailureCause: Send, Sync);
assert_impl!(FutureError: Send, Sync);
assert_not_impl!(ReportedTask<(), String>: Send, Sync, Clone);
assert_not_impl!(TcpStream: Send, Sync, Clone);
assert_not_impl!(TcpListener: Send, Sync, Clone);
assert_not_impl!(ReadHalf<'static>: Send, Sync);
assert_not_impl!(WriteHalf<'static>: Send, Sync);
assert_not_impl!(OwnedReadHalf: Send, Sync, Clone);
assert_not_impl!(OwnedWriteHalf: Send, Sync, Clone);
assert_not_impl!(Transport: Send, Sync);
assert_impl!(TryFactory<u8>: Send, Sync, Unpin);
assert_not_impl!(TryFactory<*const u8>: Send, Sync);
assert_not_impl!(Server: Send, Sync, Clone);
assert_not_impl!(CreateServer: Send, Sync, Clone);
assert_not_impl!(ConnectPipe<u8>: Send, Sync, Clone);
assert_not_impl!(CreateConnection<u8>: Send, Sync, Clone);
assert_not_impl!(StreamReader: Send, Sync, Clone);
assert_not_impl!(StreamWriter: Send, Sync, Clone);
assert_not_impl!(OpenConnection: Send, Sync, Clone);
assert_not_impl!(OpenReadPipe: Send, Sync, Clone);
assert_not_impl!(OpenWritePipe: Send, Sync, Clone);
assert_not_impl!(StartServer: Send, Sync, Clone);
assert_not_impl!(StreamFeeder: Send, Sync, Clone);
assert_not_impl!(ReaderLines<'static>: Send, Sync, Clone);
assert_not_impl!(Joined: Send, Sync, Clone);
assert_not_impl!(Copying<TcpStream, TcpStream>: Send, Sync, Clone);
assert_not_impl!(CopyingBidirectional<TcpStream, TcpStream>: Send, Sync, Clone);
assert_not_impl!(Lines<StreamReader>: Send, Sync, Clone);
assert_not_impl!(Race<Task<u8>>: Send, Sync, Clone);
#[cfg(feature = "futures")]
assert_not_impl!(Items<'static, u8>: Send, Sync, Clone);
#[cfg(feature = "futures")]
assert_not_impl!(OwnedItems<u8>: Send, Sync, Clone);
#[cfg(feature = "futures")]
assert_not_impl!(Puts<'static, u8>: Send, Sync, Clone);
assert_not_impl!(AsyncFd<std::fs::File>: Send, Sync, Clone);
assert_not_impl!(ReadyGuard<'static, std::fs::File>: Send, Sync, Clone);
assert_not_impl!(DatagramTransport: Send, Sync);
assert_not_impl!(CreateDatagramEndpoint<fn()>: Send, Sync, Clone);
assert_not_impl!(UnixStream: Send, Sync, Clone);
assert_not_impl!(UnixListener: Send, Sync, Clone);
assert_not_impl!(UdpSocket: Send, Sync, Clone);
assert_not_impl!(UnixDatagram: Send, Sync, Clone);
assert_not_impl!(SocketStream<Unix>: Send, Sync, Clone);
assert_not_impl!(SocketListener<Unix>: Send, Sync, Clone);
assert_not_impl!(DatagramSocket<Unix>: Send, Sync, Clone);
assert_not_impl!(Queue<u8>: Send, Sync);
assert_not_impl!(LifoQueue<u8>: Send, Sync);
assert_not_impl!(PriorityQueue<u8>: Send, Sync);
assert_not_impl!(Lock<u8>: Send, Sync);
assert_not_impl!(LockGuard<'static, u8>: Send, Sync, Clone);
assert_not_impl!(Event: Send, Sync);
assert_not_impl!(Condition: Send, Sync);
assert_not_impl!(Semaphore: Send, Sync);
assert_not_impl!(SemaphoreGuard<'static>: Send, Sync, Clone);
assert_not_impl!(BoundedSemaphore: Send, Sync);
assert_not_impl!(Barrier: Send, Sync);

// What is made for other threads, or may go anywhere.
assert_impl!(RemoteHandle: Send, Sync, Clone, Unpin);
assert_impl!(ThreadsafeHandle: Send, Sync, Clone, Unpin);
assert_impl!(Job: Send, Sync, Unpin);
assert_impl!(ExecutorFuture<std::cell::Cell<u8>>: Send, Sync, Unpin);
assert_impl!(ThreadPoolExecutor: Send, Sync, Clone, Unpin);
assert_impl!(ThreadPoolBuilder: Send, Sync, Clone);
assert_impl!(ThreadFuture<std::cell::Cell<u8>>: Send, Sync, Clone, Unpin);
assert_impl!(ThreadFutureError: Send, Sync, std::error::Error);
assert_not_impl!(ThreadFuture<std::rc::Rc<u8>>: Send, Sync);
assert_impl!(WrappedFuture<std::cell::Cell<u8>>: Send, Sync, Unpin);
assert_not_impl!(WrappedFuture<u8>: Clone);
assert_impl!(ExecutorError: Send, Sync, std::error::Error);
assert_impl!(StuckJobs: Send, Sync, Copy, std::error::Error);
assert_impl!(LoopClosed: Send, Sync, Copy, std::error::Error);
assert_impl!(RunError: Send, Sync, std::error::Error);
assert_impl!(SignalError: Send, Sync, std::error::Error);
assert_impl!(Cancellation: Send, Sync, Clone, Unpin, std::error::Error);
assert_impl!(CancelOrigin: Send, Sync, Copy, std::hash::Hash);
assert_impl!(TimedOut: Send, Sync, Copy, std::error::Error);
assert_impl!(TimeoutState: Send, Sync, Copy, std::error::Error);
assert_impl!(GatherError: Send, Sync, std::error::Error);
assert_impl!(TryGatherError<std::fmt::Error>: Send, Sync, std::error::Error);
assert_impl!(GroupClosed<u8>: Send, Sync, Copy, std::error::Error);
assert_impl!(Panicked: Send, Sync, std::error::Error);
assert_impl!(TaskError: Send, Sync, std::error::Error);
assert_impl!(InvalidState<u8>: Send, Sync, std::error::Error);
// Its calls are made in threads anyway.
assert_impl!(File: Send, Unpin);
assert_impl!(PathError: Send, Sync, std::error::Error);
assert_impl!(Builder: Send, Sync, Clone);
assert_impl!(ListenOptions: Send, Sync, Clone);
assert_impl!(ConnectOptions: Send, Sync, Clone);
assert_impl!(ConnectError: Send, Sync, std::error::Error);
assert_impl!(LookupError: Send, Sync, Unpin, std::error::Error);
assert_impl!(GaiError: Send, Sync, Clone, std::error::Error);
assert_impl!(AddrInfo: Send, Sync, Clone);
assert_impl!(AddrInfoHints: Send, Sync, Copy);
assert_impl!(Tcp: Send, Sync);
assert_impl!(Udp: Send, Sync);
assert_impl!(Unix: Send, Sync);
assert_impl!(UCred: Send, Sync, Copy);
assert_impl!(Clock: Send, Sync, Copy);
assert_impl!(ReturnWhen: Send, Sync, Copy);
assert_impl!(MissedTickBehavior: Send, Sync, Copy);
assert_impl!(LoopMetrics: Send, Sync, Copy);
assert_impl!(CallGraph: Send, Sync, Clone, Unpin);
assert_impl!(LoopSnapshot: Send, Sync, Clone, Unpin);
assert_impl!(SourceInfo: Send, Sync, Clone, Unpin);
assert_impl!(TimerInfo: Send, Sync, Clone, Unpin);
assert_impl!(TaskInfo: Send, Sync, Clone, Unpin);
assert_impl!(TaskState: Send, Sync, Copy, Unpin);
assert_impl!(WaitInfo: Send, Sync, Clone, Unpin);
assert_impl!(WaitKind: Send, Sync, Copy, Unpin, std::hash::Hash);
assert_impl!(InspectorError: Send, Sync, Unpin, std::error::Error);
assert_impl!(CallKind: Send, Sync, Copy);
assert_impl!(Histogram: Send, Sync, Clone);
assert_impl!(Latencies: Send, Sync, Clone);
assert_impl!(GetError: Send, Sync, std::error::Error);
assert_impl!(PutError<u8>: Send, Sync, std::error::Error);
assert_impl!(ShutDown<u8>: Send, Sync, std::error::Error);
assert_impl!(TooManyTasksDone: Send, Sync, std::error::Error);
assert_impl!(NotLocked: Send, Sync, Copy, std::error::Error);
assert_impl!(TooManyPermits: Send, Sync, Copy, std::error::Error);
assert_impl!(BrokenBarrier: Send, Sync, Copy, std::error::Error);
assert_impl!(Address: Send, Sync, Clone, Eq, std::hash::Hash);
assert_impl!(ConnectTo: Send, Sync);
assert_impl!(ListenOn: Send, Sync);
assert_impl!(AcceptedSocket: Send, Sync);
assert_impl!(InvalidLimits: Send, Sync, Copy, std::error::Error);
assert_impl!(ServeError: Send, Sync, std::error::Error);
assert_impl!(ReadError: Send, Sync, std::error::Error);
assert_impl!(FailedRead: Send, Sync, std::error::Error);
assert_impl!(IncompleteRead: Send, Sync, Clone, std::error::Error);
assert_impl!(LimitOverrun: Send, Sync, Copy, std::error::Error);
assert_impl!(TaskId: Send, Sync, Copy, std::hash::Hash, Ord);
assert_impl!(CallbackId: Send, Sync, Copy, std::hash::Hash);
// A static: its values stay with their loops, whatever they are.
assert_impl!(LoopLocal<std::rc::Rc<u8>>: Send, Sync);
assert_impl!(callsoon::ContextVar<std::rc::Rc<u8>>: Send, Sync);
assert_not_impl!(callsoon::Context: Send, Sync);
assert_not_impl!(callsoon::ContextToken<u8>: Send, Sync, Clone);

// Clones share one payload, which the first caller takes: so all awaiters of a shared task get its error.
assert_impl!(Panicked: Clone);
assert_impl!(TaskError: Clone);
assert_impl!(NoException: Send, Sync, Copy, std::error::Error);
// What a borrowed value is given back in is as mobile as the value.
assert_not_impl!(InvalidState<std::rc::Rc<u8>>: Send, Sync);

// What is polled may be moved between polls, and unwinding through it breaks nothing.
assert_impl!(Task<std::marker::PhantomPinned>: Unpin);
assert_impl!(callsoon::Future<std::marker::PhantomPinned>: Unpin);
assert_impl!(Sleep: Unpin);
assert_impl!(Signal: Unpin);
assert_impl!(Interval: Unpin);
assert_impl!(AsCompleted<std::marker::PhantomPinned>: Unpin);
assert_impl!(callsoon::EachCompleted<std::marker::PhantomPinned>: Unpin);
assert_impl!(callsoon::NextCompleted<std::marker::PhantomPinned>: Unpin);
assert_impl!(Gather<Vec<Task<std::marker::PhantomPinned>>>: Unpin);
assert_impl!(Settled<Vec<Task<std::marker::PhantomPinned>>>: Unpin);
assert_impl!(TryGather<std::marker::PhantomPinned, u8>: Unpin);
assert_impl!(Shield<Task<std::marker::PhantomPinned>>: Unpin);
assert_impl!(CreateDatagramEndpoint<std::marker::PhantomPinned>: Unpin);
assert_impl!(YieldNow: Unpin);
assert_impl!(CancelOnDrop<std::marker::PhantomPinned>: Unpin);
assert_impl!(TcpStream: Unpin);
assert_impl!(Joined: Unpin);
assert_impl!(Race<std::future::Ready<u8>>: Unpin);

#[cfg(callsoon_faults)]
use callsoon::testing::SystemFaults;
#[cfg(callsoon_faults)]
assert_not_impl!(SystemFaults: Send, Sync);

#[cfg(feature = "tls")]
assert_impl!(callsoon::tls::HandshakeError: Send, Sync, Unpin, std::error::Error);
#[cfg(feature = "tls")]
assert_impl!(callsoon::tls::ClientContext: Send, Sync, Clone, Unpin);
#[cfg(feature = "tls")]
assert_impl!(callsoon::tls::ServerContext: Send, Sync, Clone, Unpin);
#[cfg(feature = "tls")]
assert_not_impl!(callsoon::tls::StartTls: Send, Sync, Clone);
#[cfg(feature = "hyper")]
assert_impl!(callsoon::interop::hyper::HyperTimer: Send, Sync, Copy);
#[cfg(feature = "hyper")]
assert_impl!(callsoon::interop::hyper::HyperExecutor: Send, Sync, Copy);
#[cfg(feature = "hyper")]
assert_not_impl!(callsoon::interop::hyper::HyperIo<TcpStream>: Send, Sync, Clone);

/// Public names that are no types.
const TRAITS: [&str; 24] = [
    "SubprocessProtocol",
    "Registered",
    "DEVNULL",
    "INHERIT",
    "PIPE",
    "STDOUT",
    "BufferedProtocol",
    "ClientResult",
    "DatagramProtocol",
    "Executor",
    "GatherFutures",
    "IntoArgs",
    "IntoShielded",
    "IntoTask",
    "Outcome",
    "PollBufRead",
    "PollRead",
    "PollWrite",
    "Protocol",
    "QueueStore",
    "RaceFutures",
    "Tasks",
    "ToSocketAddrs",
    "WaitHooks",
];

/// Every public type has its line above.
#[test]
fn every_public_type_has_its_assertion() {
    let assertions = include_str!("thread_affinity.rs");
    let library = source("lib.rs").unwrap();
    let mut names = re_exports(&library);
    for module in public_modules(&library) {
        let text = source(&format!("{module}/mod.rs")).or_else(|| source(&format!("{module}.rs")));
        names.extend(re_exports(&text.unwrap()));
    }
    names.retain(|name| !TRAITS.contains(&name.as_str()));
    names.retain(|name| {
        ["assert_impl!(", "assert_not_impl!("].iter().all(|which| {
            ["", "callsoon::", "callsoon::process_pool::"]
                .iter()
                .all(|path| {
                    let start = format!("{which}{path}{name}");
                    let mut asserted = assertions.split(&start).skip(1);
                    !asserted.any(|rest| rest.starts_with([':', '<']))
                })
        })
    });
    assert!(
        names.is_empty(),
        "public types without an assertion: {names:?}"
    );
}

/// A file of the library.
fn source(path: &str) -> Option<String> {
    std::fs::read_to_string(format!("{}/src/{path}", env!("CARGO_MANIFEST_DIR"))).ok()
}

fn public_modules(source: &str) -> Vec<&str> {
    let declared = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    declared.filter_map(|rest| rest.strip_suffix(';')).collect()
}

/// The types that a module re-exports: names in `pub use` items that start with a capital letter.
fn re_exports(source: &str) -> Vec<String> {
    source
        .split("\npub use ")
        .skip(1)
        .filter_map(|rest| rest.split(';').next())
        .flat_map(|item| {
            item.split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
                .map(str::to_owned)
        })
        .collect()
}
