//! `race`: the value of the first future that has one; the others are dropped.
//!
//! No tasks are made: the futures run inside the caller's await, polled in the order of the arguments, and the first that
//! is ready wins. That decides what the losers lose, which is nothing: a future behind the winner is not polled any more,
//! and a future of this crate that is dropped has taken nothing, or gives back what it was granted.
//!
//! Each wake polls all futures that are left. For some hundreds of tasks [`wait`](crate::wait()) and
//! [`as_completed`](crate::as_completed()) cost less.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::kernel::enter::catch_panic;

/// The report of a panic that must not cost the winner's value, which may be an item of a queue.
const IN_DROP: &str = "Exception in the destructor of a future that has lost a race";

/// Awaits the first of several futures of one type and returns its value. The others are dropped.
///
/// The futures run in the caller's task, and nothing runs before the first poll. They are polled in the order of the
/// arguments; if several are ready at once, the first of them in that order wins. So a future that is always ready hides
/// those behind it: put what must not be missed, such as a shutdown, first. [`race!`](crate::race!) takes futures of
/// different types.
///
/// What a loser leaves:
///
/// | loser | what dropping it does |
/// |---|---|
/// | [`Task`](crate::Task), [`Future`](crate::Future), by value or by `&mut` | The task runs on and is not cancelled. By `&mut` the caller keeps the handle, and with it the result. |
/// | [`Task::cancel_on_drop`](crate::Task::cancel_on_drop), [`gather`](crate::gather()), [`task_group`](crate::task_group) | Cancels its tasks, and cannot wait for them. |
/// | `get` of a queue | Takes no item. An item that was granted to it goes to the next getter, or stays where it was. |
/// | `put` of a queue | Puts nothing: the item is dropped with the future. |
/// | `acquire` of a lock, a semaphore | Acquires nothing. A grant goes to the next waiter. |
/// | reads of a socket, a stream | Have taken nothing, but for `read_exact` and what else says so. |
/// | [`sleep`](crate::sleep()), [`Interval::tick`](crate::Interval::tick) | The timer is removed; the interval keeps its tick. |
/// | [`to_thread`](crate::to_thread) | The function runs to its end if it has begun, and its result is dropped. |
///
/// # Differences from asyncio
/// asyncio has `wait(..., return_when=FIRST_COMPLETED)` alone, which makes no future go away. It is [`wait`](crate::wait())
/// here too.
///
/// # Panics
/// If there is no future, since there is nothing to wait for. The panic of a future is the caller's. The panic of a
/// loser's destructor is reported, since the value has been won.
///
/// # Cancellation
/// Dropping it drops all futures. Cancelling the task that awaits it reaches whatever the futures await, as it does
/// without a race.
///
/// ```
/// use std::time::Duration;
/// callsoon::testing::run(async {
///     let naps = [30, 10, 20].map(|ms| callsoon::sleep_with(Duration::from_millis(ms), ms));
///     assert_eq!(callsoon::race(naps).await, 10);
/// });
/// ```
#[track_caller]
pub fn race<I>(futures: I) -> Race<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture>,
{
    let pinned = |future: I::Item| Box::pin(future.into_future());
    let futures: Vec<_> = futures.into_iter().map(pinned).collect();
    if futures.is_empty() {
        panic!("race: there is no future to wait for");
    }
    Race { futures }
}

/// The future of [`race`](fn@race).
///
/// ```
/// let first: callsoon::Race<_> = callsoon::race([1, 2].map(|n| async move { n }));
/// assert_eq!(callsoon::run(first).unwrap(), 1);
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Race<F> {
    /// None is left after the end.
    futures: Vec<Pin<Box<F>>>,
}

impl<F: Future> Future for Race<F> {
    type Output = F::Output;

    /// # Panics
    /// If it is polled after its end.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        assert!(!self.futures.is_empty(), "race: polled after its end");
        for future in &mut self.futures {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                // The losers are gone before the winner's value is used.
                for future in self.futures.drain(..) {
                    catch_panic(IN_DROP, || drop(future));
                }
                return Poll::Ready(value);
            }
        }
        Poll::Pending
    }
}

