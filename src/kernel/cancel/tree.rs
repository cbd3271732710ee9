//! All nodes of one loop: a slab, and in it a tree for each task that has scopes.
//!
//! Only structure is kept here: which node is below which, and which have pending actions. Nothing here wakes or drops
//! a waker. Work for the time after the borrow is collected in [`Effects`].

use std::task::Waker;

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Kind, NIL, Node, NodeKey, State};
use crate::kernel::clock::NEVER;
use crate::kernel::task::key::{Identity, Key};

/// The work that is done once nothing is borrowed.
#[derive(Default)]
pub(crate) struct Effects {
    /// Tasks with a request in progress, to be marked so and woken.
    pub(crate) tasks: Vec<Key>,
    /// Tasks to be cancelled, with the request.
    pub(crate) cancels: Vec<(Identity, Cancellation)>,
    /// Wakers of nodes that were asked.
    pub(crate) wakers: Vec<Waker>,
    /// Wakers to be dropped.
    pub(crate) trash: Vec<Waker>,
}

impl Effects {
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
            && self.cancels.is_empty()
            && self.wakers.is_empty()
            && self.trash.is_empty()
    }
}

/// The nodes.
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// The place that was freed last.
    free: u32,
    /// How many places are taken.
    taken: usize,
    /// The root of the detached nodes; [`NIL`] until there is one.
    pub(super) detached: u32,
    /// The generation of the next node.
    generation: u64,
    /// Counts links.
    pub(super) linked: u64,
    /// A request is being delivered at the start of a poll: a node that is asked now must act in that poll.
    pub(super) starting: bool,
    /// The nodes that a request restarts; kept for its capacity.
    pub(super) order: Vec<u32>,
    /// Awaits that have asked what was being cancelled already: they may wait for their own tasks.
    pub(super) suspects: Vec<NodeKey>,
    /// Wakers of waits that are polled again once the request in progress in a task is decided, each with the task's
    /// root.
    pub(super) put_off: Vec<(u32, Waker)>,
    pub(crate) effects: Effects,
}

impl Tree {
    /// Makes a tree without nodes; `count` is where the counts begin.
    pub(crate) fn new(count: u64) -> Self {
        Self {
            nodes: Vec::new(),
            free: NIL,
            taken: 0,
            detached: NIL,
            generation: count,
            linked: count,
            starting: false,
            order: Vec::new(),
            suspects: Vec::new(),
            put_off: Vec::new(),
            effects: Effects::default(),
        }
    }

    /// Counts as if so many nodes had been made and released.
    #[cfg(test)]
    pub(super) fn skip_generations(&mut self, nodes: u64) {
        self.generation += nodes;
    }

    /// Returns how many nodes there are, including the roots of tasks.
    pub(crate) fn len(&self) -> usize {
        self.taken - usize::from(self.detached != NIL)
    }

    #[inline]
    pub(super) fn at(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, index: u32) -> &mut Node {
        &mut self.nodes[index as usize]
    }

    /// Returns the place of a node, if it exists.
    #[inline]
    pub(super) fn find(&self, key: NodeKey) -> Option<u32> {
        let node = self.nodes.get(key.index as usize)?;
        (node.generation == key.generation).then_some(key.index)
    }

    pub(super) fn key(&self, index: u32) -> NodeKey {
        NodeKey {
            index,
            generation: self.at(index).generation,
        }
    }

    /// Makes a node that is linked to nothing.
    #[inline]
    fn make(&mut self, kind: Kind, root: u32, task: Key) -> u32 {
        self.generation += 1;
        self.taken += 1;
        let index = match self.free {
            NIL => self.nodes.len() as u32,
            free => free,
        };
        let node = Node {
            generation: self.generation,
            linked: self.linked,
            visited: NEVER,
            parent: NIL,
            root: if root == NIL { index } else { root },
            first_child: NIL,
            prev: index,
            next: NIL,
            due_prev: index,
            due_next: index,
            polls: 0,
            seen: 0,
            idle_polls: 0,
            rounds: 0,
            waiting: 0,
            kind,
            state: State::Idle,
            passed: false,
            kept: false,
            owes: false,
            tear_down: false,
            again: false,
            direct: true,
            expired: false,
            kept_on: false,
            missed: false,
            in_cycle: false,
            deadline: NEVER,
            begun: NEVER,
            task,
            awaited: Identity::NONE,
            members: None,
            waker: None,
            own: None,
        };
        match self.nodes.get_mut(index as usize) {
            Some(place) => {
                self.free = place.parent;
                *place = node;
            }
            None => self.nodes.push(node),
        }
        index
    }

    /// Adds the root of a task that had none.
    pub(crate) fn add_root(&mut self, task: Key) -> u32 {
        self.make(Kind::Root, NIL, task)
    }

    /// Opens a new node below `parent`, as its last child.
    #[inline]
    pub(super) fn open(&mut self, parent: u32, kind: Kind) -> u32 {
        let root = self.at(parent).root;
        let index = self.make(kind, root, Key::NONE);
        self.link(index, parent);
        index
    }

