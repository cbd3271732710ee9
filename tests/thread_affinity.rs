//! Row M1 of the list of faults, wrong thread: what belongs to a loop stays on its thread, by the compiler's word, and
//! what is meant for other threads may go there. Each assertion is one that does not compile where it does not hold.

use callsoon::net::{
    ListenOptions, OwnedReadHalf, OwnedWriteHalf, ReadHalf, TcpListener, TcpStream, WriteHalf,
};
use callsoon::{
    Builder, CallbackId, Cancelled, Clock, EventLoop, ExceptionContext, FutureError, Handle,
    InvalidState, LoopClosed, LoopHandle, LoopLocal, Metrics, Panicked, RemoteHandle, RunError,
    Sleep, Task, TaskBuilder, TaskError, TaskId, TaskRef, ThreadsafeHandle, TimerHandle, YieldNow,
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
assert_not_impl!(Handle: Send, Sync, Clone);
assert_not_impl!(TimerHandle: Send, Sync, Clone);
assert_not_impl!(Task<u8>: Send, Sync, Clone);
assert_not_impl!(TaskRef: Send, Sync);
assert_not_impl!(TaskBuilder: Send, Sync);
assert_not_impl!(callsoon::Future<u8>: Send, Sync);
assert_not_impl!(Sleep: Send, Sync);
assert_not_impl!(ExceptionContext: Send, Sync);
assert_not_impl!(FutureError: Send, Sync);
assert_not_impl!(TcpStream: Send, Sync, Clone);
assert_not_impl!(TcpListener: Send, Sync, Clone);
assert_not_impl!(ReadHalf<'static>: Send, Sync);
assert_not_impl!(WriteHalf<'static>: Send, Sync);
assert_not_impl!(OwnedReadHalf: Send, Sync, Clone);
assert_not_impl!(OwnedWriteHalf: Send, Sync, Clone);

// What is made for other threads, or may go anywhere.
assert_impl!(RemoteHandle: Send, Sync, Clone, Unpin);
assert_impl!(ThreadsafeHandle: Send, Sync, Clone, Unpin);
assert_impl!(LoopClosed: Send, Sync, Copy, std::error::Error);
assert_impl!(RunError: Send, Sync, std::error::Error);
assert_impl!(Cancelled: Send, Sync, Clone, std::error::Error);
assert_impl!(Panicked: Send, Sync, std::error::Error);
assert_impl!(TaskError: Send, Sync, std::error::Error);
assert_impl!(InvalidState<u8>: Send, Sync, std::error::Error);
assert_impl!(Builder: Send, Sync, Clone);
assert_impl!(ListenOptions: Send, Sync, Clone);
assert_impl!(Clock: Send, Sync, Copy);
assert_impl!(Metrics: Send, Sync, Copy);
assert_impl!(TaskId: Send, Sync, Copy, std::hash::Hash, Ord);
assert_impl!(CallbackId: Send, Sync, Copy, std::hash::Hash);
// A static: its values stay with their loops, whatever they are.
assert_impl!(LoopLocal<std::rc::Rc<u8>>: Send, Sync);

// There is one payload, and whoever takes it has it.
assert_not_impl!(Panicked: Clone);
assert_not_impl!(TaskError: Clone);
// What a borrowed value is given back in is as mobile as the value.
assert_not_impl!(InvalidState<std::rc::Rc<u8>>: Send, Sync);

// What is polled may be moved between polls, and unwinding through it breaks nothing.
assert_impl!(Task<std::marker::PhantomPinned>: Unpin);
assert_impl!(callsoon::Future<std::marker::PhantomPinned>: Unpin);
assert_impl!(Sleep: Unpin);
assert_impl!(YieldNow: Unpin);
assert_impl!(TcpStream: Unpin);

/// Every public type has its line above.
#[test]
fn every_public_type_has_its_assertion() {
    let assertions = include_str!("thread_affinity.rs");
    let mut missing = Vec::new();
    for source in ["lib.rs", "net/mod.rs"] {
        let source = format!("{}/src/{source}", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(source).unwrap();
        for name in re_exports(&source) {
            let asserted = ["", "callsoon::"].iter().any(|path| {
                ["assert_impl!(", "assert_not_impl!("].iter().any(|which| {
                    let start = format!("{which}{path}{name}");
                    let next = |rest: &str| rest.starts_with([':', '<']);
                    assertions.split(&start).skip(1).any(next)
                })
            });
            if !asserted {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(
        missing.is_empty(),
        "public types without an assertion: {missing:?}"
    );
}

/// The types that a module re-exports: names in `pub use` items that start with a capital letter.
fn re_exports(source: &str) -> Vec<&str> {
    source
        .split("\npub use ")
        .skip(1)
        .filter_map(|rest| rest.split(';').next())
        .flat_map(|item| {
            item.split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
        })
        .collect()
}
