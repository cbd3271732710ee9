//! What the handles of a group, its children and its parent share.
//!
//! A child is a task whose future is wrapped: the wrapper waits for its place where the group has a limit, hands an error
//! or a panic to the group, and says when it is gone. Ended children leave nothing behind, so that a group's memory is
//! that of the children which run.
//!
//! Nothing here is borrowed while foreign code runs: what names the tasks is copied out before tasks are asked to end.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::combine::group_error::{Failure, FailureCause, Outcome};
use crate::error::{CancelOrigin, Cancellation, Panicked};
use crate::kernel::cancel::node::{Members, NodeKey};
use crate::kernel::loop_state::LoopState;
use crate::kernel::report::ExceptionContext;
use crate::kernel::task::cell::Held;
use crate::kernel::task::key::{Identity, Key};
use crate::kernel::waiters::{WaiterId, Waiters};
use crate::sync::line::{Awaiter, Line};

/// The number of a child that has failed, and ends by itself.
const FAILED: u64 = u64::MAX;

/// A group.
pub(crate) struct Nursery {
    pub(crate) state: Rc<LoopState>,
    /// The children that have not ended, with a number that no other child has; no task for one that is being made.
    children: RefCell<Slab<(u64, Identity)>>,
    /// Counts children.
    serial: Cell<u64>,
    failures: RefCell<Vec<Failure>>,
    /// No more children are taken in.
    stopped: Cell<bool>,
    /// The children were asked to end.
    told: Cell<bool>,
    /// The parent has seen the end.
    closed: Cell<bool>,
    /// Whoever awaits the group.
    awaiter: Cell<Option<Awaiter>>,
    /// Its node, while its body is pending.
    node: Cell<NodeKey>,
    /// What the body is to be asked when the group is polled next: there was no node when it was to be asked.
    unheard: Cell<Option<Cancellation>>,
    /// How many children may run at once.
    limit: Cell<usize>,
    /// How many do.
    running: Cell<usize>,
    /// Those who wait for a place, first come first served.
    held: RefCell<Waiters<Key>>,
    /// Those who wait until there is a place for one more.
    pub(crate) vacancy: Line,
}

