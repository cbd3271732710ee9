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
//! Only nodes that have acted are followed. Tasks in a circle without a request may still leave it, through another
//! branch of a `select!`, so such a circle is left alone. The last await of a circle to act finds that the task which
//! it asks is being cancelled already: so no circle is missed. A suspect need not be part of a circle: a request may
//! reach an awaiter and the awaited task at once, as in a group of tasks that await each other. That is why all
//! suspects of a turn are searched together: the search visits each task once, however long their chain is.

use std::collections::HashSet;

use crate::kernel::cancel::node::{Kind, Members, NodeKey, State};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::slots::TaskNodes;
use crate::kernel::task::waker::current;

/// An edge of the search: one task waits for another.
#[derive(Clone, Copy)]
struct Edge {
    /// The node of the await; `None` where it waits for a child.
    through: Option<NodeKey>,
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
    members: Vec<std::rc::Rc<dyn Members>>,
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
                    through: Some(self.key(index)),
                    to: node.awaited,
                }),
                Kind::Group | Kind::Gather => {
                    let members = node.members.as_ref().and_then(std::rc::Weak::upgrade);
                    waits.members.extend(members);
                }
                _ => {}
            }
        }
        waits
    }

    /// Marks an await as part of a circle, and has it polled.
    fn break_at(&mut self, key: NodeKey) {
        if let Some(index) = self.find(key).filter(|&i| self.at(i).state == State::Taken) {
            self.at_mut(index).in_cycle = true;
            self.make_due(index);
        }
    }
}

impl LoopState {
    /// Notes an await that has asked a task which is being cancelled already.
    #[cold]
    pub(super) fn suspect_cycle(&self, key: NodeKey) {
        let first = self.tree(|tree| {
            tree.suspects.push(key);
            tree.suspects.len() == 1
        });
        if first {
            // A closing loop refuses callbacks, and ends all tasks itself.
            drop(self.push_call(Box::new(|| {
                if let Some(state) = current() {
                    state.break_cycles();
                }
            })));
        }
    }

    /// Searches for circles that the suspects are part of, or lead to, and breaks each.
    fn break_cycles(&self) {
        let suspects = self.tree(|tree| std::mem::take(&mut tree.suspects));
        let mut seen = HashSet::new();
        for suspect in suspects {
            let task = self.tree(|tree| tree.task_of(suspect)).map(|(_, key)| key);
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
            last.left_by = edge.through;
            if on_way.contains(&edge.to.serial) {
                let first = way.iter().position(|stop| stop.task == edge.to);
                let circle = &way[first.unwrap_or(0)..];
                if let Some(key) = circle.iter().find_map(|stop| stop.left_by) {
                    self.tree(|tree| tree.break_at(key));
                }
            } else if seen.insert(edge.to.serial) {
                on_way.insert(edge.to.serial);
                way.push(self.stop_at(edge.to));
            }
        }
    }

    fn stop_at(&self, task: Identity) -> Stop {
        let mut edges = Vec::new();
        if let Some(root) = self.tree_of(task) {
            let waits = self.tree(|tree| tree.waits(root));
            edges = waits.awaits;
            for members in waits.members {
                edges.extend(
                    members
                        .tasks()
                        .into_iter()
                        .map(|to| Edge { through: None, to }),
                );
            }
        }
        Stop {
            task,
            edges,
            left_by: None,
        }
    }

    /// Returns the root of an unfinished task's tree.
    fn tree_of(&self, task: Identity) -> Option<u32> {
        if task.key == Key::NONE {
            return None;
        }
        self.find_task(task)?;
        match self.nodes(task.key) {
            TaskNodes::Tree(root) => Some(root),
            TaskNodes::Bare | TaskNodes::Awaits(_) => None,
        }
    }
}
