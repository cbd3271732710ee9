//! The life of a node: opened, polled here or elsewhere, completed, dropped.
//!
//! A node that completes or is dropped is first removed from its tree, and then its vote is counted: code that runs
//! because of the vote finds a tree without it.

use std::task::Waker;

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Kind, NIL, Node, NodeKey, State, Vote};
use crate::kernel::cancel::request::Recent;
use crate::kernel::cancel::tree::Tree;
use crate::kernel::clock::NEVER;

impl Tree {
    /// Notes that a node is polled below `parent`: it is opened there if there is none yet, and moved there if it was
    /// polled elsewhere before. `direct` says that its waker is its task's own.
    #[inline]
    pub(super) fn visit(
        &mut self,
        key: NodeKey,
        parent: u32,
        kind: Kind,
        direct: bool,
    ) -> (NodeKey, u32) {
        let Some(index) = self.find(key) else {
            let index = self.open(parent, kind);
            self.at_mut(index).direct = direct;
            return (self.key(index), index);
        };
        if self.is_due(index) {
            // A node that has to act is polled, so the others get more time.
            let root = self.at(index).root;
            self.at_mut(root).idle_polls = 0;
            self.leave_due(index);
        }
        if self.at(index).parent != parent {
            self.reattach(index, parent);
        }
        let seen = self.at(self.at(index).root).polls;
        let node = self.at_mut(index);
        node.direct = direct;
        node.seen = seen;
        if node.missed {
            self.make_up(index);
        }
        let node = self.at_mut(index);
        if node.state == State::Parked {
            // If its inner future was cancelled, that stays pending: then the node has to act, though late.
            node.state = match node.passed && node.kind != Kind::Region {
                true => State::Asked,
                false => State::Idle,
            };
        }
        (key, index)
    }

    /// Moves a node whose boxed future was moved to another task or scope: it abstains from a request in the old place,
    /// and starts anew here with all below it.
    fn reattach(&mut self, index: u32, parent: u32) {
        if self.goes_on_elsewhere(index) {
            return self.attach(index, parent);
        }
        let node = self.at_mut(index);
        let (owed, former) = (std::mem::replace(&mut node.owes, false), node.parent);
        self.unlink(index);
        self.move_to(index, parent);
        let mut under_way = Vec::new();
        let mut here = Some(index);
        while let Some(below) = here {
            here = self.next_below(below, index);
            self.restart(below);
            if self.is_handled(below) {
                // The holder of its token decides about a request that is over.
                self.unlink(below);
                self.release(below);
                continue;
            }
            let node = self.at_mut(below);
            node.state = State::Idle;
            node.in_cycle = false;
            node.owes = false;
            node.missed = false;
            node.begun = NEVER;
            let may_ask = node.kind.is_voter() || node.kind == Kind::Region;
            let own = self.unanswered(below);
            if may_ask {
                under_way.extend(own.map(|request| (below, request)));
            }
        }
        // Requests of moved scopes are made again.
        for (origin, request) in under_way {
            self.deliver(origin, request, Recent::Any);
        }
        if owed {
            self.take_vote(former, Vote::Abstain);
        }
    }

    /// Puts a node between its parent and the children that were linked after `mark` and before it: those were polled
    /// inside it. They owe their votes to the node from now on, and the node owes one to the parent.
    #[inline(never)]
    pub(super) fn adopt(&mut self, index: u32, mark: u64) {
        let parent = self.at(index).parent;
        let mut first = index;
        while first != self.at(parent).first_child {
            let before = self.at(first).prev;
            if self.at(before).linked <= mark {
                break;
            }
            first = before;
        }
        while first != index {
            let next = self.at(first).next;
            self.unlink(first);
            self.move_to(first, index);
            let &Node { owes, state, .. } = self.at(first);
            self.at_mut(index).passed |= state == State::Passed;
            if owes {
                self.at_mut(parent).waiting -= 1;
                self.at_mut(index).waiting += 1;
            }
            first = next;
        }
        if self.at(index).waiting > 0 {
            self.at_mut(index).owes = true;
            self.at_mut(parent).waiting += 1;
        }
    }

    /// Returns whether the node's newest waker wakes the same as this one.
    pub(super) fn wakes(&self, index: u32, waker: &Waker) -> bool {
        let known = &self.at(index).waker;
        known.as_ref().is_some_and(|known| known.will_wake(waker))
    }

    /// Removes a node whose future has ended by itself, and counts its vote.
    #[inline]
    pub(super) fn complete(&mut self, index: u32) {
        let node = self.at(index);
        let acted =
            matches!(node.state, State::Asked | State::Taken) || node.tear_down || node.passed;
        let vote = match (acted, node.kind) {
            (true, Kind::Await) => Vote::Keep,
            (true, _) => Vote::Pass,
            (false, _) => Vote::Abstain,
        };
        if node.owes {
            self.propagate_handled(index, node.parent);
        }
        self.end(index, vote);
    }

    /// Removes a node, and counts its vote if it owes one.
    #[inline]
    pub(super) fn end(&mut self, index: u32, vote: Vote) {
        let &Node { owes, parent, .. } = self.at(index);
        self.remove(index);
        if owes {
            self.take_vote(parent, vote);
        }
    }

