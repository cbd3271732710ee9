//! The kernel: everything that one event passes through on its way from the system to user code.
//!
//! ```text
//!                 ┌────────────────────────── turn ──────────────────────────┐
//!   other threads │  1 inbox → ready                                         │
//!   ───► inbox ───┤  2 how long may we wait?          timers                 │
//!                 │  3 wait                           reactor ◄── mio        │
//!                 │  4 wake whom events concern       readiness → waker ─┐   │
//!                 │  5 queue due timers               timers ────────────┤   │
//!                 │  6 run what is ready now          ready ◄────────────┘   │
//!                 │       callback · task/cell · posted closure              │
//!                 └──────────────────────────────────────────────────────────┘
//! ```
//!
//! `loop_state` holds these parts together and knows nothing of sockets, processes or signals. `task/waker` finds the
//! state of the loop that the current thread runs. User code is entered through [`enter`] alone.
//!
//! # Rooms
//! | file or folder | what is there |
//! |---|---|
//! | [`turn`] | THE loop body: the six phases of a turn |
//! | [`enter`] | THE door into user code: context, panics, reports |
//! | [`observation`], [`observers`], [`callee`], [`meters`] | THE place that measures and traces entries; who is told; what is called; recording histograms |
//! | [`ready`], [`ready_token`], [`ring`], [`queues`] | the ready queue; its entries; a FIFO in one buffer; the ready queue and the tasks under one borrow |
//! | [`timers`], [`open_slot`], [`due`], [`queue_due`] | the timer wheel; what is due, in order, and to the ready queue |
//! | [`timer_list`] | which timers there are |
//! | [`wait_for_events`], [`wake_time`] | how long the loop sleeps; how many timers share a wake-up |
//! | [`inbox`], [`registry`], [`post_spin`] | posts and wakes of other threads; from a loop's id to its inbox; spinning for posts before the loop sleeps |
//! | [`io`] | the poller, readiness, callbacks of descriptors |
//! | [`wait`] | lists of waiters |
//! | [`task`] | tasks: one allocation each, their states, keys, wakers and handles |
//! | [`cancel`] | cancel scopes: how a request is asked, answered and decided |
//! | [`future`], [`await_future`] | `Future`; awaiting it |
//! | [`callback`], [`background`] | handles of callbacks; futures that are no tasks |
//! | [`loop_state`], [`loop_cell`] | the parts of one loop; the cell of the two that nearly every operation touches |
//! | [`hot_paths`] | what every step, callback and timer does with these two |
//! | [`loop_handle`], [`local`] | the handle of a loop; per-loop slots of other modules |
//! | [`context`], [`current_context`] | values of context variables; which context is current |
//! | [`clock`], [`inhibit`] | real and virtual time; what keeps virtual time from moving |
//! | [`budget`], [`proceed`] | how much a task may do in one poll |
//! | [`wait_hooks`] | what a host does around the sleep |
//! | [`report`], [`handlers`] | what a failure's report says; the exception handler and the task hook |
//! | [`events`] | what the crate says through `tracing`, or on standard error |
//! | [`inspection`], [`note_wait`], [`inspected`] | what an inspected loop notes: what tasks wait for, and of each call and step |
//! | [`close`] | the end of a loop |
//! | [`inline_fn`] | closures without a box |
//!
//! # One event's walk
//! What happens between a packet's arrival and the step of the task that waits for it; `transport/mod` has the same for a
//! protocol:
//!
//! ```text
//!    1 turn          polls the reactor for events
//!    2 io/reactor    finds the source of an event by its token, and checks the token's generation
//!    3 io/readiness  sets the source's readiness and takes its waiters; the borrow ends, then they are woken
//!    4 task/waker    finds the loop of a waker: this thread's loop continues at 5, another thread's is reached by `inbox`
//!    5 ready         queues the task
//!    6 turn          takes the task from the queue, in the order of arrival
//!    7 enter         enters user code: sets the context and the current task, and catches a panic
//!    8 task/cell     polls the task's future
//!    9 turn          wakes the awaiter of a task that has ended, which continues at 4; `future` does so for a `Future`
//! ```
//!
//! # Two rules
//! 1. **User code** (callbacks, other runtimes' wakers, destructors, the exception handler) **runs with no borrow and no
//!    lock held.** The kernel first takes out what the call needs, ends the borrow, and then calls.
//! 2. **A wake of one of our tasks never runs user code.** It sets a flag and queues one word.
//!
//! # Counts, and what happens at their ends
//! A name that is kept in order to act (cancel, remove, disarm, distinguish, order) is a count of 64 bits, or is
//! checked against one. At a thousand million a second such a count lasts for 584 years. A name that only wakes, or
//! that is at most one turn old, may have fewer bits: if a stale one fits by accident, a poll finds nothing.
//!
//! | count | bits | used for | at its end |
//! |---|---|---|---|
//! | tasks of a loop (`Slots::serial`) | 64 | `TaskId`, `all_tasks`, names, [`Identity`](task::key::Identity) | not reached |
//! | generation in a task's key | 16, the low ones of that | wakes; tasks that are known to be unfinished | begins again: a spurious poll |
//! | slots of tasks | 31 | with a generation or an identity | no more tasks: the process aborts; memory ends first |
//! | ids of loops | 15 | finding the inbox for a wake | `EventLoop::new` fails; freed ids are used again |
//! | epochs of loops | 64 | what an id is checked against; `TaskId` | not reached |
//! | nodes of a tree (`Tree::generation`) | 64 | keys of scopes, which act | not reached |
//! | links made in a tree | 64 | which awaits were polled inside a timeout | not reached |
//! | polls of one task with a request in progress | 64 | by which poll a node has to act | not reached |
//! | polls in a row in which no asked node was polled | 32 | how long a request waits | ends at 1,024 |
//! | rounds of asking before one tear-down | 8 | how long a request waits | ends at 16 |
//! | places of nodes; children that owe an answer | 32 | with a generation; a number | memory ends first |
//! | requests to a task (`cancelling`) | 32 | a number that is shown | stays there |
//! | turns | 64 | `yield_now`; which nodes were polled newly | not reached |
//! | runs | 32 | the entry that ends a run, at most one turn old | begins again |
//! | entries and callbacks of the ready queue | 64 | `Handle::cancel` | not reached |
//! | posts of an inbox | 63 | `ThreadsafeHandle::cancel` | not reached |
//! | timers | 64 | disarming; the order of handles | not reached |
//! | the same in the ready queue | 24 | a due timer, at most one turn old | begins again: another due timer runs |
//! | places of timers | 32 | with the count of timers | no more timers: the process aborts; memory ends first |
//! | sources of the reactor | 32 | events of the poller; their owner deregisters them | begins again at 1: a spurious readiness |
//! | places of users' descriptors | 32 | events of the poller | begins again at 1: a spurious readiness |
//! | callbacks of users' descriptors | 24 | a callback that is queued, at most one turn old | begins again |
//! | done callbacks; waiters of one thing | 64 | removing; places in a queue | not reached |
//! | children of a group; background futures; clean-ups by `async_drop` | 64 | distinguishing those that use one slot in turn | not reached |
//! | children of a gather | 32 | their places | memory ends first |
//! | context variables; per-loop slots | 64 | their places | not reached |
//! | arrived signals; look-ups of names | 64 | whether another has arrived; which look-up a waiter waits for | not reached |
//! | forks that a process descends from | 32 | whether a loop is its parent's | begins again: after so many forks of forks |
//! | threads, workers, items, permits | that of an address | numbers of what is in memory | memory ends first |
//!
//! # Where it is decided
//! Mechanisms that no signature shows, and the file whose first paragraph describes each:
//!
//! | what | where |
//! |---|---|
//! | what happens between a packet's arrival and the step of the task that waits for it | `kernel/mod` |
//! | how long the loop sleeps; when it polls although work is ready | `kernel/wait_for_events`; `kernel/turn` |
//! | how a post or a wake of another thread ends that sleep | `kernel/inbox`, `sys/notifier` |
//! | what a timer costs, awaited or not, and in which order timers fire | `kernel/timers` |
//! | where the panic of a callback or a protocol is caught; of a task | `kernel/enter`; `kernel/task/cell` |
//! | who is told of a failure | `kernel/handlers` |
//! | which code may be called while a borrow is held: none of the user's | `kernel/mod` |
//! | how a request to cancel goes through a task; one, step by step | `kernel/cancel/mod` |
//! | where a cancelled gather waits for its children; a group | `combine/gather`; `combine/group/scope` |
//! | how many operations one step of a task may complete | `kernel/budget` |
//! | when a short read proves that a socket is drained | `kernel/io/readiness` |
//! | who calls a protocol, and when; the path of a byte to a protocol, and to a stream | `transport/mod` |
//! | what ends a connection | `transport/connection`, `transport/lifecycle` |
//! | where a transport that was paused reads again | `transport/transport`, then `transport/read` |
//! | where a protocol that was asked to pause writing is resumed | `transport/write` |
//! | what a listener does when `accept` fails, as without descriptors | `socket/accept` |
//! | on which threads names are looked up, and what closing does to them | `socket/resolver` |
//! | whether a descriptor that others share blocks | `socket/nonblocking`, `socket/shared_mode` |
//! | what happens to all of this when a loop closes, or its process forks | `kernel/close`, `sys/fork` |

