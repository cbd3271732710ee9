//! Free functions for the running loop, as asyncio's module has them.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::event_loop::tasks::TaskBuilder;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::task::handle::Task;
use crate::kernel::task::reference::TaskRef;
use crate::kernel::task::waker::{current, with_current};

/// Returns the loop that this thread is running.
///
/// # Panics
/// Outside a running loop. [`try_get_running_loop`] returns `None` there.
///
/// ```
/// let event_loop = callsoon::EventLoop::new()?;
/// event_loop.call_soon(|| callsoon::get_running_loop().stop());
/// event_loop.run_forever().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
#[inline]
pub fn get_running_loop() -> LoopHandle {
    match try_get_running_loop() {
        Some(handle) => handle,
        None => panic!("no running event loop: this call belongs inside a task or callback of one"),
    }
}

/// Returns the loop that this thread is running, if there is one.
///
/// ```
/// assert!(callsoon::try_get_running_loop().is_none());
/// ```
#[inline]
pub fn try_get_running_loop() -> Option<LoopHandle> {
    current().map(|state| LoopHandle { state })
}

/// Creates a task on the running loop. See [`LoopHandle::create_task`].
///
/// # Panics
/// Outside a running loop.
///
/// ```
/// callsoon::run(async {
///     let task = callsoon::create_task(async { 1 + 1 });
///     assert_eq!(task.await.unwrap(), 2);
/// }).unwrap();
/// ```
#[track_caller]
#[inline]
pub fn create_task<F: Future + 'static>(future: F) -> Task<F::Output> {
    get_running_loop().into_task(future, Location::caller())
}

/// Returns a builder for a task on the running loop. See [`LoopHandle::task_builder`].
///
/// # Panics
/// Outside a running loop.
///
/// ```
/// callsoon::run(async {
///     let task = callsoon::task_builder().name("beacon").spawn(async {});
///     assert_eq!(task.name(), "beacon");
/// }).unwrap();
/// ```
#[track_caller]
pub fn task_builder() -> TaskBuilder {
    get_running_loop().task_builder()
}

/// Returns the task whose step is running, or `None` in callbacks.
///
/// # Panics
/// Outside a running loop.
///
/// ```
/// callsoon::run(async { assert_eq!(callsoon::current_task().unwrap().name(), "Task-1") }).unwrap();
/// ```
#[track_caller]
pub fn current_task() -> Option<TaskRef> {
    get_running_loop().current_task()
}

/// Returns all unfinished tasks of the running loop, in the order of their creation.
///
/// # Panics
/// Outside a running loop.
///
/// ```
/// callsoon::run(async { assert_eq!(callsoon::all_tasks().len(), 1) }).unwrap();
/// ```
#[track_caller]
pub fn all_tasks() -> Vec<TaskRef> {
    get_running_loop().all_tasks()
}

/// Suspends the task for one turn of the loop, so that everything else that is ready runs first.
///
/// # Which operations suspend by themselves
/// A task runs until it awaits something that is not ready. A loop over an operation that is always ready would keep the
/// event loop for ever, and no timeout around it would fire. So each step of a task has a budget of 128 operations whose
/// outcome the outside world decides: peers, the system, other threads and processes, the clock. A failure costs as much as
/// a success. When the budget is used up, the next operation suspends once and continues in a later turn.
///
/// | Awaited, and ready at once | Suspends |
/// |---|---|
/// | `yield_now`, every [`sleep`](crate::sleep()) (also of zero, also until a time that has passed), every [tick](crate::Interval::tick) (also an overdue one), a task that was just created | each time |
/// | reads, writes, sends, receives, accepts and waits for readiness of [`net`](crate::net), of its halves, of [`AsyncFd`](crate::AsyncFd) and of the `sock_*` methods, whether they succeed or fail | after 128 |
/// | connecting, binding and name look-ups that have nothing to wait for, or fail | after 128 |
/// | reads and `drain` of [`stream`](crate::stream)s, also from the buffer, at the end and after a failure; `wait_closed` | after 128 |
/// | `create_connection`, `create_server`, `create_datagram_endpoint`, pipes, `serve_forever` and `sendfile` that have nothing to wait for, or fail | after 128 |
/// | starting a program, and waiting for one that has ended | after 128 |
/// | a job of an executor or a process pool, a coroutine of another loop, and a signal, if the result is there or it fails | after 128 |
/// | a [`timeout`](crate::timeout()) whose deadline has passed at its first poll | after 128 |
/// | creating an eager task | never; its first step uses the budget of the step that creates it |
/// | locks, semaphores, events, conditions and barriers of [`sync`](crate::sync), and [queues](crate::Queue) | never |
/// | a [`Task`] or [`Future`](crate::Future) that is done; [`gather`](crate::gather()), [`wait`](crate::wait) and the other combinators of nothing or of tasks that have ended; an empty [`task_group`](crate::task_group) | never |
/// | a read of [`net`](crate::net) into an empty buffer, and `write_all` of no bytes, which make no system call | never |
/// | `timeout`, [`shield`](crate::shield()) and [`catch_cancelled`](crate::catch_cancelled) around what is ready | never |
///
/// In the last four rows only this program's own tasks make things ready, and none of them runs meanwhile. These
/// operations never suspend, as in asyncio. Call `yield_now` in a loop that awaits nothing else.
///
/// A future that is polled by another executor than a task has the same budget in each of its polls.
///
/// # Differences from asyncio
/// asyncio has no budget. There a task that reads from a socket which is always ready keeps the loop.
///
/// # Panics
/// When awaited outside a running loop.
///
/// # Cancellation
/// Dropping it has no effect.
///
/// ```
/// callsoon::run(async {
///     let task = callsoon::create_task(async { println!("the task runs") });
///     callsoon::yield_now().await;
///     assert!(task.done());
/// }).unwrap();
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { turn: None }
}

/// The future of [`yield_now`].
///
/// ```
/// let once: callsoon::YieldNow = callsoon::yield_now();
/// callsoon::run(once).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    /// The turn of the first poll. The future is ready in any later turn; a second poll in the same turn is spurious.
    turn: Option<u64>,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(now) = with_current(|state| state.turn_number.get()) else {
            outside()
        };
        if *self.turn.get_or_insert(now) != now {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cold]
fn outside() -> ! {
    panic!("yield_now: no running event loop")
}
