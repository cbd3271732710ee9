//! A scope, as the future holds it to which it belongs.
//!
//! ```text
//! enter(waker)       at the start of each poll: the node is opened, or moved to where it is polled now
//! is_asked(), …      what is to be done about a request
//! within(f)          polls what is inside, below this node
//! complete()         the end by itself; dropping the scope is the end by force
//! ```
//!
//! Outside any task nothing can be cancelled: `enter` returns `false`, and the rest does nothing.

use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::error::Cancellation;
use crate::kernel::cancel::node::{Kind, NodeKey, State};
use crate::kernel::cancel::request::Recent;
use crate::kernel::cancel::tree::Tree;
use crate::kernel::clock::later;
use crate::kernel::loop_state::LoopState;
use crate::kernel::task::key::Key;
use crate::kernel::task::waker::{current, key_of, with_current};

/// The node of one future.
pub(crate) struct Scope {
    kind: Kind,
    key: NodeKey,
    /// The loop in whose task it was polled first.
    state: Option<Rc<LoopState>>,
}

/// Restores the current node that was before, also on unwinding.
struct Within<'a> {
    state: &'a LoopState,
    former: NodeKey,
}

impl Drop for Within<'_> {
    #[inline]
    fn drop(&mut self) {
        self.state.scopes.current.set(self.former);
    }
}

/// Ends [`Scope::tentatively`], also on unwinding.
struct Tentative {
    /// There was no scope around.
    top: bool,
}

impl Drop for Tentative {
    #[inline]
    fn drop(&mut self) {
        if self.top {
            with_current(|state| state.scopes.current.set(NodeKey::NONE));
        }
    }
}

