//! Pending awaits of tasks and futures: a cancellation of the awaiter goes to the awaited task first.
//!
//! A task that awaits one other task at a time, outside any scope, has no node for it: the awaited task's header names
//! its awaiter, and the awaiter's slot names the awaited task ([`TaskNodes::Awaits`]). A node is made only for a second
//! await at the same time, for one inside a scope, for one by another runtime's waker, and for a request.
//!
//! | the node is | and the awaited task | then |
//! |---|---|---|
//! | `Asked` by a deadline | has ended otherwise than as cancelled | ready: the result came before the deadline acted |
//! | `Asked` else | has ended | `Passed`: the result stays where it is |
//! | `Asked` | has not | `Taken`: it is asked to end, unless that was done already |
//! | `Taken` | ended as cancelled | `Passed` |
//! | `Taken` | ended otherwise | ready, Keep |
//! | `Asked` or `Taken`, [in a circle](super::cycles) | has not | given up: `AwaitsItself`, Keep |
//! | `Passed` | – | pending until dropped |
//! | else | – | an await as any other |
//!
//! [`TaskNodes::Awaits`]: crate::kernel::task::slots::TaskNodes::Awaits

use std::task::Waker;

use crate::error::{CancelOrigin, Cancellation};
use crate::kernel::cancel::node::{Kind, NodeKey, State};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::state::Awaited;
use crate::kernel::task::waker::{key_of, with_current};

/// What a poll of an await has to do because of a request.
pub(crate) enum Duty {
    /// None.
    Nothing,
    /// Cancel the awaited task, also if that was done before.
    Cancel { again: bool },
    /// Stay pending until dropped.
    Hold,
    /// Give up: the awaited task waits for this one, and will never end.
    GiveUp,
}

impl Tree {
    /// Opens a node for an await that had none until now. It counts as older than any node that is being polled for the
    /// first time. `turn` is when it was polled, if its task is being polled; otherwise that was in the task's newest
    /// poll.
    pub(super) fn open_await(&mut self, root: u32, turn: Option<u64>) -> NodeKey {
        let index = self.open(root, Kind::Await);
        // Every mark is a count of links, and none is lower than 0.
        self.at_mut(index).linked = 0;
        if let Some(turn) = turn {
            self.stamp(index, turn);
        }
        self.key(index)
    }

    /// Cancels the awaited tasks of awaits below `top` that were polled just before and are asked now, without another
    /// poll.
    pub(super) fn cancel_awaited(&mut self, top: u32) {
        let mut here = self.next_below(top, top);
        while let Some(index) = here {
            here = self.next_below(index, top);
            let node = self.at(index);
            let task = node.awaited;
            if node.kind == Kind::Await && node.state == State::Asked && task != Identity::NONE {
                let request = self.request_of(index).unwrap_or_default();
                self.leave_due(index);
                self.at_mut(index).state = State::Taken;
                self.effects.cancels.push((task, request));
            }
        }
    }

    /// Returns the request that has reached the node of this key.
    pub(crate) fn request_to(&self, key: NodeKey) -> Cancellation {
        let request = self.find(key).and_then(|index| self.request_of(index));
        request.unwrap_or_default()
    }

    /// Returns whether the request that has reached a node is a timeout's. Code that has set a result before the task
    /// ran was told that the result is accepted: it is not lost to a timeout that has asked and not acted yet.
    fn is_asked_by_a_deadline(&self, index: u32) -> bool {
        let request = self.request_of(index);
        request.is_some_and(|request| request.origin() == CancelOrigin::Timeout)
    }

    /// Returns what is to be done in this poll. `ended` says that the awaited task has ended, and `cancelled` that it
    /// has ended cancelled.
    fn duty(&mut self, index: u32, ended: bool, cancelled: bool) -> Duty {
        let node = self.at(index);
        match node.state {
            State::Idle | State::Parked => Duty::Nothing,
            State::Passed => Duty::Hold,
            State::Taken | State::Asked if !ended && node.in_cycle => Duty::GiveUp,
            State::Taken if !cancelled => Duty::Nothing,
            State::Asked if ended && !cancelled && self.is_asked_by_a_deadline(index) => {
                Duty::Nothing
            }
            State::Asked if !ended => {
                let again = node.again;
                self.at_mut(index).state = State::Taken;
                Duty::Cancel { again }
            }
            State::Taken | State::Asked => {
                self.pass(index);
                Duty::Hold
            }
        }
    }
}

