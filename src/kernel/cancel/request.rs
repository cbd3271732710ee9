//! The rules of a request: ask the nodes, count their votes, decide.
//!
//! ```text
//! deliver(x)   everything below x starts anew; voters that wait for no other node are asked; x waits for all votes
//! vote(n)      n has voted: its parent waits for one vote less, and when it waits for none, it concludes
//! conclude(p)  one passed, or none kept: p is asked, torn down, or passes itself; else p keeps
//! settle       at the end of a poll: a node that was asked and not polled abstains
//! ```
//!
//! A node that was polled with the task's own waker, but not in the task's newest poll, was set aside, for instance by
//! a `select!` that took another branch. A request does not wait for it, and does not have the task polled for it: in
//! such a poll the task might take something that it can no longer use, like the item of a queue or a lock. A node that
//! is polled through a waker of its own perhaps only was not woken, so the task has to be polled to find out.
//!
//! Each of them is a loop and none recurses: a tree may be as deep as its task's futures are nested.

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Kind, NIL, NodeKey, State, Vote};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::task::key::Key;

/// How often newly opened voters may put off a tear-down.
const MOST_ROUNDS: u8 = 16;

/// For how many polls in a row a request waits for nodes with wakers of their own, while their task polls others and
/// none of them. A collection of futures polls a few dozen woken futures at a time: this leaves room for tens of
/// thousands before the first asked one. Without a limit, a task that is always ready would never end.
const MOST_IDLE_POLLS: u32 = 1024;

/// Which nodes a request considers set aside.
#[derive(Clone, Copy)]
pub(super) enum Recent {
    /// None: the task is being polled, and nodes that were not polled yet may still be.
    Any,
    /// Those that were not polled in this turn.
    Turn(u64),
    /// All: none was polled in the newest poll.
    Nothing,
}

impl Tree {
    /// Restarts everything below `x` with a new request, of which `x` is the origin.
    pub(super) fn deliver(&mut self, x: u32, request: Cancellation, recent: Recent) {
        let mut order = std::mem::take(&mut self.order);
        self.restart_below(x, recent, &mut order);
        for &index in order.iter().rev() {
            self.count(index);
        }
        for &index in &order {
            let node = self.at(index);
            if node.kind.is_voter() && node.owes && node.waiting == 0 {
                self.ask(index);
            }
        }
        order.clear();
        self.order = order;
        self.at_mut(x).own = Some(request);
        if self.at(x).waiting == 0 {
            self.answer(x);
        }
    }

    /// Resets what an earlier request has left below `x`, and lists the nodes there, parents first. This request
    /// interrupts the clean-up of a catch that an earlier one waits for: that node is removed.
    fn restart_below(&mut self, x: u32, recent: Recent, order: &mut Vec<u32>) {
        self.restart(x);
        let mut here = self.next_below(x, x);
        while let Some(index) = here {
            here = self.next_below(index, x);
            if self.is_handled(index) {
                self.unlink(index);
                self.release(index);
                continue;
            }
            if self.is_set_aside(index, recent) {
                here = self.next_beside(index, x);
                self.set_aside(index);
                continue;
            }
            self.restart_node(index);
            order.push(index);
        }
    }

    fn restart_node(&mut self, index: u32) {
        self.restart(index);
        let node = self.at_mut(index);
        node.owes = false;
        if node.kind == Kind::Region {
            node.own = None;
        }
    }

    fn is_set_aside(&self, index: u32, recent: Recent) -> bool {
        let node = self.at(index);
        let polled = match recent {
            Recent::Any => true,
            Recent::Turn(turn) => node.visited == turn,
            Recent::Nothing => false,
        };
        node.direct && !polled && node.state != State::Passed
    }

    /// Parks a node with all below it, before any node is asked: the request does not wait for them.
    fn set_aside(&mut self, top: u32) {
        let mut here = Some(top);
        while let Some(index) = here {
            here = self.next_below(index, top);
            self.restart_node(index);
            let node = self.at_mut(index);
            node.in_cycle = false;
            if node.state != State::Passed {
                node.state = State::Parked;
            }
        }
    }

    pub(super) fn restart(&mut self, index: u32) {
        self.leave_due(index);
        let node = self.at_mut(index);
        if node.state == State::Asked {
            // It has not acted yet. The nodes below it decide anew whether it is asked.
            node.state = match node.again {
                true => State::Taken,
                false => State::Idle,
            };
        }
        node.rounds = 0;
        node.waiting = 0;
        node.passed = false;
        node.kept = false;
        node.tear_down = false;
    }

    /// Returns whether it is a catch that has given out its `Cancelled` and waits for the decision.
    pub(super) fn is_handled(&self, index: u32) -> bool {
        let node = self.at(index);
        node.kind == Kind::Catch && node.state == State::Taken
    }

