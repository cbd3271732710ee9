//! The state that the handles of a group, its children and its future share.
//!
//! A child is a task whose future is wrapped (`child`). A child that has ended leaves nothing behind, so the memory of
//! a group is that of its running children.
//!
//! ```text
//! open ──1──▶ stopped ──2──▶ cancelled ──3──▶ closed
//!   └───────────────────3──────────────────────▲
//! ```
//! 1 `fail`, when a child fails, or `stop`: the group takes no more children. 2 `stop`: the children are cancelled, at
//! once or in the turn after `fail`. 3 `close`, from any state: the body and all children have ended, or the group's
//! future was dropped.
//!
//! Nothing here is borrowed while user code runs: the tasks are copied out of the list before they are cancelled.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use crate::combine::child_count::is_being_dropped;
use crate::combine::group::error::{Failure, FailureCause};
use crate::error::{CancelOrigin, Cancellation};
use crate::kernel::cancel::node::{Members, NodeKey};
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::handle::Task;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::task::waker::wake_key;
use crate::kernel::wait::list::{Awaiter, WaitList};
use crate::kernel::wait::waiters::{WaiterId, Waiters};

/// The state of one group.
pub(crate) struct GroupState {
    /// The loop of the children.
    pub(crate) state: Rc<LoopState>,
    /// The children that have not ended, with no task while the task is being made. One that has failed is not
    /// cancelled, because it ends by itself.
    children: RefCell<Slab<(Failed, Identity)>>,
    /// The child that has ended last, when none is left.
    last: Cell<Identity>,
    /// The failures so far, in order.
    failures: RefCell<Vec<Failure>>,
    /// The group takes no more children.
    stopped: Cell<bool>,
    /// The children were cancelled.
    cancelled: Cell<bool>,
    /// The group has ended.
    closed: Cell<bool>,
    /// The task that awaits the group.
    awaiter: Cell<Option<Awaiter>>,
    /// The cancel node of that await, while the body is pending.
    node: Cell<NodeKey>,
    /// A request for the body that could not be delivered, because there was no node. The next poll of the group
    /// delivers it.
    pending_request: Cell<Option<Cancellation>>,
    /// The largest number of children that run at once.
    limit: Cell<usize>,
    /// The number of children that run.
    running: Cell<usize>,
    /// The children that wait for a slot, in FIFO order.
    queued: RefCell<Waiters<Key>>,
    /// The callers of `wait_vacancy`.
    pub(crate) vacancy: WaitList,
}

impl GroupState {
    pub(crate) fn new(state: Rc<LoopState>) -> Rc<Self> {
        Rc::new(Self {
            state,
            children: RefCell::default(),
            last: Cell::new(Identity::NONE),
            failures: RefCell::default(),
            stopped: Cell::new(false),
            cancelled: Cell::new(false),
            closed: Cell::new(false),
            awaiter: Cell::new(None),
            node: Cell::new(NodeKey::NONE),
            pending_request: Cell::new(None),
            limit: Cell::new(usize::MAX),
            running: Cell::new(0),
            queued: RefCell::new(Waiters::new()),
            vacancy: WaitList::new(),
        })
    }

    /// Returns the number of children that have not ended.
    pub(crate) fn len(&self) -> usize {
        self.children.borrow().len()
    }

    /// Returns whether the child that has ended last [is still being dropped](is_being_dropped).
    pub(crate) fn is_ending(&self, waker: &Waker) -> bool {
        is_being_dropped(&self.state, self.last.get(), waker)
    }

    /// Returns whether the group takes more children.
    pub(crate) fn takes_children(&self) -> bool {
        !self.stopped.get() && !self.closed.get()
    }

    /// Marks the group as ended.
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    /// Takes all failures, in order.
    pub(crate) fn take_failures(&self) -> Vec<Failure> {
        self.failures.take()
    }

