//! What one scope, or one pending await, is in the tree of its task.

use std::rc::Weak;
use std::task::Waker;

use crate::error::Cancellation;
use crate::kernel::task::key::{Identity, Key};

/// No node.
pub(crate) const NIL: u32 = u32::MAX;

/// Names a node. The generation tells apart the nodes that use one place in turn, so a key that has gone stale names nothing: it is
/// a count of all nodes, and a key acts on what it names, so the count must not begin again.
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

    /// As the current scope: none, but one may be about to be put between the task and what is polled.
    pub(crate) const TENTATIVE: Self = Self {
        index: NIL,
        generation: 1,
    };

    /// Whether it is [`NONE`](Self::NONE), found out by one comparison: no other key has its generation.
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.generation == 0
    }
}

/// Whom a group or a gather waits for.
pub(crate) trait Members {
    /// Lists its children; they may have ended.
    fn tasks(&self) -> Vec<Identity>;
}

/// What stands at a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A task, or the future of `run_until_complete`.
    Root,
    /// `catch_cancelled`.
    Catch,
    /// `timeout` and its kin.
    Region,
    /// `task_group`, `try_gather`, `for_each_limit`: whoever asks it again waits, its children are cancelled once.
    Group,
    /// `gather`: asked again, it cancels its children again.
    Gather,
    /// A pending await of a `Task` or a `Future`.
    Await,
    /// A pending `resume()`.
    Resume,
}

impl Kind {
    /// Whether it answers by itself; the others pass on what those below them say.
    pub(super) fn is_voter(self) -> bool {
        matches!(self, Self::Catch | Self::Group | Self::Gather | Self::Await)
    }

    /// Whether a raise stops here.
    pub(super) fn takes_raises(self) -> bool {
        matches!(self, Self::Root | Self::Catch | Self::Group | Self::Gather)
    }
}

/// Where a node stands with regard to the newest request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// No request has reached it.
    Idle,
    /// It is to act when it is polled next.
    Asked,
    /// It has acted and has not answered yet: clean-up runs, or something is waited for.
    Taken,
    /// It was asked and not polled: nobody seems to want it, and the request has passed it by.
    Parked,
    /// It has answered: cancelled. It stays pending until it is dropped.
    Passed,
}

/// What a node says to its parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Vote {
    /// Cancelled: go on upwards.
    Pass,
    /// Handled: the code around me goes on.
    Keep,
    /// Nothing to do with me.
    Abstain,
}

/// One node. The links are indices into the tree's slab.
pub(super) struct Node {
    pub(super) generation: u64,
    /// When it was linked below its parent, as the tree counts.
    pub(super) linked: u64,
    /// The turn in which it was polled last, or [`NEVER`](crate::kernel::clock::NEVER); for a root, in which any node of
    /// its tree was. A task is polled at most once in a turn.
    pub(super) visited: u64,
    /// The node in whose poll it is polled; in a free place the next free one.
    pub(super) parent: u32,
    /// The `Root` of its tree: itself, for that one.
    pub(super) root: u32,
    pub(super) first_child: u32,
    /// The sibling before it; for the first one, the last.
    pub(super) prev: u32,
    pub(super) next: u32,
    /// The ring of nodes that have to act soon, through the root; to itself where it is none of them.
    pub(super) due_prev: u32,
    pub(super) due_next: u32,
    /// The poll of its task by whose end it must act. For a root: how many polls there were during requests.
    pub(super) polls: u64,
    /// The poll of its task in which it was polled last, counted as `polls` of the root.
    pub(super) seen: u64,
    /// For a root: how many polls in a row have ended, with the task queued again, in which nobody who had to act was
    /// polled.
    pub(super) idle_polls: u32,
    /// How often what had opened below it was asked before it fell, in the request that is in progress.
    pub(super) rounds: u8,
    /// How many children owe it a vote.
    pub(super) waiting: u32,
    pub(super) kind: Kind,
    pub(super) state: State,
    /// Among the votes since the last request there was a Pass.
    pub(super) passed: bool,
    /// Among the votes since the last request there was a Keep.
    pub(super) kept: bool,
    /// Its parent counts on its vote.
    pub(super) owes: bool,
    /// All below it have answered, and it is to drop what it holds.
    pub(super) tear_down: bool,
    /// It was asked while it had acted already.
    pub(super) again: bool,
    /// It was polled with its task's own waker.
    pub(super) direct: bool,
    /// A region's time is over.
    pub(super) expired: bool,
    /// A region's time is over, and what is inside has handled that and gone on.
    pub(super) kept_on: bool,
    /// Its own request was passed by below it while it was not polled.
    pub(super) missed: bool,
    /// What it awaits waits for its own task, and all of them have been asked to end.
    pub(super) in_cycle: bool,
    /// A region's deadline on the loop's clock.
    pub(super) deadline: u64,
    /// When a region's delay began, on the loop's clock.
    pub(super) begun: u64,
    /// For a root: its task, which lives as long as it.
    pub(super) task: Key,
    /// For the await of a task: that one, which may have ended.
    pub(super) awaited: Identity,
    /// For a group: its children.
    pub(super) members: Option<Weak<dyn Members>>,
    /// The newest waker that is not the task's own; gone once it was woken.
    pub(super) waker: Option<Waker>,
    /// The request of its own that is in progress.
    pub(super) own: Option<Cancellation>,
}
