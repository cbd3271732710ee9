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
//! | [`ExecutorError`](crate::ExecutorError) | a job in a thread gave no value | the panic's payload | the system's, or `Other` |
//! | [`ThreadFutureError`](crate::ThreadFutureError) | another thread's coroutine gave no value | the panic's payload | `TimedOut`, `NotConnected` for a closed loop, or `Other` |
//! | [`TimedOut`](crate::TimedOut) | a timeout | nothing | `TimedOut` |
//! | [`LoopClosed`](crate::LoopClosed) | the loop is closed | nothing | `NotConnected` |
//! | [`SignalError`](crate::SignalError) | a signal cannot be caught | nothing | the system's, `NotConnected` for a closed loop, or `InvalidInput` |
//! | [`ServeError`](crate::transport::ServeError) | a server does not serve | nothing | the system's, or `Other` |
//! | [`InvalidState`](crate::InvalidState) | a result was set twice, or read too early | the argument | no conversion |
//! | [`GroupClosed`](crate::GroupClosed) | a group takes no more children | the future | no conversion |
//! | [`BindError`](crate::transport::BindError) | a server or a socket cannot be bound | the place, the system's error | it is inside of one |
//! | [`ConnectError`](crate::net::ConnectError) | an attempt to connect failed, or several | each address and its error, the system's number | it is inside of one |
//! | [`LookupError`](crate::net::LookupError) | a host was not found | the host, the reason | it is inside of one |
//! | [`GaiError`](crate::net::GaiError) | the system's resolver failed | the resolver's code | it is inside of a `LookupError` |
//! | [`PathError`](crate::fs::PathError) | a call with a path failed | the path, the system's error | it is inside of one |
