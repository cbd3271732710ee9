//! The guide: what a program needs to know, topic by topic. Each topic names the items whose documentation has the rest.
//!
//! # A program
//! [`run`](crate::run()) makes a loop, runs one future on it, and closes it: what is left is cancelled and awaited first.
//! [`Runner`](crate::Runner) does the same for several futures on one loop, and an [`EventLoop`](crate::EventLoop) is for
//! those who decide each step themselves.
//!
//! `run` gives the future's value, or [`RunError`](crate::RunError): the loop could not be made, or Ctrl-C came. A panic of
//! the future passes through it.
//!
//! # Tasks
//! [`create_task`](crate::create_task) runs a future beside the caller. Its first step is in the next turn of the loop. The
//! future need not be `Send`, so tasks share what they have by `Rc` and `Cell`.
//!
//! Awaiting a [`Task`](crate::Task) gives a `Result`: the future's value, or a [`TaskError`](crate::TaskError), which says
//! that the task was cancelled or panicked. A future that returns a `Result` itself gives one inside the other, and `??`
//! takes both off.
//!
//! ```
//! use callsoon::{TaskError, create_task};
//!
//! async fn half(n: u32) -> Result<u32, String> {
//!     (n % 2 == 0).then_some(n / 2).ok_or(format!("{n} is odd"))
//! }
//!
//! callsoon::run(async {
//!     let task = create_task(half(8));
//!     assert_eq!(task.await??, 4);
//!     let odd = create_task(half(7)).await?;
//!     assert_eq!(odd.unwrap_err(), "7 is odd");
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })
//! .unwrap()
//! .unwrap();
//! ```
//!
//! - The loop owns a task. Dropping the handle neither cancels it nor loses anything; only
//!   [`cancel`](crate::Task::cancel) ends it early. [`cancel_on_drop`](crate::Task::cancel_on_drop) is the other rule.
//! - A panic ends its task and nothing else. It is the error of the code that awaits the task. If none does, it is
//!   reported when the last handle is dropped.
//! - An `Err` is a value. Of a task that nobody awaits it is dropped without a word, unless
//!   [`report_errors`](crate::Task::report_errors) was called on the task or its builder: then it is reported.
//! - [`task_builder`](crate::task_builder) gives a name, a context, or an eager first step.
//!   [`yield_now`](crate::yield_now()) lets all others run first.
//!
//! A task runs until it awaits something that is not ready. Nothing else runs meanwhile, so a long computation belongs in a
//! [thread](#threads). Sockets, pipes and processes end at most 128 operations in one step, then other tasks run.
//!
//! # Cancellation
//! [`Task::cancel`](crate::Task::cancel) asks a task to end. At its next step its future is dropped, and its destructors
//! clean up. The awaiter gets [`TaskError::Cancelled`](crate::TaskError::Cancelled).
//!
//! Clean-up that has to await is written with [`catch_cancelled`](crate::catch_cancelled). It is asyncio's
//! `except CancelledError`, and [`Cancelled::resume`](crate::Cancelled::resume) is its `raise`:
//!
//! ```
//! use std::time::Duration;
//!
//! use callsoon::testing::{self, Trace};
//! use callsoon::{catch_cancelled, create_task, sleep};
//!
//! let trace = Trace::new();
//! testing::run(async {
//!     let t = trace.clone();
//!     let worker = create_task(async move {
//!         if let Err(cancelled) = catch_cancelled(sleep(Duration::from_secs(3600))).await {
//!             t.push("cleaning up");
//!             sleep(Duration::from_secs(1)).await;
//!             t.push("clean");
//!             cancelled.resume().await
//!         }
//!     });
//!     sleep(Duration::from_secs(1)).await;
//!     worker.cancel_with("enough");
//!     trace.push(worker.await.unwrap_err().to_string());
//! });
//! trace.expect(["cleaning up", "clean", "the task was cancelled: enough"]);
//! ```
//!
//! - A task that awaits another one passes the request on to it first. [`shield`](crate::shield()) keeps a task out of it.
//! - Time limits, groups and `gather` are cancelled from the inside out. Each waits for what is inside it.
//! - To drop a future that is no task cancels it at once: all futures of this crate may be dropped between polls, and then
//!   hold nothing. Which of them lose something is said under "Cancellation" of each.
//! - A function whose every path must finish runs as a task behind `shield`.
//!
//! # Waiting for several things
//! | to get | use | if one fails | if the waiter is cancelled |
//! |---|---|---|---|
//! | all values, in order | [`gather`](crate::gather()), [`gather!`](crate::gather!) | its failure at once; the others run on | all are cancelled and awaited |
//! | all values, or the first `Err` | [`try_gather`](crate::try_gather()) | the others are cancelled and awaited | the same |
//! | each one's result | [`Gather::settled`](crate::Gather::settled) | goes on | the same |
//! | a scope that no child outlives | [`task_group`](crate::task_group) | the others and the body are cancelled; every failure is given | the same |
//! | many items, a few at a time | [`for_each_limit`](crate::for_each_limit) | as a group | the same |
//! | results as they come | [`as_completed`](crate::as_completed()) | is one of the results | the tasks run on |
//! | some of my tasks | [`wait`](crate::wait()) | as its mode says | the tasks run on |
//! | the first value | [`race`](crate::race()), [`race!`](crate::race!) | the value may be a `Result` | all are dropped |
//!
//! A child of `gather` *fails* when it panics or is cancelled. An `Err` is a value there, and a failure of `try_gather`, of a
//! group and of [`Gather::fail_fast`](crate::Gather::fail_fast). A child of a group that other code cancels is no failure.
//!
//! [`timeout`](crate::timeout()) limits whatever it is given, and waits until that has cleaned up:
//!
//! ```
//! use std::time::Duration;
//!
//! use callsoon::{gather, sleep_with, testing, timeout};
//!
//! testing::run(async {
//!     let naps = gather([3, 1, 2].map(|s| sleep_with(Duration::from_secs(s), s)));
//!     assert_eq!(timeout(Duration::from_secs(10), naps).await.unwrap().unwrap(), [3, 1, 2]);
//!     let late = timeout(Duration::from_secs(1), sleep_with(Duration::from_secs(2), "late"));
//!     assert!(late.await.is_err());
//! });
//! ```
//!
//! Between tasks: [`Queue`](crate::Queue) for items, the primitives of [`sync`](crate::sync) for turns, and a
//! [`Future`](crate::Future) for one value that some callback sets. None of them takes a limit of time; put `timeout`
//! around it, and nothing is lost.
//!
//! # Asynchronous generators
//! An `async def` with a `yield` is a `Stream` here, of the crate `futures-util`: `stream::unfold` makes it, `next` is
//! `async for`, and its adapters are the comprehensions. It needs no feature of this crate.
//!
//! ```
//! use std::pin::pin;
//! use std::time::Duration;
//!
//! use callsoon::{sleep, testing};
//! use futures_util::stream::{self, Stream, StreamExt as _};
//!
//! fn powers_of_two(count: u32) -> impl Stream<Item = u64> {
//!     stream::unfold(0, move |n| async move {
//!         if n == count {
//!             return None;
//!         }
//!         sleep(Duration::from_secs(1)).await;
//!         Some((1 << n, n + 1)) // the value, and the state for the next one
//!     })
//! }
//!
//! testing::run(async {
//!     let mut sum = 0;
//!     let mut powers = pin!(powers_of_two(4));
//!     while let Some(power) = powers.next().await {
//!         sum += power;
//!     }
//!     assert_eq!(sum, 15);
//!     assert_eq!(powers_of_two(3).map(|power| power + 1).collect::<Vec<_>>().await, [2, 3, 5]);
//! });
//! ```
//!
//! A generator that has to work ahead of its reader, or that several tasks read, is a task with a
//! [`Queue`](crate::Queue), as in the example `generator`.
//!
//! # Callbacks
//! [`get_running_loop`](crate::get_running_loop) gives the [`LoopHandle`](crate::LoopHandle), with
//! [`call_soon`](crate::LoopHandle::call_soon), [`call_later`](crate::LoopHandle::call_later) and
//! [`call_at`](crate::LoopHandle::call_at). Callbacks and steps of tasks are in one queue, first in, first out. A callback
//! may do anything, also stop the loop; one that panics is reported, and the loop goes on.
//!
//! # I/O on three levels
//! | level | for | a connection is |
//! |---|---|---|
//! | [`stream`](crate::stream) | code that reads lines and parts from top to bottom, as in asyncio | a task, a buffer for each direction |
//! | [`net`](crate::net) | code that brings its own buffers, as Rust users know it | a task |
//! | [`transport`](crate::transport) | protocols by callbacks: the least memory, the least work a message | a protocol |
//!
//! All three take host names, and sockets that exist. [`AsyncFd`](crate::AsyncFd) and
//! [`add_reader`](crate::LoopHandle::add_reader) are for descriptors of other kinds, [`fs`](crate::fs) for files, and the
//! features `futures` and `tokio-io` for the crates of others.
//!
//! ```
//! callsoon::run(async {
//!     let server = callsoon::start_server(
//!         async |mut reader, writer| {
//!             let mut lines = reader.lines();
//!             while let Some(line) = lines.next_line().await? {
//!                 writer.write(&line.to_ascii_uppercase());
//!                 writer.drain().await?;
//!             }
//!             Ok::<(), std::io::Error>(())
//!         },
//!         ("127.0.0.1", 0),
//!     )
//!     .await?;
//!     let (mut reader, writer) = callsoon::open_connection(server.local_addr().unwrap()).await?;
//!     writer.write(b"hello\n");
//!     assert_eq!(reader.readline().await?, b"HELLO\n");
//!     Ok::<(), std::io::Error>(())
//! })
//! .unwrap()
//! .unwrap();
//! ```
//!
//! - What is dropped is closed: a server stops listening, a writer ends its connection. Keep it in an `Rc` where several
//!   tasks need it.
//! - A read that is dropped has taken nothing. What arrived before an error is delivered before the error.
//! - `write` never waits. [`drain`](crate::stream::StreamWriter::drain) waits while the peer does not keep up, and a
//!   program that sends much has to call it.
//!
//! # Threads
//! A loop and what belongs to it stay on one thread; the compiler refuses everything else.
//!
//! - [`to_thread`](crate::to_thread) runs a blocking function in a pool, and is awaited.
//! - A [`RemoteHandle`](crate::RemoteHandle) is the loop for other threads:
//!   [`call_soon_threadsafe`](crate::RemoteHandle::call_soon_threadsafe) posts a callback, and
//!   [`run_coroutine_threadsafe`](crate::RemoteHandle::run_coroutine_threadsafe) a coroutine, whose result the thread may
//!   block for.
//! - A [`CancelHandle`](crate::CancelHandle), which a task or a future makes, cancels it from any thread.
//! - Every waker may be woken from any thread, so channels of other crates work.
//!   [`wrap_future`](crate::wrap_future()) awaits here what another loop runs.
//! - Several loops on several threads know nothing of each other. The example `multicore_echo` has one a core.
//!
//! # Testing
//! [`testing`](crate::testing) runs a test on a virtual clock, where an hour takes a microsecond, and fails it for whatever
//! it leaves behind: tasks, timers, descriptors, threads, children. It also has streams in memory that fail as they are
//! told, a clock that is moved by hand, and an order of tasks that is shuffled by seed.
//!
//! # Debugging
//! - `CALLSOON_DEBUG=1` says which callbacks and steps were slow, what was never retrieved, and what was never closed.
//!   [`docs::events`](crate::docs::events) lists all of it. It is said through `tracing`, or on standard error.
//! - The [exception handler](crate::LoopHandle::set_exception_handler) is told of every failure that no code receives.
//! - [`print_call_graph`](crate::print_call_graph) and [`LoopHandle::dump`](crate::LoopHandle::dump) say what each task
//!   waits for, and name circles of tasks. With [`Builder::inspector`](crate::Builder::inspector) another process asks:
//!   `cargo run --example inspect -- pstree PATH`.
//! - [`LoopMetrics`](crate::LoopMetrics) counts; with [`Builder::metrics`](crate::Builder::metrics) there are histograms of
//!   how long what was ready has waited.
//! - [`Builder::task_spans`](crate::Builder::task_spans) shows tasks to tokio-console, and to traces.
