//! Task groups: children that end before their group does.
//!
//! - `error`: what [`task_group`] reports of failed children.
//! - `state`: the children of one group, who of them has failed, and who waits for them.
//! - `handle`: [`TaskGroup`], what a group's body is given.
//! - `scope`: [`task_group`], the future that runs the body and waits for the children.

mod child;
pub(super) mod error;
mod handle;
pub(super) mod scope;
mod state;

pub use error::{Failure, FailureCause, GroupError, Outcome};
pub use handle::{GroupClosed, TaskGroup};
pub use scope::task_group;
