//! Requests and tasks: what a task's step does before and after its poll while a request is in progress, and the work
//! that a tree leaves for the time after its borrow.

use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use crate::error::Cancellation;
use crate::kernel::cancel::awaits::step_await;
use crate::kernel::cancel::node::{Members, NIL, NodeKey};
use crate::kernel::cancel::request::Recent;
use crate::kernel::cancel::tree::{Effects, Tree};
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::drop_quietly;
use crate::kernel::task::any_task::AnyTask;
use crate::kernel::task::cell::Scheduler;
use crate::kernel::task::cell_pool::CellPool;
use crate::kernel::task::header::Header;
use crate::kernel::task::key::{Key, ROOT_SLOT};
use crate::kernel::task::slots::{Recency, TaskNodes};
use crate::kernel::task::state::Awaited;
use crate::kernel::task::waker::wake_key;

impl LoopState {
    /// Borrows the tree; `f` must not run user code. The effects of `f` are carried out when the borrow has ended.
    #[inline]
    pub(crate) fn tree<R>(&self, f: impl FnOnce(&mut Tree) -> R) -> R {
        let (result, effects) = {
            let mut tree = self.scopes.forest.tree.borrow_mut();
            let result = f(&mut tree);
            self.scopes.linked.set(tree.linked);
            if tree.effects.is_empty() {
                return result;
            }
            (result, std::mem::take(&mut tree.effects))
        };
        self.put_into_effect(effects);
        result
    }

    /// Reads or changes the node of a key; `None` if it does not exist any more.
    #[inline]
    pub(super) fn with_node<R>(
        &self,
        key: NodeKey,
        f: impl FnOnce(&mut Tree, u32) -> R,
    ) -> Option<R> {
        self.tree(|tree| Some(f(tree, tree.find(key)?)))
    }

    #[inline(never)]
    fn put_into_effect(&self, effects: Effects) {
        for key in effects.tasks {
            if let Some(task) = self.task(key) {
                task.header().state.note_in_flight();
                wake_key(key);
            }
        }
        for (awaited, request) in effects.cancels {
            let task = self.find_task(awaited);
            if task.is_some_and(|task| !self.is_being_cancelled(task.header())) {
                self.cancel_task(awaited, &request);
            }
        }
        for waker in effects.wakers {
            self.wake(waker);
        }
        for waker in effects.trash {
            drop_quietly(waker);
        }
    }

    /// Returns what a task has: nothing, the one task that it awaits, or a tree.
    pub(super) fn nodes(&self, task: Key) -> TaskNodes {
        if task.slot() == ROOT_SLOT {
            return self.root.nodes.get();
        }
        self.queues(|queues| queues.tasks.nodes(task))
    }

    /// Returns the root of a task's tree, if it has a tree.
    pub(super) fn tree_of(&self, task: Key) -> Option<u32> {
        match self.nodes(task) {
            TaskNodes::Tree(root) => Some(root),
            TaskNodes::Bare | TaskNodes::Awaits(_) => None,
        }
    }

    fn set_nodes(&self, task: Key, nodes: TaskNodes) {
        if task.slot() == ROOT_SLOT {
            if let TaskNodes::Awaits(_) = nodes {
                self.root.recency.set(self.root.recency.get().visited());
            }
            return self.root.nodes.set(nodes);
        }
        self.queues(|queues| queues.tasks.set_nodes(task, nodes));
    }

    /// Returns in which of the task's newest polls one of its nodes was polled.
    pub(super) fn recency(&self, task: Key) -> Recency {
        if task.slot() == ROOT_SLOT {
            return self.root.recency.get();
        }
        self.queues(|queues| queues.tasks.recency(task))
    }

    /// Notes that a node of the running task is polled, the first in this poll.
    #[inline]
    pub(super) fn note_visit(&self) {
        let task = self.current_task.get();
        if task.slot() == ROOT_SLOT {
            return self.root.recency.set(self.root.recency.get().visited());
        }
        self.queues(|queues| queues.tasks.note_visit(task));
    }

    /// Returns the task that `task` awaits without a node, if it still does.
    pub(super) fn plainly_awaited(&self, task: Key, slot: u32) -> Option<AnyTask> {
        let awaited = self.queues(|queues| queues.tasks.at(slot).cloned())?;
        let is_awaited = awaited.header().is_plainly_awaited_by(task);
        is_awaited.then_some(awaited)
    }

    /// Returns the root of a task's tree. If there is none it is made, and an await without a node gets one.
    #[inline]
    pub(super) fn root_of(&self, task: Key) -> u32 {
        let (known, root) = self.scopes.forest.newest_root.get();
        if known == task {
            return root;
        }
        let root = match self.nodes(task) {
            TaskNodes::Tree(root) => root,
            TaskNodes::Awaits(slot) if self.recency(task).is_now() => {
                self.add_root(task, Some(slot), Some(self.turn_number.get()))
            }
            TaskNodes::Bare | TaskNodes::Awaits(_) => self.add_root(task, None, None),
        };
        self.scopes.forest.newest_root.set((task, root));
        root
    }

