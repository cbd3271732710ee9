//! `task_group`: the future that runs a group's body and waits for its children.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::combine::group::error::{Failure, FailureCause, GroupError, Outcome};
use crate::combine::group::handle::TaskGroup;
use crate::combine::group::state::{GroupState, stop_request};
use crate::error::{Cancellation, Panicked};
use crate::event_loop::free::get_running_loop;
use crate::kernel::cancel::node::{Kind, NodeKey, State};
use crate::kernel::cancel::scope::Scope;
use crate::kernel::enter::report_panic;

/// The message of a report about a destructor's panic, when the caller gets the body's own panic.
const IN_BODY: &str = "Exception in a destructor of a task group's body, which had panicked";

/// Runs `body`, which may start children in the group that it is given, and waits until all of them have ended,
/// including children of children: asyncio's `TaskGroup`.
///
/// The first child that fails cancels the others and the body. So does an error of the body. When all have ended, every
/// failure is reported. A child that other code cancels is not a failure. [`TaskGroup::cancel`] ends a group early and
/// without an error.
///
/// # Differences from asyncio
/// - The body is a closure, because Rust has no `async with`.
/// - A child fails if it returns an `Err` or panics.
/// - [`TaskGroup::cancel`] and [`TaskGroup::set_limit`] have no counterpart.
///
/// # Errors
/// [`GroupError::Failed`] with every failure, if a child or the body fails. This is also the result if the group's own
/// task is being cancelled; that task is then cancelled at its next suspension. [`GroupError::Stopped`] if the group
/// was stopped before its body had ended.
///
/// # Panics
/// Outside a running loop. A panic of the body resumes here, after all children were cancelled and have ended.
///
/// # Cancellation
/// Drops the body, cancels the children once, and waits for them. If the future itself is dropped, it cancels the
/// children and cannot wait for them.
///
/// ```
/// use callsoon::{run, sleep, task_group};
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// run(async {
///     let done = Rc::new(Cell::new(0));
///     task_group(async |group| {
///         for ms in 1..4 {
///             let done = done.clone();
///             group.create_task(async move {
///                 sleep(Duration::from_millis(ms)).await;
///                 done.set(done.get() + 1);
///             });
///         }
///     })
///     .await
///     .unwrap();
///     assert_eq!(done.get(), 3);
/// }).unwrap();
/// ```
pub async fn task_group<B, R>(body: B) -> Result<R::Value, GroupError>
where
    B: AsyncFnOnce(&TaskGroup) -> R,
    R: Outcome,
{
    let group_state = GroupState::new(get_running_loop().state);
    let group = TaskGroup {
        group_state: Rc::clone(&group_state),
    };
    // Dropped in this order: the cancel node, the body, and last the guard, which cancels the children.
    let guard = StopOnDrop(group_state);
    let mut body = pin!(Some(body(&group)));
    let mut group_future = GroupFuture {
        group_state: &guard.0,
        scope: Scope::new(Kind::Group),
        value: None,
        panic: None,
    };
    poll_fn(|context| group_future.poll(body.as_mut(), context)).await
}

/// Cancels the children of a group that is dropped half-way. It cannot wait for them.
struct StopOnDrop(Rc<GroupState>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.set_node(NodeKey::NONE);
        self.0.stop(&stop_request(), false);
        self.0.close();
    }
}

/// The future of [`task_group`], apart from its body.
struct GroupFuture<'a, T> {
    group_state: &'a Rc<GroupState>,
    /// The cancel scope of the await.
    scope: Scope,
    /// The value that the body returned.
    value: Option<T>,
    /// The body's panic.
    panic: Option<Box<dyn std::any::Any + Send>>,
}

impl<T> GroupFuture<'_, T> {
    fn poll<F>(
        &mut self,
        mut body: Pin<&mut Option<F>>,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, GroupError>>
    where
        F: Future<Output: Outcome<Value = T>>,
    {
        if self.group_state.is_ending(context.waker()) {
            return Poll::Pending;
        }
        let in_task = self.scope.enter(context.waker());
        self.group_state.set_node(self.scope.key());
        self.handle_request(body.as_mut());
        if body.is_some() {
            self.poll_body(body.as_mut(), context);
            // After the poll, because by then the awaits inside the body have cancel nodes that can receive the
            // request.
            if let Some(request) = self.group_state.take_pending_request() {
                self.deliver(&request, body.as_mut(), in_task);
            }
            self.handle_request(body.as_mut());
        }
        if body.is_some() || self.group_state.len() > 0 {
            self.group_state.wait(context.waker());
        }
        if body.is_some() || self.group_state.len() > 0 || self.scope.standing() == State::Passed {
            return Poll::Pending;
        }
        self.finish()
    }

    /// Delivers a request that was made while the group had no cancel node. Outside a task there is no node to deliver
    /// it to, so the body is dropped.
    #[cold]
    fn deliver<F>(&mut self, request: &Cancellation, body: Pin<&mut Option<F>>, in_task: bool) {
        if body.is_none() {
            return;
        }
        if in_task {
            self.scope.deliver(request);
        } else {
            self.drop_body(body);
        }
    }

    /// Drops the body and cancels the children, if that was requested.
    fn handle_request<F>(&mut self, body: Pin<&mut Option<F>>) {
        if !self.scope.is_asked() {
            return;
        }
        if let Some(request) = self.scope.take() {
            self.drop_body(body);
            self.group_state.stop(&request, false);
        }
    }

    /// Drops the body. A panic of its destructors becomes the panic of the body; if the body has panicked before, it is
    /// reported.
    fn drop_body<F>(&mut self, mut body: Pin<&mut Option<F>>) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body.set(None))) {
            match self.panic {
                None => self.panic = Some(payload),
                Some(_) => report_panic(IN_BODY, Panicked::new(payload)),
            }
        }
    }

    /// Polls the body, and records its value, error or panic.
    fn poll_body<F>(&mut self, mut body: Pin<&mut Option<F>>, context: &mut Context<'_>)
    where
        F: Future<Output: Outcome<Value = T>>,
    {
        let polled = self.scope.within(|| {
            catch_unwind(AssertUnwindSafe(|| {
                let Some(future) = body.as_mut().as_pin_mut() else {
                    return Poll::Pending;
                };
                let polled = future.poll(context);
                if polled.is_ready() {
                    body.set(None);
                }
                polled.map(Outcome::into_result)
            }))
        });
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(Ok(value))) => self.value = Some(value),
            Ok(Poll::Ready(Err(error))) => {
                self.group_state.fail_as_body(Failure {
                    task: None,
                    task_id: None,
                    location: None,
                    cause: FailureCause::Error(error),
                });
            }
            Err(payload) => {
                self.panic.get_or_insert(payload);
                self.drop_body(body);
                self.group_state.stop(&stop_request(), false);
            }
        }
    }

    /// Returns the result. The body and all children have ended.
    fn finish(&mut self) -> Poll<Result<T, GroupError>> {
        let failures = self.group_state.take_failures();
        let failed = !failures.is_empty() || self.panic.is_some();
        if !failed && self.scope.standing() == State::Taken && self.scope.pass() {
            return Poll::Pending;
        }
        self.group_state.close();
        self.group_state.set_node(NodeKey::NONE);
        self.scope.complete();
        if let Some(payload) = self.panic.take() {
            self.group_state.report_failures(failures);
            resume_unwind(payload);
        }
        if failed {
            return Poll::Ready(Err(GroupError::Failed(failures)));
        }
        Poll::Ready(self.value.take().ok_or(GroupError::Stopped))
    }
}
