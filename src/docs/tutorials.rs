//! The programs of asyncio's tutorials, and where each is here: an example of the repository's folder `examples`, or an
//! item whose documentation has it.
//!
//! An example runs with `cargo run --example NAME`; those of other folders and features are listed in the README.
//!
//! | program | here |
//! |---|---|
//! | hello, and `say_after` one after another and side by side | example `hello`, [`run`](crate::run()) |
//! | three counters at once | example `count` |
//! | coroutines that await one another, `nested()` | example `nested` |
//! | the time of day every second, by `sleep` | example `interval`, [`sleep`](crate::sleep()) |
//! | the same by `call_later` | example `display_date` |
//! | `gather` of factorials | example `gather_factorial` |
//! | `gather` with one that fails, and `return_exceptions=True` | example `gather_failures`; `try_gather` cancels the others: example `try_gather` |
//! | `wait_for` around eternity; limits inside limits | examples `timeouts`, `nested_timeouts`, `timeout_rescheduled` |
//! | `shield` | example `shield` |
//! | a cancellation that arrives at a shield and is handled | example `shield_cancelled` |
//! | a task that cleans up when it is cancelled | example `cancel_cleanup` |
//! | `wait` with `FIRST_COMPLETED`; `as_completed` | examples `download`, `chained` |
//! | `sleep(10, result=…)`; a task's `result()` after `run_until_complete(task)`, here after `task.wait()` | example `nested` |
//! | a task group with a child that fails | example `task_group` |
//! | `to_thread` beside `sleep` | example `to_thread` |
//! | thread pools and process pools | examples `blocking_work`, `process_pool` |
//! | `run_coroutine_threadsafe`, `call_soon_threadsafe(f)` | examples `thread_to_loop`, `threadsafe` |
//! | `call_soon_threadsafe(task.cancel)` | example `cancel_from_thread`, [`CancelHandle`](crate::CancelHandle) |
//! | `call_soon`, `run_forever` and `stop` | example `call_soon_stop` |
//! | `call_at(now + 300)` | example `call_at` |
//! | signal handlers for SIGINT and SIGTERM | example `signals` |
//! | a reader on a descriptor, `add_reader` | example `custom_fd` |
//! | a TCP echo server and client by streams | example `echo_streams` |
//! | the same by protocols | examples `echo_protocol`, `tcp_client` |
//! | a UDP echo server and client | example `udp_echo` |
//! | the HTTP headers of a URL | example `site_status` |
//! | a connected socket that is registered, `create_connection(sock=…)`, `open_connection(sock=…)` | [`create_connection`](crate::LoopHandle::create_connection) and [`open_connection`](crate::open_connection) take it in place of the address |
//! | `create_subprocess_shell`, with the output of commands | example `shell_many` |
//! | a date by a child, `create_subprocess_exec` | example `subprocess_date` |
//! | `communicate` | example `communicate` |
//! | `subprocess_exec` with a protocol | [`subprocess_exec`](crate::LoopHandle::subprocess_exec) |
//! | a task that fails and is never awaited; an exception handler of one's own | example `failures` |
//! | debug mode with a slow callback | example `debug_mode` |
//! | `Runner` with several coroutines | example `runner` |
//! | a condition, a semaphore, a queue by priority | examples `condition`, `retries`, `priority_queue` |
//! | queue workers with `join` and cancel; producers and consumers | example `producer_consumer` |
//! | chained coroutines with delays | example `chained` |
//! | three random makers that try again | example `make_random` |
//! | an asynchronous generator with `async for`: powers of two | as a stream: [the guide](crate::docs::guide#asynchronous-generators); as a task with a queue: example `generator` |
//! | areq and the bulk crawler: pages fetched side by side, their links parsed and written to a file | example `crawl` |
//! | context variables, and an echo server that knows its client's address | examples `context`, `context_echo` |
//! | a file that is sent, `sendfile` | example `sendfile` |
//!
//! What has no program there: example `for_each_limit` does the same work for many items, a few at a time, example
//! `virtual_time` tests a day in a moment, and example `first_of` takes the first of several.
