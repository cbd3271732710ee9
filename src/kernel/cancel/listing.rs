//! Lists what a task waits for, as far as the nodes of its awaits say so. Nobody has to switch anything on for that:
//! a request to cancel needs the same facts.
//!
//! An await that the newest poll of its task has not polled is left out: `select!` has set it aside. If a combinator
//! has polled it with a waker of its own, it counts although it was not polled again.

use crate::kernel::cancel::node::{Kind, Members, State};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::slots::TaskNodes;
use crate::kernel::wait::wait_kind::WaitKind;

/// What the nodes of one tree wait for.
#[derive(Default)]
struct Found {
    awaits: Vec<(WaitKind, Identity)>,
    /// The kind of a group or gather, and its children.
    members: Vec<(WaitKind, std::rc::Rc<dyn Members>)>,
}

impl Tree {
    fn listed(&self, root: u32) -> Found {
        let mut found = Found::default();
        let newest = self.at(root).visited;
        let mut here = self.next_below(root, root);
        while let Some(index) = here {
            here = self.next_below(index, root);
            let node = self.at(index);
            let aside = node.direct && node.visited != newest;
            if aside || node.state == State::Passed {
                continue;
            }
            let kind = match node.kind {
                Kind::Await if node.awaited == Identity::NONE => WaitKind::Future,
                Kind::Await => WaitKind::Task,
                Kind::Group => WaitKind::TaskGroup,
                Kind::Gather => WaitKind::Gather,
                Kind::Root | Kind::Catch | Kind::Region | Kind::Resume => continue,
            };
            if node.kind == Kind::Await {
                found.awaits.push((kind, node.awaited));
            } else if let Some(members) = node.members.as_ref().and_then(std::rc::Weak::upgrade) {
                found.members.push((kind, members));
            }
        }
        found
    }
}

impl LoopState {
    /// Lists the unfinished tasks, and the futures, that the nodes of an unfinished task wait for. A future has no
    /// identity here.
    pub(crate) fn list_awaits(&self, task: Key) -> Vec<(WaitKind, Identity)> {
        let recent = self.recency(task).is_now();
        match self.nodes(task) {
            TaskNodes::Bare => Vec::new(),
            TaskNodes::Awaits(slot) => {
                let awaited = self.plainly_awaited(task, slot).filter(|_| recent);
                let awaited = awaited.map(|awaited| self.identity_of(awaited.header()));
                awaited.map(|id| (WaitKind::Task, id)).into_iter().collect()
            }
            TaskNodes::Tree(root) => {
                let Found {
                    mut awaits,
                    members,
                } = self.tree(|tree| tree.listed(root));
                for (kind, members) in members {
                    awaits.extend(members.tasks().into_iter().map(|child| (kind, child)));
                }
                awaits.retain(|(kind, task)| {
                    *kind == WaitKind::Future || self.find_task(*task).is_some()
                });
                awaits
            }
        }
    }
}
