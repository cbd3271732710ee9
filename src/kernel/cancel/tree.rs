//! All nodes of one loop: a slab, and in it a tree for each task that has scopes.
//!
//! Only structure is kept here: who is below whom, and who is due. Nothing here wakes anybody or drops a waker; what has
//! to be done when the borrow has ended is collected in [`Effects`].

use std::task::Waker;

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Kind, NIL, Node, NodeKey, State};
use crate::kernel::clock::NEVER;
use crate::kernel::task::key::{Identity, Key};

/// What is to be done once nothing is borrowed.
#[derive(Default)]
pub(crate) struct Effects {
    /// Tasks in which a request is under way, to be marked so and woken.
    pub(crate) tasks: Vec<Key>,
    /// Tasks that are to end, and why.
    pub(crate) cancels: Vec<(Identity, Cancellation)>,
    /// Wakers of nodes that were asked.
    pub(crate) wakers: Vec<Waker>,
    /// Wakers that nobody needs any more.
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
    /// The root of what is detached; [`NIL`] until something is.
    pub(super) detached: u32,
    /// The generation of the next node.
    generation: u64,
    /// Counts linkings.
    pub(super) linked: u64,
    /// A request is being delivered at the start of a poll: who is asked now must act in that poll.
    pub(super) starting: bool,
    /// The nodes that a request restarts; kept for its capacity.
    pub(super) order: Vec<u32>,
    /// Awaits that have asked what was being cancelled already: they may wait for their own tasks.
    pub(super) suspects: Vec<NodeKey>,
    /// Who is to be polled again once the request under way in a task is decided; the tasks by their roots.
    pub(super) put_off: Vec<(u32, Waker)>,
    pub(crate) effects: Effects,
}

impl Tree {
    /// No nodes; `count` is where the counts begin.
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

    /// As if so many nodes had come and gone.
    #[cfg(test)]
    pub(super) fn skip_generations(&mut self, nodes: u64) {
        self.generation += nodes;
    }

    /// How many nodes there are, the roots of tasks included.
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

    /// The place of a node, while it exists.
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

    /// A place with a node in it that is linked to nothing.
    #[inline]
    fn make(&mut self, kind: Kind, root: u32, task: Key) -> u32 {
        self.generation += 1;
        self.taken += 1;
        let index = if self.free == NIL {
            self.nodes.len() as u32
        } else {
            self.free
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

    /// The root of a task that had none.
    pub(crate) fn add_root(&mut self, task: Key) -> u32 {
        self.make(Kind::Root, NIL, task)
    }

    /// A new node below `parent`, the youngest there.
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

    /// Takes a node, with all below it, out of the list of its parent's children.
    #[inline]
    pub(super) fn unlink(&mut self, index: u32) {
        let (parent, prev, next) = {
            let node = self.at(index);
            (node.parent, node.prev, node.next)
        };
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

    /// Links a node that was unlinked elsewhere below `parent`, with all below it.
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
            // The other task counts its polls by itself.
            node.seen = 0;
            here = self.next_below(below, index);
        }
    }

    /// After `index` in the walk through everything below `top`, parents first.
    pub(super) fn next_below(&self, index: u32, top: u32) -> Option<u32> {
        match self.at(index).first_child {
            NIL => self.next_beside(index, top),
            first => Some(first),
        }
    }

    /// The node after `index`, and after all below it, in the walk through everything below `top`.
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

    /// Notes in which turn a node is polled; `true` where it is the first of its tree in this turn.
    #[inline]
    pub(super) fn stamp(&mut self, index: u32, turn: u64) -> bool {
        let node = self.at_mut(index);
        node.visited = turn;
        let root = node.root;
        std::mem::replace(&mut self.at_mut(root).visited, turn) != turn
    }

    /// Frees the place of an unlinked node; what is below it must be gone.
    pub(super) fn release(&mut self, index: u32) {
        self.leave_due(index);
        let free = self.free;
        let node = self.at_mut(index);
        // The generation that nobody holds: keys of the former tenant are stale from here on.
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

    /// Has a wait polled again once the request that is under way is decided; `false` where everybody who was asked has
    /// been polled already.
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

    /// Takes out who waits until the request that is under way in a task is decided.
    pub(super) fn take_put_off(&mut self, root: u32) -> Vec<Waker> {
        let (of_root, others) = std::mem::take(&mut self.put_off)
            .into_iter()
            .partition(|(task, _)| *task == root);
        self.put_off = others;
        let of_root: Vec<(u32, Waker)> = of_root;
        of_root.into_iter().map(|(_, waker)| waker).collect()
    }

    /// Puts a node among those that have to act soon.
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
        let (prev, next) = {
            let node = self.at(index);
            (node.due_prev, node.due_next)
        };
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