impl Nursery {
    pub(crate) fn new(state: Rc<LoopState>) -> Rc<Self> {
        Rc::new(Self {
            state,
            children: RefCell::default(),
            serial: Cell::new(0),
            failures: RefCell::default(),
            stopped: Cell::new(false),
            told: Cell::new(false),
            closed: Cell::new(false),
            awaiter: Cell::new(None),
            node: Cell::new(NodeKey::NONE),
            unheard: Cell::new(None),
            limit: Cell::new(usize::MAX),
            running: Cell::new(0),
            held: RefCell::new(Waiters::new()),
            vacancy: Line::new(),
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
        self.call_held();
        self.vacancy.nudge_first(usize::MAX);
    }

    /// Whether one more child would run at once.
    pub(crate) fn has_vacancy(&self) -> bool {
        self.len() < self.limit.get()
    }

    /// A child, whose task is to be [noted](Self::note) under its place.
    pub(crate) fn child<F: Future>(
        self: &Rc<Self>,
        future: F,
        location: &'static Location<'static>,
    ) -> (Held<F, Member>, Place) {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let index = self.children.borrow_mut().insert((serial, Identity::NONE));
        let member = Member {
            nursery: Rc::clone(self),
            index,
            location,
            standing: Standing::New,
        };
        (Held::new(future, member), Place { index, serial })
    }

    /// Notes the task of a child that was just made, unless it has ended meanwhile; if the group was stopped meanwhile, the
    /// child is told now.
    pub(crate) fn note(&self, place: &Place, task: Identity) {
        let there = match self.children.borrow_mut().get_mut(place.index) {
            Some((serial, noted)) if *serial == place.serial => {
                *noted = task;
                true
            }
            _ => false,
        };
        if there && self.told.get() {
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
    pub(crate) fn take_unheard(&self) -> Option<Cancellation> {
        self.unheard.take()
    }

    /// Asks the children to end, once, and what is left of the body, if the body is not what stops.
    pub(crate) fn stop(&self, request: &Cancellation, also_body: bool) {
        self.stopped.set(true);
        if self.told.replace(true) {
            // The children are not asked again. One of them may be who waits for the group and was asked now.
            return self.state.suspect_cycle(self.node.get());
        }
        let tasks: Vec<Identity> = {
            let children = self.children.borrow();
            let unfailed = children.iter().filter(|(_, child)| child.0 != FAILED);
            unfailed.map(|(_, (_, task))| *task).collect()
        };
        for task in tasks {
            self.state.cancel_child(task, request, self.node.get());
        }
        if also_body && !self.state.deliver_to(self.node.get(), request) {
            // The task that polled it last has ended, or its run has.
            self.unheard.set(Some(request.clone()));
        }
        self.vacancy.nudge_first(usize::MAX);
        self.wake();
    }

    /// A child has failed. The others hear of it in the next turn, so that those whose turn comes in this one, and who
    /// may have failed too, are not interrupted: how many failures are told does not depend on who stands where in line.
    fn fail(self: &Rc<Self>, failure: Failure, index: usize) {
        if let Some(child) = self.children.borrow_mut().get_mut(index) {
            child.0 = FAILED;
        }
        self.failures.borrow_mut().push(failure);
        if !self.stopped.replace(true) {
            let nursery = Rc::clone(self);
            let stop = move || nursery.stop(&fail_request(), true);
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
    fn may_run(&self, standing: &mut Standing, waker: Key) -> bool {
        let ahead = {
            let held = self.held.borrow();
            match *standing {
                Standing::Runs => return true,
                Standing::New => held.len(),
                Standing::Waits(place) => held.position(place).unwrap_or(0),
            }
        };
        if ahead == 0 && self.running.get() < self.limit.get() {
            self.running.set(self.running.get() + 1);
            let former = std::mem::replace(standing, Standing::Runs);
            if let Standing::Waits(place) = former {
                self.held.borrow_mut().leave(place);
                self.call_held();
            }
            return true;
        }
        if matches!(standing, Standing::New) {
            *standing = Standing::Waits(self.held.borrow_mut().join(waker));
        }
        false
    }

    /// Wakes the first who waits for a place, if there is one.
    fn call_held(&self) {
        if self.running.get() < self.limit.get() {
            let first = self.held.borrow().first().map(|(_, key)| *key);
            if let Some(key) = first {
                self.state.schedule(key);
            }
        }
    }

    fn child_ended(&self, index: usize, standing: &Standing) {
        self.children.borrow_mut().try_remove(index);
        match standing {
            Standing::New => {}
            Standing::Waits(place) => {
                self.held.borrow_mut().leave(*place);
                self.call_held();
            }
            Standing::Runs => {
                self.running.set(self.running.get() - 1);
                self.call_held();
            }
        }
        self.vacancy.nudge(0);
        if self.len() == 0 {
            self.state.await_ended(self.node.get());
            self.wake();
        }
    }
}

impl Members for Nursery {
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
pub(crate) struct Place {
    index: usize,
    serial: u64,
}

/// What is kept beside a child's future.
pub(crate) struct Member {
    nursery: Rc<Nursery>,
    index: usize,
    location: &'static Location<'static>,
    standing: Standing,
}

/// Where a child stands with regard to the limit.
enum Standing {
    New,
    Waits(WaiterId),
    Runs,
}

impl Member {
    /// The child has failed: the group hears of it, and the task ends as cancelled, since it has no value to give.
    fn fail(&self, cause: FailureCause) {
        let state = &self.nursery.state;
        let key = state.current_task.get();
        let task = state.task(key);
        let failure = Failure {
            task: task.as_ref().map(|task| task.header().name()),
            location: Some(self.location),
            cause,
        };
        self.nursery.fail(failure, self.index);
        self.end_task();
    }

    /// A child that has failed is polled once more: the request to end is under way, and somebody that its task awaited is
    /// asked first; or somebody has taken the request back. Another one where one is under way would begin it anew, at each
    /// poll.
    fn end_task_again(&self) {
        let state = &self.nursery.state;
        let task = state.task(state.current_task.get());
        if task.is_some_and(|task| !state.is_being_cancelled(task.header())) {
            self.end_task();
        }
    }

    /// The task of a child that has failed ends as cancelled.
    fn end_task(&self) {
        let state = &self.nursery.state;
        let text = "it has failed, which its task group reports";
        let request = Cancellation::new(Some(text.into()), CancelOrigin::Group, None);
        state.cancel_current(&request);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.nursery.child_ended(self.index, &self.standing);
    }
}

impl<F: Future<Output: Outcome>> Future for Held<F, Member> {
    type Output = <F::Output as Outcome>::Value;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut future, member) = self.project();
        let current = member.nursery.state.current_task.get();
        if !member.nursery.may_run(&mut member.standing, current) {
            return Poll::Pending;
        }
        let Some(inside) = future.as_mut().as_pin_mut() else {
            member.end_task_again();
            return Poll::Pending;
        };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            inside.poll(context).map(Outcome::into_result)
        }));
        let cause = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(value))) => return Poll::Ready(value),
            Ok(Poll::Ready(Err(error))) => FailureCause::Error(error),
            Err(payload) => FailureCause::Panicked(Panicked::new(payload)),
        };
        match member.nursery.state.task(current) {
            Some(task) => task.header().note_drop(&mut || future.set(None)),
            None => future.set(None),
        }
        member.fail(cause);
        Poll::Pending
    }
}
