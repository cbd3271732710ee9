//! `wait`: waits for some of many tasks.
//!
//! asyncio's `wait` returns two sets and leaves the caller's set as it was. It can, because its tasks are shared. Here
//! a handle has one owner. A `wait` that took the handles would lose them if it were dropped half-way, by a timeout for
//! example. So it borrows the list. It removes the tasks that have ended and returns them; the others stay. A wait that
//! is dropped has changed nothing. The usual loop is short:
//!
//! ```text
//! while !tasks.is_empty() {
//!     for ended in wait(&mut tasks, ReturnWhen::FirstCompleted, None).await { … }
//! }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::combine::observer::TaskObserver;
use crate::kernel::task::handle::Task;
use crate::time::sleep::{Sleep, sleep};

/// The condition that ends a [`wait`].
///
/// ```
/// assert_eq!(callsoon::ReturnWhen::default(), callsoon::ReturnWhen::AllCompleted);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ReturnWhen {
    /// Until one task has ended, with any result.
    FirstCompleted,
    /// Until one task has panicked, or all have ended. A cancelled task does not count, as in asyncio. A task that
    /// returns an `Err` does not count either: it is a value like any other.
    FirstException,
    /// Until all tasks have ended.
    #[default]
    AllCompleted,
}

/// Waits until `return_when` is satisfied, or until `timeout` has passed since this call. Removes the tasks that have
/// ended from `tasks` and returns them; the others stay. Both lists keep the order.
///
/// A task that ends between the wake-up and the return counts too. A timeout is not an error: fewer tasks have ended,
/// or none. If the condition holds already, this does not suspend.
///
/// It neither reads nor cancels a task. To get the result of a task that was returned, await it; that does not suspend.
/// A task that waits for itself waits for ever.
///
/// # Differences from asyncio
/// - It borrows a list and removes the tasks that have ended, where asyncio returns two sets. A `wait` that is dropped
///   half-way must not lose handles.
/// - With an empty list it returns an empty list at once. asyncio raises `ValueError`.
/// - The caller is woken in the turn in which the last task ends, one turn earlier than in asyncio.
///
/// # Panics
/// With a timeout, when awaited outside a running loop.
///
/// # Cancellation
/// Dropping the future leaves `tasks` unchanged and cancels no task.
///
/// ```
/// use std::time::Duration;
/// use callsoon::{Clock, EventLoop, ReturnWhen, create_task, sleep_with, wait};
///
/// let event_loop = EventLoop::builder().clock(Clock::Virtual).build()?;
/// event_loop.run_until_complete(async {
///     let mut tasks: Vec<_> = [2, 1, 60_000]
///         .map(|ms| create_task(sleep_with(Duration::from_millis(ms), ms)))
///         .into();
///     let ended = wait(&mut tasks, ReturnWhen::AllCompleted, Some(Duration::from_millis(200))).await;
///     assert_eq!((ended.len(), tasks.len()), (2, 1));
///     for (task, ms) in ended.into_iter().zip([2, 1]) {
///         assert_eq!(task.await.unwrap(), ms);
///     }
/// }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn wait<T: 'static>(
    tasks: &mut Vec<Task<T>>,
    return_when: ReturnWhen,
    timeout: Option<Duration>,
) -> impl Future<Output = Vec<Task<T>>> {
    Wait {
        observer: None,
        tasks,
        return_when,
        not_panicked: 0,
        timeout: timeout.map(sleep),
    }
}

impl<T: 'static> Task<T> {
    /// Waits until the task has ended, and leaves its result where it is.
    ///
    /// An await of the task moves the result out, also in `run_until_complete(&mut task)`. After this one
    /// [`result`](Self::result) gives it, as in asyncio's programs. [`shared`](Self::shared) makes a handle that is awaited
    /// as often as one likes.
    ///
    /// # Cancellation
    /// Dropping or cancelling it leaves the task alone, as with [`wait`](crate::wait()).
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let mut task = event_loop.create_task(async { 6 * 7 });
    /// event_loop.run_until_complete(task.wait())?;
    /// assert!(task.done());
    /// assert_eq!(task.result()??, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn wait(&self) {
        TaskObserver::new([self]).all_ended().await;
    }
}

/// The future of [`wait`].
#[must_use = "futures do nothing unless awaited"]
struct Wait<'a, T> {
    /// Made at the first poll, so that a wait that is never polled costs nothing.
    observer: Option<TaskObserver>,
    /// Unchanged from the first poll to the last, so the observer's numbers are indices here.
    tasks: &'a mut Vec<Task<T>>,
    return_when: ReturnWhen,
    /// With `FirstException`: how many tasks have ended without a panic.
    not_panicked: usize,
    timeout: Option<Sleep>,
}

impl<T: 'static> Wait<'_, T> {
    /// Returns whether the condition is satisfied. If not, `waker` is woken when it may be.
    fn is_satisfied(&mut self, waker: &Waker) -> bool {
        let tasks = &*self.tasks;
        let all = tasks.len();
        let observer = self
            .observer
            .get_or_insert_with(|| TaskObserver::new(tasks));
        match self.return_when {
            ReturnWhen::AllCompleted => enough(observer, all, waker),
            ReturnWhen::FirstCompleted => enough(observer, all.min(1), waker),
            ReturnWhen::FirstException => loop {
                while let Some(number) = observer.next_ended() {
                    if tasks[number].panicked() {
                        return true;
                    }
                    self.not_panicked += 1;
                }
                if self.not_panicked == all {
                    return true;
                }
                if !enough(observer, 1, waker) {
                    return false;
                }
            },
        }
    }

    /// Returns whether the timeout has passed.
    fn is_timed_out(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.timeout {
            Some(sleep) => Pin::new(sleep).poll(context).is_ready(),
            None => false,
        }
    }

    /// Removes the tasks that have ended from the list.
    fn take_ended(&mut self) -> Vec<Task<T>> {
        self.observer = None;
        let (ended, pending) = self.tasks.drain(..).partition(Task::done);
        *self.tasks = pending;
        ended
    }
}

/// Returns whether `count` tasks have ended. If not, `waker` is woken when they have.
fn enough(observer: &TaskObserver, count: usize, waker: &Waker) -> bool {
    if observer.ended() < count {
        observer.wake_at(count, waker);
    }
    observer.ended() >= count
}

impl<T: 'static> Future for Wait<'_, T> {
    type Output = Vec<Task<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let satisfied = self.is_satisfied(context.waker());
        if satisfied || self.is_timed_out(context) {
            return Poll::Ready(self.take_ended());
        }
        Poll::Pending
    }
}
