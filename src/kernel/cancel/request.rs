//! What a request does to a tree: ask, count the answers, decide.
//!
//! ```text
//! deliver(x)   everything below x starts anew; voters with nobody left to wait for are asked; x waits for the rest
//! vote(n)      n has answered: its parent waits for one less, and when for none, concludes
//! conclude(p)  somebody passed, or nobody kept on: p goes on upwards in its own way; else p says that all goes on
//! settle       at the end of a poll: who was asked and not polled abstains
//!
//! Who was polled with the task's own waker, and not in the newest poll, has been set aside: by a `select!`, say, that
//! another branch has won. A request does not wait for it, nor does it have the task polled for its sake, since in such
//! a poll the task may take what it can no longer make use of: the item of a queue, the turn of a lock. Who is polled
//! through a waker of its own may well not have been woken, so that the task has to be polled to find out.
//! ```
//!
//! Each is a loop, none recurses: a tree may be as deep as its task's futures are nested.

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Kind, NIL, State, Vote};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::task::key::Key;

/// How often voters that have opened meanwhile put off a fall.
const MOST_ROUNDS: u8 = 16;

/// For how many polls in a row a request waits for nodes with wakers of their own while their task does other things and
/// polls none of them. A collection of futures serves those that were woken a few dozen at a time: this is room for tens
/// of thousands before the first that was asked. Without a limit, a task that is always ready never ends.
const MOST_IDLE_POLLS: u32 = 1024;

/// Which nodes a request takes for set aside.
#[derive(Clone, Copy)]
pub(super) enum Recent {
    /// None: their task is being polled, and what was not polled yet may still be.
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

    /// Forgets what an earlier request left behind below `x`, and lists what is there, parents first. Clean-up that an
    /// earlier request waits for is what this one interrupts: its node goes.
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

    /// The request passes a node by with all below it, before anybody is asked.
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

    fn restart(&mut self, index: u32) {
        self.leave_due(index);
        let node = self.at_mut(index);
        if node.state == State::Asked {
            // It has not acted yet: whether it is to, those below it decide anew.
            node.state = if node.again {
                State::Taken
            } else {
                State::Idle
            };
        }
        node.rounds = 0;
        node.waiting = 0;
        node.passed = false;
        node.kept = false;
        node.tear_down = false;
    }

    /// A catch that has given its `Cancelled`, and waits to hear what became of it.
    pub(super) fn is_handled(&self, index: u32) -> bool {
        let node = self.at(index);
        node.kind == Kind::Catch && node.state == State::Taken
    }

    /// Counts a node among those that its parent waits for, once everything below it has been counted.
    fn count(&mut self, index: u32) {
        let (kind, state, waiting, passed, parent) = {
            let node = self.at(index);
            (
                node.kind,
                node.state,
                node.waiting,
                node.passed,
                node.parent,
            )
        };
        match (kind, state) {
            (_, State::Passed) => self.at_mut(parent).passed = true,
            (_, State::Parked) => {}
            (Kind::Region, _) if waiting == 0 => self.at_mut(parent).passed |= passed,
            (Kind::Root | Kind::Resume, _) => {}
            _ => {
                self.at_mut(index).owes = true;
                self.at_mut(parent).waiting += 1;
            }
        }
    }

    /// Asks a node to act, and sees to it that it is polled.
    pub(super) fn ask(&mut self, index: u32) {
        let node = self.at_mut(index);
        node.again = node.state == State::Taken;
        node.state = State::Asked;
        self.make_due(index);
    }

    /// A node has to act by the end of its task's next poll, or of the one that is just beginning. Both its task and
    /// its own waker are woken.
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

    /// Has a task polled, which will find that a request is under way. One whose poll begins just now finds it anyway.
    fn schedule_task(&mut self, task: Key) {
        let is_known = task == Key::NONE || self.effects.tasks.last() == Some(&task);
        if !self.starting && !is_known {
            self.effects.tasks.push(task);
        }
    }

    /// A node answers. Where that was the last answer that its parent waited for, the parent does, and so on upwards.
    pub(super) fn vote(&mut self, index: u32, vote: Vote) {
        let node = self.at_mut(index);
        if !std::mem::replace(&mut node.owes, false) {
            // Nobody asked. Going on is then nothing to speak of, and a cancellation is a raise.
            if vote == Vote::Pass {
                self.raise(index);
            }
            return;
        }
        let parent = node.parent;
        self.take_vote(parent, vote);
    }

    /// A child of `parent` that owed it an answer has given it.
    pub(super) fn take_vote(&mut self, parent: u32, vote: Vote) {
        let node = self.at_mut(parent);
        node.waiting -= 1;
        node.passed |= vote == Vote::Pass;
        node.kept |= vote == Vote::Keep;
        if node.waiting == 0 {
            self.answer(parent);
        }
    }

