//! For those who change the crate: where everything is, the order of the modules, and the words that have a meaning of
//! their own here. The house test, `cargo test --test house`, holds the source to this page.
//!
//! # Where everything is
//! The crate has two wings. `kernel/` holds every station of an event's path; everything else is a client of the
//! kernel, but for `sys/`, the two modules of errors and two of `inspect/`, which it uses.
//!
//! | to find | look in |
//! |---|---|
//! | the body of the loop, the call of user code, tasks, cancellation, the reactor, timers | `kernel/` |
//! | `EventLoop`, `LoopHandle`, `RemoteHandle`, and the free functions | `event_loop/` |
//! | sleeping and timeouts; waiting for several tasks; locks; queues | `time/`, `combine/`, `sync/`, `queue/` |
//! | sockets with async methods; transports and protocols; streams | `net/`, `transport/`, `stream/` |
//! | what these share: names and addresses, connecting, accepting, calls that do not block | `socket/` |
//! | threads, child processes, worker processes, signals | `executor/`, `process/`, `process_pool/`, `signal/` |
//! | files; copying, and lines of any byte stream | `fs/`, `bytes/` |
//! | `run` and `Runner` | `runner` |
//! | what tests of programs need | `testing/` |
//! | the traits of other crates, each behind a feature | `interop/` |
//! | counters and histograms of a loop | `inspect/` |
//! | system calls, and all unsafe code but what is named below | `sys/` |
//!
//! `unsafe` is in `sys/` and in ten files of the kernel: `inline_fn` (closures without a box), `batch` (posts that the loop
//! takes without a lock), `loop_cell` and `hot_paths` (borrows that release builds do not check), and in `task/`
//! `any_task`, `cell` and `header` (a task in one allocation, seen without its type), `cell_pool` (memory used again),
//! `slots` (a task lent for one step) and `waker` (the current loop). A test checks that too.
//!
//! Which file decides what no signature shows, such as how long the loop sleeps, is in a table on the page of `kernel/mod`,
//! which also walks one event from the poller to a task.
//! The modules form a total order. Each imports only from modules before it in this list; a test checks that.
//!
//! ```text
//! order of modules
//!   cancellation             why something was cancelled
//!   error                    errors that cross modules
//!   sys/result               what a system call returns
//!   sys/fault                calls that fail by a plan, in tests
//!   sys/clock                the monotonic clock in nanoseconds
//!   sys/ticks                short time spans, by the time-stamp counter
//!   sys/sigpipe              calls that may raise SIGPIPE
//!   sys/memchr               a byte among many
//!   sys/prefetch             memory that is needed soon
//!   sys/sendfile             from a file to a socket
//!   sys/socket               receiving into slices, a peer's credentials
//!   sys/thread_mark          what threads pass on to those that they start
//!   sys/timerfd              a timer descriptor, to the microsecond
//!   sys/dns                  the system's resolver
//!   sys/source               types that the poller can register
//!   sys/epoll                level-triggered registrations in the poller's set
//!   sys/notifier             ends a wait from another thread
//!   sys/fd                   questions about any descriptor
//!   sys/fork                 forks, and in which process a loop was made
//!   sys/sync                 the inbox's locks, or a model checker's
//!   sys/pidfd                a child by descriptor
//!   sys/child_exit           waiting for a child without a descriptor
//!   sys/signal               signal dispositions and the signal handler
//!   inspect/histogram        Histogram: how often durations of each size were seen
//!   inspect/latencies        Latencies: histograms of a loop; CallKind
//!   kernel/report            reports of failures
//!   kernel/events            what the crate says through tracing; the default handler
//!   kernel/inline_fn         closures without a box
//!   kernel/batch             posts that were drained and have not run
//!   kernel/inbox             other threads' posts and wakes
//!   kernel/registry          from a loop's id to its inbox
//!   kernel/inhibit           guards that keep a virtual clock from jumping
//!   kernel/clock             real and virtual time
//!   kernel/post_spin         spinning for posts before the loop sleeps
//!   kernel/context           the values of context variables
//!   kernel/due               timers that have become due, in order
//!   kernel/timers            the timer wheel
//!   kernel/timer_list        the timers as a list, for those who look
//!   kernel/open_slot         what happens to the timers of a slot
//!   kernel/wake_time         until when a loop may sleep
//!   kernel/wait/numbered     a FIFO queue whose entries may be removed in any order
//!   kernel/wait/waiters      a list of waiters
//!   kernel/wait/wait_kind    what a task may wait for
//!   kernel/io/readiness      the cached readiness of one source, and who observes it
//!   kernel/io/fd_table       users' own descriptors
//!   kernel/io/source_key     names of sources
//!   kernel/io/reactor        mio and the slab of sources
//!   kernel/wait_hooks        WaitHooks: what a host does around the loop's sleep
//!   kernel/task/key          keys and identities of tasks
//!   kernel/task/state        the states of a task
//!   kernel/inspection        what an inspected loop notes
//!   kernel/cancel/node       a scope, or a pending await
//!   kernel/cancel/tree       all scopes of a loop
//!   kernel/cancel/request    the rules: ask, count votes, decide
//!   kernel/cancel/detached   requests that outlive a tree, or a poll
//!   kernel/cancel/lifecycle  nodes are opened, polled, completed, dropped
//!   kernel/task/cold_fields  what most tasks never need
//!   kernel/task/header       what is known of a task without its future's type
//!   kernel/callee            what is called when user code is entered
//!   kernel/task/any_task     a counted reference to a task, in one word
//!   kernel/task/cell_pool    the memory of ended tasks, kept for new ones
//!   kernel/task/cell         a task's one allocation
//!   kernel/task/root         the future of run_until_complete as a task
//!   kernel/task/slots        where tasks are kept
//!   kernel/task/root_slot    what the root has instead of a slot
//!   kernel/meters            recording these histograms
//!   kernel/spans             the spans of turns, calls and tasks
//!   kernel/ring              a FIFO in one buffer
//!   kernel/ready_token       entries of the ready queue
//!   kernel/ready             the ready queue
//!   kernel/shuffle           the order of what is ready, permuted
//!   kernel/queues            the ready queue and the tasks under one borrow
//!   kernel/loop_cell         a cell whose borrows are checked, but for those of hot_paths
//!   kernel/budget            how many operations may end in one poll
//!   kernel/observers         who is told when user code is entered and left
//!   kernel/settings          what a builder asks for
//!   kernel/loop_state        the parts of one loop
//!   kernel/hot_paths         what every step, callback and timer does with the queues and timers
//!   kernel/task/lookup       from keys and identities to tasks
//!   kernel/loop_handle       LoopHandle, ExceptionHandler
//!   kernel/current_context   the current context of a loop, and that of a thread outside its loops
//!   kernel/task/waker        wakers that are keys; the current loop
//!   kernel/handlers          the exception handler and the task hook
//!   kernel/note_wait         where futures note what they wait for
//!   kernel/inspected         what an inspected loop notes of each call and step
//!   kernel/observation       telling them: where entries into user code are measured and traced
//!   kernel/enter             THE door into user code
//!   kernel/proceed           taking from the budget of the current loop
//!   kernel/wait/list         the wait queue of a primitive
//!   kernel/cancel/awaits     pending awaits as nodes
//!   kernel/cancel/delivery   requests before and after a task's poll
//!   kernel/cancel/listing    what a task waits for by its nodes
//!   kernel/cancel/cycles     tasks that wait for one another in a circle
//!   kernel/cancel/scope      a scope, as its future holds it
//!   kernel/cancel/token      Cancelled
//!   kernel/callback          Handle, TimerHandle
//!   kernel/task/reference    TaskRef
//!   kernel/task/handle       Task
//!   kernel/future            Future
//!   kernel/await_future      awaiting a Future
//!   kernel/io/source         registered sources and operations on them
//!   kernel/io/waiting        which tasks wait for which sources
//!   kernel/io/fd_ops         callbacks of and operations on users' descriptors
//!   kernel/local             per-loop slots
//!   kernel/background        background futures
//!   kernel/io/call_observer  calling the observer of a ready source
//!   kernel/queue_due         from the timer wheel to the ready queue
//!   kernel/wait_for_events   how long the loop sleeps
//!   kernel/turn              THE loop body
//!   kernel/close             the end of a loop
//!   inspect/metrics          LoopMetrics: what a loop holds and has done
//!   context_var              ContextVar, copy_context
//!   event_loop/remote        RemoteHandle, ThreadsafeHandle
//!   event_loop/cancel_handle CancelHandle: cancelling from another thread
//!   event_loop/handle        call_soon, call_later, call_at, stop and the other methods of LoopHandle
//!   event_loop/host          stop_now, set_wait_hooks, cancel_by_id: for hosts that embed a loop
//!   event_loop/pending       pending_callbacks, pending_timers
//!   event_loop/clock_handle  ClockHandle: a clock that the program moves
//!   event_loop/tasks         create_task, TaskBuilder, all_tasks
//!   event_loop/reported_task ReportedTask: an Err that is not read is reported
//!   event_loop/exception_handler set_exception_handler, call_exception_handler
//!   event_loop/fd_callbacks  add_reader, add_writer
//!   event_loop/in_context    call_soon_in, add_done_callback_in: callbacks in a given context
//!   event_loop/owner         EventLoop
//!   event_loop/builder       Builder
//!   event_loop/free          get_running_loop, create_task, yield_now and the other free functions
//!   inspect/task_info        TaskInfo, WaitInfo
//!   inspect/edges            task_infos, and circles of tasks
//!   inspect/call_graph       capture_call_graph
//!   inspect/awaited_by       future_add_to_awaited_by
//!   inspect/json             a writer of JSON
//!   inspect/snapshot         LoopSnapshot, dump
//!   event_loop/error         ThreadFutureError
//!   event_loop/thread_result the state of a ThreadFuture, and the delivery of its result
//!   event_loop/thread_future ThreadFuture
//!   event_loop/run_coroutine run_coroutine_threadsafe
//!   event_loop/wrap_future   wrap_future
//!   time/sleep               sleep, sleep_until, sleep_with
//!   time/interval            interval
//!   time/region              a timeout around a future
//!   time/timeout             timeout, timeout_at, wait_for, move_on_after, Timeout
//!   scope/catch              catch_cancelled
//!   sync/acquire             waiting for what a primitive grants
//!   sync/lock                Lock
//!   sync/event               Event
//!   sync/condition           Condition
//!   sync/semaphore           Semaphore, BoundedSemaphore
//!   sync/barrier             Barrier
//!   queue/error              errors of queues
//!   queue/store              in which order items come out
//!   queue/base               Queue
//!   queue/calls              calls of a store, and the wake-ups that follow; shutdown
//!   queue/waits              get, put, join
//!   queue/ordered            LifoQueue, PriorityQueue
//!   queue/items              a queue as Stream and Sink
//!   queue/owned_items        a Stream that owns its queue
//!   combine/observer         waiting for the ends of many tasks
//!   combine/wait             wait, Task::wait
//!   combine/into_task        IntoTask: tasks, and boxed futures that become tasks
//!   combine/as_completed     as_completed
//!   combine/each_completed   as_completed as an iterator
//!   combine/shield           shield
//!   combine/argument         shield!, as_completed!
//!   combine/shared           SharedTask: a task that several places await
//!   combine/cancel_on_drop   cancel_on_drop
//!   combine/race             race: the first of several futures
//!   combine/child_count      how many children have not ended
//!   combine/tasks            children in a list or a tuple
//!   combine/gather           gather
//!   combine/try_gather       try_gather
//!   combine/group/error      failures of groups
//!   combine/group/state      the state of a group
//!   combine/group/child      the wrapper around a child's future
//!   combine/group/handle     TaskGroup
//!   combine/group/scope      task_group
//!   combine/for_each         for_each_limit
//!   executor/error           ExecutorError, StuckJobs
//!   executor/job             Job, ExecutorFuture: the two sides of a job
//!   executor/execute         Executor
//!   executor/worker_count    when a worker thread is spawned, notified, parked or ended
//!   executor/workers         a pool's queue of jobs, and its worker threads
//!   executor/pool            ThreadPoolExecutor
//!   executor/default         run_in_executor, to_thread
//!   signal/error             SignalError
//!   signal/listeners         add_signal_handler, and the dispatch of signals to listeners
//!   signal/stream            signal, ctrl_c
//!   signal/interrupts        Ctrl-C for run and Runner
//!   poll_io                  PollRead, PollBufRead, PollWrite: what all byte streams have in common
//!   async_fd                 AsyncFd, ReadyGuard
//!   socket/nonblocking       calls on sockets that never block
//!   socket/backoff           the pauses before a receiver or a backlog that is full is tried again
//!   socket/address           Address, and its conversions
//!   socket/send_error        SendError
//!   socket/gai_error         GaiError
//!   socket/lookup_error      LookupError
//!   socket/resolver          the thread pool that looks names up
//!   socket/hosts_file        names that end in a number, which the system's resolver would take for addresses
//!   socket/dns               lookup_host, ToSocketAddrs
//!   socket/addr_info         getaddrinfo, getnameinfo
//!   socket/shared_mode       the mode of a file description that others share
//!   socket/pipe_end          one end of a pipe
//!   socket/stream_socket     StreamSocket: a connected socket or a pipe; options of connections
//!   socket/socket_file       the file of a Unix socket
//!   socket/accept_error      what an error of accept is about
//!   socket/accept            one accept, and its retry
//!   socket/acceptor          a listening socket that calls back
//!   socket/bind_error        BindError
//!   socket/connect_error     ConnectError
//!   socket/happy_eyeballs    staggered_race, interleave
//!   socket/connect           one connection attempt, and the retry of a full backlog
//!   socket/listen_on         ListenOn
//!   socket/connect_to        ConnectTo, AcceptedSocket
//!   socket/connector         from a name to a connected socket
//!   net/stream               SocketStream: what TCP and Unix streams share
//!   net/listener             SocketListener: what their listeners share
//!   net/tcp                  TcpStream, TcpListener
//!   net/halves               the two sides of a stream
//!   net/poll_stream          sockets and their halves as PollRead and PollWrite
//!   net/connect_options      ConnectOptions
//!   net/listen_options       ListenOptions
//!   net/unix                 UnixStream, UnixListener
//!   net/datagram             DatagramSocket: what UDP and Unix datagrams share
//!   net/udp                  UdpSocket
//!   net/unix_datagram        UnixDatagram
//!   net/poll_datagram        datagrams by poll functions
//!   net/sock                 sock_recv and the other sock_ methods
//!   net/sendfile             sendfile, sock_sendfile
//!   transport/buffer         what the system has not taken yet, high and low water
//!   transport/layer          between a transport and its socket
//!   transport/tls/error      errors of TLS as errors of I/O
//!   transport/tls/context    ClientContext, ServerContext
//!   transport/tls/info       TlsInfo
//!   transport/tls/session    a TLS session without its socket
//!   transport/tls/encrypted  the layer that encrypts
//!   transport/without_tls/never_encrypted the same without the feature: a layer that no connection has
//!   transport/any_layer      the layer that a connection has
//!   transport/connection     the states of a connection, and all transitions
//!   transport/protocol       Protocol, BufferedProtocol, Transport
//!   transport/lifecycle      from connection_made to connection_lost
//!   transport/read           one receive for one event
//!   transport/write          what is sent, and flow control
//!   transport/transport      what a program asks of a transport
//!   transport/tls/shutdown   the end of an encrypted connection
//!   transport/tls/handshake  the beginning of an encrypted connection, and what it has come to
//!   transport/tls/options    how a connection is encrypted: contexts, names and timeouts
//!   transport/without_tls/never_shaken the same without the feature: nothing to ask for
//!   transport/try_factory    TryFactory: a factory that may fail
//!   transport/client         create_connection
//!   transport/pipe           connect_read_pipe, connect_write_pipe
//!   transport/try_client     the same with factories that may fail
//!   transport/sendfile       sendfile over a transport
//!   transport/serving        a server at work
//!   transport/server         Server
//!   transport/create_server  create_server
//!   transport/tls/connecting ssl on what connects and on servers
//!   transport/tls/start_tls  start_tls
//!   transport/datagram/datagram_protocol DatagramProtocol, DatagramTransport
//!   transport/datagram/endpoint an endpoint at work
//!   transport/datagram/datagram_transport what a program asks of an endpoint
//!   transport/datagram/create_endpoint create_datagram_endpoint
//!   stream/error             why a read gave something else
//!   stream/incoming          what was not read yet
//!   stream/protocol          between a transport and a stream
//!   stream/waiting           reads that wait
//!   stream/reader            StreamReader
//!   stream/lines             StreamReader::lines
//!   stream/feeder            a reader that the program itself feeds
//!   stream/writer            StreamWriter
//!   stream/poll_ends         the two ends of a stream as PollRead, PollBufRead and PollWrite
//!   stream/joined            join: a reader and a writer as one byte stream
//!   stream/client_task       a server's clients as tasks
//!   stream/open              open_connection, start_server
//!   stream/ssl               ssl on servers of streams, start_tls on streams
//!   stream/pipes             open_read_pipe, open_write_pipe
//!   bytes/copy               copy
//!   bytes/copy_bidirectional copy_bidirectional
//!   bytes/lines              lines
//!   process/stdio            PIPE, DEVNULL, STDOUT
//!   process/error            a program that cannot be started
//!   process/exit             the descriptor that becomes readable when a child exits
//!   process/pipes            this process's ends of a child's pipes
//!   process/child            spawn, Process
//!   process/communicate      Process::communicate
//!   process/into_args        IntoArgs: what a program is given as its arguments
//!   process/command          create_subprocess_exec, create_subprocess_shell, Command
//!   process/protocol         SubprocessProtocol, SubprocessTransport
//!   process/transport        subprocess_exec, subprocess_shell
//!   process_pool/error       ProcessPoolError
//!   process_pool/function    Function, and the format of requests and responses
//!   process_pool/serve       worker: the worker's side of a pool
//!   process_pool/executor    ProcessPoolExecutor
//!   fs/error                 PathError
//!   fs/call                  one call in a thread
//!   fs/path                  read, write, rename and the other calls that name a path
//!   fs/sequential            a file from its beginning to its end
//!   fs/file                  File
//!   fs/seek                  where a File is read and written next
//!   testing/trace            Trace: what happened, in order
//!   testing/faults           Faults: what goes wrong on a stream in memory
//!   testing/system_faults    SystemFaults: system calls that fail by a plan
//!   testing/byte_queue       one direction of a stream in memory
//!   testing/duplex           duplex: two ends of a stream in memory
//!   testing/settle           settle: everything that is ready runs
//!   testing/started          which threads and processes a test has started
//!   testing/leftover         Leftover, TestError
//!   testing/audit            what is left at the end of a test
//!   testing/test_builder     run, try_run, shuffle_all, TestBuilder
//!   interop/futures_bytes    futures-io's AsyncRead, AsyncBufRead and AsyncWrite
//!   interop/futures_fused    futures-core's FusedFuture
//!   interop/futures_items    futures-core's Stream, futures-sink's Sink
//!   interop/tokio_io         tokio's AsyncRead, AsyncBufRead and AsyncWrite
//!   interop/hyper/io         HyperIo: a byte stream as hyper's connection
//!   interop/hyper/timer      HyperTimer
//!   interop/hyper/executor   HyperExecutor
//!   inspect/answer           the protocol of an inspector
//!   inspect/client           one client of an inspector
//!   inspect/watcher          the thread that serves them
//!   inspect/inspector        Builder::inspector
//!   async_drop               defer_async_drop
//!   runner                   run, Runner
//!   doctest                  what examples of the documentation set up
//!   docs/changelog           a page: what changed in each version
//!   docs/differences         a page: every deviation from asyncio
//!   docs/errors              a page: every type of error
//!   docs/events              a page: what is said through tracing
//!   docs/from_tokio          a page: for those who come from tokio
//!   docs/guide               a page: the guide for users
//!   docs/modules             this page
//!   docs/security            a page: what a peer can make a program hold, and who can reach what
//!   docs/system_errors       a page: what follows each error of the system's calls
//!   docs/tokio_beside        a page: tokio's ecosystem, with and without its runtime
//!   docs/tutorials           a page: the programs of asyncio's tutorials, and where each is here
//! ```
//!
//! # Glossary
//! Words that this crate uses in a sense of its own:
//! - **turn**: one iteration of the loop, which runs everything that was ready when it began.
//! - **inbox**: the queue of callbacks and wake-ups that other threads have posted to a loop.
//! - **notifier**: the descriptor that ends a loop's wait when something was posted.
//! - **key**: the name of a task in one word. Wakers are keys, and no waker points to a task.
//! - **scope**: a part of a task that can be cancelled by itself, such as a timeout or a task group.
//! - **answer**: what a scope replies to a request to cancel: it ends, or it goes on. `kernel/cancel/mod` says *vote*.
//! - **budget**: how many operations a task may complete in one step before it has to suspend.
//! - **background future**: a future that a loop polls for itself, and that is no task.
//! - **instrumented**: said of a loop that has a context variable, a task hook or an observer, such as debug mode. Only there
//!   user code is entered with a context, and measured.
//! - **propagated context**: the context variables that are copied to a worker thread.