impl LoopState {
    /// Polls the node of an await in the running task. `awaited` is the task, [`Identity::NONE`] for a future. Returns
    /// [`NodeKey::NONE`] outside a task of this loop.
    pub(crate) fn visit_await(
        &self,
        key: NodeKey,
        waker: &Waker,
        awaited: Identity,
        ended: bool,
        cancelled: bool,
    ) -> (NodeKey, Duty) {
        let here = with_current(|current| std::ptr::eq(current, self)) == Some(true);
        let Some(place) = self.place().filter(|_| here) else {
            self.drop_await(key);
            return (NodeKey::NONE, Duty::Nothing);
        };
        let direct = key_of(waker) == Some(self.current_task.get());
        let turn = self.turn_number.get();
        let (key, duty, known, first) = self.tree(|tree| {
            let (key, index) = tree.visit(key, place, Kind::Await, direct);
            let first = tree.stamp(index, turn);
            // So that it can be cancelled at once.
            tree.at_mut(index).awaited = awaited;
            let duty = tree.duty(index, ended, cancelled);
            (key, duty, direct || tree.wakes(index, waker), first)
        });
        if first {
            self.note_visit();
        }
        if !known {
            self.keep_waker(key, waker);
        }
        (key, duty)
    }

    /// Keeps a waker that is not the task's own. Cloning it runs user code, after which the node may be removed.
    pub(super) fn keep_waker(&self, key: NodeKey, waker: &Waker) {
        let waker = waker.clone();
        let former = self.tree(|tree| match tree.find(key) {
            Some(index) => tree.at_mut(index).waker.replace(waker),
            None => Some(waker),
        });
        drop(former);
    }

    /// Completes an await whose task or future has ended.
    pub(crate) fn complete_await(&self, key: NodeKey) {
        self.with_node(key, Tree::complete);
    }

    /// Lets an await pass: what it awaited was cancelled at once.
    pub(crate) fn pass_await(&self, key: NodeKey) {
        self.with_node(key, Tree::pass);
    }

    /// Drops an await that is unfinished.
    pub(crate) fn drop_await(&self, key: NodeKey) {
        if key != NodeKey::NONE {
            self.with_node(key, Tree::dropped);
        }
    }

    /// Notes that the awaited task has ended: an await that has cancelled it is polled.
    pub(crate) fn await_ended(&self, key: NodeKey) {
        self.with_node(key, Tree::work_done);
    }
}

/// Polls a `Task` where the common case does not apply. See the module's table.
#[inline(never)]
pub(super) fn step_await(
    state: &LoopState,
    header: &Header,
    awaiting: Key,
    waker: &Waker,
    shielded: bool,
) -> Awaited {
    if !header.state.is_done() {
        if let Some(refused) = refuse_awaiter(state, header, awaiting) {
            return refused;
        }
    }
    let known = header.node();
    if known == NodeKey::NONE && header.state.is_done() {
        return Awaited::Take;
    }
    header.state.note_shielded(shielded);
    if shielded {
        // An await without a shield does not wait for it any more.
        state.drop_await(known);
        header.set_node(NodeKey::NONE);
        return match header.state.is_done() {
            true => Awaited::Take,
            false => wait_for_end(header, awaiting, waker),
        };
    }
    let (ended, cancelled) = (header.state.is_done(), header.state.is_cancelled());
    let identity = state.identity_of(header);
    let (key, duty) = state.visit_await(known, waker, identity, ended, cancelled);
    header.set_node(key);
    match duty {
        Duty::Hold => return Awaited::Wait,
        Duty::Nothing if !ended => {}
        Duty::Nothing | Duty::GiveUp => {
            header.set_node(NodeKey::NONE);
            state.complete_await(key);
            return match ended {
                true => Awaited::Take,
                false => Awaited::ItSelf,
            };
        }
        Duty::Cancel { again } => {
            if state.is_being_cancelled(header) {
                state.suspect_cycle(key);
            }
            if again || !state.is_being_cancelled(header) {
                let request = state.tree(|tree| tree.request_to(key));
                if header.request_cancel(request) {
                    state.schedule(state.key_of(header));
                }
            }
        }
    }
    wait_for_end(header, awaiting, waker)
}

/// Refuses an awaiter on another loop, and a task that awaits itself.
fn refuse_awaiter(state: &LoopState, header: &Header, awaiting: Key) -> Option<Awaited> {
    // The awaiter is the running task; the waker only says on which loop it is.
    let (here, current) =
        with_current(|current| (current.id == state.id, current.current_task.get()))
            .unwrap_or((true, Key::NONE));
    let same_loop = match awaiting {
        Key::NONE => here,
        ours => ours.loop_id() == state.id,
    };
    if !same_loop {
        return Some(Awaited::OtherLoop);
    }
    (here && current == state.key_of(header)).then_some(Awaited::ItSelf)
}

/// Notes what to wake at the end of the task.
fn wait_for_end(header: &Header, awaiting: Key, waker: &Waker) -> Awaited {
    if awaiting != Key::NONE {
        header.set_waiter(awaiting);
        return Awaited::Wait;
    }
    // Cloning runs user code, so it happens before the old waker is replaced, and the task is checked again afterwards.
    let waker = waker.clone();
    let replaced = header.with_cold(|cold| cold.waiter.replace(waker));
    drop(replaced);
    if header.state.is_done() {
        Awaited::Again
    } else {
        Awaited::Wait
    }
}
