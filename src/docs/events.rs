//! Every event that the crate sends through `tracing`, in one table. All have the target `callsoon`, and none is inside a
//! span of this crate.
//!
//! Where the thread has no subscriber, each event is one line on standard error instead, which starts with `callsoon: `
//! and has the fields at its end. So `CALLSOON_DEBUG=1` alone makes debug mode heard, in any program. The last column says
//! when the event is sent at all: *always*, in *debug* mode
//! ([`Builder::debug`](crate::Builder::debug)), or with a *threshold*, which is debug mode, or a duration that the program
//! has set ([`Builder::slow_callback_duration`](crate::Builder::slow_callback_duration)).
//!
//! | level | message | fields | sent | when |
//! |---|---|---|---|---|
//! | error | `{context}` | none | A failure that no code has handled, and there is no exception handler: what [`ExceptionContext`](crate::ExceptionContext) shows. A panic in a callback, a result that was never retrieved, a task that was pending when its loop closed, with name and place. | always |
//! | error | `further tasks were destroyed but they are pending` | `further` | At the close of a loop without an exception handler, how many such tasks there were after the first twenty. | always |
//! | error | `a sleeping event loop cannot be woken from another thread` | `error` | The system refuses a write to the descriptor that ends the loop's sleep. The next post tries again. | always |
//! | warn | `a slow {what} held up the loop` | `took`, `location` | A callback took at least the threshold, or `{what}` is `listener`, or the name of a protocol's method. | threshold |
//! | warn | `a slow step of a task held up the loop` | `took`, `location`, `task` | One step of a task, from one `await` that suspends to the next, took at least the threshold. | threshold |
//! | warn | `a slow poll for events held up the loop` | `took` | What a poll for events does besides sleeping took at least the threshold, and a millisecond: the system's call, and wakers of other runtimes. | threshold |
//! | warn | `a slow look-up of a name` | `took`, `host` | The system's resolver took at least the threshold. The loop went on meanwhile. | debug |
//! | warn | `a resource was not closed before its loop` | `resource`, `location` | A transport, a datagram transport or a listening socket of a server was open when its loop closed: asyncio's `ResourceWarning`. Sockets, streams and files that a value owns are closed when it is dropped, at a place that the program shows, and are not warned of. | debug |
//! | warn | `further resources were not closed before their loop` | `further` | How many of those there were after the first twenty. | debug |
//! | warn | `a socket in blocking mode was passed to the loop` | `socket` | A method of the `sock_` family was called with it, and fails with `InvalidInput`. | debug |
//! | warn | `{call} on a connection that is lost` | `location` | A program goes on writing to a transport after five writes that were dropped. | always |
//! | warn | `sendto on an endpoint that is closed` | `location` | The same for datagrams. | always |
//!
//! `took` is in seconds. `location` is where the program created the callback, the task, the connection or the server.
