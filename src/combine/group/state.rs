//! What the handles of a group, its children and its parent share.
//!
//! A child is a task whose future is wrapped: the wrapper waits for its place where the group has a limit, hands an error
//! or a panic to the group, and says when it is gone. Ended children leave nothing behind, so that a group's memory is
//! that of the children which run.
//!
//! Nothing here is borrowed while foreign code runs: what names the tasks is copied out before tasks are asked to end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use slab::Slab;

use crate::combine::group::error::{Failure, FailureCause};
use crate::error::{CancelOrigin, Cancellation};
use crate::kernel::cancel::node::{Members, NodeKey};
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::wait::waiters::{WaiterId, Waiters};
use crate::sync::wait_list::{Awaiter, WaitList};

/// The number of a child that has failed, and ends by itself.
const FAILED: u64 = u64::MAX;

/// A group.
pub(crate) struct GroupState {
    pub(crate) state: Rc<LoopState>,
    /// The children that have not ended, with a number that no other child has; no task for one that is being made.
    children: RefCell<Slab<(u64, Identity)>>,
    /// Counts children.
    serial: Cell<u64>,
    failures: RefCell<Vec<Failure>>,
    /// No more children are taken in.
    stopped: Cell<bool>,
    /// The children were asked to end.
    cancelled: Cell<bool>,
    /// The parent has seen the end.
    closed: Cell<bool>,
    /// Whoever awaits the group.
    awaiter: Cell<Option<Awaiter>>,
    /// Its node, while its body is pending.
    node: Cell<NodeKey>,
    /// What the body is to be asked when the group is polled next: there was no node when it was to be asked.
    pending_request: Cell<Option<Cancellation>>,
    /// How many children may run at once.
    limit: Cell<usize>,
    /// How many do.
    running: Cell<usize>,
    /// Those who wait for a place, first come first served.
    queued: RefCell<Waiters<Key>>,
    /// Those who wait until there is a place for one more.
    pub(crate) vacancy: WaitList,
}

