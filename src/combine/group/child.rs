//! A child of a group: the wrapper around its future.
//!
//! The wrapper waits for a slot if the group has a limit. It passes an error or a panic to the group. When it is
//! dropped, it reports the end of the child.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::combine::group::error::{Failure, FailureCause, Outcome};
use crate::combine::group::state::{GroupState, Slot};
use crate::error::{CancelOrigin, Cancellation, Panicked};
use crate::kernel::task::cell::Held;
use crate::kernel::task::reference::TaskId;

/// The part of the wrapper beside the child's future.
pub(crate) struct Child {
    group_state: Rc<GroupState>,
    index: usize,
    slot: Slot,
}

impl Child {
    /// Wraps the future of a new child. The caller [notes](GroupState::note) the task that it makes of it.
    pub(super) fn wrap<F: Future>(
        group_state: &Rc<GroupState>,
        future: F,
    ) -> (Held<F, Self>, usize) {
        let index = group_state.add_child();
        let child = Self {
            group_state: Rc::clone(group_state),
            index,
            slot: Slot::New,
        };
        (Held::new(future, child), index)
    }

    /// Reports a failure to the group. The task ends as cancelled, because it has no value to return.
    fn fail(&self, cause: FailureCause) {
        let state = &self.group_state.state;
        let key = state.current_task.get();
        let task = state.task(key);
        let failure = Failure {
            task: task.as_ref().map(|task| task.header().name()),
            location: task.as_ref().map(|task| task.header().location()),
            task_id: task.map(|task| TaskId::of(state, task.header().serial.get())),
            cause,
        };
        self.group_state.fail(failure, self.index);
        self.end_task();
    }

    /// Handles a further poll of a child that has failed. Either its cancel request is in progress, and something that
    /// the task awaited receives it first. Or the request was withdrawn, and then it is made again. A second request
    /// during the first would start over at each poll.
    fn end_task_again(&self) {
        let state = &self.group_state.state;
        let task = state.task(state.current_task.get());
        if task.is_some_and(|task| !state.is_being_cancelled(task.header())) {
            self.end_task();
        }
    }

    /// Ends the task of a child that has failed, as cancelled.
    fn end_task(&self) {
        let state = &self.group_state.state;
        let text = "it has failed, which its task group reports";
        let request = Cancellation::new(Some(text.into()), CancelOrigin::Group, None);
        state.cancel_current(&request);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.group_state.child_ended(self.index, &self.slot);
    }
}

impl<F: Future<Output: Outcome>> Future for Held<F, Child> {
    type Output = <F::Output as Outcome>::Value;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut future, child) = self.project();
        let current = child.group_state.state.current_task.get();
        let runs = matches!(child.slot, Slot::Running);
        if !runs && !child.group_state.try_start(&mut child.slot, current) {
            return Poll::Pending;
        }
        let Some(inside) = future.as_mut().as_pin_mut() else {
            child.end_task_again();
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
        match child.group_state.state.task(current) {
            Some(task) => task.header().note_drop(&mut || future.set(None)),
            None => future.set(None),
        }
        child.fail(cause);
        Poll::Pending
    }
}
