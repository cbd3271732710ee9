//! `as_completed`: tasks in the order in which they end.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::combine::into_task::IntoTask;
use crate::combine::observer::TaskObserver;
use crate::kernel::task::handle::Task;
use crate::kernel::task::waker::puts_off;

/// Returns tasks in the order in which they end: asyncio's `as_completed`, in the form of its `async for`. A plain `for`
/// goes over futures of the results: [`EachCompleted`](crate::EachCompleted).
///
/// Tasks that have ended before this call come first, in the order of the input. To limit the time, put a timeout
/// around [`next`](AsCompleted::next), or around the loop that calls it. No task is lost when the time is up, and the
/// loop can go on later.
///
/// It takes [`Task`]s, and boxed futures, which become tasks of the running loop now, in order. Make tasks of other futures
/// by `futures.map(create_task)`, or by [`as_completed!`](crate::as_completed!), which takes futures of different types.
///
/// # Panics
/// Outside a running loop, if it makes a task.
///
/// # Differences from asyncio
/// - There is no `timeout` argument.
/// - Only a boxed coroutine becomes a task by itself: see [`IntoTask`].
/// - The caller is woken in the turn in which a task ends. In asyncio it is woken one turn later, because each end is a
///   done callback.
///
/// # Cancellation
/// Dropping it cancels no task. If a task then panics, the panic is reported, because nobody can read it.
///
/// ```
/// use std::time::Duration;
/// let builder = callsoon::EventLoop::builder().clock(callsoon::Clock::Virtual);
/// builder.build()?.run_until_complete(async {
///     let tasks = [30, 10, 20].map(|ms| callsoon::create_task(callsoon::sleep_with(Duration::from_millis(ms), ms)));
///     let mut ended = callsoon::as_completed(tasks);
///     let mut order = vec![];
///     while let Some(task) = ended.next().await {
///         order.push(task.await.unwrap());
///     }
///     assert_eq!(order, [10, 20, 30]);
/// }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Futures of different types, with the same output:
///
/// ```
/// use std::future::Future;
/// use std::pin::Pin;
/// callsoon::run(async {
///     let both: [Pin<Box<dyn Future<Output = u8>>>; 2] = [Box::pin(async { 1 }), Box::pin(std::future::ready(2))];
///     let mut ended = callsoon::as_completed(both);
///     assert_eq!(ended.next().await.unwrap().await.unwrap(), 1);
///     assert_eq!(ended.next().await.unwrap().await.unwrap(), 2);
/// }).unwrap();
/// ```
#[track_caller]
pub fn as_completed<T: 'static>(
    tasks: impl IntoIterator<Item = impl IntoTask<Value = T>>,
) -> AsCompleted<T> {
    let mut made = Vec::new();
    // A loop, so that the place of a new task is the caller's.
    for task in tasks {
        made.push(task.into_task());
    }
    let tasks = made;
    AsCompleted {
        observer: TaskObserver::new(&tasks),
        left: tasks.len(),
        tasks: tasks.into_iter().map(Some).collect(),
    }
}

/// Returns tasks as they end. Made by [`as_completed`].
///
/// ```
/// callsoon::run(async {
///     let mut ended = callsoon::as_completed([callsoon::create_task(async { 7 })]);
///     assert_eq!(ended.next().await.unwrap().await.unwrap(), 7);
///     assert!(ended.next().await.is_none());
/// }).unwrap();
/// ```
#[must_use = "it does nothing unless `next` is awaited"]
pub struct AsCompleted<T> {
    /// Declared first and dropped first, so that the end of a task wakes nobody.
    observer: TaskObserver,
    /// The tasks, at the indices that the observer reports; `None` for a task that was returned.
    tasks: Vec<Option<Task<T>>>,
    /// The number of tasks that were not returned.
    left: usize,
}

impl<T: 'static> AsCompleted<T> {
    /// Waits for the next task to end and returns it; `None` when all were returned. If a task has ended already, this
    /// does not suspend.
    ///
    /// # Cancellation
    /// Dropping the future loses no task: the next call returns the same one.
    ///
    /// ```
    /// callsoon::run(async {
    ///     let quick = callsoon::create_task(async { "quick" });
    ///     let never = callsoon::create_task(std::future::pending());
    ///     let mut ended = callsoon::as_completed([never, quick]);
    ///     assert_eq!(ended.next().await.unwrap().await.unwrap(), "quick");
    ///     assert_eq!(ended.len(), 1);
    /// }).unwrap();
    /// ```
    pub async fn next(&mut self) -> Option<Task<T>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Polls for the next task to end: [`next`](Self::next) as a poll function.
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// callsoon::run(async {
    ///     let mut ended = callsoon::as_completed([callsoon::create_task(async { 1 })]);
    ///     let task = poll_fn(|context| ended.poll_next(context)).await.unwrap();
    ///     assert_eq!(task.await.unwrap(), 1);
    /// }).unwrap();
    /// ```
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Task<T>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.observer.ended() == 0 {
            self.observer.wake_at(1, context.waker());
        }
        if self.observer.ended() > 0 && puts_off(context.waker()) {
            return Poll::Pending;
        }
        match self.observer.next_ended() {
            Some(number) => {
                self.left -= 1;
                Poll::Ready(self.tasks[number].take())
            }
            None => Poll::Pending,
        }
    }

    /// Returns the number of tasks that were not returned yet, ended or not.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let ended = callsoon::as_completed((0..3).map(|n| event_loop.create_task(async move { n })));
    /// assert_eq!(ended.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        self.left
    }

    /// Returns whether all tasks were returned.
    ///
    /// ```
    /// assert!(callsoon::as_completed([] as [callsoon::Task<()>; 0]).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("len", &self.left)
            .finish_non_exhaustive()
    }
}
