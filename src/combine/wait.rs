//! Waiting for some of many tasks.
//!
//! asyncio's `wait` returns two sets and leaves the caller's as it was, which it can since its tasks are shared. Here a
//! handle has one owner, and a `wait` that took the handles would lose them whenever it is dropped half-way, by a
//! timeout around it, say. So it borrows the list: who has ended is taken out and returned, who has not stays where it
//! is, and a wait that is dropped has changed nothing. Which makes the usual loop short:
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

/// What [`wait`] waits for.
///
/// ```
/// assert_eq!(callsoon::ReturnWhen::default(), callsoon::ReturnWhen::AllCompleted);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ReturnWhen {
    /// The first task that ends, in whatever way.
    FirstCompleted,
    /// The first task that panics; all of them, if none does. A cancelled task does not count, as in asyncio. Nor does
    /// one that returns an `Err`, which to Rust is a value like any other.
    FirstException,
    /// All tasks.
    #[default]
    AllCompleted,
}

/// Waits until tasks have ended, at most for `timeout`, counted from this call. Takes those that have ended by then out
/// of `tasks` and returns them; leaves the others there. Both keep their order.
///
/// Whoever ends between the wake-up and the return counts too. Running out of time is no error: fewer tasks have ended,
/// maybe none. If what is waited for has happened already, this does not suspend; with no tasks at all, where asyncio
/// raises an error, it returns an empty list at once.
///
/// Nothing is read or cancelled: a result is still in its task, awaiting which does not suspend. A task that waits for
/// itself waits for ever.
///
/// # Panics
/// With a timeout, when awaited outside a running loop.
///
/// # Cancellation
/// Dropping it leaves `tasks` as they were and cancels none of them.
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

/// The future of [`wait`].
#[must_use = "futures do nothing unless awaited"]
struct Wait<'a, T> {
    /// Made at the first poll, so that a wait that is never polled costs nothing.
    observer: Option<TaskObserver>,
    /// The same from the first poll to the last: their numbers are their places.
    tasks: &'a mut Vec<Task<T>>,
    return_when: ReturnWhen,
    /// How many have ended without the exception that is waited for.
    not_panicked: usize,
    timeout: Option<Sleep>,
}

impl<T: 'static> Wait<'_, T> {
    /// Whether what is waited for has happened. If not, `waker` will be woken when it may have.
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

    /// Whether the time is over.
    fn is_timed_out(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.timeout {
            Some(sleep) => Pin::new(sleep).poll(context).is_ready(),
            None => false,
        }
    }

    /// Takes out who has ended.
    fn take_ended(&mut self) -> Vec<Task<T>> {
        self.observer = None;
        let (ended, pending) = self.tasks.drain(..).partition(Task::done);
        *self.tasks = pending;
        ended
    }
}

/// Whether so many have ended; if not, sees to it that `waker` is woken then.
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
