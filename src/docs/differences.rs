//! Every deviation from asyncio, in one table. What is not listed here is meant to behave as asyncio's documentation
//! says; a difference that is missing is a fault, of the code or of this page.
//!
//! # The loop
//! | here | asyncio | why |
//! |---|---|---|
//! | An [`EventLoop`](crate::EventLoop) is owned: `run_*` and `close` exist on the owner only, and dropping it closes it. [`LoopHandle`](crate::LoopHandle) is what is passed around. | Any reference can run or close the loop. | A loop that is closed while others use it is found by the compiler, not by a user. |
//! | Timers have microsecond precision, run in the order of (deadline, creation), and never early. | Equal deadlines run in any order; a timer within the clock's resolution is run early. | Tests can assert an order. |
//! | The loop polls for events by time while work is ready, not in every turn. [`Builder::event_interval`](crate::Builder::event_interval)`(1)` gives asyncio's rule. | `select` is called in every turn. | A poll costs as much as thirty callbacks. |
//! | A program that sets [`slow_callback_duration`](crate::Builder::slow_callback_duration) is told of slow callbacks and steps without debug mode too. | Debug mode only. | A threshold is set to be heard. |
//! | In debug mode what was not closed is named when its loop closes, not when it is dropped: see [`docs::events`](crate::docs::events). | `ResourceWarning` at garbage collection. | A dropped transport goes on until its connection ends; the loop's end is a known time. |
//! | Of more than twenty tasks that are pending when their loop closes, the others are counted, unless there is an exception handler. | One line each. | 100,000 lines help nobody. |
//! | What asyncio's debug mode checks at run time (a call from a wrong thread) does not compile. For other threads there is [`RemoteHandle`](crate::RemoteHandle). | An error in debug mode, and a race without it. | `!Send` types. |
//! | Another thread cancels by a [`CancelHandle`](crate::CancelHandle), made where the task or future is. | `call_soon_threadsafe(task.cancel)`. | Tasks and futures are `!Send`. |
//! | [`ThreadsafeHandle::cancel`](crate::ThreadsafeHandle::cancel) returns whether it prevented the call. | `cancel` returns nothing. | Exactly one of "ran" and "cancelled" is true, on every thread. |
//! | There is no task factory. [`set_task_hook`](crate::LoopHandle::set_task_hook) is called for every new task. | `set_task_factory`. | No factory could make a typed task of every future. Eager tasks: [`TaskBuilder::eager`](crate::TaskBuilder::eager). |
//! | A loop works in guest mode: [`EventLoop::turn`](crate::EventLoop::turn) and a descriptor let another loop drive it. | No counterpart. | Embedding in a GUI's loop. |
//! | A host leaves a run in mid-batch by [`stop_now`](crate::LoopHandle::stop_now), and what is left runs first in the next run. | `SystemExit` and `KeyboardInterrupt` in a callback do this. | No exception passes through the loop. |
//! | [`WaitHooks`](crate::WaitHooks) release and take a host's lock around the sleep. | `select` does so for the interpreter's lock. | The loop does not know which lock a host has. |
//! | [`pending_callbacks`](crate::LoopHandle::pending_callbacks), [`pending_timers`](crate::LoopHandle::pending_timers), [`next_deadline`](crate::LoopHandle::next_deadline), [`cancel_by_id`](crate::LoopHandle::cancel_by_id). | `_ready` and `_scheduled`, which are private. | A host keeps numbers, and may free on any thread. |
//! | [`Clock::Virtual`](crate::Clock::Virtual): an idle loop jumps to its next deadline. [`Clock::Manual`](crate::Clock::Manual): the program moves the time. | No counterpart. | Tests of hours take microseconds, and a host may have a time of its own. |
//! | [`testing`](crate::testing): a test fails if it leaves tasks, timers, descriptors, threads or processes; what is ready can be shuffled. | `IsolatedAsyncioTestCase` cancels what is left. | What a test forgets it has not tested. |
//! | A [`CallGraph`](crate::CallGraph) shows what each task waits for and where it was created, and a loop is asked from outside through the socket of [`Builder::inspector`](crate::Builder::inspector). | Frames of coroutines; `ps` and `pstree` read the memory of the process. | Rust keeps no names of suspended futures, and its memory has no known layout. |
//! | In a forked child a loop of the parent only closes its descriptors. | The child shares the parent's poller. | The parent is not disturbed. |
//! | A loop that closes with tasks pending reports each of them as "Task was destroyed but it is pending!", in the order of their creation and each in its own context. What [`run`](crate::run) has cancelled in order is not reported. | The same text, when the task is garbage-collected. | The report comes at a known time. |
//! | A second Ctrl-C during [`run`](crate::run) ends the process. | `KeyboardInterrupt` is raised in the running code. | Nothing can be raised in a Rust function. |
//! | At the end of [`run`](crate::run) tasks, clean-ups and jobs share one limit of 300 seconds, which [`Runner::shutdown_timeout`](crate::Runner::shutdown_timeout) sets. What has not ended by then is reported and dropped. | Only the executor's threads have a limit. | Every program ends. |
//! | [`Runner::run`](crate::Runner::run) has no `context` argument. | `Runner.run(coro, context=...)`. | [`TaskBuilder::context`](crate::TaskBuilder::context). |
//!
//! # Tasks, futures and cancellation
//! | here | asyncio | why |
//! |---|---|---|
//! | The loop owns its tasks: dropping a [`Task`](crate::Task) cancels nothing and loses nothing. [`Task::cancel_on_drop`](crate::Task::cancel_on_drop) is the other rule. | A task without a reference may be garbage-collected. | No task disappears. |
//! | `cancel` drops the future at the task's next step, and its destructors clean up. Code that awaits during its clean-up uses [`catch_cancelled`](crate::catch_cancelled). | `CancelledError` is raised at the `await`. | A Rust future can be dropped, but not be thrown into. |
//! | The innermost scopes of a task receive a request first; what is around them waits for their answers. Several scopes of one task can clean up side by side. | One exception passes through one stack. | A Rust task can await several things at once. |
//! | A scope that is set aside, leaked or never polled again does not delay a cancellation. | No counterpart. | A future can be forgotten. |
//! | A cancelled task loses no item: an await that it has set aside takes nothing from a queue, a socket or a stream while the cancellation is decided. Channels of other libraries are protected only if the await was not polled in the newest step. | No counterpart. | Rust futures can be set aside by a `select!`. |
//! | A circle of tasks that await one another ends when it is cancelled: one of them gets [`TaskError::AwaitsItself`](crate::TaskError::AwaitsItself). | `RecursionError` in `cancel`, and no task ends. | A cancellation must end what it is asked to end. |
//! | One step of a task ends at most 128 operations whose outcome the outside world decides, also failing ones; the next one suspends once. The table is in the documentation of [`yield_now`](crate::yield_now()). Locks, queues and what has ended never suspend by themselves. | What is ready never suspends. | A peer that sends without end must not stop all other tasks, nor the limit around them. |
//! | When a task is cancelled while it awaits a [`Future`](crate::Future), and the future gets its result before the task's next step, the task is cancelled and the future keeps the result. | The future is cancelled at once, so `set_result` raises `InvalidStateError`. | The request is delivered in the task's next step. |
//! | A panic takes the place of an exception. In a task it is the error of the awaiter; in a callback it goes to the exception handler. A `Result` is a value like any other. | Every function may raise. | Rust separates both. |
//! | A task that awaits itself gets [`TaskError::AwaitsItself`](crate::TaskError::AwaitsItself); one that waits for itself by [`wait`](crate::wait) waits for ever. | `RuntimeError`; the same. | An error is a value. |
//! | A failure that no code has retrieved is reported when the last handle is dropped. | When the object is garbage-collected. | The report comes at a known time. |
//! | An await of a [`Task`](crate::Task) moves its result out, and the task has one awaiter, whose cancellation cancels it. [`Task::shared`](crate::Task::shared) makes a handle that is cloned and awaited from several places: each gets a clone of the result, as often as it asks, and a cancelled or dropped awaiter leaves the task alone, as behind [`shield`](crate::shield()). | Any task is awaited from several places, and cancelling one awaiter cancels the task for all. | A value has one owner. An awaiter cannot know who else waits, and must not end the work of others. |
//! | [`Task::result`](crate::Task::result) moves the result out, once. `run_until_complete(&mut task)` has returned it already; `run_until_complete(task.wait())` leaves it in the task. | `result()` gives it as often as one likes, also after `run_until_complete(task)`. | A value has one owner. |
//! | [`Task::exception`](crate::Task::exception) gives the panic, or none, or why neither can be said: [`NoException`](crate::NoException). | The exception; raises `InvalidStateError` or `CancelledError`. | A panic is what a task fails by. |
//! | The argument `context` is a method of its own: [`call_soon_in`](crate::LoopHandle::call_soon_in), [`call_later_in`](crate::LoopHandle::call_later_in), [`call_at_in`](crate::LoopHandle::call_at_in), [`add_done_callback_in`](crate::Task::add_done_callback_in), and also [`add_reader_in`](crate::LoopHandle::add_reader_in) and [`add_writer_in`](crate::LoopHandle::add_writer_in). `call_soon_threadsafe` has none. | `context=`, not for descriptors. | Rust has no optional arguments, and a context stays on its thread. |
//! | [`ExceptionContext`](crate::ExceptionContext) has fields and methods with types. Of a failed callback it has the place, of a failed future the place and the error: neither exists any more. If the handler panics, the default handler gets one report of both failures. | A dictionary. | Types. |
//!
//! # Waiting for several tasks, and limits of time
//! | here | asyncio | why |
//! |---|---|---|
//! | [`wait`](crate::wait) borrows a list, takes the tasks that have ended out of it and returns them. With no tasks it returns an empty list at once. | Returns two sets; `ValueError` without tasks. | A handle has one owner: a `wait` that is dropped half-way must not lose handles. |
//! | A task that waits by [`wait`](crate::wait) or [`as_completed`](crate::as_completed()) is woken in the turn in which the last task ends. | One turn later: each is a done callback. | One wake less. |
//! | [`as_completed`](crate::as_completed()) has no `timeout` argument. | It has one. | A timeout around [`next`](crate::AsCompleted::next) loses no task. |
//! | [`shield`](crate::shield()) and [`as_completed`](crate::as_completed()) make a task of a boxed future, their macros [`shield!`](crate::shield!) and [`as_completed!`](crate::as_completed!) of any. | They make a task of any coroutine. | A [`Task`](crate::Task) is a future too, and the types of a function cannot tell it from a coroutine: see [`IntoTask`](crate::IntoTask). |
//! | An `Err` of a task that no code reads is silent, unless [`Task::report_errors`](crate::Task::report_errors) was called. | "Task exception was never retrieved". | A task does not know that its output is a `Result`. |
//! | [`gather`](crate::gather()): a `Result` that a child returns is a value; [`try_gather`](crate::try_gather) and [`Gather::fail_fast`](crate::Gather::fail_fast) treat `Err` as a failure. [`Gather::settled`](crate::Gather::settled) is `return_exceptions=True`. | An exception of a child is the failure. | See panics above. |
//! | Dropping a [`gather`](crate::gather()) cancels its children. | Dropping the future changes nothing. | To cancel is to drop. |
//! | [`task_group`](crate::task_group) takes its body as a closure. [`TaskGroup::cancel`](crate::TaskGroup::cancel) ends it early and without error; a limit of children is an option. | `async with TaskGroup()`. | There is no `async with`. |
//! | A group that fails or is stopped while it is not polled, or after its task has ended, keeps the request until it is polled again, by whatever task. | No counterpart: a block cannot be set aside. | A Rust future can be moved to another task. |
//! | [`timeout`](crate::timeout()), [`timeout_at`](crate::timeout_at) and [`wait_for`](crate::wait_for) take what they limit as an argument. A delay counts from the end of the first poll, so that a future that is ready at once reads no clock. Where limits are nested and begin in one poll, an outer delay counts from where the inner one began, so that of equal limits the outermost expires. The result of the inside wins when both are there. | A delay counts from the call. | Reading the clock costs more than everything else. |
//! | [`TaskGroup::create_task`](crate::TaskGroup::create_task) returns a cancelled task if the group takes no more children. [`try_create_task`](crate::TaskGroup::try_create_task) returns an error with the future. | `RuntimeError`. | A child that is late is no programming error. |
//! | [`try_gather`](crate::try_gather), [`move_on_after`](crate::move_on_after), [`for_each_limit`](crate::for_each_limit) and [`interval`](crate::interval()). | No counterpart. | Needed often. |
//!
//! # Synchronisation and queues
//! | here | asyncio | why |
//! |---|---|---|
//! | A [`Lock`](crate::sync::Lock) holds the value that it protects, and a guard releases it. [`LockGuard::leak`](crate::sync::LockGuard::leak) and [`Lock::release`](crate::sync::Lock::release) are asyncio's bare calls. | `acquire` and `release` are separate. | A lock cannot be forgotten. |
//! | [`Semaphore::acquire`](crate::sync::Semaphore::acquire) returns a guard, which gives the permit back. [`acquire_many`](crate::sync::Semaphore::acquire_many) and [`add_permits`](crate::sync::Semaphore::add_permits) handle several permits. | `acquire` and `release` are separate, for one permit. | A permit cannot be forgotten. |
//! | [`Condition::wait`](crate::sync::Condition::wait) takes a guard and returns one of the same lock, and any number of conditions share a lock. | The condition owns its lock. | Waiting without the lock cannot be written. |
//! | [`Condition::notify`](crate::sync::Condition::notify) does not need the lock. | `RuntimeError` without it. | The guard is given up in the step in which the waiter is queued, so nothing can come in between; and a callback, which cannot wait for a lock, can notify. |
//! | A waiter of a [`Condition`](crate::sync::Condition) that is cancelled does not hold the lock afterwards. | It takes the lock again first. | Cancelling is dropping, and a destructor cannot wait. |
//! | The index that [`Barrier::wait`](crate::sync::Barrier::wait) returns is unique in each round. | After a cancellation two parties can have the same one. | Indices are counted when the barrier is full. |
//! | The order of a queue is a [`QueueStore`](crate::queue::QueueStore). | `_put` and `_get` are overridden. | A trait. |
//! | A [`QueueStore`](crate::queue::QueueStore) may take or give several items in one call: all waiters that can go on are woken. [`Queue::join`](crate::Queue::join) also ends when the queue is empty and every item that was taken was reported. | One getter or putter is woken; `join` counts what was put. | A store that drops or combines items must not leave a waiter behind. |
//! | The methods of a [`Queue`](crate::Queue) that is shut down, and the wait of a broken [`Barrier`](crate::sync::Barrier), take from the budget of [`yield_now`](crate::yield_now()). | They raise, which ends a loop. | A loop that ignores the error must not stop all other tasks. |
//! | A getter or putter whose item or room another caller has taken keeps its position. | It goes to the end of the queue. | First come, first served. |
//! | [`Queue::shutdown`](crate::Queue::shutdown)`(true)` returns the items that were left. | They are lost. | A destructor may matter. |
//!
//! # Threads, processes, signals and context variables
//! | here | asyncio | why |
//! |---|---|---|
//! | [`to_thread`](crate::to_thread) copies those variables that are made for it by [`ContextVar::crossing`](crate::ContextVar::crossing). | The whole context is copied. | A value need not be `Send`. |
//! | A [`ContextVar`](crate::ContextVar) is a static, and its values belong to the loop's thread. | An object. | Types. |
//! | [`ContextVar::get`](crate::ContextVar::get) returns `None` for a variable without a value and a default. | `LookupError`. | An `Option`. |
//! | Names are looked up on threads of their own. | On the default executor. | A pool full of blocked jobs delays no look-up. |
//! | A [`process_pool`](https://docs.rs/callsoon/latest/callsoon/process_pool/) calls functions that are declared as statics, and its workers are the same program started anew. | Any function that can be pickled; workers may be forked. | A process with threads is never forked. |
//! | A child is watched and signalled by its pidfd. | By pid, or by a child watcher. | No signal reaches another process that has the number by now. |
//! | A child's input or output may be any object that turns into an `OwnedFd`. | A descriptor's number. | Ownership. |
//! | A loop on any thread may listen for signals, and several loops for the same one. | Only the main thread's loop, and one handler. | Signals are counted per process, and each loop compares. |
//! | What is restored in the end is the disposition from before. | The default disposition. | Another library's handler stays. |
//! | [`defer_async_drop`](crate::defer_async_drop()) runs a clean-up as a task when its owner is dropped; [`run`](crate::run) waits for it. | `shutdown_asyncgens`. | The counterpart for objects of any kind. |
//!
//! # Sockets, transports and streams
//! | here | asyncio | why |
//! |---|---|---|
//! | What is dropped is closed: a [`Server`](crate::transport::Server) stops listening, a [`StreamWriter`](crate::stream::StreamWriter) closes its connection. | Garbage collection, with a `ResourceWarning`. | Ownership. Tasks that share it keep it in an `Rc`. |
//! | A protocol takes `&self`, and every callback has the transport as an argument. | `self`, and `connection_made` stores the transport. | A call into a transport may call back. |
//! | `peername`, `sockname`, `socket` and `pipe` are methods with types. `proto` and `flags` of a look-up are those of [`getaddrinfo`](crate::LoopHandle::getaddrinfo), whose addresses `create_connection` and `create_server` take. | `get_extra_info("peername")`; arguments. | Types. |
//! | [`write`](crate::transport::Transport::write) after `write_eof` goes to the exception handler; [`try_write`](crate::transport::Transport::try_write) returns an error. | `RuntimeError`. | The order of calls is often a peer's doing, and nothing raises. |
//! | [`Server::sockets`](crate::transport::Server::sockets) gives addresses, [`with_sockets`](crate::transport::Server::with_sockets) lends the sockets. | `sockets` gives the sockets. | A socket that is kept could outlive its server. |
//! | [`try_create_server`](crate::LoopHandle::try_create_server) has a factory that can fail. | A factory may raise. | A `Result`. |
//! | A write during a [`sendfile`](crate::LoopHandle::sendfile) is queued behind the file. | `RuntimeError`. | The protocol is paused meanwhile, so a program that honours flow control does not notice. |
//! | A `sendfile` that is dropped leaves the transport usable, after the bytes that were sent. | The transport stays paused. | Cancelling must not break a connection. |
//! | [`set_write_buffer_cap`](crate::transport::Transport::set_write_buffer_cap) sets a cap, beyond which an unread write buffer ends the connection. | The buffer grows. | A peer that reads nothing costs a known amount. |
//! | The backlog of a listener is 1024. | 100. | A burst of a thousand clients does not lose SYNs. |
//! | When a connection fails, what has arrived is delivered first, and then the error. A stream read that has only a part gives [`ReadError::Failed`](crate::stream::ReadError::Failed), with the part and the error of the system. A failed write does not discard what the peer has sent before. | The error is raised at once, and the bytes are lost. | An early answer to an upload is often the reason for the failed write. |
//! | `create_connection` and its kin read nothing before the caller has its transport. | The first bytes may be delivered before. | [`set_protocol`](crate::transport::Transport::set_protocol) and [`pause_reading`](crate::transport::Transport::pause_reading) right after the await are in time. |
//! | An error of `accept` that concerns one client is skipped. A lack of descriptors or memory pauses the listener for a second, as in asyncio; so do a hundred errors in a row. | Other errors than a lack of resources are raised in the loop each time. | A client that leaves early must not cost a report, and a broken listener must not keep the loop busy. |
//! | A Unix server checks after `listen` that its path still leads to its socket: `AddrInUse` or `NotFound` if not. | Not checked. | Of two servers that start at once, one would say that it serves and never get a client. |
//! | A datagram to a receiver whose queue is full is sent again after 1 to 64 ms, doubling. | The loop is busy until there is room. | The system reports no event for that room. |
//! | A regular file is an end of a pipe that is always ready: `prog < in > out` works. | `ValueError`. | A shell decides what standard input is, not the program. |
//! | [`StreamReader::unconnected`](crate::stream::StreamReader::unconnected) gives a reader and what feeds it, with `feed_data`, `feed_eof` and `set_exception`. | They are methods of `StreamReader`. | A read borrows the reader until it is done. |
//! | Pipes and terminals that other processes share keep their mode: they are opened anew, or read and written without blocking call by call. | Their shared mode is set to non-blocking. | The mode belongs to all who share the file, such as the shell. |
//! | SIGPIPE is blocked in the thread around each write to a pipe, so that the program's disposition does not matter. | Python ignores it for the whole process. | A library does not own the process. |
//! | `set_linger` and the keep-alive time are rounded up to whole seconds. | Arguments of `setsockopt`. | A linger of half a second must not become a reset. |
//! | A name that ends in a number and is no address is looked up in the hosts file and never sent to a name server. | `getaddrinfo` decides. | No name in the public tree ends so; it is most often an address with a mistake. |
//! | [`staggered_race`](crate::net::staggered_race) returns the winner's index and value, or all errors in order. Attempts that lost are cancelled and have cleaned up by then; one that goes on is waited for. Outside any task they are dropped at once. | Returns `(result, index, exceptions)`. | A `Result`. |
//! | [`net`](crate::net) has sockets with async methods, a third level beside streams and transports. | `loop.sock_*` on non-blocking sockets, which is here too. | The shape that Rust users know. |
//! | TLS is rustls's, of the feature `tls`: `ssl` takes a configuration. There is no default context but `ClientContext::native_roots`. | `ssl=True`, `SSLContext` of OpenSSL. | Rust's library. The program chooses its cryptography. |
//! | `start_tls` encrypts the transport that there is. | It makes another transport. | Nothing can use the former one by mistake. |
//! | A task that reads the end of a TLS stream may still write in that step. | The connection is closed by then. | HTTP/2 says its last word there. |
//! | `ssl_shutdown_timeout` limits how long nothing moves. | It limits the whole end, and cuts off what a slow peer still reads. | What was written is not lost. |
//! | An end without close_notify is `UnexpectedEof`. | By default an end of file. | It may be a truncation. |
