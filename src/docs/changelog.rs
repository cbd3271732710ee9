//! What changed in each version, newest first. An entry says what a program can notice. An entry about changed
//! behaviour also says why. Versions follow Cargo's rules: before 1.0 a new minor version may break programs.
//!
//! # 0.1.0, not released yet
//! The first version. It has asyncio's loop, tasks, futures, cancellation, task groups, timeouts, synchronisation,
//! queues, streams, transports, servers, datagrams, pipes, subprocesses, signals, executors, context variables and
//! debug mode.
//!
//! ## Added
//! - [`docs::guide`](crate::docs::guide), a guide by topics. The front page is for users; the order of the modules is on
//!   [`docs::modules`](crate::docs::modules).
//! - [`docs::security`](crate::docs::security): what bounds a hostile peer, what does not, and how to report a vulnerability.
//! - [`docs::tutorials`](crate::docs::tutorials) says which example is which program of asyncio's documentation. Nineteen
//!   examples are new, and all have `--help`.
//! - [`GatherError`](crate::GatherError), [`TryGatherError`](crate::TryGatherError) and `ProcessPoolError` convert into
//!   `io::Error`, and [`docs::errors`](crate::docs::errors) has every type of error. The guide has
//!   [asynchronous generators](crate::docs::guide#asynchronous-generators).
//! - [`future_add_to_awaited_by`](crate::future_add_to_awaited_by): a future of another crate says which task it waits for.
//! - [`Task::report_errors`](crate::Task::report_errors), and the same on the builder: an `Err` that no code reads is reported.
//! - [`docs::system_errors`](crate::docs::system_errors) says what follows each error of a system call, and which test holds
//!   it.
//! - [`docs::errors`](crate::docs::errors) lists the types of errors. Children, bodies of groups and functions of servers may
//!   return `anyhow::Result` and `Box<dyn Error + Send + Sync>`. For that the errors that they return are `Send` and `Sync`, so a
//!   `Box<dyn Error>` does not fit any more; [`GroupError`](crate::GroupError) and
//!   [`FutureError`](crate::FutureError) are `Send` and `Sync` too. `ServeError`, `SignalError`, `GroupError`,
//!   `FutureError` and `ThreadFutureError` convert into `io::Error`. The `Debug` of [`RunError`](crate::RunError) is its
//!   sentence.
//! - Every error of connecting, binding and looking up names the place, as in `cannot connect to 127.0.0.1:1: Connection
//!   refused`. The kind is the system's; the system's number is in the [`ConnectError`](crate::net::ConnectError), the
//!   [`BindError`](crate::transport::BindError) or the [`LookupError`](crate::net::LookupError) inside, no longer in the
//!   `raw_os_error` of the `io::Error`. So do the calls on a [`fs::File`](crate::fs::File) that was opened by its path,
//!   those that send a message to an address ([`SendError`](crate::net::SendError)), TLS handshakes (`HandshakeError`,
//!   which has the error of rustls that was itself inside before), and jobs of process pools, which name the function.
//! - [`LoopMetrics`](crate::LoopMetrics), which was `Metrics`, counts callbacks, steps, wakes, posts, timers, tasks and
//!   sources too, and [`since`](crate::LoopMetrics::since) gives the difference. With
//!   [`Builder::metrics`](crate::Builder::metrics) a loop has histograms: [`Latencies`](crate::Latencies).
//! - [`Builder::task_spans`](crate::Builder::task_spans) makes `tracing` spans of tasks, turns, calls and polls, as
//!   tokio-console's subscriber wants them: [`docs::events`](crate::docs::events#spans) lists them.
//! - Debug mode names a loop that woke up late for a timer, and subprocess transports that were open when their loop closed.
//! - Debug mode is heard without a `tracing` subscriber, on standard error, and names slow polls for events, blocking
//!   sockets and what was not closed before its loop: [`docs::events`](crate::docs::events) lists all events. A threshold
//!   that the program sets reports slow callbacks and steps without debug mode. Callbacks of other threads are measured too.
//! - [`PollRead`](crate::PollRead), [`PollBufRead`](crate::PollBufRead) and [`PollWrite`](crate::PollWrite): sockets, their
//!   halves and the two ends of a stream are read and written by poll functions too. Listeners, datagrams, `AsyncFd`,
//!   intervals, signals and `as_completed` have poll functions.
//! - [`shield`](crate::shield()) and [`as_completed`](crate::as_completed()) take boxed futures too, of which they make tasks:
//!   [`IntoShielded`](crate::IntoShielded), [`IntoTask`](crate::IntoTask). A list without items has to name its type. The macros
//!   [`shield!`](crate::shield!) and [`as_completed!`](crate::as_completed!) make a task of any other future too. `as_completed`
//!   is an iterator of futures as well: [`EachCompleted`](crate::EachCompleted).
//! - [`create_subprocess_exec`](crate::create_subprocess_exec) takes `[]`: its arguments are
//!   [`IntoArgs`](crate::process::IntoArgs). Of other collections they are `iter()` now.
//! - [`try_create_datagram_endpoint`](crate::LoopHandle::try_create_datagram_endpoint),
//!   [`try_subprocess_exec`](crate::LoopHandle::try_subprocess_exec) and
//!   [`try_subprocess_shell`](crate::LoopHandle::try_subprocess_shell) take a factory that may fail.
//! - [`File::seek`](crate::fs::File::seek), and the `AsyncSeek` of tokio and of the futures crates. With the feature
//!   `futures`, `Queue::into_items` is a stream that owns its queue.
//! - [`Task::wait`](crate::Task::wait) waits for a task's end and leaves the result in the task.
//! - The factory of [`create_datagram_endpoint`](crate::LoopHandle::create_datagram_endpoint) may borrow.
//! - [`join`](crate::stream::join) makes one byte stream of a reader and a writer.
//! - Feature `futures`: futures-io's traits for byte streams, `Stream` for ticks, clients, signals, lines, tasks that
//!   end and the items of a queue, `Sink` for a queue. Feature `tokio-io`: tokio's traits for byte streams.
//! - Feature `hyper`: `interop::hyper` has hyper's traits for bytes, timers and tasks, so that its HTTP/1 and HTTP/2 run
//!   on this loop, plain and over TLS, with services and bodies that are not `Send`.
//! - [`docs::tokio_beside`](crate::docs::tokio_beside) says which crates of tokio's ecosystem work here.
//! - Feature `tls`: `ssl` on everything that connects or listens, `start_tls` and `tls_info`, by rustls. What
//!   `tls_info` says stays after the connection's end. Feature `tls-native-roots` trusts what the system trusts.
//! - [`CancelHandle`](crate::CancelHandle): any thread cancels a task or a future.
//! - [`ThreadsafeHandle::cancelled`](crate::ThreadsafeHandle::cancelled) says whether a cancel prevented the call.
//! - [`exception_handler`](crate::LoopHandle::exception_handler) returns the handler that is set, so that it can be
//!   wrapped.
//! - Sockets are bound, connected and sent to by everything that names an address: texts, names and lists.
//! - [`ReadError::Failed`](crate::stream::ReadError::Failed) has the bytes that arrived before a connection failed.
//! - [`BufferedProtocol::buffer_unused`](crate::transport::BufferedProtocol::buffer_unused) tells a protocol that a
//!   buffer which it has lent is not needed, so that it can be freed.
//! - [`copy`](crate::copy()) and [`copy_bidirectional`](crate::copy_bidirectional()) take bytes from one stream to another;
//!   [`lines`](crate::lines()) and [`StreamReader::lines`](crate::stream::StreamReader::lines) cut them into lines.
//! - [`fs`](crate::fs) reads and writes files in threads, with errors that name the path.
//! - [`race`](crate::race()) and [`race!`](crate::race!) give the value of the first of several futures.
//! - [`StreamReader::unconnected`](crate::stream::StreamReader::unconnected) makes a reader that a program feeds itself, so
//!   that a parser is tested without a socket.
//! - Files have the traits for byte streams of the features `futures` and `tokio-io`. Tasks and sleeps are `FusedFuture`s
//!   under the feature `futures`, so that `select!` of that crate takes them as they are.
//! - A slice of bytes is a [`PollBufRead`](crate::PollBufRead), and a `Vec` is a [`PollWrite`](crate::PollWrite).
//! - A `TcpStream` or `UnixStream` of `net` goes on as a reader and a writer: `open_connection` takes it.
//! - [`TaskError`](crate::TaskError), [`ExecutorError`](crate::ExecutorError) and [`RunError`](crate::RunError) become an
//!   `io::Error` by `?`.
//! - [`testing`](crate::testing): tests on a virtual clock that fail if they leave something behind, byte streams in memory
//!   that fail as told, shuffled orders, and traces.
//! - [`Clock::Manual`](crate::Clock::Manual) and [`LoopHandle::clock`](crate::LoopHandle::clock): the program moves the
//!   time, stops it, and holds it while real I/O runs. [`Builder::shuffle`](crate::Builder::shuffle).
//! - [`capture_call_graph`](crate::capture_call_graph), [`format_call_graph`](crate::format_call_graph) and
//!   [`print_call_graph`](crate::print_call_graph) say who awaits a task; [`task_infos`](crate::LoopHandle::task_infos),
//!   [`snapshot`](crate::LoopHandle::snapshot) and [`dump`](crate::LoopHandle::dump) what each task waits for, and which wait
//!   for one another in a circle. [`Builder::inspect`](crate::Builder::inspect) keeps notes for that, and
//!   [`Builder::inspector`](crate::Builder::inspector) answers over a Unix socket, also while the loop is busy.
//! - [`Task::shared`](crate::Task::shared): several places await one task, and read its result as often as they like.
//! - [`Task::exception`](crate::Task::exception), `set_name` on a task, the `context` of a task, and `event_loop` on tasks,
//!   futures and handles.
//! - [`Failure`](crate::Failure) of a task group has the id of the child's task: [`task_id`](crate::Failure::task_id). The
//!   report of a client's failure in [`start_server`](crate::stream::start_server) has the task.
//! - [`ExceptionContext`](crate::ExceptionContext) has the task, the transport, the future and the callback that failed. If
//!   the handler panics, the default handler gets one report, which has what the handler was told of. Before, it got two.
//!   If the default handler panics as well, as by a subscriber, stderr gets a line.
//! - [`call_soon_in`](crate::LoopHandle::call_soon_in) and its siblings run callbacks in a given context.
//! - Context variables are set and contexts entered outside a loop too, in the context of the thread, of which loops hand
//!   on copies. Before, that was a panic.
//! - A [`Panicked`](crate::Panicked) and a [`TaskError`](crate::TaskError) can be cloned.
//! - [`docs::from_tokio`](crate::docs::from_tokio) is a page for those who come from tokio.
//! - For hosts that embed a loop: [`WaitHooks`](crate::WaitHooks) release a lock around the sleep and hear of signals;
//!   [`stop_now`](crate::LoopHandle::stop_now) leaves in mid-batch; [`guest`](crate::EventLoop::guest) before the first turn;
//!   [`next_deadline`](crate::LoopHandle::next_deadline); [`HandleId`](crate::HandleId) and `cancel_by_id`;
//!   [`pending_callbacks`](crate::LoopHandle::pending_callbacks) and
//!   [`pending_timers`](crate::LoopHandle::pending_timers).
//! - [`Server::with_sockets`](crate::transport::Server::with_sockets) lends the listening sockets;
//!   [`family`](crate::transport::CreateServer::family) of a server;
//!   [`try_create_server`](crate::LoopHandle::try_create_server) for factories that fail, and for those of clients
//!   [`try_create_connection`](crate::LoopHandle::try_create_connection) and its siblings;
//!   [`wrote_eof`](crate::transport::Transport::wrote_eof); [`BindError`](crate::transport::BindError) has the system's
//!   number; [`abstract_name`](crate::transport::Address::abstract_name) of an address.
//!
//! ## Changed: names
//! - `Lock`, `Event`, `Condition`, `Semaphore`, `BoundedSemaphore` and `Barrier` are at the root too, as `Queue` is.
//! - `Process::id` is [`pid`](https://docs.rs/callsoon/latest/callsoon/process/struct.Process.html#method.pid). The getters of
//!   transports lose their `get_`: [`write_buffer_size`](crate::transport::Transport::write_buffer_size),
//!   [`write_buffer_limits`](crate::transport::Transport::write_buffer_limits) and
//!   [`protocol`](crate::transport::Transport::protocol).
//!
//! ## Changed: transports
//! - [`write`](crate::transport::Transport::write), `try_write` and [`StreamWriter::write`](crate::stream::StreamWriter::write)
//!   take strings, arrays and vectors too, as `writelines` does. A value that only dereferences to bytes is given as
//!   `&value[..]`.
//! - [`StreamFeeder::feed_data`](crate::stream::StreamFeeder::feed_data) after the end returns an error and panics no more.
//! - [`write`](crate::transport::Transport::write) after `write_eof` goes to the exception handler and panics no more, and
//!   [`try_write`](crate::transport::Transport::try_write) returns an error: in which order a program calls is often decided by a
//!   peer.
//! - [`sockname`](crate::transport::Transport::sockname) is kept after the connection is lost, as in asyncio.
//! - `add_reader` of a regular file fails with the system's own `EPERM`, whose number was lost before.
//!
//! ## Changed: tasks and cancellation
//! - Tasks that await each other in a circle end when one of them is cancelled: one of the awaits gives
//!   [`TaskError::AwaitsItself`](crate::TaskError::AwaitsItself). Before, they waited for ever.
//! - An item of a queue or bytes of a stream are no longer lost when the await that took them is cancelled in the same
//!   turn.
//! - A request of a task group or a timeout is kept until the code inside has answered. Before, a group or a timeout
//!   that was not polled at that moment could wait for ever, or could end its body without a clean-up.
//! - When one attempt of [`staggered_race`](crate::net::staggered_race) wins, the others are cancelled and awaited.
//!   Before, they were dropped, and a clean-up that awaits did not run.
//! - [`for_each_limit`](crate::for_each_limit) takes no more items once a child has failed, even if another child ends
//!   in the same turn.
//! - A child of [`gather`](crate::gather()) that cancels itself and returns is a failure at once.
//! - [`wait_for`](crate::wait_for) returns a result that was set before the task noticed the deadline. Before, that
//!   result was lost.
//! - The first of equal nested timeouts that ends is the outermost one, on every clock.
//! - Identities of tasks, timers and scopes do not recur, however long a loop runs.
//!
//! ## Changed: fairness
//! - Every operation whose outcome the outside world decides takes from a budget of 128 operations a step, whether it
//!   succeeds or fails. So a loop over writes that fail, names that need no look-up or jobs that are refused lets other
//!   tasks run, and timeouts fire. [`yield_now`](crate::yield_now) has the list.
//! - An eager task uses the budget of the step that creates it.
//! - `get`, `put` and `join` of a queue that was shut down, and [`Barrier::wait`](crate::sync::Barrier::wait) of a
//!   broken barrier, take from the budget too. `wait_vacancy` of a group that is shutting down suspends until the next
//!   turn.
//! - A datagram to a receiver whose buffer is full is retried after 1 to 64 ms, doubling each time. Before, the loop
//!   was busy until the receiver had room.
//!
//! ## Changed: queues
//! - A [`QueueStore`](crate::queue::QueueStore) may change its length by more than one. Every waiter that can continue
//!   is woken.
//! - A `get` that finds no item in a store waits on. Before, it said that the queue was shut down.
//! - [`Queue::join`](crate::Queue::join) also ends when the queue is empty and everything that was taken was reported.
//!
//! ## Changed: sockets, transports and streams
//! - Regular files are ends of pipes, as standard input and output often are:
//!   [`connect_read_pipe`](crate::LoopHandle::connect_read_pipe), [`open_read_pipe`](crate::stream::open_read_pipe) and
//!   their counterparts for writing take them. Before, they were `InvalidInput`.
//! - The traits `StreamKind` and `DatagramKind` of [`net`](crate::net) are withdrawn, which no program could implement. Code
//!   for streams of either kind takes [`SocketStream<K>`](crate::net::SocketStream) without a bound.
//! - `accept` of [`net`](crate::net) and servers of [`transport`](crate::transport) pause for one second, as asyncio
//!   does, when no descriptor is left. Before, `net` paused for half a second.
//! - Errors of `accept` that are about one client, such as `EPERM` or `EPROTO`, skip that client. After 100 failures in
//!   a row the listener pauses.
//! - A connect to a Unix listener whose queue is full is retried after 1 to 64 ms, doubling each time. Before,
//!   transports retried each 5 ms.
//! - A transport reads its first byte when the caller has its connection. So `set_protocol` and `pause_reading` right
//!   after `create_connection` are in time.
//! - When a write fails, the bytes that the peer had sent before are still delivered, then the failure. Before, they
//!   were lost.
//! - A stream gives the bytes that arrived, then the error, then the end. Before, the error came first and the bytes
//!   were lost.
//! - [`set_linger`](crate::net::TcpStream::set_linger) and keep-alive times are rounded up to whole seconds. Before, a
//!   linger of less than a second became a reset. Keep-alive times of zero and of more than 32,767 seconds are refused.
//! - A server on a Unix path says that it serves only if its socket is still at that path: `AddrInUse` if another
//!   server has taken it, `NotFound` if it is gone.
//! - A Unix address may fill all 108 bytes of its field. Before, such a client ended the loop by a panic.
//! - A panic in the socket layer ends its connection and not the loop.
//! - A receive buffer that grew in a burst is given back when the burst is over.
//! - An endpoint whose remote address is `0.0.0.0` may be given that address in `sendto`.
//! - A name that consists of digits is found in the hosts file.
//! - The non-blocking mode of a terminal or pipe that other processes share is not changed any more, and the loop does
//!   not block when another process changes it.
//!
//! ## Changed: processes
//! - `communicate` reads everything from a child that writes packets (`O_DIRECT`). Before, it could hang.
//! - A write to a pipe or by `sendfile` raises no SIGPIPE, even if the program sets another disposition while it runs.
//!
//! ## Changed: shutdown and reports
//! - A loop that closes names each pending task in a report, "Task was destroyed but it is pending!", as asyncio does.
//! - A second [`shutdown_default_executor`](crate::LoopHandle::shutdown_default_executor), `shutdown_async_drops` or
//!   shutdown of a process pool waits for what an earlier one was waiting for when it was dropped.
//! - A [`Runner`](crate::Runner) keeps its context when a run is stopped, cancelled or panics.
//! - A shutdown timeout beyond the end of the clock, such as `Duration::MAX`, is no limit.
//! - A failure is not reported if the task, future or job was cancelled after it: the caller has said that it needs no
//!   result.
//! - If the exception handler panics, the default handler receives both failures. Panics of initializers, wakers,
//!   resolvers and destructors are reported; before, some were dropped.
//! - The warning of a slow step has a field `task` with the task's name.
//! - A report about a task runs in the task's context, and names the caller's place for tasks that a combinator
//!   creates.
//!
//! ## Changed: costs
//! - A callback that captures at most 24 bytes needs no memory of its own.
//! - The memory of ended tasks is used again for new ones. What a burst of tasks, callbacks, timers or connections has
//!   needed is given back to the allocator when the loop is idle, but for the room that
//!   [`Builder::capacity`](crate::Builder::capacity) asked for.
//! - Of many thousands of timers each fires in less time: most of it was spent waiting for memory, which is now asked for
//!   ahead.
//! - A wait that is given up, and a done callback that is removed, leave their lists in constant time. Before, 100,000 of
//!   them in random order took half a second.
//! - A [`CallbackId`](crate::CallbackId) of another loop removes nothing. Before, it could remove another callback.
//! - After many posts at once the loop waits up to 10 µs for more before it sleeps.
//! - [`read`](crate::stream::StreamReader::read), [`drain`](crate::stream::StreamWriter::drain) and some other methods
//!   return `impl Future` instead of being `async fn`s, and are smaller. They do nothing before the first poll, as before.
//!
//! ## Changed: names
//! - [`LoopMetrics::event_polls`](crate::LoopMetrics::event_polls) was `looks`.
//!
//! ## Changed: systems
//! - The compiler refuses a system for which the crate has never been compiled, such as Windows, with a message.
//! - The crate compiles for FreeBSD again.
//! - A buffer whose size the program or a peer decides is reserved before it is filled. A lack of memory is an error of
//!   that operation.
//! - Types that only the crate itself can use are no longer public.