impl<F> fmt::Debug for Race<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race")
            .field("left", &self.futures.len())
            .finish()
    }
}

/// Awaits the first of several futures of different types and returns its value, which all of them have the type of. The
/// others are dropped.
///
/// This is [`race`](fn@crate::race) for up to twelve arguments, with the same order, losers and cancellation, and without
/// an allocation. Like [`gather!`](crate::gather!) it gives a future, which is awaited. To tell the futures apart, give
/// their values one type: an enum, or a closure's call in an `async` block.
///
/// ```
/// use std::time::Duration;
/// callsoon::run(async {
///     let queue = callsoon::Queue::<u32>::new(0);
///     let first = callsoon::race!(
///         async { queue.get().await.ok() },
///         async {
///             callsoon::sleep(Duration::from_millis(1)).await;
///             None
///         },
///     );
///     assert_eq!(first.await, None);
/// }).unwrap();
/// ```
#[macro_export]
macro_rules! race {
    ($($future:expr),+ $(,)?) => {
        $crate::race_tuple(($($future,)+))
    };
}

/// [`race`](fn@race) for a tuple of futures of different types; [`race!`](crate::race!) reads better.
///
/// # Cancellation
/// As for [`race`](fn@race).
///
/// ```
/// let first = callsoon::race_tuple((std::future::pending(), async { "ready" }));
/// assert_eq!(callsoon::run(first).unwrap(), "ready");
/// ```
pub fn race_tuple<F: RaceFutures>(futures: F) -> impl Future<Output = <F as RaceFutures>::Value> {
    futures.first()
}

/// A tuple of up to twelve futures whose values have one type, for [`race_tuple`].
///
/// ```
/// fn takes<F: callsoon::RaceFutures>(_: F) {}
/// takes((async { 1 }, std::future::ready(2)));
/// ```
#[allow(private_bounds, reason = "it is for this crate to implement")]
pub trait RaceFutures: First<Value = <Self as RaceFutures>::Value> {
    /// The type of all their values.
    type Value;
}

/// The operation of `race_tuple` on its futures. This private trait also seals [`RaceFutures`].
pub(crate) trait First {
    type Value;
    /// Awaits the first and drops the others.
    fn first(self) -> impl Future<Output = Self::Value>;
}

/// Polls a future of a race that has no winner yet, so none of them is dropped.
fn poll_one<F: Future>(future: Pin<&mut Option<F>>, context: &mut Context<'_>) -> Poll<F::Output> {
    future
        .as_pin_mut()
        .map_or(Poll::Pending, |future| future.poll(context))
}

/// Implements both traits for tuples of one length.
macro_rules! tuples {
    ($first:ident $($future:ident)*) => {
        impl<$first: IntoFuture, $($future: IntoFuture<Output = $first::Output>),*> RaceFutures
            for ($first, $($future,)*)
        {
            type Value = $first::Output;
        }

        impl<$first: IntoFuture, $($future: IntoFuture<Output = $first::Output>),*> First
            for ($first, $($future,)*)
        {
            type Value = $first::Output;

            #[allow(non_snake_case, reason = "a future's variable is named like its type")]
            async fn first(self) -> $first::Output {
                let ($first, $($future,)*) = self;
                let mut $first = pin!(Some($first.into_future()));
                $(let mut $future = pin!(Some($future.into_future()));)*
                let value = poll_fn(|context| {
                    if let Poll::Ready(value) = poll_one($first.as_mut(), context) {
                        return Poll::Ready(value);
                    }
                    $(if let Poll::Ready(value) = poll_one($future.as_mut(), context) {
                        return Poll::Ready(value);
                    })*
                    Poll::Pending
                })
                .await;
                catch_panic(IN_DROP, || $first.set(None));
                $(catch_panic(IN_DROP, || $future.set(None));)*
                value
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);
