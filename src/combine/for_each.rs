//! `for_each_limit`: the same work for many items, a few at a time.

use std::future::{Future, IntoFuture};
use std::panic::Location;

use crate::combine::group::error::{GroupError, Outcome};
use crate::combine::group::scope::task_group;

/// Calls `f` with each item and runs the future that it returns as a task, at most `limit` of them at once. It takes an
/// item from the iterator only when there is room for it, so a million items need no more memory than `limit`.
///
/// This is a [`task_group`]: the first failure cancels the running tasks and stops the iteration, and every failure is
/// reported. A limit of 0 counts as 1. asyncio has no counterpart.
///
/// # Errors
/// [`GroupError::Failed`] with every failure, if a task returns an `Err` or panics.
///
/// # Panics
/// Outside a running loop. A panic of the iterator or of `f` resumes here, after all tasks have ended.
///
/// # Cancellation
/// Cancels the running tasks, once, and waits for them. The iterator is dropped. If the future itself is dropped, it
/// cancels the running tasks and cannot wait for them.
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
    // Read here, because an `async fn` does not know its caller's location.
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