    /// Makes a tree, with a node for the await of the task in the slot `awaited`, if that is still awaited.
    #[inline(never)]
    fn add_root(&self, task: Key, awaited: Option<u32>, turn: Option<u64>) -> u32 {
        let root = self.tree(|tree| tree.add_root(task));
        self.set_nodes(task, TaskNodes::Tree(root));
        if let Some(awaited) = awaited.and_then(|slot| self.plainly_awaited(task, slot)) {
            let key = self.tree(|tree| tree.open_await(root, turn));
            awaited.header().set_node(key);
        }
        root
    }

    /// Returns the place below which a node that is polled now belongs; `None` outside any task.
    #[inline]
    pub(super) fn place(&self) -> Option<u32> {
        let scope = self.scopes.current.get();
        if scope.index != NIL {
            return Some(scope.index);
        }
        let task = self.current_task.get();
        (task != Key::NONE).then(|| self.root_of(task))
    }

    /// Tears down the tree of a task that has ended or is about to. Keys of its nodes are stale then.
    pub(crate) fn tear_down(&self, task: Key) {
        if let Some(root) = self.tree_of(task) {
            self.set_nodes(task, TaskNodes::Bare);
            self.tear_down_tree(root);
        }
    }

    /// Tears down the tree of a task that was removed.
    #[inline(never)]
    pub(crate) fn tear_down_tree(&self, root: u32) {
        self.scopes.forest.newest_root.set((Key::NONE, NIL));
        self.tree(|tree| tree.tear_down(root));
    }

    /// Returns whether a request to this task is in progress: not delivered yet, or not answered by all.
    pub(crate) fn is_being_cancelled(&self, header: &Header) -> bool {
        if header.state.is_requested() {
            return true;
        }
        let root = self.tree_of(self.key_of(header));
        root.is_some_and(|root| self.tree(|tree| tree.at(root).own.is_some()))
    }

    fn begin_request(&self, header: &Header) -> Option<Cancellation> {
        let task = self.key_of(header);
        if header.state.take_request() {
            let request = header.take_request();
            let polled = self.recency(task).is_before();
            let root = match self.nodes(task) {
                TaskNodes::Tree(root) => root,
                TaskNodes::Awaits(slot) if polled && self.plainly_awaited(task, slot).is_some() => {
                    self.add_root(task, Some(slot), None)
                }
                // There is no node to ask.
                TaskNodes::Bare | TaskNodes::Awaits(_) => return Some(request),
            };
            header.state.note_in_flight();
            self.tree(|tree| tree.deliver_at_start(root, request, polled));
            return self.end_if_decided(task, header, root);
        }
        let Some(root) = self.tree_of(task) else {
            header.state.note_out_of_flight();
            return None;
        };
        self.tree(|tree| tree.at_mut(root).polls += 1);
        self.end_if_decided(task, header, root)
    }

    /// Tears down the tree of a task that is to end. Returns the request by which it ends.
    fn end_if_decided(&self, task: Key, header: &Header, root: u32) -> Option<Cancellation> {
        let (ends, in_flight) = self.tree(|tree| tree.root_ends(root));
        if ends.is_some() {
            self.tear_down(task);
        } else if !in_flight {
            header.state.note_out_of_flight();
            self.tree(|tree| {
                let put_off = tree.take_put_off(root);
                tree.effects.wakers.extend(put_off);
            });
        }
        ends
    }

    /// Returns whether a wait has to stay pending although it could end now and return something: an item, bytes, a
    /// connection. Then its waker will be woken.
    ///
    /// A request in progress has the task polled to find out which of the asked nodes are still wanted: a node that is
    /// not polled was set aside. If all were, the task ends with that poll, and what it has taken in that poll is lost.
    /// So it takes nothing until every asked node was polled, or the poll is over.
    #[inline]
    pub(crate) fn puts_off(&self, waker: &Waker) -> bool {
        let undecided = self.scopes.undecided.get();
        undecided != Key::NONE && undecided == self.current_task.get() && self.put_off(waker)
    }

    #[cold]
    fn put_off(&self, waker: &Waker) -> bool {
        // Cloned with nothing borrowed, since it may be another runtime's.
        let mut waker = Some(waker.clone());
        let task = self.current_task.get();
        let root = self.tree_of(task);
        let puts_off = root.is_some_and(|root| self.tree(|tree| tree.put_off(root, &mut waker)));
        if !puts_off {
            self.decide();
        }
        puts_off
    }

    /// Lets waits end again: nothing is undecided any more.
    fn decide(&self) {
        if self.scopes.undecided.replace(Key::NONE) != Key::NONE {
            self.budget.refill();
        }
    }

