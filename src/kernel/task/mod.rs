//! Tasks: one allocation each, owned by the loop, shared with a handle.
//!
//! ```text
//!                 ┌───────(3) pause───────┐
//!                 ▼                       │
//!   spawn ──►  idle, queued ──(1)begin──► running ──(4)finish────────────► done ──(5)take──► taken
//!                 │                       ▲   │
//!                 │                       │   └──(4)finish_cancelled─────► done
//!                 └────(2)begin_kill──────┘
//! ```
//!
//! 1 and 3 are a poll (`TaskCell::step`). 2 is the end without a poll (`TaskCell::kill`, at close); a request that was
//! made before a poll takes path 1 and ends in 4 at once. While a task is *running* its stage belongs to that one call;
//! any other poll, kill or take is refused.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `Header::state` | `state.rs`'s transitions alone | any code on the thread |
//! | `Header::waiter_*` | the handle's poll; the turn takes them at the end | – |
//! | `Header::side`, the cold fields | handle, turn; taken out and put back | the same |
//! | `TaskCell::stage` | `step`, `kill` under RUNNING; `take` after DONE | the same |
//! | `Slot::scheduled` | a wake sets it, the turn clears it before the poll | wakes |
//!
//! The end of a task, in this order: future dropped → output stored → DONE → the waiter woken and callbacks queued →
//! slot freed → last reference dropped, which may run the output's destructor.

pub(crate) mod any_task;
pub(crate) mod cell;
pub(crate) mod cell_pool;
mod cold_fields;
pub(crate) mod handle;
pub(crate) mod header;
pub(crate) mod key;
mod lookup;

pub(crate) mod reference;
pub(crate) mod root;
pub(crate) mod slots;
pub(crate) mod state;
pub(crate) mod waker;
