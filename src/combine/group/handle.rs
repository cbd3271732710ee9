//! The handle of a group: takes children in, stops it, limits it.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::panic::Location;
use std::rc::Rc;
use std::task::Poll;

use crate::combine::group::error::Outcome;
use crate::combine::group::state::{GroupState, stop_request};
use crate::event_loop::handle::TaskBuilder;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::task::handle::Task;
use crate::kernel::task::waker::with_current;

/// A group of tasks that end together; what [`task_group`](crate::task_group) gives to its body. Clones are the same
/// group, for children that start children.
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

/// The group takes no more children: it has failed, was stopped, or is over. It gives back the future.
///
/// ```
/// callsoon::run(async {
///     let late = callsoon::task_group(async |group| Ok::<_, std::io::Error>(group.clone())).await.unwrap();
///     assert!(late.try_create_task(async {}).is_err());
/// }).unwrap();
/// ```
#[derive(Clone, Copy)]
pub struct GroupClosed<F>(
    /// The future, as it was given.
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
    /// Starts a child. It returns nothing or a `Result`; an `Err` fails the group, and so does a panic. The task then
    /// counts as cancelled to whoever holds it: its error is the group's to report.
    ///
    /// A group that is shutting down, or over, takes no children in: the future is dropped unstarted, and the task is a
    /// cancelled one. [`try_create_task`](Self::try_create_task) gives the future back instead.
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

    /// [`create_task`](Self::create_task) for a caller's caller.
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
            return self.spawn(future.into_future(), location, |child| {
                handle.into_task(child, location)
            });
        }
        let (child, _) =
            GroupState::new(Rc::clone(&handle.state)).child(future.into_future(), location);
        handle.into_cancelled_task(child, location, stop_request())
    }

    /// [`create_task`](Self::create_task) that gives the future back where the group takes no children.
    ///
    /// # Errors
    /// [`GroupClosed`] with the future.
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
        let location = Location::caller();
        let handle = self.handle();
        Ok(self.spawn(future.into_future(), location, |child| {
            handle.into_task(child, location)
        }))
    }

    /// [`create_task`](Self::create_task) with a name, a context or an eager start.
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
        self.spawn(future.into_future(), location, |child| {
            builder.spawn_at(child, location)
        })
    }

    fn spawn<F: Future<Output: Outcome> + 'static>(
        &self,
        future: F,
        location: &'static Location<'static>,
        spawn: impl FnOnce(
            crate::kernel::task::cell::Held<F, crate::combine::group::state::Member>,
        ) -> Task<<F::Output as Outcome>::Value>,
    ) -> Task<<F::Output as Outcome>::Value> {
        let (child, place) = self.group_state.child(future, location);
        let task = spawn(child);
        self.group_state.note(&place, task.identity());
        task
    }

    fn handle(&self) -> LoopHandle {
        LoopHandle::of(&self.group_state.state)
    }

    /// Stops the group without an error: children and body are asked to end, and no more children are taken in. The group
    /// gives the body's value if that has ended by then, else [`GroupError::Stopped`](crate::GroupError::Stopped). Again,
    /// or after the end, it does nothing.
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

    /// Lets at most `limit` children run at once; the others wait for their first poll, first come first served. A limit
    /// of 0 counts as 1. Children that run already go on.
    ///
    /// A child that waits has its future in memory all the same. Whoever has many to start waits for
    /// [room](Self::wait_vacancy) before making each, as [`for_each_limit`](crate::for_each_limit) does.
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

    /// Waits until a child that is started now would run at once. In a group that is shutting down it waits for the next
    /// turn, in which a body that is asked to end goes no further.
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
        let line = &self.group_state.vacancy;
        let mut waiting = Waiting { line, place: None };
        poll_fn(|context| {
            let may = |_| self.group_state.has_vacancy() || !self.group_state.takes_children();
            line.poll_until(&mut waiting.place, (), context.waker(), may)
        })
        .await;
        drop(waiting);
        if !self.group_state.takes_children() {
            next_turn().await;
        }
    }

    /// How many children have not ended.
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

    /// Whether all children have ended.
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

/// Waits for the next turn of the loop that runs, if one does.
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

/// A place in the line of those who wait for room.
struct Waiting<'a> {
    line: &'a crate::sync::wait_list::WaitList,
    place: Option<crate::kernel::wait::waiters::WaiterId>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            drop(self.line.leave(place));
            // Whoever stands behind may have been meant too.
            self.line.notify(0);
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
