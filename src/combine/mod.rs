//! Many tasks at once.
//!
//! There are two kinds of functions. [`gather()`], [`try_gather()`], [`task_group`] and [`for_each_limit`] own their tasks,
//! which are their children. Cancelling the parent cancels the children, and a parent that is awaited to its end
//! outlives them all. [`wait()`], [`as_completed()`] and [`shield()`] only observe: cancelling the waiter leaves the tasks
//! running.
//!
//! [`race()`] is neither: it makes no tasks, and runs its futures inside the caller's await.
//!
//! A task reports its end by itself, once. So waiting for n tasks costs n steps in total, no matter how often the
//! waiter is woken. Children report to their [`ChildCount`](child_count::ChildCount), which costs no allocation. Other
//! tasks report to a [`TaskObserver`](observer::TaskObserver).

#[doc(hidden)]
pub mod argument;
pub(crate) mod as_completed;
mod cancel_on_drop;
pub(crate) mod child_count;
mod each_completed;
mod for_each;
mod gather;
mod group;
mod into_task;
pub(crate) mod observer;
mod race;
mod shared;
mod shield;
pub(crate) mod tasks;
mod try_gather;
mod wait;

pub use as_completed::{AsCompleted, as_completed};
pub use cancel_on_drop::CancelOnDrop;
pub use each_completed::{EachCompleted, NextCompleted};
pub use for_each::for_each_limit;
pub use gather::{Gather, GatherError, Settled, gather, gather_tuple};
pub use group::{Failure, FailureCause, GroupClosed, GroupError, Outcome, TaskGroup, task_group};
pub use into_task::IntoTask;
pub use race::{Race, RaceFutures, race, race_tuple};
pub use shared::SharedTask;
pub use shield::{IntoShielded, Shield, shield};
pub use tasks::{GatherFutures, Tasks};
pub use try_gather::{TryGather, TryGatherError, try_gather};
pub use wait::{ReturnWhen, wait};
