//! Tasks: one allocation each, owned by the loop, shared with a handle.
//!
//! ```text
//!                 ┌───────(3) pause───────┐
//!                 ▼                       │
//!   spawn ──►  idle, queued ──(1)begin──► running ──(4)finish────────────► done ──(5)take──► taken
//!                 │                       ▲   │
//!                 │                       │   └──(4)finish_cancelled─────► done
//!                 └────(2)begin, killed───┘
//! ```
//!
//! 1 and 3 are a poll (`TaskCell::step`). 2 is the end without a poll (`AnyTask::kill`, at close: a step that was told
//! so); a request that was made before a poll takes path 1 and ends in 4 at once. While a task is *running* its stage
//! belongs to that one call; any other poll, kill or take is refused.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `Header::state` | `state.rs`'s transitions alone | any code on the thread |
//! | `Header::waiter_*` | the handle's poll; the turn takes them at the end | – |
//! | `Header::side`, the cold fields | handle, turn; taken out and put back | the same |
//! | `Header::count` | `AnyTask`'s clone and drop | – |
//! | `TaskCell::stage` | `step` under RUNNING; `take` after DONE | the same |
//! | `Slot::scheduled` | a wake sets it, the turn clears it before the poll | wakes |
//!
//! The end of a task, in this order: future dropped → output stored → DONE → the waiter woken and callbacks queued →
//! slot freed → last reference dropped, which may run the output's destructor.
//!
//! # How long a cell lives
//! A cell is destroyed with its last counted reference, and its memory goes to the loop's `CellPool` in the same call.
//! These count: the slot, from `Slots::insert` to `Slots::remove`; the handle; each `TaskRef` and each task that a
//! look-up returned; for the root, its run. All are on the loop's thread. Wakers and queues hold keys, which find a slot
//! or nothing.
//!
//! One reference does not count: `Slots::unschedule` lends the slot's own one for a step. So **the slot of a task that
//! was lent is not freed until the turn has acted on the end of its step**:
//! - `Slots::remove` alone takes a task out of a slot. The turn calls it in two places, with the key whose step has
//!   just ended the task, in the frames of that step, and uses the lent reference no more. `close` calls it while the
//!   loop does not run, so that nothing is lent: `EventLoop::close` refuses a running loop, a run borrows the owner, and
//!   in a forked child `close` touches no task. A step that a panic has unwound has no frame that could use what was lent.
//! - No code that runs during the step can bring about the first call for the same task. A second step of it is refused
//!   by RUNNING, and later by DONE; neither ends it. Other tasks that start eagerly have other slots.
//! - From `unschedule` until `begin` has set RUNNING, and from the step's end until `remove`, the task may run no step
//!   of its own. What the turn does meanwhile (contexts, other runtimes' wakers, reports) may run user code, which may
//!   drop the handle, cancel, spawn, and wake; none of these frees a slot.
//! - Slots are truncated only behind the last task, and dropped with the loop's state, which a run keeps.
//!
//! Debug builds check in `remove` that the task is not running, and overwrite memory that is kept for another task.

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
pub(crate) mod root_slot;
pub(crate) mod slots;
pub(crate) mod state;
pub(crate) mod waker;
