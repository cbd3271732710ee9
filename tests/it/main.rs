//! Behaviour through the public API, mostly on the virtual clock. This file is the table of contents of one test
//! binary.
//!
//! Every test runs inside [`support::audited`], which fails it if it leaves a descriptor, a thread or a pending task
//! behind. A test whose name begins with an id, as in `b3_…`, is about a fault that has broken other event loops:
//! `faults.md` beside this file says which.

mod support;

// The loop: its life, its callbacks, its reports.
mod callbacks; // callbacks run in the order in which they were queued, and a cancelled one does not run
mod callbacks_captured; // what a callback captures arrives whole, or is dropped once when it is cancelled
mod clocks; // what time it is on either clock, and how long a turn may wait
mod clocks_moved; // a clock that the program moves, in a run, between turns and in guest mode
mod contexts; // a context variable has the value of the context, in tasks, callbacks and timers
mod contexts_given; // a callback runs in the context that it was given, and a thread has a context outside its loops
mod debug_mode; // debug mode reports slow callbacks and forgotten tasks, and changes nothing else
mod debug_texts; // what values and errors print of themselves
mod embedding; // what a host asks of a loop that it embeds
mod errors; // what children and handlers may return, what errors convert into, and an Err that is not read
mod errors_chained; // an error's text has its cause, and its source is what is below
mod errors_named; // errors of connecting, binding, sending and looking up name the place
mod exception_handler; // every failure that no code handles reaches the exception handler once
mod guest_mode; // another loop drives ours by `turn` and a descriptor
mod inspect_graph; // who waits for what: each kind of wait, circles, and what is known without notes
mod inspect_holders; // who holds a lock, wherever it was taken and released
mod inspect_socket; // the inspector: what it answers, whom it serves, and what it leaves
mod introspection; // tasks, futures, handles and reports say what they are and what has failed
mod lifecycle; // running, stopping and closing, in every order
mod loop_metrics; // what a loop counts and measures of itself
mod misuse; // calls without a running loop, or on a closed one, say so
mod posts_in_a_row; // posts that arrive one after the other keep their places, count, and are cancelled alone
mod reports; // what is reported, in whose context, and with whose place
mod runner; // `run` and `Runner`: a program's beginning and end
mod smoke; // the shortest proof that the parts fit together
mod turn_model; // random programs have the same trace as in a model of asyncio's `_run_once`
mod wait_hooks; // a host acts before and after each sleep, and nowhere else

// Tasks and futures.
mod awaits_in_circles; // tasks that wait for one another in a circle end when they are asked to
mod awaits_set_aside; // a task that was polled and set aside is no longer waited for
mod budgets; // which operations let other tasks run, and after how many
mod futures; // a future has one result, set once, for all awaiters
mod futures_awaited; // in which order awaiters resume, and what a cancelled one leaves
mod shared_tasks; // several awaits of one task, each with a result of its own
mod tasks; // when tasks run, what they give, how they end
mod tasks_cancelled; // when a cancellation acts, and what wins over it
mod tasks_polled; // tasks are polled by their wakers alone, whatever combinators do

// Cancel scopes.
mod scopes; // a cancellation is caught, cleaned up after, and passed on or not
mod scopes_abused; // scopes survive destructors and wakers that misbehave
mod scopes_cases; // requests of a task and of its scopes meet
mod scopes_cells; // the rules' tables, cell by cell: which scopes are asked, what the answer does
mod scopes_crowds; // a million scopes, side by side and nested, need no recursion
mod scopes_fuzz; // random programs of scopes keep the invariants
mod scopes_kinds; // each kind of scope and await, cell by cell
mod scopes_moved; // scopes in chains of tasks, dropped, forgotten, and moved while awaited
mod scopes_states; // the table of states and events, cell by cell
mod scopes_unpolled; // requests to scopes that are not polled meanwhile are kept

// Time.
mod deadline_turns; // what is done in the turn of a deadline, and times that never end
mod intervals; // ticks keep their schedule, and missed ones are handled as asked for
mod timeouts; // `timeout`, `timeout_at`, `wait_for`, `move_on_after` and `Timeout`
mod timeouts_and_cancellation; // a limit and a cancellation from elsewhere: which one wins
mod timeouts_odd; // limits outside a loop, around groups, forgotten, under destructors that panic
mod timers; // timers and sleeps, in order and never early

// Several tasks at once.
mod as_completed; // tasks are given in the order of their ends
mod gathers; // `gather`, `gather!`, `settled`, `fail_fast` and `try_gather`
mod gathers_odd; // gathers that are cancelled, dropped, nested, forgotten, or polled from elsewhere
mod races; // the first value wins, and the losers lose nothing
mod shield; // a cancellation ends at a shield
mod structured_drops; // every combinator may be dropped at each of its awaits
mod task_groups; // no child outlives its group, and every failure is reported
mod task_groups_limited; // groups with a limit, and `for_each_limit`
mod task_groups_odd; // groups that all fail at once, outside a loop, side by side, forgotten
mod task_groups_stopped; // groups that are cancelled, stopped or dropped
mod wait; // `wait` for the first, for the first failure, for all

