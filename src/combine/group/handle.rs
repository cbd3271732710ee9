//! `TaskGroup`: the handle of a group. It starts children, stops the group, and limits it.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::Location;
use std::rc::Rc;
use std::task::Poll;

use crate::combine::group::child::Child;
use crate::combine::group::error::Outcome;
use crate::combine::group::state::{GroupState, stop_request};
use crate::event_loop::tasks::TaskBuilder;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::note_wait::{address, note_wait_anew};
use crate::kernel::task::cell::Held;
use crate::kernel::task::handle::Task;
use crate::kernel::task::waker::with_current;
use crate::kernel::wait::list::WaitList;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::kernel::wait::waiters::WaiterId;

/// The handle of a group of tasks; [`task_group`](crate::task_group) passes it to its body. Clones are handles of the
/// same group, for children that start children.
///
/// ```
/// callsoon::run(async {
///     callsoon::task_group(async |group| {
///         let handle = group.clone();
///         group.create_task(async move {
///             handle.create_task(async { println!("a grandchild of the same group") });
///         });
///     })
///     .await
///     .unwrap();
/// }).unwrap();
/// ```
#[derive(Clone)]
pub struct TaskGroup {
    pub(crate) group_state: Rc<GroupState>,
}

/// The error of [`TaskGroup::try_create_task`]: the group has failed, was stopped or has ended, and takes no more
/// children. It gives the future back.
///
/// ```
/// callsoon::run(async {
///     let late = callsoon::task_group(async |group| Ok::<_, std::io::Error>(group.clone())).await.unwrap();
///     assert!(late.try_create_task(async {}).is_err());
/// }).unwrap();
/// ```
#[derive(Clone, Copy)]
pub struct GroupClosed<F>(
    /// The future, unchanged.
    pub F,
);

impl<F> fmt::Debug for GroupClosed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupClosed")
    }
}

impl<F> fmt::Display for GroupClosed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task group takes no more children")
    }
}

impl<F> std::error::Error for GroupClosed<F> {}

impl TaskGroup {
    /// Starts a child, whose future returns `()` or a `Result`. An `Err` makes the group fail, and so does a panic. The
    /// child's task then ends as cancelled, because the group reports the error.
    ///
    /// If the group is shutting down or has ended, the future is dropped without a poll, and the returned task is
    /// cancelled. [`try_create_task`](Self::try_create_task) gives the future back instead.
    ///
    /// # Differences from asyncio
    /// - In a group that takes no more children this does not fail: it returns a cancelled task. asyncio raises
    ///   `RuntimeError`.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let mut task = callsoon::task_group(async |group| {
    ///         Ok::<_, std::io::Error>(group.create_task(async { Ok::<_, std::io::Error>(7) }))
    ///     })
    ///     .await
    ///     .unwrap();
    ///     assert_eq!(task.result().unwrap().unwrap(), 7);
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn create_task<F>(&self, future: F) -> Task<<F::Output as Outcome>::Value>
    where
        F: IntoFuture<IntoFuture: 'static, Output: Outcome>,
    {
        self.create_task_at(future, Location::caller())
    }

    /// Starts a child that was created at `location`.
    pub(crate) fn create_task_at<F>(
        &self,
        future: F,
        location: &'static Location<'static>,
    ) -> Task<<F::Output as Outcome>::Value>
    where
        F: IntoFuture<IntoFuture: 'static, Output: Outcome>,
    {
        let handle = self.handle();
        if self.group_state.takes_children() {
            return self.spawn(future.into_future(), |child| {
                handle.into_task(child, location)
            });
        }
        // A group of its own, so that the unstarted child does not count in this one.
        let other = GroupState::new(Rc::clone(&handle.state));
        let (child, _) = Child::wrap(&other, future.into_future());
        handle.into_cancelled_task(child, location, stop_request())
    }

    /// Starts a child like [`create_task`](Self::create_task), but gives the future back if the group takes no
    /// children.
    ///
    /// # Errors
    /// [`GroupClosed`] with the future, if the group has failed, was stopped, or has ended.
    ///
    /// ```
    /// callsoon::run(async {
    ///     callsoon::task_group(async |group| {
    ///         assert!(group.try_create_task(async {}).is_ok());
    ///         group.cancel();
    ///         assert!(group.try_create_task(async {}).is_err());
    ///     })
    ///     .await
    ///     .unwrap();
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn try_create_task<F>(
        &self,
        future: F,
    ) -> Result<Task<<F::Output as Outcome>::Value>, GroupClosed<F>>
    where
        F: IntoFuture<IntoFuture: 'static, Output: Outcome>,
    {
        if !self.group_state.takes_children() {
            return Err(GroupClosed(future));
        }
        Ok(self.create_task_at(future, Location::caller()))
    }

    /// Starts a child like [`create_task`](Self::create_task), with a name, a context or an eager start.
    ///
    /// ```
    /// callsoon::run(async {
    ///     callsoon::task_group(async |group| {
    ///         let task = group.create_task_with(callsoon::task_builder().name("scout"), async {});
    ///         assert_eq!(task.name(), "scout");
    ///     })
    ///     .await
    ///     .unwrap();
    /// }).unwrap();
    /// ```
    #[track_caller]
    pub fn create_task_with<F>(
        &self,
        builder: TaskBuilder,
        future: F,
    ) -> Task<<F::Output as Outcome>::Value>
    where
        F: IntoFuture<IntoFuture: 'static, Output: Outcome>,
    {
        if !self.group_state.takes_children() {
            return self.create_task(future);
        }
        let location = Location::caller();
        self.spawn(future.into_future(), |child| {
            builder.spawn_at(child, location)
        })
    }