    /// Sets the largest number of running children, and wakes those for which there is a slot now.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.set(limit.max(1));
        self.wake_first_queued();
        self.vacancy.notify_first(usize::MAX);
    }

    /// Returns whether a new child would run at once.
    pub(crate) fn has_vacancy(&self) -> bool {
        self.len() < self.limit.get()
    }

    /// Adds a child that has no task yet, and returns its index. The caller [notes](Self::note) the task.
    pub(super) fn add_child(&self) -> usize {
        let child = (Failed(false), Identity::NONE);
        self.children.borrow_mut().insert(child)
    }

    /// Records the task of a new child, unless it has ended already, when the index may be another's. If the group was
    /// stopped meanwhile, the child is cancelled now.
    pub(super) fn note<T: 'static>(&self, index: usize, task: &Task<T>) {
        if task.done() {
            return;
        }
        let identity = task.identity();
        if let Some(child) = self.children.borrow_mut().get_mut(index) {
            child.1 = identity;
        }
        if self.cancelled.get() {
            self.state.cancel_task(identity, &stop_request());
        }
    }

    /// Records the waker of the task that awaits the group. Cloning another runtime's waker runs user code, so the
    /// caller checks the state after this.
    pub(crate) fn wait(&self, waker: &Waker) {
        drop(self.awaiter.replace(Some(Awaiter::new(waker))));
    }

    /// Records the cancel node of a pending body; `NONE` when the body has ended.
    pub(crate) fn set_node(self: &Rc<Self>, node: NodeKey) {
        if self.node.replace(node) != node && !node.is_none() {
            let members = Rc::downgrade(self);
            self.state.note_members(node, members);
        }
    }

    /// Takes the request that was not delivered to the body.
    pub(crate) fn take_pending_request(&self) -> Option<Cancellation> {
        self.pending_request.take()
    }

    /// Cancels the children, once. With `also_body` it cancels the rest of the body too.
    pub(crate) fn stop(&self, request: &Cancellation, also_body: bool) {
        self.stopped.set(true);
        if self.cancelled.replace(true) {
            // The children are not cancelled again. One that awaits this group may have been cancelled with it.
            return self.state.suspect_cycle(self.node.get());
        }
        let tasks: Vec<Identity> = {
            let children = self.children.borrow();
            let unfailed = children.iter().filter(|(_, child)| !child.0.0);
            unfailed.map(|(_, (_, task))| *task).collect()
        };
        for task in tasks {
            self.state.cancel_child(task, request, self.node.get());
        }
        if also_body && !self.state.deliver_to(self.node.get(), request) {
            // There is no node: the task that polled the group last has ended, or its run has.
            self.pending_request.set(Some(request.clone()));
        }
        self.vacancy.notify_first(usize::MAX);
        self.wake();
    }

    /// Records a failure of a child, and stops the group in the next turn. Children whose turn is still to come in this
    /// turn, and which may fail too, are not interrupted. So the number of failures that are reported does not depend
    /// on the order of the ready queue.
    pub(super) fn fail(self: &Rc<Self>, failure: Failure, index: usize) {
        if let Some(child) = self.children.borrow_mut().get_mut(index) {
            child.0 = Failed(true);
        }
        self.failures.borrow_mut().push(failure);
        if !self.stopped.replace(true) {
            let group_state = Rc::clone(self);
            let stop = move || group_state.stop(&fail_request(), true);
            // A loop that closes refuses the callback, and cancels all tasks itself.
            drop(self.state.push_call(stop, Location::caller()));
        }
    }

    /// Records a failure of the body, and cancels the children.
    pub(crate) fn fail_as_body(&self, failure: Failure) {
        self.failures.borrow_mut().push(failure);
        self.stop(&fail_request(), false);
    }

    /// Reports failures to the exception handler, because the result is a panic and cannot carry them.
    pub(crate) fn report_failures(&self, failures: Vec<Failure>) {
        for failure in failures {
            let mut context =
                ExceptionContext::new("A task group's failure, lost to a panic of its body");
            context.task = failure.task;
            context.location = failure.location;
            match failure.cause {
                FailureCause::Error(error) => context.exception = Some(Arc::from(error)),
                FailureCause::Panicked(panicked) => context.panic = Some(panicked),
            }
            self.state.report(context);
        }
    }

    /// Wakes the task that awaits the group.
    fn wake(&self) {
        if let Some(awaiter) = self.awaiter.take() {
            awaiter.wake();
        }
    }

    /// Returns whether a child that does not run may do so now. If not, it is queued for a slot.
    #[inline]
    pub(super) fn try_start(&self, slot: &mut Slot, waker: Key) -> bool {
        let mut queued = self.queued.borrow_mut();
        let first = queued.first().map(|(id, _)| id);
        let is_next = match *slot {
            Slot::Queued(id) => first == Some(id),
            _ => first.is_none(),
        };
        if is_next && self.running.get() < self.limit.get() {
            self.running.set(self.running.get() + 1);
            *slot = Slot::Running;
            if queued.take_first().is_some() {
                drop(queued);
                self.wake_first_queued();
            }
            return true;
        }
        if matches!(slot, Slot::New) {
            *slot = Slot::Queued(queued.join(waker));
        }
        false
    }

    /// Wakes the first child that waits for a slot, if one is free.
    #[inline]
    fn wake_first_queued(&self) {
        if self.running.get() < self.limit.get() {
            let first = self.queued.borrow().first().map(|(_, key)| *key);
            if let Some(key) = first {
                wake_key(key);
            }
        }
    }

    /// Removes a child that has ended, and wakes what waits for that.
    #[inline]
    pub(super) fn child_ended(&self, index: usize, slot: &Slot) {
        let removed = self.children.borrow_mut().try_remove(index);
        match slot {
            Slot::New => {}
            Slot::Queued(id) => {
                self.queued.borrow_mut().leave(*id);
                self.wake_first_queued();
            }
            Slot::Running => {
                self.running.set(self.running.get() - 1);
                self.wake_first_queued();
            }
        }
        if !self.vacancy.is_empty() {
            self.vacancy.notify(0);
        }
        if self.len() == 0 {
            self.last
                .set(removed.map_or(Identity::NONE, |(_, task)| task));
            self.state.await_ended(self.node.get());
            self.wake();
        }
    }
}

impl Members for GroupState {
    fn tasks(&self) -> Vec<Identity> {
        let children = self.children.borrow();
        children.iter().map(|(_, (_, task))| *task).collect()
    }
}

/// Returns the request with which a failed group cancels its children.
fn fail_request() -> Cancellation {
    let text = "another part of its task group has failed";
    Cancellation::new(Some(text.into()), CancelOrigin::Group, None)
}

/// Returns the request with which a stopped group cancels its children.
pub(crate) fn stop_request() -> Cancellation {
    Cancellation::new(
        Some("its task group was stopped".into()),
        CancelOrigin::Group,
        None,
    )
}

/// Whether a child has failed.
struct Failed(bool);

/// Whether a child has one of the slots for running children.
pub(super) enum Slot {
    /// Not polled yet.
    New,
    /// Waiting for a slot.
    Queued(WaiterId),
    /// Has a slot.
    Running,
}