// Locks and queues.
mod barrier_model; // `Barrier` beside a naive model
mod queue_model; // the three queues beside a naive model
mod queue_panics; // stores, comparisons and destructors that panic strand no waiter
mod queue_stores; // stores whose length changes by other than one
mod queues; // queues lose no item when a getter or a putter is cancelled
mod shut_down_waits; // waits that a shutdown ends let other tasks run
mod sync_barrier; // `Barrier`, by asyncio's own tests
mod sync_condition; // `Condition`, by asyncio's own tests
mod sync_drops; // every wait of a primitive may be dropped at each of its awaits
mod sync_event; // `Event`, by asyncio's own tests
mod sync_lock; // `Lock`, and the grant of a cancelled waiter
mod sync_model; // locks, events, semaphores and conditions beside naive models
mod sync_semaphore; // `Semaphore` and `BoundedSemaphore`, with many permits, none, or too many
mod waiters_leave; // those that stay are woken in their order, even if others leave in any order

// Threads.
mod cancel_handles; // tasks and futures that another thread cancels
mod crossing; // context variables and coroutines that go to another thread and come back
mod executors; // jobs on other threads, and how their results come back
mod executors_clock; // jobs and the virtual clock
mod shutdowns_given_up; // work whose waiter has given up is waited for by the next
mod thread_futures; // coroutines that another thread starts, awaits and cancels
mod threads; // what other threads may ask of a loop, and how it sleeps until they do

// Descriptors, pipes and files.
mod async_fds; // `AsyncFd`: a task waits for any descriptor
mod files; // files in threads: nothing that was taken is lost, errors name the path
mod pipes; // transports and streams on pipes, terminals, devices and files
mod poll_bytes; // byte streams by their poll functions
mod poll_sockets; // listeners, datagrams, descriptors and ticks by their poll functions
mod poll_streams; // the two ends of a stream by their poll functions
mod raw_fds; // callbacks for users' own descriptors
mod shared_modes; // a description that others share, and make blocking, does not block the loop

// Sockets.
mod addresses; // whatever names an address can be bound to, connected to and sent to
mod dns; // names to addresses and back, offline
mod dns_any_name; // any host is read exactly, asked for as it is, or refused
mod full_receivers; // a datagram for a full receiver waits without spinning
mod happy_eyeballs; // the race of connection attempts
#[cfg(feature = "futures")]
mod interop_futures; // crates that ask for the traits of futures run on this loop
#[cfg(feature = "tokio-io")]
mod interop_tokio; // crates that ask for the traits of tokio run on this loop
mod names; // transports, streams and servers by name
mod network_drops; // every operation may be dropped at each of its waits
mod network_options; // options reach the socket
mod operations; // every public operation as a case, for the tests that disturb them
mod operations_streams; // the same for transports, servers, streams, pipes and Unix sockets
mod sendfile; // files to sockets
mod shared_modes_sockets; // the same for sockets and listeners
mod sock_ops; // operations on sockets that the user keeps
mod tcp; // TCP streams and listeners
mod tcp_faults; // TCP under resets, floods and drops
mod udp; // UDP sockets
mod unix; // Unix streams, listeners and datagrams
mod unix_peers; // every name that a Unix peer can have is read
mod whole_seconds; // durations are not cut to zero

// Transports and streams.
mod budgets_streams; // which operations of streams let other tasks run
mod copies; // from one byte stream to another, both ways, and the lines of any
mod datagram_endpoints; // protocols for datagrams
mod datagram_errors; // endpoints whose sending fails
mod servers; // what servers listen on, and how they end
mod servers_hosted; // what a host asks of servers: their sockets, families, factories that fail
mod streams; // readers, writers, and servers that run a function for each client
mod streams_failing; // a connection that fails gives the bytes that came before
mod streams_fed; // readers that a program feeds itself, and the lines of a reader
mod taken_paths; // a server whose path was taken says so
#[cfg(feature = "tls")]
mod tls; // TLS on protocols and streams: beginning, end, and start_tls
mod transport_begin; // connection made, the caller resumed, then data
mod transport_bulk; // megabytes in both directions
mod transport_faults; // transports whose peer, socket or protocol fails
mod transport_flow; // flow control: marks, pauses and the cap
mod transport_order; // the promises of the module page of `transport`, one by one
mod transport_programs; // every call in every state keeps the order of callbacks
mod transport_rest; // what a burst leaves behind, and the last bytes of a lost connection
mod transport_sendfile; // files over transports, among writes

// What tests of programs need.
mod testing_orders; // what a shuffled loop permutes, what keeps its order, and how a run is repeated
mod testing_runs; // a test on a loop of its own, and the audit of what it leaves
mod testing_streams; // a byte stream in memory, and what goes wrong on it
mod testing_traces; // lines from everywhere are compared as a whole, and a difference is shown

// Faults that concern several wings.
mod attacks; // attacks from outside on what interacts
mod attacks_hosts; // hosts leave at every turn; wakers, destructors and writers call back
mod faults_edges; // lost edges, and conditions that never end
mod faults_floods; // beside what is always ready everything else is served
mod faults_hostile_wakers; // wakers that use, end and panic at everything
mod faults_lifecycle; // runs inside runs, and loops that end with everything pending
mod faults_loops; // what belongs to one loop in the hands of another
mod faults_pool; // thread pools without threads, with stuck jobs, with a deadline
mod faults_programs; // random re-entrant callbacks beside a model
mod faults_reactor; // descriptors that change under the reactor
mod faults_reentrancy; // code that calls back into the loop, a million deep
mod faults_same_turn; // a result, a deadline and a cancellation in one turn
mod faults_task_lives; // every short life of a task beside a model
mod faults_threads; // posts that race with close, and floods of them
mod faults_timers; // extreme delays, long uptimes, stale handles
mod faults_wakers; // wakers used too late, elsewhere, or too often
mod identities; // what acts on a task finds that one or none, past the end of every count
mod security_limits; // what one peer can pin, and who can reach what the crate opens
mod user_panics; // predicates and closures that panic hand on what they were given
