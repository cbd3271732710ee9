//! A node: one scope, or one pending await, in the tree of its task.

use std::rc::Weak;
use std::task::Waker;

use crate::error::Cancellation;
use crate::kernel::task::key::{Identity, Key};

/// No node.
pub(crate) const NIL: u32 = u32::MAX;

/// Names a node. The generation distinguishes the nodes that use one place in turn, so a stale key names nothing. It is
/// a count of all nodes of 64 bits: a key acts on its node, so the count must never begin again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NodeKey {
    pub(super) index: u32,
    pub(super) generation: u64,
}

impl NodeKey {
    pub(crate) const NONE: Self = Self {
        index: NIL,
        generation: 0,
    };

    /// As the current scope: none, but a node may be put between the task and the polled future afterwards.
    pub(crate) const TENTATIVE: Self = Self {
        index: NIL,
        generation: 1,
    };

    /// Returns whether it is [`NONE`](Self::NONE), by one comparison: no other key has its generation.
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.generation == 0
    }
}

/// The children that a group or a gather waits for.
pub(crate) trait Members {
    /// Lists its children; they may have ended.
    fn tasks(&self) -> Vec<Identity>;
}

/// The kind of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A task, or the future of `run_until_complete`.
    Root,
    /// `catch_cancelled`.
    Catch,
    /// `timeout` and its kin.
    Region,
    /// `task_group`, `try_gather`, `for_each_limit`: its children are cancelled once; a second request only waits.
    Group,
    /// `gather`: asked again, it cancels its children again.
    Gather,
    /// A pending await of a `Task` or a `Future`.
    Await,
    /// A pending `resume()`.
    Resume,
}

impl Kind {
    /// Returns whether the node votes by itself; the others forward the votes of the nodes below them.
    pub(super) fn is_voter(self) -> bool {
        matches!(self, Self::Catch | Self::Group | Self::Gather | Self::Await)
    }

    /// Returns whether a raise stops at this kind of node.
    pub(super) fn takes_raises(self) -> bool {
        matches!(self, Self::Root | Self::Catch | Self::Group | Self::Gather)
    }
}

/// The state of a node with regard to the newest request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// No request has reached it.
    Idle,
    /// It is to act when it is polled next.
    Asked,
    /// It has acted and has not voted yet: its clean-up runs, or it waits for children or a task.
    Taken,
    /// It was asked and not polled: it seems to be unwanted, and the request does not wait for it.
    Parked,
    /// It has passed. It stays pending until it is dropped.
    Passed,
}

/// What a node answers its parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Vote {
    /// Cancelled: go on upwards.
    Pass,
    /// Handled: the code around me goes on.
    Keep,
    /// It does not concern me.
    Abstain,
}

/// One node. The links are indices into the tree's slab.
pub(super) struct Node {
    pub(super) generation: u64,
    /// The number of its link to its parent, as the tree counts links.
    pub(super) linked: u64,
    /// The turn in which it was polled last, or [`NEVER`](crate::kernel::clock::NEVER); for a root, in which any node
    /// of its tree was. A task is polled at most once in a turn.
    pub(super) visited: u64,
    /// The node in whose poll it is polled; in a free place the next free one.
    pub(super) parent: u32,
    /// The `Root` of its tree: itself, for that one.
    pub(super) root: u32,
    pub(super) first_child: u32,
    /// The sibling before it; for the first one, the last.
    pub(super) prev: u32,
    pub(super) next: u32,
    /// Its neighbours in the list of pending actions, a ring through the root; itself if it is not in the list.
    pub(super) due_prev: u32,
    pub(super) due_next: u32,
    /// The poll of its task by whose end it must act. For a root: how many polls there were during requests.
    pub(super) polls: u64,
    /// The poll of its task in which it was polled last, counted as `polls` of the root.
    pub(super) seen: u64,
    /// For a root: how many polls in a row have ended, with the task queued again, in which no node that had to act was
    /// polled.
    pub(super) idle_polls: u32,
    /// How often newly opened voters were asked before it was torn down, in the current request.
    pub(super) rounds: u8,
    /// How many children owe it a vote.
    pub(super) waiting: u32,
    pub(super) kind: Kind,
    pub(super) state: State,
    /// Among the votes since the last request there was a Pass.
    pub(super) passed: bool,
    /// Among the votes since the last request there was a Keep.
    pub(super) kept: bool,
    /// It owes its parent a vote.
    pub(super) owes: bool,
    /// All below it have voted, and its inner future is to be torn down.
    pub(super) tear_down: bool,
    /// It was asked again after it had acted.
    pub(super) again: bool,
    /// It was polled with its task's own waker.
    pub(super) direct: bool,
    /// A region's time is over.
    pub(super) expired: bool,
    /// A region's time is over, and its inner future has handled the request and goes on.
    pub(super) kept_on: bool,
    /// A node below it abstained from its own request while it was not polled itself.
    pub(super) missed: bool,
    /// The task that it awaits waits for its own task, and all tasks of the circle were asked to end.
    pub(super) in_cycle: bool,
    /// A region's deadline on the loop's clock.
    pub(super) deadline: u64,
    /// When a region's delay began, on the loop's clock.
    pub(super) begun: u64,
    /// For a root: its task, which outlives it.
    pub(super) task: Key,
    /// For the await of a task: the awaited task, which may have ended.
    pub(super) awaited: Identity,
    /// For a group: its children.
    pub(super) members: Option<Weak<dyn Members>>,
    /// The newest waker that is not the task's own; `None` once it was woken.
    pub(super) waker: Option<Waker>,
    /// The request of its own that is in progress.
    pub(super) own: Option<Cancellation>,
}
