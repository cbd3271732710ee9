//! Every event that the crate sends through `tracing`, in one table, and every [span](#spans) in another. The events of
//! the first have the target `callsoon`.
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
//! | warn | `the loop woke up late for a timer` | `late` | The loop slept, and the system let it run only when its earliest timer had been due for the threshold, and a millisecond: the process was stopped, or other programs had the processor. Of a timer that was due before the loop slept, the call that held up the loop is the event. | threshold |
//! | warn | `a slow look-up of a name` | `took`, `host` | The system's resolver took at least the threshold. The loop went on meanwhile. | debug |
//! | warn | `a resource was not closed before its loop` | `resource`, `location` | A transport, a datagram transport, a subprocess transport or a listening socket of a server was open when its loop closed: asyncio's `ResourceWarning`. Sockets, streams and files that a value owns are closed when it is dropped, at a place that the program shows, and are not warned of. | debug |
//! | warn | `further resources were not closed before their loop` | `further` | How many of those there were after the first twenty. | debug |
//! | warn | `a socket in blocking mode was passed to the loop` | `socket` | A method of the `sock_` family was called with it, and fails with `InvalidInput`. | debug |
//! | warn | `{call} on a connection that is lost` | `location` | A program goes on writing to a transport after five writes that were dropped. | always |
//! | warn | `sendto on an endpoint that is closed` | `location` | The same for datagrams. | always |
//! | debug | `a connection begins` | `peer`, `location` | Before `connection_made` of a transport: of one that connects, and of one that a server has accepted. | debug |
//! | debug | `a process was started` | `pid` | A child process was started. | debug |
//! | debug | `a process has exited` | `pid`, `status` | It has ended and was reaped. | debug |
//!
//! An event of the level debug is for subscribers: without one there is no line. `took` and `late` are in seconds. `location` is where the program created the callback, the task, the connection or the server.
//!
//! # Spans
//! With [`Builder::task_spans`](crate::Builder::task_spans) a loop makes these spans, all of the level `TRACE`. A span is
//! entered and left on the loop's thread, and they nest. A failure or a slow step is an event inside the span of the call
//! that it is about. Without a subscriber that wants them none is made, and without the setting they cost nothing.
//!
//! | target | name | fields | when it is entered |
//! |---|---|---|---|
//! | `callsoon::loop` | `turn` | `number` | For each turn of the loop, from its first poll or call to the first of the next turn. |
//! | `callsoon::loop` | `poll` | none | For each poll for events. What it makes ready is queued inside. |
//! | `callsoon::loop` | `wait` | none | In a poll, while nothing is ready: the part in which the loop may sleep. |
//! | `callsoon::loop` | `call` | `kind`, `what`, `loc.file`, `loc.line`, `loc.col` | For each callback and each call of a protocol, a listener or a signal handler. `kind` is that of [`CallKind`](crate::CallKind::name), `what` is `callback`, `listener`, or the name of the protocol's method, and the place is where it was created. |
//! | `tokio::task` | `runtime.spawn` | `kind`, `task.name`, `task.id`, `loc.file`, `loc.line`, `loc.col` | For each step of a task. It lives as long as the task and has no parent. `kind` is `task`, or `block_on` for the future of `run_until_complete`. `task.name` is the name when the span is made, and [`TaskRef::set_name`](crate::TaskRef::set_name) records another; `task.id` the number in `Task-<n>`, and the place is where the task was created. |
//! | `tokio::task::waker` | `an event` | `op`, `task.id` | An event without a message; `task.id` is the id of the task's span. `op` is `waker.clone` where the step of a task ends that then waits for a wake, `waker.wake` for that wake, and `waker.wake_by_ref` for a wake of a task that is new or running, and of the main future. So a task that waits has one waker, which is no count of the copies: wakers are keys here, and copies of a key are not seen. |
//!
//! The last two are those of tokio's own tasks, so that tokio-console and other tools for them show a program of this crate
//! too: add `console_subscriber::spawn()` to the program's subscriber, compile with
//! `RUSTFLAGS="--cfg console_without_tokio_unstable"`, and connect `tokio-console`.
//!
//! Wakers here are numbers: to clone or drop one does nothing, and no such event is sent. What a call has spawned and woken
//! is told at its end, before its span is left, and what a poll has woken at the end of that; so a task that wakes itself
//! is seen to do so, and a task is as old as the end of the call that spawned it. A wake of a task that is queued already
//! changes nothing, and is not told.
//!
//! The example `trace` writes them as a trace that Perfetto and Chrome show.