    /// Counts a node among those for whose vote its parent waits, after everything below it was counted.
    fn count(&mut self, index: u32) {
        let node = self.at(index);
        let (parent, passed) = (node.parent, node.passed);
        match (node.kind, node.state) {
            (_, State::Passed) => self.at_mut(parent).passed = true,
            (_, State::Parked) => {}
            (Kind::Region, _) if node.waiting == 0 => self.at_mut(parent).passed |= passed,
            (Kind::Root | Kind::Resume, _) => {}
            _ => {
                self.at_mut(index).owes = true;
                self.at_mut(parent).waiting += 1;
            }
        }
    }

    /// Asks a node to act, and has it polled.
    pub(super) fn ask(&mut self, index: u32) {
        let node = self.at_mut(index);
        node.again = node.state == State::Taken;
        node.state = State::Asked;
        self.make_due(index);
    }

    /// Notes that a node has to act by the end of its task's next poll, or of the poll that is just beginning. Wakes
    /// its task and its own waker.
    pub(super) fn make_due(&mut self, index: u32) {
        let root = self.at(index).root;
        let polls = self.at(root).polls + u64::from(!self.starting);
        let task = self.at(root).task;
        let node = self.at_mut(index);
        node.polls = polls;
        let waker = node.waker.take();
        self.effects.wakers.extend(waker);
        self.join_due(index);
        self.schedule_task(task);
    }

    /// Has a task polled, and marks it as having a request in progress. A task whose poll begins just now is marked
    /// already.
    fn schedule_task(&mut self, task: Key) {
        let is_known = task == Key::NONE || self.effects.tasks.last() == Some(&task);
        if !self.starting && !is_known {
            self.effects.tasks.push(task);
        }
    }

    /// Counts the vote of a node. If its parent waited for no other vote, the parent concludes, and so on upwards.
    pub(super) fn vote(&mut self, index: u32, vote: Vote) {
        let node = self.at_mut(index);
        if !std::mem::replace(&mut node.owes, false) {
            // It was not asked. Then Keep and Abstain mean nothing, and Pass is a raise.
            if vote == Vote::Pass {
                self.raise(index);
            }
            return;
        }
        let parent = node.parent;
        self.take_vote(parent, vote);
    }

    /// Counts the vote of a child that owed it to `parent`.
    pub(super) fn take_vote(&mut self, parent: u32, vote: Vote) {
        if self.count_vote(parent, vote) {
            self.answer(parent);
        }
    }

    /// Counts a vote of a child. Returns whether it was the last that the node waits for.
    fn count_vote(&mut self, parent: u32, vote: Vote) -> bool {
        let node = self.at_mut(parent);
        node.waiting -= 1;
        node.passed |= vote == Vote::Pass;
        node.kept |= vote == Vote::Keep;
        node.waiting == 0
    }

    /// Lets a node conclude for which all below have voted, and then each parent that waited for that vote alone.
    fn answer(&mut self, index: u32) {
        let mut index = index;
        while let Some(vote) = self.conclude(index) {
            let node = self.at_mut(index);
            let owed = std::mem::replace(&mut node.owes, false);
            index = node.parent;
            if !owed || !self.count_vote(index, vote) {
                return;
            }
        }
    }

    /// Decides by the votes of all below a node. Returns the node's own vote, or `None` if it votes later or is torn
    /// down.
    fn conclude(&mut self, index: u32) -> Option<Vote> {
        let node = self.at_mut(index);
        let go = node.passed || !node.kept;
        match node.kind {
            Kind::Root | Kind::Region if node.own.is_some() => {
                if go {
                    node.tear_down = true;
                    self.make_due_to_tear_down(index);
                    return None;
                }
                node.own = None;
                node.kept_on = node.expired;
                Some(Vote::Keep)
            }
            Kind::Region if node.passed => Some(Vote::Pass),
            Kind::Region if node.kept => {
                node.kept_on = node.expired;
                Some(Vote::Keep)
            }
            Kind::Region => Some(Vote::Abstain),
            Kind::Catch | Kind::Group | Kind::Gather if go => {
                self.ask(index);
                None
            }
            Kind::Catch | Kind::Group | Kind::Gather => {
                node.own = None;
                Some(Vote::Keep)
            }
            Kind::Root | Kind::Await | Kind::Resume => None,
        }
    }

    /// Has a root or a region polled, which is then torn down.
    fn make_due_to_tear_down(&mut self, index: u32) {
        if self.at(index).kind == Kind::Root {
            let task = self.at(index).task;
            self.schedule_task(task);
        } else {
            self.make_due(index);
        }
    }

