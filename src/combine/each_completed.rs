//! `as_completed` as an iterator: what asyncio's plain `for` loop goes over.

use std::fmt;
use std::future::Future;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::combine::as_completed::AsCompleted;
use crate::error::TaskError;
use crate::sync::lock::Lock;

/// Goes over the results in the order of the ends: each item is a future of the next result.
///
/// ```
/// use std::time::Duration;
/// callsoon::testing::run(async {
///     let tasks = [30, 10, 20].map(|ms| callsoon::create_task(callsoon::sleep_with(Duration::from_millis(ms), ms)));
///     let mut order = vec![];
///     for earliest in callsoon::as_completed(tasks) {
///         order.push(earliest.await.unwrap());
///     }
///     assert_eq!(order, [10, 20, 30]);
/// });
/// ```
impl<T: 'static> IntoIterator for AsCompleted<T> {
    type Item = NextCompleted<T>;
    type IntoIter = EachCompleted<T>;

    fn into_iter(self) -> EachCompleted<T> {
        EachCompleted {
            left: self.len(),
            tasks: Rc::new(Lock::new(self)),
        }
    }
}

/// An iterator with a future for each task that [`as_completed`](crate::as_completed()) was given.
///
/// It does not wait: the futures do, and may be awaited in any order and side by side.
///
/// ```
/// use std::time::Duration;
/// callsoon::testing::run(async {
///     let naps = [2, 1].map(|s| callsoon::create_task(callsoon::sleep_with(Duration::from_secs(s), s)));
///     let futures: callsoon::EachCompleted<u64> = callsoon::as_completed(naps).into_iter();
///     assert_eq!(futures.len(), 2);
///     let results = callsoon::gather(futures).await.unwrap();
///     assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
/// });
/// ```
#[must_use = "iterators do nothing unless they are consumed"]
pub struct EachCompleted<T> {
    /// One future waits for a task at a time; the others wait for the lock, in the order of their first polls.
    tasks: Rc<Lock<AsCompleted<T>>>,
    left: usize,
}

impl<T: 'static> Iterator for EachCompleted<T> {
    type Item = NextCompleted<T>;

    fn next(&mut self) -> Option<NextCompleted<T>> {
        self.left = self.left.checked_sub(1)?;
        let tasks = Rc::clone(&self.tasks);
        Some(NextCompleted(Box::pin(async move {
            let next = tasks.acquire().await.next().await;
            // There are as many tasks as futures. The result is taken here, since an await could be given up in between.
            next.map_or(Err(TaskError::Taken), |mut task| {
                task.result().unwrap_or(Err(TaskError::Taken))
            })
        })))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: 'static> ExactSizeIterator for EachCompleted<T> {}

impl<T: 'static> FusedIterator for EachCompleted<T> {}

impl<T> fmt::Debug for EachCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EachCompleted")
            .field("len", &self.left)
            .finish_non_exhaustive()
    }
}

/// A future of the result of the next task that ends, whichever that is. [`EachCompleted`] gives it.
///
/// # Errors
/// The [`TaskError`] of the task.
///
/// # Cancellation
/// Dropping it cancels no task and loses no result: the next future gives it.
///
/// ```
/// callsoon::run(async {
///     let tasks = [1, 2].map(|n| callsoon::create_task(async move { n }));
///     let mut futures = callsoon::as_completed(tasks).into_iter();
///     let (unused, next) = (futures.next().unwrap(), futures.next().unwrap());
///     drop::<callsoon::NextCompleted<i32>>(unused);
///     assert_eq!(next.await.unwrap(), 1);
/// }).unwrap();
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct NextCompleted<T>(Pin<Box<dyn Future<Output = Result<T, TaskError>>>>);

impl<T> Future for NextCompleted<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for NextCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextCompleted").finish_non_exhaustive()
    }
}
