//! For the authors of futures that are not this crate's: which task such a future waits for.

use std::rc::Rc;

use crate::kernel::note_wait::note_tasks;
use crate::kernel::task::reference::TaskRef;
use crate::kernel::task::waker::with_current;
use crate::kernel::wait::wait_kind::WaitKind;

/// Notes that the running task waits for the end of `awaited`, so that call graphs, `ps` and dumps show it, and circles
/// through it are found. For a `poll` of one's own that is about to return `Pending`, such as that of a lock that
/// knows which task holds it. Awaiting a [`Task`](crate::Task) does this by itself.
///
/// It is a note and nothing more: it wakes no task, and passes no cancellation on. It does nothing where nobody could read
/// it: on a loop without [`Builder::inspect`](crate::Builder::inspect), outside a task, and if the two tasks are of
/// different loops.
///
/// # Differences from asyncio
/// asyncio's function takes both futures, and each note has to be taken back by `future_discard_from_awaited_by`. Here
/// the running task is the one that waits, and its notes end with its next step, so there is nothing to take back. A
/// future that still waits makes its note again in each poll.
///
/// ```
/// use std::{future::poll_fn, task::Poll, time::Duration};
/// use callsoon::{WaitKind, current_task, future_add_to_awaited_by, get_running_loop, sleep, task_builder};
///
/// let event_loop = callsoon::EventLoop::builder().inspect(true).build()?;
/// event_loop.run_until_complete(async {
///     let holder = current_task().unwrap();
///     let name = holder.name();
///     task_builder().name("waiter").spawn(poll_fn::<(), _>(move |_| {
///         future_add_to_awaited_by(&holder);
///         Poll::Pending
///     })).detach();
///     sleep(Duration::from_millis(1)).await;
///     let infos = get_running_loop().task_infos();
///     let waiter = infos.iter().find(|info| info.name == "waiter").unwrap();
///     assert_eq!(waiter.waits[0].kind, WaitKind::Task);
///     assert_eq!(waiter.waits[0].task_name, Some(name));
/// }).unwrap();
/// # event_loop.set_exception_handler(|_, _| ());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn future_add_to_awaited_by(awaited: &TaskRef) {
    let identity = || {
        let is_here = with_current(|state| std::ptr::eq(state, Rc::as_ptr(&awaited.state)));
        is_here
            .unwrap_or_default()
            .then(|| awaited.state.identity_of(awaited.task.header()))
    };
    note_tasks(WaitKind::Task, identity);
}