    /// Begins the poll of an operation, and takes one from the budget for it. Returns `Pending` if the operation has to
    /// wait for a later poll; its waker will be woken. An operation that does not end in this poll [gives
    /// back](crate::kernel::budget::Budget::give_back) what was taken.
    #[inline]
    pub(crate) fn poll_begin(&self, context: &Context<'_>) -> Poll<()> {
        match self.budget.take() {
            true => Poll::Ready(()),
            false => self.poll_without_budget(context),
        }
    }

    #[cold]
    fn poll_without_budget(&self, context: &Context<'_>) -> Poll<()> {
        let was_undecided = self.scopes.undecided.get() == self.current_task.get();
        if self.puts_off(context.waker()) {
            return Poll::Pending;
        }
        if was_undecided && self.current_task.get() != Key::NONE {
            self.budget.refill();
            self.budget.take();
            return Poll::Ready(());
        }
        self.budget.put_off(context);
        Poll::Pending
    }

    fn is_queued(&self, task: Key) -> bool {
        if task.slot() == ROOT_SLOT {
            return self.root.scheduled.get();
        }
        self.queues(|queues| queues.tasks.is_scheduled(task))
    }

    /// Returns how many scopes around the running code have a request in progress.
    pub(crate) fn requests_around(&self) -> u32 {
        let scope = self.scopes.current.get();
        if scope.index == NIL {
            return 0;
        }
        self.tree(|tree| tree.requests_around(scope.index))
    }
}

impl Scheduler for Rc<LoopState> {
    #[inline]
    fn loop_id(&self) -> u16 {
        self.id
    }

    #[inline]
    fn pool(&self) -> &CellPool {
        &self.cells
    }

    #[inline]
    fn note_await(&self, awaiting: Key, awaited: u32) -> bool {
        if self.current_task.get() != awaiting || !self.scopes.current.get().is_none() {
            return false;
        }
        self.note_await_of_slot(awaiting, awaited) || self.note_another_await(awaiting, awaited)
    }

    /// Begins a poll with a request in progress. `Some` is the cancellation with which the task ends, unpolled.
    fn begin_with_request(&self, header: &Header) -> Option<Cancellation> {
        let ends = self.begin_request(header);
        self.decide();
        if ends.is_none() {
            let task = self.key_of(header);
            let root = self.tree_of(task);
            if root.is_some_and(|root| self.tree(|tree| tree.is_due(root))) {
                self.scopes.undecided.set(task);
                self.budget.exhaust();
            }
        }
        ends
    }

    /// Ends a pending poll with a request in progress. `Some` is the cancellation with which the task ends.
    fn settle_request(&self, header: &Header) -> Option<Cancellation> {
        let task = self.key_of(header);
        let Some(root) = self.tree_of(task) else {
            header.state.note_out_of_flight();
            return None;
        };
        self.decide();
        let queued = self.is_queued(task);
        self.tree(|tree| tree.settle(root, queued));
        self.end_if_decided(task, header, root)
    }

    fn tear_down(&self, header: &Header) {
        LoopState::tear_down(self, self.key_of(header));
    }

    fn step_await(&self, header: &Header, awaiting: Key, waker: &Waker, shielded: bool) -> Awaited {
        step_await(self, header, awaiting, waker, shielded)
    }
}

impl LoopState {
    /// Sets the children of a group or gather at its node.
    pub(crate) fn note_members(&self, key: NodeKey, members: Weak<dyn Members>) {
        self.with_node(key, |tree, index| {
            tree.at_mut(index).members = Some(members)
        });
    }

    /// Delivers a request of a node's own to the nodes below it; `false` if the node does not exist any more. Nodes
    /// below it that were not polled when it was polled last were set aside.
    #[must_use]
    pub(crate) fn deliver_to(&self, key: NodeKey, request: &Cancellation) -> bool {
        let Some(task) = self.tree(|tree| tree.task_of(key)) else {
            return false;
        };
        // A detached node is in no task's tree.
        let task = (task != Key::NONE).then(|| self.task(task)).flatten();
        let running = task.is_some_and(|task| task.header().state.is_running());
        let delivered = self.with_node(key, |tree, index| {
            let recent = match running {
                true => Recent::Any,
                false => Recent::Turn(tree.at(index).visited),
            };
            tree.deliver(index, request.clone(), recent);
        });
        delivered.is_some()
    }

    /// Notes that a task awaits another one than before. Returns `false` if it still awaits the former too: then both
    /// need nodes.
    #[inline(never)]
    fn note_another_await(&self, awaiting: Key, awaited: u32) -> bool {
        let may = match self.nodes(awaiting) {
            TaskNodes::Bare => true,
            TaskNodes::Awaits(former) => {
                former == awaited
                    || !self.recency(awaiting).is_now()
                    || self.plainly_awaited(awaiting, former).is_none()
            }
            TaskNodes::Tree(_) => false,
        };
        if may {
            self.set_nodes(awaiting, TaskNodes::Awaits(awaited));
        }
        may
    }
}
