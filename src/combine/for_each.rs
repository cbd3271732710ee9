//! The same work for many items, a few at a time.

use std::future::{Future, IntoFuture};
use std::panic::Location;

use crate::combine::group::error::{GroupError, Outcome};
use crate::combine::group::scope::task_group;

/// Calls `f` with each item and runs what it returns as a task, at most `limit` of them at once. An item is taken from
/// the iterator only when there is room for it, so that a million cost no more memory than `limit`.
///
/// It is a [`task_group`]: the first failure cancels what runs, nothing more is taken, and every failure is reported. A
/// limit of 0 counts as 1.
///
/// # Errors
/// [`GroupError::Failed`] with every failure.
///
/// # Panics
/// Outside a running loop. A panic of the iterator or of `f` itself resumes here, once all tasks have ended.
///
/// # Cancellation
/// Cancels what runs, once, and waits for it; the iterator is dropped. Dropping it half-way asks the tasks to end, and
/// cannot wait.
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// callsoon::run(async {
///     let sum = Rc::new(Cell::new(0));
///     let total = sum.clone();
///     callsoon::for_each_limit(1..=100, 8, move |n| {
///         let total = total.clone();
///         async move {
///             callsoon::sleep(Duration::from_micros(n)).await;
///             total.set(total.get() + n);
///         }
///     })
///     .await
///     .unwrap();
///     assert_eq!(sum.get(), 5050);
/// }).unwrap();
/// ```
#[track_caller]
#[must_use = "futures do nothing unless awaited"]
pub fn for_each_limit<I, F, R>(
    items: I,
    limit: usize,
    mut f: F,
) -> impl Future<Output = Result<(), GroupError>>
where
    I: IntoIterator,
    F: FnMut(I::Item) -> R,
    R: IntoFuture<IntoFuture: 'static, Output: Outcome>,
{
    // The children's place is the caller's: an `async fn` would not know it.
    let location = Location::caller();
    task_group(async move |group| {
        group.set_limit(limit);
        let mut items = items.into_iter();
        loop {
            group.wait_vacancy().await;
            if !group.group_state.takes_children() {
                break;
            }
            let Some(item) = items.next() else { break };
            drop(group.create_task_at(f(item), location));
        }
    })
}
