//! The free functions: the running loop's methods without naming it, as asyncio's module has them.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::event_loop::handle::TaskBuilder;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::task::handle::Task;
use crate::kernel::task::reference::TaskRef;
use crate::kernel::task::waker::{current, with_current};

/// The loop that this thread is running.
///
/// # Panics
/// Outside a running loop. [`try_get_running_loop`] gives `None` there.
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

/// The loop that this thread is running, if there is one.
///
/// ```
/// assert!(callsoon::try_get_running_loop().is_none());
/// ```
#[inline]
pub fn try_get_running_loop() -> Option<LoopHandle> {
    current().map(|state| LoopHandle { state })
}

/// Makes a task on the running loop. See [`LoopHandle::create_task`].
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

/// Makes a task with a name on the running loop.
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

/// The task whose step is under way; `None` in callbacks.
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

/// All unfinished tasks of the running loop, in the order of their creation.
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

/// Lets everything else that is ready run first: gives up exactly one turn of the loop.
///
/// # Which operations let others run by themselves
/// A task runs until it awaits something that is not ready. An operation that could be ready every time it is tried would
/// keep the loop for ever, and no limit around it would fire. So one step of a task ends at most 128 operations whose
/// outcome the outside world decides: peers, the system, other threads and processes, the clock. A success takes as much
/// from this budget as a failure. The next operation suspends once, tried or not, and goes on in a later turn.
///
/// | Awaited, and ready at once | Lets others run |
/// |---|---|
/// | `yield_now`, every [`sleep`](crate::sleep) (also of zero, also until a time that is past), every [tick](crate::Interval::tick) (also an overdue one), a task that was just created | each time |
/// | reads, writes, sends, receives, accepts and waits for readiness of [`net`](crate::net), of its halves, of [`AsyncFd`](crate::AsyncFd) and of `sock_recv` and its kin; also where they fail | after 128 |
/// | connecting, binding and looking names up, where there is nothing to wait for or it fails | after 128 |
/// | reads and `drain` of [`stream`](crate::stream)s, also of what was received before, at the end and after a failure; `wait_closed` | after 128 |
/// | `create_connection`, `create_server`, `create_datagram_endpoint`, pipes, `serve_forever`, `sendfile`, where they fail or have nothing to wait for | after 128 |
/// | starting a program and waiting for one that has ended | after 128 |
/// | a job of an executor, a coroutine of another loop, a job of a process pool, a signal, where it is there already or fails | after 128 |
/// | a [`timeout`](crate::timeout) that is over in its first poll and cuts off what is inside | after 128 |
/// | an eager task | not by itself; what its first step does takes from the budget of the step that starts it |
/// | locks, semaphores, events, conditions and barriers of [`sync`](crate::sync), and [queues](crate::Queue) | never |
/// | a [`Task`](crate::Task) or [`Future`](crate::Future) that is done, [`gather`](crate::gather), [`wait`](crate::wait) and the like of nothing or of what has ended, an empty [`task_group`](crate::task_group) | never |
/// | a read of [`net`](crate::net) into no room, `write_all` of no bytes: the system is not asked | never |
/// | `timeout`, [`shield`](crate::shield) and [`catch_cancelled`](crate::catch_cancelled) around what is ready | never |
///
/// In the last four rows it is this program's own tasks that make things ready, and none of them runs meanwhile. They
/// cost nothing more than what they do, as in asyncio. A loop that does nothing else awaits nothing: call `yield_now` in it.
///
/// Where futures are polled by another executor than a task of the loop, the same holds for each of its polls.
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
    /// The turn in which it was first polled. It waits for another turn, not for another poll: a poll may be spurious.
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
