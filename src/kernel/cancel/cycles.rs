//! Tasks that wait for one another in a circle, and were all cancelled.
//!
//! A request goes from a task to the tasks that it awaits, and waits for them. If tasks wait for one another in a
//! circle, through awaits, groups and gathers, each waits for the next, and none ever ends. asyncio finds such a circle
//! by a `RecursionError` in `cancel()`; here the await that closes it gives
//! [`AwaitsItself`](crate::TaskError::AwaitsItself), the code around it goes on, and the other tasks can end.
//!
//! ```text
//! an await asks a task that is being cancelled already   it is noted as a suspect, and a callback queued
//! the callback                                           follows what has acted and waits, depth first, once for all suspects
//! it comes back to a task on its path                    a circle: one of its awaits is marked `in_cycle`
//! the next poll of that await                            AwaitsItself
//! ```
//!
//! A circle may have no await of a task: a group or a gather is awaited by one of its own children, to which it was
//! handed. It has no such error to give. It is cancelled there without waiting for its children.
//!
//! Only nodes that have acted are followed. Tasks in a circle without a request may still leave it, through another
//! branch of a `select!`, so such a circle is left alone. The last await of a circle to act finds that the task which
//! it asks is being cancelled already: so no circle is missed. A suspect need not be part of a circle: a request may
//! reach an awaiter and the awaited task at once, as in a group of tasks that await each other. That is why all
//! suspects of a turn are searched together: the search visits each task once, however long their chain is.

use std::collections::HashSet;
use std::panic::Location;

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Kind, Members, NodeKey, State};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::waker::current;

/// An edge of the search: one task waits for another.
#[derive(Clone, Copy)]
struct Edge {
    /// The node of the await, or of the group or gather of which it waits for a child.
    through: NodeKey,
    to: Identity,
}

/// A task on the path from a suspect to the current task of the search.
struct Stop {
    task: Identity,
    edges: Vec<Edge>,
    /// The edge by which the search has left.
    left_by: Option<NodeKey>,
}

/// The tasks that the nodes of one tree wait for.
#[derive(Default)]
struct Waits {
    awaits: Vec<Edge>,
    members: Vec<(NodeKey, std::rc::Rc<dyn Members>)>,
}

impl Tree {
    /// Returns the tasks that nodes below `root` wait for, of those that have acted.
    fn waits(&self, root: u32) -> Waits {
        let mut waits = Waits::default();
        let mut here = self.next_below(root, root);
        while let Some(index) = here {
            here = self.next_below(index, root);
            let node = self.at(index);
            if node.state != State::Taken {
                continue;
            }
            match node.kind {
                Kind::Await if node.awaited != Identity::NONE => waits.awaits.push(Edge {
                    through: self.key(index),
                    to: node.awaited,
                }),
                Kind::Group | Kind::Gather => {
                    let members = node.members.as_ref().and_then(std::rc::Weak::upgrade);
                    let key = self.key(index);
                    waits.members.extend(members.map(|members| (key, members)));
                }
                _ => {}
            }
        }
        waits
    }

    /// Breaks a circle at one of its nodes: an await, which gives an error, or else a group or a gather.
    fn break_one_of(&mut self, circle: &[NodeKey]) {
        let taken = |tree: &Self, key| tree.find(key).filter(|&i| tree.at(i).state == State::Taken);
        let mut nodes = circle.iter().filter_map(|key| taken(self, *key));
        let is_await = |index: &u32| self.at(*index).kind == Kind::Await;
        if let Some(index) = nodes.clone().find(is_await) {
            self.at_mut(index).in_cycle = true;
            self.make_due(index);
        } else if let Some(index) = nodes.next() {
            self.pass(index);
        }
    }
}

impl LoopState {
    /// Notes an await, a group or a gather that has asked a task which is being cancelled already.
    #[cold]
    pub(crate) fn suspect_cycle(&self, key: NodeKey) {
        if key.is_none() {
            return;
        }
        let first = self.tree(|tree| {
            tree.suspects.push(key);
            tree.suspects.len() == 1
        });
        if first {
            // A closing loop refuses callbacks, and ends all tasks itself.
            let break_cycles = || {
                if let Some(state) = current() {
                    state.break_cycles();
                }
            };
            let _ = self.push_call(break_cycles, Location::caller());
        }
    }

    /// Searches for circles that the suspects are part of, or lead to, and breaks each.
    fn break_cycles(&self) {
        let suspects = self.tree(|tree| std::mem::take(&mut tree.suspects));
        let mut seen = HashSet::new();
        for suspect in suspects {
            let task = self.tree(|tree| tree.task_of(suspect));
            let task = task.and_then(|key| self.task(key));
            if let Some(task) = task {
                self.search(self.identity_of(task.header()), &mut seen);
            }
        }
    }

    /// Follows the nodes that have acted from one task on, depth first; `seen` are the tasks that were searched
    /// already.
    fn search(&self, task: Identity, seen: &mut HashSet<u64>) {
        if !seen.insert(task.serial) {
            return;
        }
        let mut way = vec![self.stop_at(task)];
        let mut on_way = HashSet::from([task.serial]);
        while let Some(last) = way.last_mut() {
            let Some(edge) = last.edges.pop() else {
                on_way.remove(&last.task.serial);
                way.pop();
                continue;
            };
            last.left_by = Some(edge.through);
            if on_way.contains(&edge.to.serial) {
                let first = way.iter().position(|stop| stop.task == edge.to);
                let circle = &way[first.unwrap_or(0)..];
                let nodes: Vec<_> = circle.iter().filter_map(|stop| stop.left_by).collect();
                self.tree(|tree| tree.break_one_of(&nodes));
            } else if seen.insert(edge.to.serial) {
                on_way.insert(edge.to.serial);
                way.push(self.stop_at(edge.to));
            }
        }
    }

    fn stop_at(&self, task: Identity) -> Stop {
        let mut edges = Vec::new();
        let is_unfinished = task.key != Key::NONE && self.find_task(task).is_some();
        if let Some(root) = is_unfinished.then(|| self.tree_of(task.key)).flatten() {
            let waits = self.tree(|tree| tree.waits(root));
            edges = waits.awaits;
            for (through, members) in waits.members {
                let tasks = members.tasks().into_iter();
                edges.extend(tasks.map(|to| Edge { through, to }));
            }
        }
        Stop {
            task,
            edges,
            left_by: None,
        }
    }

    /// Cancels a child of the group or gather with this node.
    pub(crate) fn cancel_child(&self, child: Identity, request: &Cancellation, node: NodeKey) {
        let task = self.find_task(child);
        if task.is_some_and(|task| self.is_being_cancelled(task.header())) {
            self.suspect_cycle(node);
        }
        self.cancel_task(child, request);
    }
}
