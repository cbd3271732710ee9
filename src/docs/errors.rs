//! Every type of error: when it comes, what it gives back, and what it converts into.
//!
//! All of them are `Send` and `Sync` if what they give back is, so `?` passes them on in functions that return
//! `anyhow::Result`, `eyre::Result` or `Result<_, Box<dyn Error + Send + Sync>>`. A child or a body of a task group, and
//! the function of a `start_server`, may return these results too. The last column says what `?` gives in a function
//! that returns an `io::Result`; "the system's" means that an `io::Error` inside comes out as it is.
//!
//! | error | when | gives back | as an `io::Error` |
//! |---|---|---|---|
//! | [`RunError`](crate::RunError) | [`run`](crate::run) or a run of a loop gave no value | nothing | the system's, or `Other` |
//! | [`TaskError`](crate::TaskError) | a task ended without a value | the panic's payload | `Other` |
//! | [`FutureError`](crate::FutureError) | a [`Future`](crate::Future) has no value | the error of `set_exception` | `Other` |
//! | [`GroupError`](crate::GroupError) | a [`task_group`](crate::task_group) failed or was stopped | every failure | `Other` |
//! | [`Failure`](crate::Failure) | one failure inside of a `GroupError` | its cause | no conversion |
//! | [`GatherError`](crate::GatherError) | a child of a [`gather`](crate::gather()) panicked or was cancelled | its index, the panic's payload | `Other` |
//! | [`TryGatherError`](crate::TryGatherError) | a child of a [`try_gather`](crate::try_gather()) failed | its index and its error | the child's error as that converts, or `Other` |
//! | [`ExecutorError`](crate::ExecutorError) | a job in a thread gave no value | the panic's payload | the system's, or `Other` |
//! | [`ThreadFutureError`](crate::ThreadFutureError) | another thread's coroutine gave no value | the panic's payload | `TimedOut`, `NotConnected` for a closed loop, or `Other` |
//! | `ProcessPoolError`, feature `process-pool`, | a job in a worker process gave no value | the panic's message | the system's, or `Other` |
//! | [`StuckJobs`](crate::StuckJobs) | a pool was not done in time | how many jobs are left | no conversion |
//! | [`TimedOut`](crate::TimedOut) | a timeout | nothing | `TimedOut` |
//! | [`LoopClosed`](crate::LoopClosed) | the loop is closed | nothing | `NotConnected` |
//! | [`SignalError`](crate::SignalError) | a signal cannot be caught | nothing | the system's, `NotConnected` for a closed loop, or `InvalidInput` |
//! | [`ServeError`](crate::transport::ServeError) | a server does not serve | nothing | the system's, or `Other` |
//! | [`ReadError`](crate::stream::ReadError) | a read of a stream did not give what was asked for | what had arrived | the system's, `UnexpectedEof`, or `InvalidData` for a line over the limit |
//! | [`IncompleteRead`](crate::stream::IncompleteRead), [`FailedRead`](crate::stream::FailedRead), [`LimitOverrun`](crate::stream::LimitOverrun) | the cases of a `ReadError` | what had arrived | as those of a `ReadError` |
//! | [`CannotWrite`](crate::transport::CannotWrite) | a `try_write` after the end of the writing side | nothing | no conversion |
//! | [`InvalidLimits`](crate::transport::InvalidLimits) | the marks of a write buffer are the wrong way round | nothing | no conversion |
//! | [`GetError`](crate::queue::GetError), [`PutError`](crate::queue::PutError) | `get_nowait`, `put_nowait`: the queue is empty, full or shut down | the item | no conversion |
//! | [`ShutDown`](crate::queue::ShutDown) | `get`, `put`: the queue was shut down | the item | no conversion |
//! | [`TooManyTasksDone`](crate::queue::TooManyTasksDone) | more `task_done` than items | nothing | no conversion |
//! | [`BrokenBarrier`](crate::sync::BrokenBarrier), [`NotLocked`](crate::sync::NotLocked), [`TooManyPermits`](crate::sync::TooManyPermits) | the barrier was aborted, the lock is not held, more was released than there is | nothing | no conversion |
//! | [`TimeoutState`](crate::TimeoutState) | a [`Timeout`](crate::Timeout) was moved that is over | nothing | no conversion |
//! | [`NoException`](crate::NoException) | `exception()` of a task that has none to give | nothing | no conversion |
//! | [`InvalidState`](crate::InvalidState) | a result was set twice, or read too early | the argument | no conversion |
//! | [`GroupClosed`](crate::GroupClosed) | a group takes no more children | the future | no conversion |
//! | [`BindError`](crate::transport::BindError) | a server or a socket cannot be bound | the place, the system's error | it is inside of one |
//! | [`ConnectError`](crate::net::ConnectError) | an attempt to connect failed, or several | each address and its error, the system's number | it is inside of one |
//! | [`SendError`](crate::net::SendError) | a message to an address was not sent | the address or path, the system's error | it is inside of one |
//! | [`LookupError`](crate::net::LookupError) | a host was not found | the host, the reason | it is inside of one |
//! | [`GaiError`](crate::net::GaiError) | the system's resolver failed | the resolver's code | it is inside of a `LookupError` |
//! | [`InspectorError`](crate::InspectorError) | a loop has no inspector | the path, the system's error | it is inside of one |
//! | [`TestError`](crate::testing::TestError) | a test of [`testing`](crate::testing) failed or left something | what it found | no conversion |
//! | [`PathError`](crate::fs::PathError) | a call with a path failed | the path, the system's error | it is inside of one |
//! | [`StartError`](crate::process::StartError) | a program was not found, or may not be run | the program, the system's error | it is inside of one |
//! | `tls::HandshakeError`, feature `tls` | a TLS handshake failed | the peer, the error of rustls | it is inside of one |
//!
//! [`Cancellation`](crate::Cancellation), [`Cancelled`](crate::Cancelled) and [`Panicked`](crate::Panicked) are errors too, for
//! `source` and for boxes: they are what is inside of the errors above.
//!
//! # Causes
//! An error's text has its cause: `cannot connect to 127.0.0.1:1: Connection refused`. So `{}` says all. Its
//! [`source`](std::error::Error::source) is that cause, as an `io::Error` with the system's number where there is one, so that
//! a program that walks the chain finds it; a group's [`Failure`](crate::Failure), which adds a name, has the source of its error. What prints a whole chain, as anyhow's `{:#}` does, says the cause twice. The cause
//! is a field too or has a method, such as [`ConnectError::error`](crate::net::ConnectError::error), and `of` finds the error
//! of ours in an `io::Error`:
//!
//! ```
//! use callsoon::net::{ConnectError, TcpStream};
//! let error = callsoon::run(async { TcpStream::connect("127.0.0.1:1").await }).unwrap().unwrap_err();
//! let cause: &std::io::Error = std::error::Error::source(&error).unwrap().downcast_ref().unwrap();
//! assert_eq!(cause.raw_os_error(), Some(libc::ECONNREFUSED));
//! let same = ConnectError::of(&error).and_then(ConnectError::error).unwrap();
//! assert_eq!(same.raw_os_error(), cause.raw_os_error());
//! ```
//!
//! # Places
//! Errors of connecting, binding, looking names up, sending to an address, handshakes, files and programs name the place.
//! An `io::Error` with a place has the system's kind. It has no `raw_os_error`, which the one inside has.
//!
//! Errors of an established connection, and of a socket that has a peer, are the system's own, with their `raw_os_error`:
//! of reading, writing, `send` and `recv`. Their place is the socket that the program holds, and `peer_addr` and
//! `peername` tell it. A place in them would be text to allocate for each end of a connection, which a server meets as
//! often as its clients leave, and programs could not match the system's numbers any more. `WouldBlock` never has a place.
