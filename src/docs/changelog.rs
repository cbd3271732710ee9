//! What changed in each version, newest first. An entry says what a program can notice; behaviour that changes has its
//! reason beside it. Versions follow Cargo's rules: before 1.0 a new minor version may break programs.
//!
//! # 0.1.0, not released yet
//! The first version. It has asyncio's loop, tasks, futures, cancellation, task groups, timeouts, synchronisation, queues,
//! streams, transports, servers, datagrams, pipes, subprocesses, signals, executors, context variables and debug mode.
//!
//! Added lately:
//! - [`ThreadsafeHandle::cancelled`](crate::ThreadsafeHandle::cancelled) says whether a cancel prevented the call.
//! - [`exception_handler`](crate::LoopHandle::exception_handler) returns the handler that is set, so that it can be wrapped.
//! - Sockets are bound, connected and sent to by whatever names an address: texts, names and lists.
//! - A buffer whose size the program or a peer decides is reserved before it is filled, so that a lack of memory is an
//!   error of that operation.
//!
//! Changed:
//! - A system for which the crate has never been compiled, such as Windows, is refused with a message by the compiler.
//! - The crate compiles for FreeBSD again.