impl GroupState {
    pub(crate) fn new(state: Rc<LoopState>) -> Rc<Self> {
        Rc::new(Self {
            state,
            children: RefCell::default(),
            serial: Cell::new(0),
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

    /// How many children have not ended.
    pub(crate) fn len(&self) -> usize {
        self.children.borrow().len()
    }

    pub(crate) fn takes_children(&self) -> bool {
        !self.stopped.get() && !self.closed.get()
    }

    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    pub(crate) fn take_failures(&self) -> Vec<Failure> {
        self.failures.take()
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.set(limit.max(1));
        self.wake_first_queued();
        self.vacancy.notify_first(usize::MAX);
    }

    /// Whether one more child would run at once.
    pub(crate) fn has_vacancy(&self) -> bool {
        self.len() < self.limit.get()
    }

    /// Adds a child that has no task yet; the caller [notes](Self::note) the task.
    pub(super) fn add_child(&self) -> ChildId {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let index = self.children.borrow_mut().insert((serial, Identity::NONE));
        ChildId { index, serial }
    }

    /// Notes the task of a child that was just made, unless it has ended meanwhile; if the group was stopped meanwhile, the
    /// child is cancelled now.
    pub(super) fn note(&self, child: &ChildId, task: Identity) {
        let there = match self.children.borrow_mut().get_mut(child.index) {
            Some((serial, noted)) if *serial == child.serial => {
                *noted = task;
                true
            }
            _ => false,
        };
        if there && self.cancelled.get() {
            self.state.cancel_task(task, &stop_request());
        }
    }

    /// Notes who awaits the group. Cloning a foreign waker is foreign code, so the caller looks once more.
    pub(crate) fn wait(&self, waker: &Waker) {
        drop(self.awaiter.replace(Some(Awaiter::new(waker))));
    }

    /// Notes the node of a body that is pending; none once it is over.
    pub(crate) fn set_node(self: &Rc<Self>, node: NodeKey) {
        if self.node.replace(node) != node && !node.is_none() {
            let members = Rc::downgrade(self);
            self.state.note_members(node, members);
        }
    }

    /// Takes the request that the body has not heard of; the next poll of the group passes it on.
    pub(crate) fn take_pending_request(&self) -> Option<Cancellation> {
        self.pending_request.take()
    }

    /// Asks the children to end, once, and what is left of the body, if the body is not what stops.
    pub(crate) fn stop(&self, request: &Cancellation, also_body: bool) {
        self.stopped.set(true);
        if self.cancelled.replace(true) {
            return;
        }
        let tasks: Vec<Identity> = {
            let children = self.children.borrow();
            let unfailed = children.iter().filter(|(_, child)| child.0 != FAILED);
            unfailed.map(|(_, (_, task))| *task).collect()
        };
        for task in tasks {
            self.state.cancel_task(task, request);
        }
        if also_body && !self.state.deliver_to(self.node.get(), request) {
            // The task that polled it last has ended, or its run has.
            self.pending_request.set(Some(request.clone()));
        }
        self.vacancy.notify_first(usize::MAX);
        self.wake();
    }

    /// A child has failed. The others hear of it in the next turn, so that those whose turn comes in this one, and who
    /// may have failed too, are not interrupted: how many failures are cancelled does not depend on who stands where in line.
    pub(super) fn fail(self: &Rc<Self>, failure: Failure, index: usize) {
        if let Some(child) = self.children.borrow_mut().get_mut(index) {
            child.0 = FAILED;
        }
        self.failures.borrow_mut().push(failure);
        if !self.stopped.replace(true) {
            let group_state = Rc::clone(self);
            let stop = move || group_state.stop(&fail_request(), true);
            // A loop that closes takes no more callbacks, and ends all tasks itself.
            drop(self.state.push_call(Box::new(stop)));
        }
    }

    /// The body has failed, so that only the children are left to be asked.
    pub(crate) fn fail_as_body(&self, failure: Failure) {
        self.failures.borrow_mut().push(failure);
        self.stop(&fail_request(), false);
    }

    /// Failures that no result can carry go to the exception handler.
    pub(crate) fn report_failures(&self, failures: Vec<Failure>) {
        for failure in failures {
            let mut context =
                ExceptionContext::new("A task group's failure, lost to a panic of its body");
            context.task = failure.task;
            context.location = failure.location;
            match failure.cause {
                FailureCause::Error(error) => context.exception = Some(Rc::from(error)),
                FailureCause::Panicked(panicked) => context.panic = Some(panicked),
            }
            self.state.report(context);
        }
    }

    fn wake(&self) {
        if let Some(awaiter) = self.awaiter.take() {
            awaiter.wake();
        }
    }

    /// Whether a child may run; else it waits in line for a place.
    pub(super) fn try_start(&self, slot: &mut Slot, waker: Key) -> bool {
        let ahead = {
            let queued = self.queued.borrow();
            match *slot {
                Slot::Running => return true,
                Slot::New => queued.len(),
                Slot::Queued(id) => queued.position(id).unwrap_or(0),
            }
        };
        if ahead == 0 && self.running.get() < self.limit.get() {
            self.running.set(self.running.get() + 1);
            let former = std::mem::replace(slot, Slot::Running);
            if let Slot::Queued(id) = former {
                self.queued.borrow_mut().leave(id);
                self.wake_first_queued();
            }
            return true;
        }
        if matches!(slot, Slot::New) {
            *slot = Slot::Queued(self.queued.borrow_mut().join(waker));
        }
        false
    }

    /// Wakes the first who waits for a place, if there is one.
    fn wake_first_queued(&self) {
        if self.running.get() < self.limit.get() {
            let first = self.queued.borrow().first().map(|(_, key)| *key);
            if let Some(key) = first {
                self.state.schedule(key);
            }
        }
    }

    pub(super) fn child_ended(&self, index: usize, slot: &Slot) {
        self.children.borrow_mut().try_remove(index);
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
        self.vacancy.notify(0);
        if self.len() == 0 {
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

/// By which words a group that has failed ends its children.
fn fail_request() -> Cancellation {
    let text = "another part of its task group has failed";
    Cancellation::new(Some(text.into()), CancelOrigin::Group, None)
}

/// By which words a stopped group ends its children.
pub(crate) fn stop_request() -> Cancellation {
    Cancellation::new(
        Some("its task group was stopped".into()),
        CancelOrigin::Group,
        None,
    )
}

/// Where a child is kept.
pub(super) struct ChildId {
    pub(super) index: usize,
    serial: u64,
}

/// Where a child stands with regard to the limit.
pub(super) enum Slot {
    New,
    Queued(WaiterId),
    Running,
}