impl Scope {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            key: NodeKey::NONE,
            state: None,
        }
    }

    /// Begins a poll; `false` outside any task.
    #[inline]
    pub(crate) fn enter(&mut self, waker: &Waker) -> bool {
        let known = self.state.as_deref().map(std::ptr::from_ref);
        let is_known = with_current(|state| {
            let in_task = state.current_task.get() != Key::NONE;
            in_task.then(|| known == Some(std::ptr::from_ref(state)))
        });
        match is_known.flatten() {
            Some(true) => {}
            Some(false) => {
                self.leave();
                self.state = current();
            }
            None => {
                self.leave();
                return false;
            }
        }
        let Some(state) = &self.state else {
            return false;
        };
        let task = state.current_task.get();
        let Some(place) = state.place() else {
            return false;
        };
        let direct = key_of(waker) == Some(task);
        let (key, kind) = (self.key, self.kind);
        let turn = state.turn_number.get();
        let (key, known, first) = state.tree(|tree| {
            let (key, index) = tree.visit(key, place, kind, direct);
            let first = tree.stamp(index, turn);
            (key, direct || tree.wakes(index, waker), first)
        });
        self.key = key;
        if first {
            state.note_visit();
        }
        if !known {
            state.keep_waker(key, waker);
        }
        true
    }

    /// Polls the inner future for the first time, before there is a node: it may be ready at once and need none.
    /// Otherwise [`enter_around`](Self::enter_around), called with the returned mark, puts the node where it would have
    /// been.
    #[inline]
    pub(crate) fn tentatively<R>(f: impl FnOnce() -> R) -> (R, u64) {
        let begun = with_current(|state| {
            let top = state.scopes.current.get().is_none();
            if top {
                // Awaits get nodes, which can be moved.
                state.scopes.current.set(NodeKey::TENTATIVE);
            }
            (state.scopes.linked.get(), top)
        });
        let (mark, top) = begun.unwrap_or((0, false));
        let _tentative = Tentative { top };
        (f(), mark)
    }

    /// Does the same as [`enter`](Self::enter) after the inner future was polled already.
    pub(crate) fn enter_around(&mut self, waker: &Waker, mark: u64) -> bool {
        let in_task = self.enter(waker);
        // If its own link is the only one since then, there is nothing that it could be put around.
        let linked = self.state.as_ref().map(|state| state.scopes.linked.get());
        if in_task && linked != Some(mark + 1) {
            self.node(|tree, index| tree.adopt(index, mark));
        }
        in_task
    }

    /// Polls the inner future, with this node as the current one.
    #[inline]
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        let _within = self.make_current();
        f()
    }

    /// Makes the node, if there is one, the current one.
    #[inline]
    fn make_current(&self) -> Option<Within<'_>> {
        let has_node = self.key != NodeKey::NONE;
        let state = self.state.as_deref().filter(|_| has_node)?;
        let former = state.scopes.current.replace(self.key);
        Some(Within { state, former })
    }

    /// Reads or changes the node; `None` if there is none.
    #[inline]
    fn node<R>(&self, f: impl FnOnce(&mut Tree, u32) -> R) -> Option<R> {
        self.state.as_ref()?.with_node(self.key, f)
    }

    /// Returns the state of the node; `Idle` if there is none.
    #[inline]
    pub(crate) fn standing(&self) -> State {
        self.node(|tree, index| tree.at(index).state)
            .unwrap_or(State::Idle)
    }

    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        self.standing() == State::Asked
    }

    /// Returns the loop, once there is a node.
    pub(crate) fn state(&self) -> Option<&Rc<LoopState>> {
        self.state.as_ref()
    }

    pub(crate) fn key(&self) -> NodeKey {
        self.key
    }

    /// Completes the node: its future has ended by itself.
    #[inline]
    pub(crate) fn complete(&mut self) {
        self.node(Tree::complete);
        self.key = NodeKey::NONE;
    }

    /// Removes a node that owes no vote.
    pub(crate) fn forget(&mut self) {
        self.node(Tree::forget);
        self.key = NodeKey::NONE;
    }

    /// Removes the node of a dropped future. If it was asked, it passes.
    fn leave(&mut self) {
        if self.key != NodeKey::NONE {
            self.node(Tree::dropped);
            self.key = NodeKey::NONE;
        }
    }

    /// Tears down the inside of a catch that was asked. Returns the request and the node that waits for the decision,
    /// or `None` if other nodes have to be asked first.
    pub(super) fn catch(&mut self) -> Option<(Cancellation, NodeKey, Rc<LoopState>)> {
        let request = self.node(Tree::tear_down_catch).flatten()?;
        let state = self.state.clone()?;
        let key = std::mem::replace(&mut self.key, NodeKey::NONE);
        Some((request, key, state))
    }

    /// Takes over a node that was another scope's.
    pub(super) fn adopt(&mut self, key: NodeKey, state: &Rc<LoopState>) {
        self.key = key;
        self.state = Some(Rc::clone(state));
    }

    /// Begins a request at this node, to the nearest scope around it that can act on one.
    pub(super) fn begin_raise(&self, request: Cancellation) {
        self.node(|tree, index| tree.begin_raise(index, request));
    }

    /// Tears down the body of a group that was asked, and returns the request. Returns `None` if other nodes have to be
    /// asked first; then the group is not asked any more.
    pub(crate) fn take(&self) -> Option<Cancellation> {
        self.node(|tree, index| {
            if !tree.tear_down_inside(index) {
                return None;
            }
            tree.at_mut(index).state = State::Taken;
            Some(tree.request_of(index).unwrap_or_default())
        })
        .flatten()
    }

    /// Lets a group pass that has acted and whose children have ended. It stays pending from now on. Returns `false` if
    /// it was not asked.
    pub(crate) fn pass(&self) -> bool {
        self.node(|tree, index| {
            let owes = tree.at(index).owes;
            if owes {
                tree.pass(index);
            }
            owes
        })
        .unwrap_or(false)
    }

    /// Notes a region's deadline.
    pub(crate) fn set_deadline(&self, deadline: u64) {
        self.node(|tree, index| tree.at_mut(index).deadline = deadline);
    }

    /// Sets and returns the deadline of a region whose delay begins now, at the end of its first poll. If a delay
    /// inside has begun in that poll, this one begins with it: of two equal delays the outer one is over no later.
    pub(crate) fn begin_delay(&self, now: u64, delay: Duration) -> u64 {
        let deadline = self.node(|tree, index| {
            let begun = tree.earliest_begun(index).min(now);
            let deadline = later(begun, delay);
            let node = tree.at_mut(index);
            node.begun = begun;
            node.deadline = deadline;
            deadline
        });
        deadline.unwrap_or_else(|| later(now, delay))
    }

    /// Notes that a region's time is over: asks the nodes inside, unless a region around this one goes first. `at_once`
    /// says that everything inside was polled just now, for the first time.
    pub(crate) fn expire(&self, now: u64, request: Cancellation, at_once: bool) {
        self.node(|tree, index| {
            let node = tree.at_mut(index);
            node.expired = true;
            // The inner future was polled just now, as the region was.
            let recent = Recent::Turn(node.visited);
            if !tree.is_preceded(index, now) {
                tree.deliver(index, request, recent);
                if at_once {
                    tree.cancel_awaited(index);
                }
            }
        });
    }

    /// Delivers a request of the node's own to the nodes below it.
    pub(crate) fn deliver(&self, request: &Cancellation) {
        self.node(|tree, index| tree.deliver(index, request.clone(), Recent::Any));
    }

    /// Tears down everything below a region, if that was decided. Returns whether it was; the caller then drops the
    /// inner future.
    #[inline]
    pub(crate) fn tear_down_region(&self) -> bool {
        let torn_down = self.node(|tree, index| {
            let node = tree.at(index);
            node.tear_down && node.state != State::Passed && tree.tear_down_inside(index)
        });
        torn_down.unwrap_or(false)
    }
}

impl Drop for Scope {
    #[inline]
    fn drop(&mut self) {
        self.leave();
    }
}

impl LoopState {
    /// Moves the deadline of a region by its node.
    pub(crate) fn set_deadline_of(&self, key: NodeKey, deadline: u64) {
        self.with_node(key, |tree, index| tree.at_mut(index).deadline = deadline);
    }
}