    /// All below a node have answered: it answers, and whoever waits for it alone, and so on upwards.
    fn answer(&mut self, index: u32) {
        let mut index = index;
        while let Some(vote) = self.conclude(index) {
            let node = self.at_mut(index);
            if !std::mem::replace(&mut node.owes, false) {
                return;
            }
            index = node.parent;
            let parent = self.at_mut(index);
            parent.waiting -= 1;
            parent.passed |= vote == Vote::Pass;
            parent.kept |= vote == Vote::Keep;
            if parent.waiting > 0 {
                return;
            }
        }
    }

    /// What a node makes of the answers of all below it: a vote of its own, or nothing yet.
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

    /// A root or a region is to fall at its next poll.
    fn make_due_to_tear_down(&mut self, index: u32) {
        if self.at(index).kind == Kind::Root {
            let task = self.at(index).task;
            self.schedule_task(task);
        } else {
            self.make_due(index);
        }
    }

    /// A node says by itself, unasked, that it is cancelled: a request to the nearest around it that can act on one.
    pub(super) fn raise(&mut self, index: u32) {
        let request = self.request_of(index).unwrap_or_default();
        let mut around = self.at(index).parent;
        while !self.at(around).kind.takes_raises() {
            around = self.at(around).parent;
        }
        // What is detached is in nobody's poll.
        if around != self.detached {
            self.deliver(around, request, Recent::Any);
        }
    }

    /// The request that reached a node: of the nearest around it, or of itself, that is the origin of one.
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

    /// Whether a node may fall now. Voters that have opened below it since the asking are asked first: then not. But who
    /// handles one request after the other, and waits anew each time, does not put off for ever what others have passed.
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

    /// The end of a pending poll of a task in which a request is under way: those who had to act in it and were not
    /// polled abstain. Those that are polled through wakers of their own have time while their task is queued again, as
    /// long as now and then one of them is polled.
    pub(super) fn settle(&mut self, root: u32, queued: bool) {
        let polls = self.at(root).polls;
        let queued = queued && self.at(root).idle_polls < MOST_IDLE_POLLS;
        self.at_mut(root).idle_polls = if queued {
            self.at(root).idle_polls + 1
        } else {
            0
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
                // The answer may have let go of others, of the next one too.
                let stands = next == root || self.is_due(next);
                here = if stands { next } else { self.at(root).due_next };
            } else {
                here = next;
            }
        }
    }

    /// The request passes a node by. One that is below it and has taken effect is kept, for when it is polled again.
    fn park(&mut self, index: u32) {
        self.at_mut(index).state = State::Parked;
        self.at_mut(index).in_cycle = false;
        if self.at(index).passed {
            let request = self.request_of(index);
            self.at_mut(index).own = request;
        }
    }

    /// A request to a task, at the start of a poll: who is asked now must act in this very poll.
    /// `polled` says that nodes of its tree were polled in the poll before.
    pub(super) fn deliver_at_start(&mut self, root: u32, request: Cancellation, polled: bool) {
        let recent = self.newest_turn(root, polled);
        self.count_poll(root);
        self.starting = true;
        self.deliver(root, request, recent);
        self.starting = false;
    }

    /// Which nodes of a tree are set aside while its task is not being polled. `polled` says that nodes were polled in the
    /// task's newest poll.
    pub(super) fn newest_turn(&self, root: u32, polled: bool) -> Recent {
        if polled {
            Recent::Turn(self.at(root).visited)
        } else {
            Recent::Nothing
        }
    }

    /// A poll of a task begins in which a request is under way.
    pub(super) fn count_poll(&mut self, root: u32) {
        let node = self.at_mut(root);
        node.polls += 1;
    }

    /// Whether a task is to end now, and by which request; and whether a request goes on being under way.
    pub(super) fn root_ends(&mut self, root: u32) -> (Option<Cancellation>, bool) {
        if self.at(root).tear_down && self.may_tear_down(root) {
            return (
                Some(self.at_mut(root).own.take().unwrap_or_default()),
                false,
            );
        }
        (None, self.at(root).tear_down || self.is_due(root))
    }

    /// Whether a region was told to let go, and has not done so yet.
    #[inline]
    pub(super) fn is_to_tear_down(&self, index: u32) -> bool {
        self.at(index).tear_down && self.at(index).state != State::Passed
    }

    /// Whether a node has a request of its own in progress.
    pub(super) fn has_own(&self, index: u32) -> bool {
        self.at(index).own.is_some()
    }

    /// What a node that has acted waited for has come to its end: it is to be polled, as if it was asked.
    pub(super) fn work_done(&mut self, index: u32) {
        if self.at(index).state == State::Taken {
            self.make_due(index);
        }
    }

    /// A node begins a request that goes to the nearest around it.
    pub(super) fn begin_raise(&mut self, index: u32, request: Cancellation) {
        let node = self.at_mut(index);
        node.own = Some(request);
        node.state = State::Passed;
        self.raise(index);
    }

    /// The root above a node, and its task.
    pub(super) fn task_of(&self, key: crate::kernel::cancel::node::NodeKey) -> Option<(u32, Key)> {
        let root = self.at(self.find(key)?).root;
        Some((root, self.at(root).task))
    }

    pub(super) fn parent(&self, index: u32) -> u32 {
        self.at(index).parent
    }
}
