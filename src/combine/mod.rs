//! Many tasks at once.
//!
//! There are two attitudes. [`gather`], [`try_gather`], [`task_group`] and [`for_each_limit`] say: these are part of what I
//! do. They own their children: whoever cancels the parent cancels them, and none outlives a parent that is awaited to
//! its end. [`wait`] and [`as_completed`] look at tasks from outside, and [`shield`] awaits one from behind a wall: whatever
//! becomes of whoever waits, a task that was waited for runs on.
//!
//! A task tells of its end by itself, once: waiting for n tasks costs n steps altogether, however often anybody is
//! woken. Children tell their [`ChildCount`](child_count::ChildCount), which costs nothing extra; other tasks tell a
//! [`TaskObserver`](observer::TaskObserver).

mod as_completed;
mod cancel_on_drop;
pub(crate) mod child_count;
mod for_each;
mod gather;
mod group;
pub(crate) mod observer;
mod shield;
pub(crate) mod tasks;
mod try_gather;
mod wait;

pub use as_completed::{AsCompleted, as_completed};
pub use cancel_on_drop::CancelOnDrop;
pub use for_each::for_each_limit;
pub use gather::{Gather, GatherError, Settled, gather, gather_tuple};
pub use group::{Failure, FailureCause, GroupClosed, GroupError, Outcome, TaskGroup, task_group};
pub use shield::{Shield, shield};
pub use tasks::{GatherFutures, Tasks};
pub use try_gather::{TryGather, TryGatherError, try_gather};
pub use wait::{ReturnWhen, wait};
