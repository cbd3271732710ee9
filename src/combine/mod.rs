//! Many tasks at once.
//!
//! There are two attitudes. [`gather`], [`try_gather`], [`task_group`] and [`for_each_limit`] say: these are part of what I
//! do. They own their children: whoever cancels the parent cancels them, and none outlives a parent that is awaited to
//! its end. [`wait`] and [`as_completed`] look at tasks from outside, and [`shield`] awaits one from behind a wall: whatever
//! becomes of whoever waits, a task that was waited for runs on.
//!
//! A task tells of its end by itself, once: waiting for n tasks costs n steps altogether, however often anybody is
//! woken. Children tell their [`Tally`](tally::Tally), which costs nothing extra; other tasks tell a
//! [`Watch`](watch::Watch).

mod as_completed;
mod cancel_on_drop;
mod for_each;
mod gather;
mod group;
mod group_error;
mod nursery;
mod shield;
pub(crate) mod tally;
mod task_group;
pub(crate) mod tasks;
mod try_gather;
mod wait;
pub(crate) mod watch;

pub use as_completed::{AsCompleted, as_completed};
pub use cancel_on_drop::CancelOnDrop;
pub use for_each::for_each_limit;
pub use gather::{Gather, GatherError, Settled, gather, gather_tuple};
pub use group::{GroupClosed, TaskGroup};
pub use group_error::{Failure, FailureCause, GroupError, Outcome};
pub use shield::{Shield, shield};
pub use task_group::task_group;
pub use tasks::{GatherFutures, Tasks};
pub use try_gather::{TryGather, TryGatherError, try_gather};
pub use wait::{ReturnWhen, wait};
