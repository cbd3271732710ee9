//! Task groups: children that end before their group does.
//!
//! - `error`: the failures that [`task_group`] reports.
//! - `state`: the state that a group's handles, its children and its future share.
//! - `child`: the wrapper around a child's future.
//! - `handle`: [`TaskGroup`], the handle that the body of a group is given.
//! - `scope`: [`task_group`], the future that runs the body and waits for the children.

mod child;
pub(super) mod error;
mod handle;
pub(super) mod scope;
mod state;

pub use error::{Failure, FailureCause, GroupError, Outcome};
pub use handle::{GroupClosed, TaskGroup};
pub use scope::task_group;
