//! How a node comes and goes: opened, polled here or elsewhere, completed, dropped.
//!
//! A node that completes or is dropped is taken out of its tree first, and only then is its answer counted: what the
//! answer sets off finds a tree without it.

use std::task::Waker;

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Kind, NIL, NodeKey, State, Vote};
use crate::kernel::cancel::request::Recent;
use crate::kernel::cancel::tree::Tree;
use crate::kernel::clock::NEVER;

impl Tree {
    /// A node is polled below `parent`: opened there where there is none yet, and moved there where it was polled
    /// elsewhere before. `direct` says that its waker is its task's own.
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
            // Somebody who has to act is polled: the others get their time too.
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
            // Where what is inside was cancelled it stays pending: then somebody has to act, if late.
            let inside_passed = node.passed && node.kind != Kind::Region;
            node.state = if inside_passed {
                State::Asked
            } else {
                State::Idle
            };
        }
        (key, index)
    }

    /// A boxed future was moved to another task or scope: to a request in the old place it says nothing, and here it
    /// starts anew with all below it.
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
            self.leave_due(below);
            if self.is_handled(below) {
                // Whoever holds its token decides about something that is over.
                self.unlink(below);
                self.release(below);
                continue;
            }
            let node = self.at_mut(below);
            node.state = State::Idle;
            node.in_cycle = false;
            node.waiting = 0;
            node.passed = false;
            node.kept = false;
            node.owes = false;
            node.tear_down = false;
            node.missed = false;
            node.begun = NEVER;
            let may_ask = node.kind.is_voter() || node.kind == Kind::Region;
            let own = self.unanswered(below);
            if may_ask {
                under_way.extend(own.map(|request| (below, request)));
            }
        }
        // Its own requests come along.
        for (origin, request) in under_way {
            self.deliver(origin, request, Recent::Any);
        }
        if owed {
            self.take_vote(former, Vote::Abstain);
        }
    }

    /// Puts a node between its parent and those that were linked there after `mark` and before it: they were polled inside
    /// it. What they owe they owe to it from now on, and it owes instead.
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
            let (owes, passed) = {
                let child = self.at(first);
                (child.owes, child.state == State::Passed)
            };
            self.at_mut(index).passed |= passed;
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

    /// Whether the node's newest waker is this one already.
    pub(super) fn wakes(&self, index: u32, waker: &Waker) -> bool {
        let known = &self.at(index).waker;
        known.as_ref().is_some_and(|known| known.will_wake(waker))
    }

    /// Keeps the newest waker; the former one is to be dropped with nothing borrowed.
    pub(super) fn keep_waker(&mut self, index: u32, waker: Waker) -> Option<Waker> {
        self.at_mut(index).waker.replace(waker)
    }

    /// What the node held has come to its end by itself.
    #[inline]
    pub(super) fn complete(&mut self, index: u32) {
        let node = self.at(index);
        let (owes, parent) = (node.owes, node.parent);
        let acted =
            matches!(node.state, State::Asked | State::Taken) || node.tear_down || node.passed;
        let vote = match (acted, node.kind) {
            (true, Kind::Await) => Vote::Keep,
            (true, _) => Vote::Pass,
            (false, _) => Vote::Abstain,
        };
        if owes {
            self.propagate_handled(index, parent);
        }
        self.remove(index);
        if owes {
            self.take_vote(parent, vote);
        }
    }

    /// Clean-up that goes on around a node that completes answers to the node's parent from now on.
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

    /// Somebody has dropped what the node held, unfinished: a request that waits for it is not lost with it.
    pub(super) fn dropped(&mut self, index: u32) {
        let node = self.at(index);
        let (owes, parent) = (node.owes, node.parent);
        self.remove(index);
        if owes {
            self.take_vote(parent, Vote::Pass);
        }
    }

    /// A node that owes nobody an answer is not needed any more.
    pub(super) fn forget(&mut self, index: u32) {
        debug_assert!(!self.at(index).owes);
        self.remove(index);
    }

    /// The clean-up around a handled catch goes on in its own way.
    pub(super) fn keep(&mut self, index: u32) {
        let node = self.at(index);
        let (owes, parent) = (node.owes, node.parent);
        self.remove(index);
        if owes {
            self.take_vote(parent, Vote::Keep);
        }
    }

    /// The node is cancelled and stays so until it is dropped.
    pub(super) fn pass(&mut self, index: u32) {
        self.leave_due(index);
        self.at_mut(index).state = State::Passed;
        self.vote(index, Vote::Pass);
    }

    /// Takes a node out with everything below it.
    #[inline]
    fn remove(&mut self, index: u32) {
        if self.at(index).first_child != NIL {
            self.erase_below(index);
        }
        self.unlink(index);
        self.release(index);
    }

    /// A catch that was asked lets go of everything below it. `None` where others have to be asked first; else what to
    /// tell its caller.
    pub(super) fn tear_down_catch(&mut self, index: u32) -> Option<Cancellation> {
        if !self.tear_down_inside(index) {
            return None;
        }
        let request = self.request_of(index).unwrap_or_default();
        self.at_mut(index).state = State::Taken;
        Some(request)
    }

    /// A voter or a region lets go of everything below it, unless others have to be asked first.
    pub(super) fn tear_down_inside(&mut self, index: u32) -> bool {
        self.leave_due(index);
        let torn_down = self.may_tear_down(index);
        if torn_down {
            self.erase_below(index);
        }
        torn_down
    }

    /// How many requests of their own are in progress around a node, itself included, its root not.
    pub(super) fn requests_around(&self, index: u32) -> u32 {
        let mut index = index;
        let mut count = 0;
        while index != NIL && self.at(index).kind != Kind::Root {
            count += u32::from(self.at(index).own.is_some());
            index = self.at(index).parent;
        }
        count
    }

    /// When the first of the delays inside a region began that have begun in its own first poll; [`NEVER`] without any.
    pub(super) fn earliest_begun(&self, top: u32) -> u64 {
        let mut earliest = NEVER;
        let mut here = self.next_below(top, top);
        while let Some(index) = here {
            let begun = self.at(index).begun;
            earliest = earliest.min(begun);
            // A delay has begun no later than those inside it.
            here = match begun {
                NEVER => self.next_below(index, top),
                _ => self.next_beside(index, top),
            };
        }
        earliest
    }

    /// Whether something around this region goes first: a request to which what is inside has said Pass already, or a
    /// region whose deadline is due, no later than this one's.
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
            let parents = [beside, inside].map(|key| tree.find(key).map(|i| tree.parent(i)));
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