    /// Wraps `future` as a child, makes a task of it with `spawn`, and records the task.
    fn spawn<F: Future<Output: Outcome> + 'static>(
        &self,
        future: F,
        spawn: impl FnOnce(Held<F, Child>) -> Task<<F::Output as Outcome>::Value>,
    ) -> Task<<F::Output as Outcome>::Value> {
        let (child, index) = Child::wrap(&self.group_state, future);
        let task = spawn(child);
        self.group_state.note(index, &task);
        task
    }

    fn handle(&self) -> LoopHandle {
        LoopHandle::of(&self.group_state.state)
    }

    /// Stops the group without an error. It cancels the children and the body, and takes no more children. If the body
    /// has ended by then, [`task_group`](crate::task_group) returns its value, otherwise
    /// [`GroupError::Stopped`](crate::GroupError::Stopped). A second call does nothing, and neither does a call after
    /// the end of the group. asyncio has no counterpart.
    ///
    /// ```
    /// use callsoon::{GroupError, run, task_group};
    /// run(async {
    ///     let ended = task_group(async |group| {
    ///         group.create_task(std::future::pending::<()>());
    ///         group.cancel();
    ///         Ok::<_, std::io::Error>("the body ends by itself")
    ///     });
    ///     assert_eq!(ended.await.unwrap(), "the body ends by itself");
    /// }).unwrap();
    /// ```
    pub fn cancel(&self) {
        if self.group_state.takes_children() {
            self.group_state.stop(&stop_request(), true);
        }
    }

    /// Lets at most `limit` children run at once. Other children wait for their first poll, in FIFO order. A limit of 0
    /// counts as 1. Children that run already are not affected. asyncio has no counterpart.
    ///
    /// A child that waits still needs memory for its future. To start many children, wait for a
    /// [vacancy](Self::wait_vacancy) before each, as [`for_each_limit`](crate::for_each_limit) does.
    ///
    /// ```
    /// callsoon::run(async {
    ///     callsoon::task_group(async |group| {
    ///         group.set_limit(2);
    ///         for _ in 0..10 {
    ///             group.create_task(callsoon::yield_now());
    ///         }
    ///     })
    ///     .await
    ///     .unwrap();
    /// }).unwrap();
    /// ```
    pub fn set_limit(&self, limit: usize) {
        self.group_state.set_limit(limit);
    }

    /// Waits until a new child would run at once. In a group that is shutting down it waits for the next turn, by which
    /// the body is cancelled.
    ///
    /// # Cancellation
    /// Dropping it has no effect.
    ///
    /// ```
    /// callsoon::run(async {
    ///     callsoon::task_group(async |group| {
    ///         group.set_limit(2);
    ///         for _ in 0..10 {
    ///             group.wait_vacancy().await;
    ///             group.create_task(callsoon::yield_now());
    ///             assert!(group.len() <= 2);
    ///         }
    ///     })
    ///     .await
    ///     .unwrap();
    /// }).unwrap();
    /// ```
    pub async fn wait_vacancy(&self) {
        let list = &self.group_state.vacancy;
        let mut waiting = VacancyWait { list, id: None };
        poll_fn(|context| {
            let condition =
                |_| self.group_state.has_vacancy() || !self.group_state.takes_children();
            let is_new = waiting.id.is_none();
            let polled = list.poll_until(&mut waiting.id, (), context.waker(), condition);
            if polled.is_pending() {
                note_wait_anew(WaitKind::Vacancy, is_new, || address(list));
            }
            polled
        })
        .await;
        drop(waiting);
        if !self.group_state.takes_children() {
            next_turn().await;
        }
    }

    /// Returns the number of children that have not ended.
    ///
    /// ```
    /// callsoon::run(async {
    ///     callsoon::task_group(async |group| {
    ///         group.create_task(async {});
    ///         assert_eq!(group.len(), 1);
    ///     })
    ///     .await
    ///     .unwrap();
    /// }).unwrap();
    /// ```
    pub fn len(&self) -> usize {
        self.group_state.len()
    }

    /// Returns whether all children have ended.
    ///
    /// ```
    /// callsoon::run(async {
    ///     callsoon::task_group(async |group| assert!(group.is_empty())).await.unwrap();
    /// }).unwrap();
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Waits for the next turn of the running loop, if there is one.
async fn next_turn() {
    let mut first = None;
    poll_fn(
        |context| match with_current(|state| state.turn_number.get()) {
            Some(turn) if *first.get_or_insert(turn) == turn => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(()),
        },
    )
    .await;
}

/// A waiter in the list of those that wait for a vacancy.
struct VacancyWait<'a> {
    list: &'a WaitList,
    id: Option<WaiterId>,
}

impl Drop for VacancyWait<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            drop(self.list.leave(id));
            // The vacancy may be enough for the waiter behind this one.
            self.list.notify(0);
        }
    }
}

impl fmt::Debug for TaskGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("children", &self.len())
            .field("takes_children", &self.group_state.takes_children())
            .finish()
    }
}