    /// Begins a request for a node that passes without having been asked. Its origin is the nearest scope around the
    /// node that can act on one.
    pub(super) fn raise(&mut self, index: u32) {
        let request = self.request_of(index).unwrap_or_default();
        let mut around = self.at(index).parent;
        while !self.at(around).kind.takes_raises() {
            around = self.at(around).parent;
        }
        // A detached node is polled by no task.
        if around != self.detached {
            self.deliver(around, request, Recent::Any);
        }
    }

    /// Returns the request that has reached a node: that of the nearest origin around it, or its own.
    pub(super) fn request_of(&self, index: u32) -> Option<Cancellation> {
        let mut index = index;
        while index != NIL {
            let node = self.at(index);
            if node.own.is_some() {
                return node.own.clone();
            }
            index = node.parent;
        }
        None
    }

    /// Returns whether a node may be torn down now. Voters that were opened below it since the asking are asked first;
    /// then it may not. The number of such rounds is limited: code that handles each request and then waits anew cannot
    /// put off for ever what others have passed.
    pub(super) fn may_tear_down(&mut self, x: u32) -> bool {
        let rounds = self.at(x).rounds;
        if rounds == MOST_ROUNDS {
            return true;
        }
        let mut here = x;
        let late = loop {
            match self.next_below(here, x) {
                None => break false,
                Some(below) => here = below,
            }
            let node = self.at(here);
            if node.kind.is_voter() && node.state == State::Idle {
                break true;
            }
        };
        if !late {
            return true;
        }
        let request = self.request_of(x).unwrap_or_default();
        self.deliver(x, request, Recent::Any);
        self.at_mut(x).rounds = rounds + 1;
        false
    }

    /// Ends a pending poll of a task with a request in progress: nodes that had to act in it and were not polled
    /// abstain. Nodes with wakers of their own get more time while their task is queued again, as long as one of them
    /// is polled now and then.
    pub(super) fn settle(&mut self, root: u32, queued: bool) {
        let polls = self.at(root).polls;
        let queued = queued && self.at(root).idle_polls < MOST_IDLE_POLLS;
        self.at_mut(root).idle_polls = match queued {
            true => self.at(root).idle_polls + 1,
            false => 0,
        };
        let mut here = self.at(root).due_next;
        while here != root {
            let node = self.at(here);
            let next = node.due_next;
            if node.polls <= polls && (node.direct || !queued) {
                self.leave_due(here);
                self.note_missed(here);
                if !self.at(here).tear_down {
                    self.park(here);
                }
                if self.at(here).owes {
                    self.vote(here, Vote::Abstain);
                }
                // The vote may have released other nodes, also the next one.
                let stands = next == root || self.is_due(next);
                here = if stands { next } else { self.at(root).due_next };
            } else {
                here = next;
            }
        }
    }

    /// Parks a node. If a node below it has passed, the request is kept for when the parked one is polled again.
    fn park(&mut self, index: u32) {
        self.at_mut(index).state = State::Parked;
        self.at_mut(index).in_cycle = false;
        if self.at(index).passed {
            let request = self.request_of(index);
            self.at_mut(index).own = request;
        }
    }

    /// Delivers a request to a task at the start of its poll: a node that is asked now must act in this poll. `polled`
    /// says whether nodes of the tree were polled in the poll before.
    pub(super) fn deliver_at_start(&mut self, root: u32, request: Cancellation, polled: bool) {
        let recent = match polled {
            true => Recent::Turn(self.at(root).visited),
            false => Recent::Nothing,
        };
        self.at_mut(root).polls += 1;
        self.starting = true;
        self.deliver(root, request, recent);
        self.starting = false;
    }

    /// Returns the request by which a task ends now, if it does, and whether a request stays in progress.
    pub(super) fn root_ends(&mut self, root: u32) -> (Option<Cancellation>, bool) {
        if self.at(root).tear_down && self.may_tear_down(root) {
            let request = self.at_mut(root).own.take();
            return (Some(request.unwrap_or_default()), false);
        }
        (None, self.at(root).tear_down || self.is_due(root))
    }

    /// Has a node polled that has acted and whose children or awaited task have ended now.
    pub(super) fn work_done(&mut self, index: u32) {
        if self.at(index).state == State::Taken {
            self.make_due(index);
        }
    }

    /// Begins a request by a node, as `resume()` and `raise` do.
    pub(super) fn begin_raise(&mut self, index: u32, request: Cancellation) {
        let node = self.at_mut(index);
        node.own = Some(request);
        node.state = State::Passed;
        self.raise(index);
    }

    /// Returns the task of the tree that a node is in.
    pub(super) fn task_of(&self, key: NodeKey) -> Option<Key> {
        let root = self.at(self.find(key)?).root;
        Some(self.at(root).task)
    }
}