    #[inline]
    fn link(&mut self, index: u32, parent: u32) {
        self.linked += 1;
        let linked = self.linked;
        let first = self.at(parent).first_child;
        let node = self.at_mut(index);
        node.linked = linked;
        node.parent = parent;
        node.next = NIL;
        if first == NIL {
            node.prev = index;
            self.at_mut(parent).first_child = index;
        } else {
            let last = self.at(first).prev;
            self.at_mut(index).prev = last;
            self.at_mut(last).next = index;
            self.at_mut(first).prev = index;
        }
    }

    /// Removes a node, with all below it, from its parent's children.
    #[inline]
    pub(super) fn unlink(&mut self, index: u32) {
        let node = self.at(index);
        let (parent, prev, next) = (node.parent, node.prev, node.next);
        let first = self.at(parent).first_child;
        if next != NIL {
            self.at_mut(next).prev = prev;
        }
        if first == index {
            self.at_mut(parent).first_child = next;
        } else {
            self.at_mut(prev).next = next;
            if next == NIL {
                self.at_mut(first).prev = prev;
            }
        }
    }

    /// Links a node that was unlinked elsewhere, with all below it, below `parent`.
    pub(super) fn move_to(&mut self, index: u32, parent: u32) {
        self.link(index, parent);
        let root = self.at(parent).root;
        if self.at(index).root == root {
            return;
        }
        let mut here = Some(index);
        while let Some(below) = here {
            self.leave_due(below);
            let node = self.at_mut(below);
            node.root = root;
            // Each task counts its own polls.
            node.seen = 0;
            here = self.next_below(below, index);
        }
    }

    /// Returns the node after `index` in the walk through everything below `top`, parents first.
    pub(super) fn next_below(&self, index: u32, top: u32) -> Option<u32> {
        match self.at(index).first_child {
            NIL => self.next_beside(index, top),
            first => Some(first),
        }
    }

    /// Returns the node after `index` and all below it in that walk.
    pub(super) fn next_beside(&self, index: u32, top: u32) -> Option<u32> {
        let mut index = index;
        while index != top {
            let node = self.at(index);
            if node.next != NIL {
                return Some(node.next);
            }
            index = node.parent;
        }
        None
    }

    /// Notes in which turn a node is polled. Returns whether it is the first node of its tree in this turn.
    #[inline]
    pub(super) fn stamp(&mut self, index: u32, turn: u64) -> bool {
        let node = self.at_mut(index);
        node.visited = turn;
        let root = node.root;
        std::mem::replace(&mut self.at_mut(root).visited, turn) != turn
    }

    /// Frees the place of an unlinked node that has no children.
    pub(super) fn release(&mut self, index: u32) {
        self.leave_due(index);
        let free = self.free;
        let node = self.at_mut(index);
        // No key has this generation: keys of the former node are stale from now on.
        node.generation = 0;
        node.parent = free;
        node.own = None;
        // Of a weak reference only memory is freed here.
        node.members = None;
        let waker = node.waker.take();
        self.effects.trash.extend(waker);
        self.free = index;
        self.taken -= 1;
    }

    /// Keeps a wait's waker until the request in progress is decided. Returns `false` if every asked node was polled
    /// already.
    pub(super) fn put_off(&mut self, root: u32, waker: &mut Option<Waker>) -> bool {
        if !self.is_due(root) {
            return false;
        }
        if let Some(waker) = waker.take() {
            let known = |place: &(u32, Waker)| place.0 == root && place.1.will_wake(&waker);
            if self.put_off.iter().any(known) {
                self.effects.trash.push(waker);
            } else {
                self.put_off.push((root, waker));
            }
        }
        true
    }

    /// Takes the wakers of waits that were put off until the request in progress in a task is decided.
    pub(super) fn take_put_off(&mut self, root: u32) -> Vec<Waker> {
        let all = std::mem::take(&mut self.put_off).into_iter();
        let (of_root, others): (Vec<_>, _) = all.partition(|(task, _)| *task == root);
        self.put_off = others;
        of_root.into_iter().map(|(_, waker)| waker).collect()
    }

    /// Adds a node to the pending actions of its tree.
    pub(super) fn join_due(&mut self, index: u32) {
        if self.is_due(index) {
            return;
        }
        let root = self.at(index).root;
        let last = self.at(root).due_prev;
        let node = self.at_mut(index);
        node.due_prev = last;
        node.due_next = root;
        self.at_mut(last).due_next = index;
        self.at_mut(root).due_prev = index;
    }

    #[inline]
    pub(super) fn leave_due(&mut self, index: u32) {
        let node = self.at(index);
        let (prev, next) = (node.due_prev, node.due_next);
        if next == index {
            return;
        }
        self.at_mut(prev).due_next = next;
        self.at_mut(next).due_prev = prev;
        let node = self.at_mut(index);
        node.due_prev = index;
        node.due_next = index;
    }

    pub(super) fn is_due(&self, index: u32) -> bool {
        self.at(index).due_next != index
    }
}
