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

#[cfg(unix)]
pub(crate) mod background;
pub(crate) mod budget;
pub(crate) mod callback;
pub(crate) mod cancel;
pub(crate) mod clock;
pub(crate) mod close;
pub(crate) mod context;
pub(crate) mod descriptors;
pub(crate) mod foreign;
pub(crate) mod future;
pub(crate) mod handlers;
pub(crate) mod inbox;
pub(crate) mod inhibit;
pub(crate) mod inline_fn;
pub(crate) mod io;
pub(crate) mod local;
pub(crate) mod loop_state;
pub(crate) mod proceed;
pub(crate) mod queues;
pub(crate) mod reactor;
pub(crate) mod readiness;
pub(crate) mod ready;
pub(crate) mod registry;
pub(crate) mod report;
pub(crate) mod sync;
pub(crate) mod task;
pub(crate) mod timers;
pub(crate) mod turn;
pub(crate) mod wait_queue;
pub(crate) mod waiters;
pub(crate) mod watch;
pub(crate) mod watch_fd;
