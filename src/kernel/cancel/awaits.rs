//! A pending await of a task or a future, which is what a cancellation follows.
//!
//! A task that awaits one other task at a time, outside any scope, has no node for it: the awaited task knows its
//! awaiter and the awaiter's place in the slab says whom it awaits ([`TaskNodes::Awaits`]). Only a second await at the
//! same time, one inside a scope, one by another runtime's waker, and a request make a node of it.
//!
//! | the node is | and the awaited task | then |
//! |---|---|---|
//! | `Asked` by a deadline | has ended otherwise than as cancelled | the result is given: it came before the deadline acted |
//! | `Asked` else | has ended | `Passed`: the result stays where it is |
//! | `Asked` | has not | `Taken`: it is asked to end, unless that was done already |
//! | `Taken` | ended as cancelled | `Passed` |
//! | `Taken` | ended otherwise | the result is given, and the answer is that all goes on |
//! | `Asked` or `Taken`, [in a circle](super::cycles) | has not | given up: `AwaitsItself`, and the answer is that all goes on |
//! | `Passed` | – | pending until dropped |
//! | else | – | an await as any other |
//!
//! [`TaskNodes::Awaits`]: crate::kernel::task::slots::TaskNodes::Awaits

use std::task::Waker;

use crate::error::{CancelOrigin, Cancellation};
use crate::kernel::cancel::node::{Kind, NodeKey, State};
use crate::kernel::cancel::tree::Tree;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::cell::Header;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::state::Awaited;
use crate::kernel::task::waker::{key_of, with_current};

/// What a poll of an await has to do about a request.
pub(crate) enum Duty {
    /// None.
    Nothing,
    /// To cancel what is awaited, also where that was done before.
    Cancel { again: bool },
    /// To stay pending until it is dropped.
    Hold,
    /// To give up: what is awaited waits for this very task, and will never end.
    GiveUp,
}

impl Tree {
    /// The node of an await that had none until now. It is older than anything that is being polled for the first time.
    /// `turn` is when it was polled, where its task is being polled; else it was in the task's newest poll.
    pub(super) fn open_await(&mut self, root: u32, turn: Option<u64>) -> NodeKey {
        let index = self.open(root, Kind::Await);
        // Every mark is a count of linkings, and none is lower.
        self.at_mut(index).linked = 0;
        if let Some(turn) = turn {
            self.stamp(index, turn);
        }
        self.key(index)
    }

    /// An await knows the task that it waits for, so that it can be asked at once.
    fn note_awaited(&mut self, index: u32, awaited: Identity) {
        self.at_mut(index).awaited = awaited;
    }

    /// Awaits below `top` that were just asked, and polled just before: what they wait for is asked without another poll.
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

    /// The request that has reached the node of this key.
    pub(crate) fn request_to(&self, key: NodeKey) -> Cancellation {
        let request = self.find(key).and_then(|index| self.request_of(index));
        request.unwrap_or_default()
    }

    /// Whether the request that has reached a node is a deadline's. Whoever has set a result before the task ran was told that
    /// it was taken: it is not lost to a limit that has asked, and not acted yet.
    fn is_asked_by_a_deadline(&self, index: u32) -> bool {
        let request = self.request_of(index);
        request.is_some_and(|request| request.origin() == CancelOrigin::Timeout)
    }

    /// What is to be done in this poll. `ended` says that the awaited has ended, `cancelled` that it ended so.
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
    /// A poll of an await, as a node of the task that is running; `awaited` is the task, [`Identity::NONE`] for a future.
    /// `None` for the key where there is none.
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
            tree.note_awaited(index, awaited);
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

    /// Keeps a waker that is not the task's own. Cloning it runs user code, after which the node may be gone.
    pub(super) fn keep_waker(&self, key: NodeKey, waker: &Waker) {
        let waker = waker.clone();
        let former = self.tree(|tree| match tree.find(key) {
            Some(index) => tree.keep_waker(index, waker),
            None => Some(waker),
        });
        drop(former);
    }

    /// The await is over by itself.
    pub(crate) fn complete_await(&self, key: NodeKey) {
        self.tree(|tree| {
            if let Some(index) = tree.find(key) {
                tree.complete(index);
            }
        });
    }

    /// What was awaited is cancelled, at once: so is the await.
    pub(crate) fn pass_await(&self, key: NodeKey) {
        self.tree(|tree| {
            if let Some(index) = tree.find(key) {
                tree.pass(index);
            }
        });
    }

    /// The await was dropped unfinished.
    pub(crate) fn drop_await(&self, key: NodeKey) {
        if key != NodeKey::NONE {
            self.tree(|tree| {
                if let Some(index) = tree.find(key) {
                    tree.dropped(index);
                }
            });
        }
    }

    /// What was awaited has ended, which an await that had asked it to end is to hear by its next poll.
    pub(crate) fn await_ended(&self, key: NodeKey) {
        self.tree(|tree| {
            if let Some(index) = tree.find(key) {
                tree.work_done(index);
            }
        });
    }
}

/// The poll of a `Task` that is not as plain as most are. See the module's table.
#[inline(never)]
pub(super) fn step_await(
    state: &LoopState,
    header: &Header,
    awaiting: Key,
    waker: &Waker,
    shielded: bool,
) -> Awaited {
    let own = state.key_of(header);
    if !header.state.is_done() {
        // Who awaits is the task that runs; a waker says only on which loop it is.
        let (here, current) =
            with_current(|current| (current.id == state.id, current.current_task.get()))
                .unwrap_or((true, Key::NONE));
        let same_loop = match awaiting {
            Key::NONE => here,
            ours => ours.loop_id() == state.id,
        };
        if !same_loop {
            return Awaited::OtherLoop;
        }
        if here && current == own {
            return Awaited::ItSelf;
        }
    }
    let known = header.node();
    if known == NodeKey::NONE && header.state.is_done() {
        return Awaited::Take;
    }
    header.state.note_shielded(shielded);
    if shielded {
        // What awaited it before without a shield does so no longer.
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
        Duty::Nothing if ended => {
            header.set_node(NodeKey::NONE);
            state.complete_await(key);
            return Awaited::Take;
        }
        Duty::Nothing => {}
        Duty::GiveUp => {
            header.set_node(NodeKey::NONE);
            state.complete_await(key);
            return Awaited::ItSelf;
        }
        Duty::Cancel { again } => {
            if state.is_being_cancelled(header) {
                state.suspect_cycle(key);
            }
            if again || !state.is_being_cancelled(header) {
                let request = state.tree(|tree| tree.request_to(key));
                if header.request_cancel(request) {
                    state.schedule(own);
                }
            }
        }
    }
    wait_for_end(header, awaiting, waker)
}

/// Notes whom to wake at the end.
fn wait_for_end(header: &Header, awaiting: Key, waker: &Waker) -> Awaited {
    if awaiting != Key::NONE {
        header.set_waiter(awaiting);
        return Awaited::Wait;
    }
    // Cloning runs user code: it runs before the old waker is replaced, and the task is looked at afterwards.
    let waker = waker.clone();
    let replaced = header.with_cold(|cold| cold.waiter.replace(waker));
    drop(replaced);
    if header.state.is_done() {
        Awaited::Again
    } else {
        Awaited::Wait
    }
}
