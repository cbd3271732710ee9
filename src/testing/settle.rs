//! `settle`: letting everything that is ready run.

use crate::event_loop::free::{get_running_loop, yield_now};
use crate::kernel::loop_handle::LoopHandle;

/// How many turns [`settle`] takes at most: tasks that yield for ever would keep it for ever.
const MOST_TURNS: u32 = 10_000;

/// Runs turns until nothing but the current task is ready: timers that are due have fired, and what they have woken has run
/// as far as it can.
///
/// Await it after [`ClockHandle::advance`](crate::ClockHandle::advance), before an assertion. It does not move the clock, and
/// does not wait for the outside world: bytes that a real socket has not received yet may arrive later.
///
/// # Panics
/// Outside a running loop. If something is still ready after 10,000 turns, such as a task that yields for ever.
///
/// ```
/// use callsoon::{Clock, testing};
/// use std::time::Duration;
///
/// testing::builder().clock(Clock::Manual).run(async {
///     let clock = testing::clock();
///     let task = callsoon::create_task(callsoon::sleep(Duration::from_secs(5)));
///     testing::settle().await;
///     clock.advance(Duration::from_secs(4));
///     testing::settle().await;
///     assert!(!task.done());
///     clock.advance(Duration::from_secs(1));
///     testing::settle().await;
///     assert!(task.done());
/// });
/// ```
#[track_caller]
pub fn settle() -> impl Future<Output = ()> {
    let handle = get_running_loop();
    async move {
        let settled = settles(&handle).await;
        assert!(settled, "tasks were still ready after {MOST_TURNS} turns");
    }
}

/// Runs turns until nothing else is ready; false if that does not happen.
pub(crate) async fn settles(handle: &LoopHandle) -> bool {
    for _ in 0..MOST_TURNS {
        // The turn that this begins polls for events, whatever else is ready.
        handle.state.event_polls.force();
        yield_now().await;
        if !handle.has_ready() {
            return true;
        }
    }
    false
}