    /// Moves the handled catches below a node that completes to the node's parent: their clean-up goes on, and its
    /// votes count there.
    fn propagate_handled(&mut self, index: u32, parent: u32) {
        let mut child = self.at(index).first_child;
        while child != NIL {
            let next = self.at(child).next;
            if self.is_handled(child) {
                self.unlink(child);
                self.move_to(child, parent);
                self.at_mut(parent).waiting += u32::from(self.at(child).owes);
            }
            child = next;
        }
    }

    /// Removes a node whose future was dropped unfinished. If it owes a vote it passes, so that the request is not
    /// lost.
    pub(super) fn dropped(&mut self, index: u32) {
        self.end(index, Vote::Pass);
    }

    /// Removes a node that owes no vote.
    pub(super) fn forget(&mut self, index: u32) {
        debug_assert!(!self.at(index).owes);
        self.remove(index);
    }

    /// Lets a node pass. It stays pending until it is dropped.
    pub(super) fn pass(&mut self, index: u32) {
        self.leave_due(index);
        self.at_mut(index).state = State::Passed;
        self.vote(index, Vote::Pass);
    }

    /// Removes a node with everything below it.
    #[inline]
    fn remove(&mut self, index: u32) {
        if self.at(index).first_child != NIL {
            self.erase_below(index);
        }
        self.unlink(index);
        self.release(index);
    }

    /// Tears down everything below a catch that was asked. Returns the request for its caller, or `None` if other nodes
    /// have to be asked first.
    pub(super) fn tear_down_catch(&mut self, index: u32) -> Option<Cancellation> {
        if !self.tear_down_inside(index) {
            return None;
        }
        let request = self.request_of(index).unwrap_or_default();
        self.at_mut(index).state = State::Taken;
        Some(request)
    }

    /// Tears down everything below a voter or a region. Returns `false` if other nodes have to be asked first.
    pub(super) fn tear_down_inside(&mut self, index: u32) -> bool {
        self.leave_due(index);
        let torn_down = self.may_tear_down(index);
        if torn_down {
            self.erase_below(index);
        }
        torn_down
    }

    /// Returns how many scopes around a node have a request of their own in progress, including the node and excluding
    /// its root.
    pub(super) fn requests_around(&self, index: u32) -> u32 {
        let mut index = index;
        let mut count = 0;
        while index != NIL && self.at(index).kind != Kind::Root {
            count += u32::from(self.at(index).own.is_some());
            index = self.at(index).parent;
        }
        count
    }

    /// Returns when the first delay inside a region began, of those that began in the region's own first poll;
    /// [`NEVER`] if there is none.
    pub(super) fn earliest_begun(&self, top: u32) -> u64 {
        let mut earliest = NEVER;
        let mut here = self.next_below(top, top);
        while let Some(index) = here {
            let begun = self.at(index).begun;
            earliest = earliest.min(begun);
            // A delay begins no later than the delays inside it.
            here = match begun {
                NEVER => self.next_below(index, top),
                _ => self.next_beside(index, top),
            };
        }
        earliest
    }

    /// Returns whether something around this region goes first: a request to which its inner future has passed already,
    /// or a region whose deadline is due and no later than this one's.
    pub(super) fn is_preceded(&self, index: u32, now: u64) -> bool {
        let node = self.at(index);
        let deadline = node.deadline;
        if node.passed && self.request_of(node.parent).is_some() {
            return true;
        }
        let mut around = self.at(index).parent;
        while around != NIL {
            let node = self.at(around);
            let due = node.deadline <= now && node.deadline <= deadline;
            if node.kind == Kind::Region && !node.expired && due {
                return true;
            }
            around = node.parent;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::task::key::Key;

    #[test]
    fn an_await_that_is_older_than_a_limit_stays_outside_it_whatever_the_counts_say() {
        for links in [1, 1 << 30, 1 << 31, 1 << 32, 1 << 62] {
            let mut tree = Tree::new(0);
            let root = tree.add_root(Key::new(1, 1, 1));
            let beside = tree.open_await(root, None);
            tree.linked += links;
            let mark = tree.linked;
            let (inside, _) = tree.visit(NodeKey::NONE, root, Kind::Await, true);
            let (_, limit) = tree.visit(NodeKey::NONE, root, Kind::Region, true);
            tree.adopt(limit, mark);
            let parents = [beside, inside].map(|key| tree.find(key).map(|i| tree.at(i).parent));
            assert_eq!(parents, [Some(root), Some(limit)], "after {links}");
        }
    }

    #[test]
    fn the_key_of_a_node_that_is_gone_names_no_other() {
        for nodes in [1, 1 << 16, 1 << 32, 1 << 48] {
            let mut tree = Tree::new(0);
            let root = tree.add_root(Key::new(1, 1, 1));
            let (gone, index) = tree.visit(NodeKey::NONE, root, Kind::Catch, true);
            tree.forget(index);
            tree.skip_generations(nodes - 1);
            let (key, again) = tree.visit(NodeKey::NONE, root, Kind::Catch, true);
            assert_eq!(again, index);
            assert!(tree.find(gone).is_none(), "after {nodes}");
            assert!(tree.find(key).is_some());
        }
    }
}
