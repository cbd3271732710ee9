//! Requests that outlive the tree in which they were made, or the poll in which they were due.
//!
//! A scope's own request is a fact about its future: a child of the group has failed, or the region's time is over. The
//! future may not be polled when the request is made, and it may outlive its task: it is boxed and moved to another
//! task, or borrowed by a main task that is stopped and run again. So the request is kept until it is answered:
//!
//! ```text
//! the tree around the scope is erased     its node is detached, with all below it: clean-up goes on and is counted
//! it is polled again, elsewhere           it is attached there as it is
//! the asked nodes are not polled in time, the parked nodes below it are asked when it is polled again
//!   and neither is the scope itself
//! the inner future keeps                  the request is over, and stays so
//! ```
//!
//! A detached node is below a root that belongs to no task. It is removed when its future is dropped.

use crate::error::{CancelOrigin, Cancellation};
use crate::kernel::cancel::node::{Kind, NIL, State};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::clock::NEVER;
use crate::kernel::task::key::Key;

impl Tree {
    /// Erases everything below a node: the keys become stale, and votes that are still owed are dropped. Scopes with an
    /// unanswered request of their own are detached.
    pub(super) fn erase_below(&mut self, top: u32) {
        let mut here = top;
        loop {
            match self.at(here).first_child {
                NIL if here == top => return,
                NIL => {
                    let parent = self.at(here).parent;
                    self.unlink(here);
                    self.release(here);
                    here = parent;
                }
                child if self.is_unanswered(child) => self.detach(child),
                child => here = child,
            }
        }
    }

    /// Tears down the whole tree of a task.
    pub(crate) fn tear_down(&mut self, root: u32) {
        let put_off = self.take_put_off(root);
        self.effects.trash.extend(put_off);
        self.erase_below(root);
        self.release(root);
    }

    /// Returns whether a scope has a request of its own that the nodes below it have not answered.
    fn is_unanswered(&self, index: u32) -> bool {
        let node = self.at(index);
        match node.kind {
            Kind::Group => node.own.is_some(),
            Kind::Region => node.own.is_some() || self.is_late(index),
            _ => false,
        }
    }

    /// Returns whether a region's time is over and its inner future has not kept.
    fn is_late(&self, index: u32) -> bool {
        let node = self.at(index);
        node.kind == Kind::Region && node.expired && !node.kept_on
    }

    /// Moves a scope with all below it out of its tree, and keeps it for when it is polled again.
    #[cold]
    fn detach(&mut self, index: u32) {
        if self.detached == NIL {
            self.detached = self.add_root(Key::NONE);
        }
        let due = self.due_in(index);
        self.unlink(index);
        self.move_to(index, self.detached);
        self.at_mut(index).owes = false;
        for index in due {
            self.join_due(index);
        }
    }

    /// Returns the nodes with pending actions, of a scope and all below it.
    fn due_in(&self, top: u32) -> Vec<u32> {
        let mut due = Vec::new();
        let mut here = Some(top);
        while let Some(index) = here {
            here = self.next_below(index, top);
            if self.is_due(index) {
                due.push(index);
            }
        }
        due
    }

    /// Returns whether a node was detached during its own request, which goes on where it is polled now.
    pub(super) fn goes_on_elsewhere(&self, index: u32) -> bool {
        let node = self.at(index);
        node.own.is_some() && node.state != State::Passed && node.root == self.detached
    }

    /// Attaches a detached node where it is polled now, as it is.
    pub(super) fn attach(&mut self, index: u32, parent: u32) {
        let due = self.due_in(index);
        self.unlink(index);
        self.move_to(index, parent);
        for index in due {
            self.make_due(index);
        }
        let mut here = Some(index);
        while let Some(below) = here {
            // It did not begin in the first poll of the region that is around it now.
            self.at_mut(below).begun = NEVER;
            here = self.next_below(below, index);
        }
    }

    /// Takes the request that a moved region makes again: one that is in progress, or one that it left to a region
    /// around it.
    pub(super) fn unanswered(&mut self, index: u32) -> Option<Cancellation> {
        let own = self.at_mut(index).own.take();
        if own.is_none() && self.is_late(index) {
            return Some(Cancellation::new(None, CancelOrigin::Timeout, None));
        }
        own
    }

    /// Notes that a node has not acted in the poll in which it was due. If the scope whose request that was was not
    /// polled either, nothing shows that the node is unwanted: the scope is marked `missed`.
    pub(super) fn note_missed(&mut self, index: u32) {
        let due = self.at(index).polls;
        let mut around = index;
        while around != NIL {
            let node = self.at_mut(around);
            let asks = matches!(node.kind, Kind::Group | Kind::Region) && node.own.is_some();
            if asks && node.seen < due && node.state != State::Taken {
                node.missed = true;
            }
            around = node.parent;
        }
    }

    /// Handles a `missed` scope that is polled again: the parked nodes below it count as newly opened, and are asked
    /// before the scope is torn down.
    #[cold]
    pub(super) fn make_up(&mut self, top: u32) {
        self.at_mut(top).missed = false;
        if self.at(top).own.is_none() {
            return;
        }
        if self.at(top).state == State::Parked {
            self.at_mut(top).state = State::Asked;
        }
        let mut here = self.next_below(top, top);
        while let Some(index) = here {
            here = self.next_below(index, top);
            if self.at(index).state == State::Parked && !self.at(index).passed {
                self.at_mut(index).state = State::Idle;
            }
        }
    }
}
