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
//! `loop_state` holds these parts together and knows nothing of sockets, processes or signals; `task/waker` finds the
//! state of the loop that a thread is running. Two rules hold everywhere below this line. **Foreign code** (callbacks,
//! wakers, destructors, the exception handler) **runs with no borrow and no lock held**: what it needs is taken out
//! first. And **a wake never runs foreign code**: it flips a flag and queues a word.
//!
//! # Counts, and what happens at their ends
//! What is kept in order to act (cancel, remove, disarm, tell apart, order) is named by a count of 64 bits, which lasts for
//! 584 years at a thousand million a second, or is checked against one. What only wakes, and what is at most one turn
//! old, may be named by fewer bits: a name that fits by accident costs a poll that finds nothing.
//!
//! | count | bits | used for | at its end |
//! |---|---|---|---|
//! | tasks of a loop (`Slots::serial`) | 64 | `TaskId`, `all_tasks`, names, [`Identity`](task::key::Identity) | not reached |
//! | generation in a task's key | 16, the low ones of that | wakes; tasks that are known to be unfinished | begins again: a spurious poll |
//! | slots of tasks | 31 | with a generation or an identity | no more tasks: panic |
//! | ids of loops | 15 | the way of a wake to its inbox | `EventLoop::new` fails; freed ids are used again |
//! | epochs of loops | 64 | what an id is checked against; `TaskId` | not reached |
//! | nodes of a tree (`Tree::generation`) | 64 | keys of scopes, which act | not reached |
//! | linkings in a tree | 64 | who was polled inside a limit | not reached |
//! | polls with a request under way, of one task | 64 | by when a node has to act | not reached |
//! | polls in a row without anybody who was asked | 32 | how long a request waits | ends at 1,024 |
//! | askings before one fall | 8 | how long a request waits | ends at 16 |
//! | places of nodes; children that owe an answer | 32 | with a generation; a number | memory ends first |
//! | requests to a task (`cancelling`) | 32 | a number that is shown | stays there |
//! | turns | 64 | `yield_now`; which nodes were polled newly | not reached |
//! | runs | 32 | the entry that ends a run, at most one turn old | begins again |
//! | entries of the ready queue | 64 | `Handle::cancel` | not reached |
//! | posts of an inbox | 64 | `ThreadsafeHandle::cancel` | not reached |
//! | timers | 64 | disarming; the order of handles | not reached |
//! | the same in the ready queue | 24 | a timer that is due, at most one turn old | begins again: another one that is due too |
//! | places of timers | 32 | with the count of timers | no more timers: panic |
//! | sources of the reactor | 32 | events of the poller; their owner takes them out | begins again at 1: a spurious readiness |
//! | places of users' descriptors | 32 | events of the poller | begins again at 1: a spurious readiness |
//! | callbacks of users' descriptors | 24 | a callback that is queued, at most one turn old | begins again |
//! | done callbacks; waiters of one thing | 64 | removing; places in a queue | not reached |
//! | children of a group; background futures; clean-ups by `async_drop` | 64 | telling apart those that use one place in turn | not reached |
//! | children of a gather | 32 | their places | memory ends first |
//! | context variables; per-loop slots | 64 | their places | not reached |
//! | signals that have come; look-ups of names | 64 | whether there was another; who waits for which | not reached |
//! | forks that a process descends from | 32 | whether a loop is its parent's | begins again: after so many forks of forks |
//! | threads, workers, items, permits | that of an address | numbers of what is in memory | memory ends first |

pub(crate) mod await_future;
#[cfg(unix)]
pub(crate) mod background;
pub(crate) mod budget;
pub(crate) mod callback;
pub(crate) mod cancel;
pub(crate) mod clock;
pub(crate) mod close;
pub(crate) mod context;
pub(crate) mod current_context;
pub(crate) mod enter;
pub(crate) mod future;
pub(crate) mod handlers;
pub(crate) mod inbox;
pub(crate) mod inhibit;
pub(crate) mod inline_fn;
pub(crate) mod io;
pub(crate) mod local;
pub(crate) mod loop_handle;
pub(crate) mod loop_state;
pub(crate) mod proceed;
pub(crate) mod queues;
pub(crate) mod ready;
pub(crate) mod registry;
pub(crate) mod report;
pub(crate) mod task;
pub(crate) mod timers;
pub(crate) mod turn;
pub(crate) mod wait;
pub(crate) mod wake_time;
