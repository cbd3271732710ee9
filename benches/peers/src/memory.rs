//! Resident bytes, rounding and lists of the runtime included.
//!
//! - `idle_task`: tasks with a state of 104 bytes that wait for ever, spawned 1,000 at a time so that no queue grows to
//!   hold them all.
//! - `burst_memory`: what is still there of as many tasks that slept together, when they have ended and the loop has
//!   been idle.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::meter::{Report, resident};
use crate::runtime::Runtime;

/// A future of 104 bytes that waits for ever. It keeps its waker, as what it waits for would: a runtime may drop a task
/// that nothing can wake.
struct Idle {
    waker: Option<Waker>,
    _room: [u8; 88],
}

impl Future for Idle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Tasks spawned at once.
const AT_ONCE: u64 = 1_000;

/// The kernel's word on this process.
fn own() -> f64 {
    resident("self").expect("/proc is there")
}

pub async fn idle_tasks<R: Runtime>(on: R, tasks: u64) -> Report {
    // The first tasks touch memory that the process has already; what comes after is new.
    spawn_idle(&on, AT_ONCE).await;
    let before = own();
    spawn_idle(&on, tasks).await;
    Report::bytes((own() - before) / tasks as f64)
}

async fn spawn_idle<R: Runtime>(on: &R, tasks: u64) {
    for _ in 0..tasks / AT_ONCE {
        for _ in 0..AT_ONCE {
            on.detach(Idle {
                waker: None,
                _room: [0; 88],
            });
        }
        on.settle().await;
    }
}

/// How long tasks of the burst sleep.
const NAP: Duration = Duration::from_millis(20);
/// How long the loop is idle after them, woken now and then.
const REST: Duration = Duration::from_millis(300);

pub async fn after_burst<R: Runtime>(on: R, tasks: u64) -> Report {
    burst(&on, AT_ONCE).await;
    let before = own();
    burst(&on, tasks).await;
    let rested = Instant::now() + REST;
    while Instant::now() < rested {
        R::sleep_until(Instant::now() + NAP).await;
    }
    Report::bytes((own() - before).max(0.0) / tasks as f64)
}

async fn burst<R: Runtime>(on: &R, tasks: u64) {
    let until = Instant::now() + NAP;
    on.gather((0..tasks).map(|_| R::sleep_until(until))).await;
}
