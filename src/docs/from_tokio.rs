//! For those who come from tokio: what each of its parts is called here, and where the rules differ.
//!
//! A loop is one thread, like tokio's `current_thread` runtime with everything inside a `LocalSet`, and has asyncio's names.
//! Three rules differ and explain the rest:
//!
//! - **Futures need not be `Send`.** Nothing leaves the thread, so an `Rc<RefCell<_>>` is shared between tasks, and a type
//!   that belongs to the loop does not compile on another thread.
//! - **A cancellation is a request.** [`Task::cancel`](crate::Task::cancel) asks, and travels along awaits: what the task
//!   awaits is cancelled first, clean-ups that await are waited for, and the awaiter is told. tokio's `abort` drops the
//!   future at its next await and tells nobody inside.
//! - **A dropped handle cancels nothing.** That is tokio's rule too, but for `JoinSet` and `AbortOnDrop`.
//!
//! # Tasks
//! | tokio | here | what differs |
//! |---|---|---|
//! | `#[tokio::main]`, `Runtime::block_on` | [`run`](crate::run()), [`Runner`](crate::Runner), [`EventLoop::run_until_complete`](crate::EventLoop::run_until_complete) | [`run`](crate::run()) cancels what is left at the end and waits for it. |
//! | `spawn`, `spawn_local`, `LocalSet` | [`create_task`](crate::create_task) | No `Send`, and no set around it: every loop is local. |
//! | `JoinHandle::await` gives `Result<T, JoinError>` | [`Task`](crate::Task) gives `Result<T, TaskError>` | The same two cases: a panic, a cancellation. A panic that nobody retrieves is reported. |
//! | `JoinHandle::abort` | [`Task::cancel`](crate::Task::cancel) | Above. |
//! | `AbortOnDropHandle` | [`Task::cancel_on_drop`](crate::Task::cancel_on_drop) | |
//! | `JoinSet` | [`task_group`](crate::task_group), [`as_completed`](crate::as_completed()), [`wait`](crate::wait()) | A group waits for all children, and cancels the others when one fails. |
//! | `join!`, `try_join!` | [`gather!`](crate::gather!), [`try_gather`](crate::try_gather()) | The futures become tasks. `futures::join!` works as it is. |
//! | `select!` | [`race!`](crate::race!), or `select!` of the `futures` crate as it is | In the order of the arguments, like `biased`. Losers lose nothing: see [`race`](fn@crate::race). |
//! | `yield_now`, `coop::budget` | [`yield_now`](crate::yield_now()) | The budget is the same 128 operations a step; its page lists them. |
//! | `task_local!` | [`ContextVar`](crate::ContextVar) | Inherited by tasks and callbacks. |
//! | `CancellationToken` | [`task_group`](crate::task_group) and `group.cancel()`, [`Event`](crate::sync::Event) | |
//! | `spawn_blocking` | [`to_thread`](crate::to_thread), [`run_in_executor`](crate::run_in_executor()) | A job that has not begun is cancelled when its future is dropped. |
//! | `Handle::spawn` from another thread | [`RemoteHandle::run_coroutine_threadsafe`](crate::RemoteHandle::run_coroutine_threadsafe) | |
//!
//! `spawn_local` and a shared counter:
//!
//! ```
//! use std::cell::Cell;
//! use std::rc::Rc;
//! callsoon::run(async {
//!     let count = Rc::new(Cell::new(0));
//!     let tasks = [1, 2, 3].map(|n| {
//!         let count = Rc::clone(&count);
//!         callsoon::create_task(async move { count.set(count.get() + n) })
//!     });
//!     callsoon::try_gather(tasks).await.unwrap();
//!     assert_eq!(count.get(), 6);
//! }).unwrap();
//! ```
//!
//! `JoinSet` whose first error ends the others, and one that is read in the order of the ends:
//!
//! ```
//! # use std::time::Duration;
//! callsoon::run(async {
//!     let ended = callsoon::task_group(async |group| {
//!         group.create_task(std::future::pending::<Result<(), String>>());
//!         group.create_task(async { Err::<(), _>("disk full".to_owned()) });
//!     });
//!     assert!(ended.await.unwrap_err().to_string().contains("disk full"));
//!
//!     let naps = [20, 10].map(|ms| callsoon::create_task(callsoon::sleep_with(Duration::from_millis(ms), ms)));
//!     let mut ended = callsoon::as_completed(naps);
//!     assert_eq!(ended.next().await.unwrap().await.unwrap(), 10);
//!     assert_eq!(ended.next().await.unwrap().await.unwrap(), 20);
//! }).unwrap();
//! ```
//!
//! `select!` in a loop, with a task that is not lost by losing:
//!
//! ```
//! use std::time::Duration;
//!
//! enum Happened { Item(u32), Over }
//!
//! callsoon::run(async {
//!     let queue = callsoon::Queue::new(0);
//!     queue.put_nowait(1).unwrap();
//!     let mut worker = callsoon::create_task(callsoon::sleep(Duration::from_millis(1)));
//!     let mut sum = 0;
//!     loop {
//!         let item = async { Happened::Item(queue.get().await.unwrap()) };
//!         let over = async { (&mut worker).await.unwrap(); Happened::Over };
//!         match callsoon::race!(item, over).await {
//!             Happened::Item(n) => sum += n,
//!             Happened::Over => break,
//!         }
//!     }
//!     assert_eq!(sum, 1);
//! }).unwrap();
//! ```
//!
//! # Time
//! | tokio | here | what differs |
//! |---|---|---|
//! | `time::sleep`, `sleep_until` | [`sleep`](crate::sleep()), [`sleep_until`](crate::sleep_until) | To the microsecond, and never early. |
//! | `time::timeout`, `timeout_at` | [`timeout`](crate::timeout()), [`timeout_at`](crate::timeout_at) | The deadline cancels what is inside, which may clean up; a `&mut Task` is cancelled, too. |
//! | `time::interval`, `MissedTickBehavior` | [`interval`](crate::interval()), [`MissedTickBehavior`](crate::MissedTickBehavior) | |
//! | `time::pause`, `start_paused` | [`Clock::Virtual`](crate::Clock::Virtual), [`Clock::Manual`](crate::Clock::Manual) | Chosen when the loop is made. An idle loop jumps to its next deadline; jobs in threads and children hold the clock. |
//! | `time::advance` | [`ClockHandle::advance`](crate::ClockHandle::advance), then [`settle`](crate::testing::settle) | Moving the clock runs nothing; settling does. |
//! | `#[tokio::test(start_paused = true)]` | [`testing::run`](crate::testing::run) | What is left at the end fails the test. |
//!
//! ```
//! use std::time::Duration;
//!
//! let event_loop = callsoon::EventLoop::builder().clock(callsoon::Clock::Virtual).build()?;
//! let began = std::time::Instant::now();
//! let late = event_loop.run_until_complete(async {
//!     callsoon::timeout(Duration::from_secs(3600), std::future::pending::<()>()).await
//! });
//! assert!(late.unwrap().is_err());
//! assert!(began.elapsed() < Duration::from_secs(60));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Between tasks
//! | tokio | here | what differs |
//! |---|---|---|
//! | `sync::mpsc` | [`Queue`](crate::Queue) | Many getters, too. `Queue::new(0)` has no bound. It ends by `shutdown`, not by dropping a sender. |
//! | `sync::oneshot` | [`Future`](crate::Future) of [`create_future`](crate::LoopHandle::create_future) | Several may await it. |
//! | `sync::watch` | a `RefCell` and a [`Condition`](crate::sync::Condition) or an [`Event`](crate::sync::Event) | |
//! | `sync::broadcast` | one [`Queue`](crate::Queue) for each receiver | |
//! | `sync::Mutex` | [`sync::Lock`](crate::sync::Lock) | A `RefCell` does where no await is between. |
//! | `sync::Semaphore`, `Barrier` | [`Semaphore`](crate::sync::Semaphore), [`BoundedSemaphore`](crate::sync::BoundedSemaphore), [`Barrier`](crate::sync::Barrier) | |
//! | `sync::Notify` | [`Event`](crate::sync::Event), [`Condition`](crate::sync::Condition) | An event stays set until it is cleared. |
//! | `sync::RwLock` | none | A `RefCell`, or a [`Lock`](crate::sync::Lock). |
//! | any channel between threads | [`RemoteHandle::call_soon_threadsafe`](crate::RemoteHandle::call_soon_threadsafe), [`ThreadFuture`](crate::ThreadFuture), or tokio's and `async-channel`'s own | Wakers work from every thread, so channels of other crates do. |
//!
//! A channel of a bounded size, whose receiver ends when it is shut down:
//!
//! ```
//! use std::rc::Rc;
//! callsoon::run(async {
//!     let queue = Rc::new(callsoon::Queue::new(8));
//!     let sender = Rc::clone(&queue);
//!     let sending = callsoon::create_task(async move {
//!         for n in 0..100 {
//!             sender.put(n).await.unwrap();
//!         }
//!         sender.shutdown(false);
//!     });
//!     let mut sum = 0;
//!     while let Ok(n) = queue.get().await {
//!         sum += n;
//!     }
//!     sending.await.unwrap();
//!     assert_eq!(sum, 4950);
//! }).unwrap();
//! ```
//!
//! `oneshot`, and an answer from another thread:
//!
//! ```
//! callsoon::run(async {
//!     let event_loop = callsoon::get_running_loop();
//!     let answer = event_loop.create_future();
//!     let asked = answer.clone();
//!     callsoon::create_task(async move { asked.set_result(42).unwrap() });
//!     assert_eq!(answer.await.unwrap(), 42);
//!
//!     // On another thread the loop's own types do not compile; `remote` goes there, and coroutines come back.
//!     let remote = event_loop.remote();
//!     let thread = std::thread::spawn(move || {
//!         let asked = remote.run_coroutine_threadsafe(|| async { 6 * 7 });
//!         asked.unwrap().result(None).unwrap()
//!     });
//!     assert_eq!(callsoon::to_thread(move || thread.join().unwrap()).await.unwrap(), 42);
//! }).unwrap();
//! ```
//!
//! # Bytes
//! | tokio | here | what differs |
//! |---|---|---|
//! | `net::TcpStream`, `TcpListener`, `UdpSocket`, `Unix…` | the same names in [`net`](crate::net) | Methods take `&self`, so reading and writing at once needs no split. |
//! | `into_split`, `split` | the same: [`net`](crate::net) | |
//! | `BufReader`, `BufWriter`, `lines` | [`stream`](crate::stream): [`StreamReader`](crate::stream::StreamReader), [`StreamWriter`](crate::stream::StreamWriter); [`lines`](crate::lines()) | [`open_connection`](crate::stream::open_connection) makes both of a `TcpStream`. |
//! | `AsyncRead`, `AsyncBufRead`, `AsyncWrite` | [`PollRead`](crate::PollRead), [`PollBufRead`](crate::PollBufRead), [`PollWrite`](crate::PollWrite) | tokio's own traits by feature `tokio-io`, those of `futures` by feature `futures`. |
//! | `io::copy`, `copy_bidirectional` | [`copy`](crate::copy()), [`copy_bidirectional`](crate::copy_bidirectional()) | They tell how far they came when they are given up. |
//! | `io::duplex`, `tokio_test::io::Builder` | [`duplex`](crate::testing::duplex()), [`Faults`](crate::testing::Faults); [`StreamReader::unconnected`](crate::stream::StreamReader::unconnected) | Errors, delays and short reads are a script, whatever the bytes are. |
//! | `io::unix::AsyncFd` | [`AsyncFd`](crate::AsyncFd), [`add_reader`](crate::LoopHandle::add_reader) | |
//! | `io::stdin`, `stdout` | [`open_read_pipe`](crate::stream::open_read_pipe)`(transport::stdin()?)`, [`open_write_pipe`](crate::stream::open_write_pipe) | Without a thread. |
//! | `fs` | [`fs`](crate::fs) | Fewer functions; errors name the path. |
//! | `process::Command` | [`process::Command`](crate::process::Command), [`create_subprocess_exec`](crate::create_subprocess_exec) | |
//! | `signal::ctrl_c`, `signal::unix` | [`ctrl_c`](crate::ctrl_c), [`signal`](crate::signal()) | [`run`](crate::run()) cancels the main task by itself. |
//! | `net::lookup_host` | [`lookup_host`](crate::net::lookup_host) | |
//! | `console_subscriber`, tokio-console | the same, with [`Builder::task_spans`](crate::Builder::task_spans) | [`docs::events`](crate::docs::events#spans) says how. |
//! | none | [`transport`](crate::transport): protocols by callbacks, with no task for each connection | |
//!
//! A server of streams, and `copy_bidirectional` as it was:
//!
//! ```
//! # callsoon::doctest::run(async {
//! use callsoon::net::{TcpListener, TcpStream};
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let echo = callsoon::create_task(async move {
//!     let (stream, _) = listener.accept().await?;
//!     callsoon::copy(&stream, &stream).await
//! });
//! let stream = TcpStream::connect(address).await?;
//! stream.write_all(b"hello").await?;
//! stream.shutdown(std::net::Shutdown::Write)?;
//! let mut answer = [0; 5];
//! stream.read_exact(&mut answer).await?;
//! assert_eq!(&answer, b"hello");
//! assert_eq!(echo.await??, 5);
//! # Ok(()) });
//! ```
//!
//! # Both at once
//! Libraries that need tokio's runtime, such as `reqwest` and `sqlx`, run in a thread of their own with that runtime, and
//! their answers come back by a [`ThreadFuture`](crate::ThreadFuture) or by any channel: a waker of the loop may be woken
//! from any thread. What needs tokio's traits alone takes a socket of this crate by feature `tokio-io`.
//!
//! ```
//! callsoon::run(async {
//!     let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//!     let (answer, answered) = tokio::sync::oneshot::channel();
//!     let thread = std::thread::spawn(move || runtime.block_on(async {
//!         let _ = answer.send("from tokio");
//!     }));
//!     assert_eq!(answered.await.unwrap(), "from tokio");
//!     thread.join().unwrap();
//! }).unwrap();
//! ```
