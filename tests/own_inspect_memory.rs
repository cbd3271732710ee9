//! A process of its own, because it counts the bytes of the process; one test, for the same reason.
//!
//! What an inspected loop notes of a task goes with the task, however that ends.

#![allow(unsafe_code)]

#[path = "own/live_bytes.rs"]
mod live_bytes;

use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsoon::{Clock, EventLoop, RunError, sleep, task_builder};

use live_bytes::LIVE;

/// Ends a task in each way, and runs that stop before their future does.
fn end_tasks(event_loop: &EventLoop) {
    event_loop.create_task(async {}).detach();
    event_loop.create_task(pending::<()>()).cancel();
    let cancelled = event_loop.create_task(sleep(Duration::MAX));
    let handle = event_loop.handle();
    event_loop.call_later(Duration::from_secs(1), move || {
        cancelled.cancel();
        handle.stop();
    });
    let stopped = event_loop.run_until_complete(async {
        task_builder().eager(true).spawn(async {}).detach();
        sleep(Duration::MAX).await;
    });
    assert!(matches!(stopped, Err(RunError::Stopped)));
    // The cancelled task ends.
    event_loop.run_until_complete(async {}).unwrap();
}

#[test]
fn the_notes_of_ended_tasks_and_of_futures_that_were_left_take_no_memory() {
    let builder = EventLoop::builder().clock(Clock::Virtual).debug(false);
    let event_loop = builder.inspect(true).build().unwrap();
    (0..100).for_each(|_| end_tasks(&event_loop));
    let before = LIVE.load(Ordering::Relaxed);
    (0..2_000).for_each(|_| end_tasks(&event_loop));
    let after = LIVE.load(Ordering::Relaxed);
    // A note takes more than a hundred bytes.
    assert!(after < before + 20_000, "{before}, {after}");
}