pub(crate) mod await_future;
pub(crate) mod background;
pub(crate) mod batch;
pub(crate) mod budget;
pub(crate) mod callback;
pub(crate) mod callee;
pub(crate) mod cancel;
pub(crate) mod clock;
pub(crate) mod close;
pub(crate) mod context;
pub(crate) mod current_context;
pub(crate) mod due;
pub(crate) mod enter;
pub(crate) mod events;
pub(crate) mod future;
pub(crate) mod handlers;
pub(crate) mod hot_paths;
pub(crate) mod inbox;
pub(crate) mod inhibit;
pub(crate) mod inline_fn;
pub(crate) mod inspected;
pub(crate) mod inspection;
pub(crate) mod io;
pub(crate) mod local;
pub(crate) mod loop_cell;
pub(crate) mod loop_handle;
pub(crate) mod loop_state;
pub(crate) mod meters;
pub(crate) mod note_wait;
pub(crate) mod observation;
pub(crate) mod observers;
mod open_slot;
pub(crate) mod post_spin;
pub(crate) mod proceed;
pub(crate) mod queue_due;
pub(crate) mod queues;
pub(crate) mod ready;
pub(crate) mod ready_token;
pub(crate) mod registry;
pub(crate) mod report;
pub(crate) mod ring;
pub(crate) mod settings;
pub(crate) mod shuffle;
pub(crate) mod spans;
pub(crate) mod task;
pub(crate) mod timer_list;
pub(crate) mod timers;
pub(crate) mod turn;
pub(crate) mod wait;
pub(crate) mod wait_for_events;
pub(crate) mod wait_hooks;
pub(crate) mod wake_time;

pub use callback::{Handle, HandleId, TimerHandle};
pub use cancel::token::Cancelled;
pub use clock::Clock;
pub use context::Context;
pub use future::Future;
pub use local::LoopLocal;
pub use loop_handle::{ExceptionHandler, LoopHandle};
pub use report::{ExceptionContext, FailedFuture, FailedHandle};
pub use task::handle::Task;
pub use task::reference::{CallbackId, TaskId, TaskRef};
pub use wait::wait_kind::WaitKind;
pub use wait_hooks::{WaitEnd, WaitHooks};
