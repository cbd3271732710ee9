//! A process of its own, because it measures the real clock, and no other test may run beside it.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::future::pending;
use std::time::{Duration, Instant};

use callsoon::{EventLoop, sleep, timeout};

use support::own_cpu_time;

/// Delays from 1 to 999 µs, in an order that repeats none soon.
fn delays(count: u64) -> impl Iterator<Item = Duration> {
    (0..count).map(|n| Duration::from_micros(1 + n * 389 % 999))
}

#[test]
fn c2_sleeps_one_after_another_are_never_early_and_cost_at_most_two_waits_each() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let polls = event_loop.run_until_complete(async move {
        let before = handle.metrics().event_polls;
        for delay in delays(999) {
            let start = Instant::now();
            sleep(delay).await;
            let slept = start.elapsed();
            assert!(slept >= delay, "{delay:?} took {slept:?}");
        }
        handle.metrics().event_polls - before
    });
    let polls = polls.unwrap();
    assert!(polls <= 2 * 999, "{polls} polls for 999 sleeps");
}

#[test]
fn c2_ten_thousand_sleeps_at_once_are_never_early_and_share_their_waits() {
    let event_loop = EventLoop::new().unwrap();
    let tasks: Vec<_> = delays(10_000)
        .map(|delay| {
            event_loop.create_task(async move {
                let start = Instant::now();
                sleep(delay).await;
                (delay, start.elapsed())
            })
        })
        .collect();
    let ended = event_loop.run_until_complete(async {
        for task in tasks {
            let (delay, slept) = task.await.unwrap();
            assert!(slept >= delay, "{delay:?} took {slept:?}");
        }
    });
    ended.unwrap();
    let polls = event_loop.metrics().event_polls;
    // While there is work the loop polls for events every 25 microseconds, which on a slow machine is the larger part.
    let most = 2_000.max(1_000 + own_cpu_time().as_micros() as u64 / 25);
    assert!(polls <= most, "{polls} polls for 10,000 sleeps");
}

#[test]
fn c2_callbacks_are_never_early_on_the_loops_own_clock() {
    let event_loop = EventLoop::new().unwrap();
    let left = std::rc::Rc::new(std::cell::Cell::new(10_000));
    for delay in delays(10_000) {
        let (handle, left) = (event_loop.handle(), left.clone());
        let when = event_loop.time() + delay;
        event_loop.call_at(when, move || {
            assert!(handle.time() >= when);
            left.set(left.get() - 1);
            if left.get() == 0 {
                handle.stop();
            }
        });
    }
    event_loop.run_forever().unwrap();
}

#[test]
fn of_equal_limits_the_outer_says_that_time_is_over_as_on_the_virtual_clock() {
    let limit = Duration::from_millis(2);
    let event_loop = EventLoop::new().unwrap();
    let ended = event_loop.run_until_complete(async {
        let mut attempts = [0; 3];
        for attempts in &mut attempts {
            let retried = async {
                loop {
                    *attempts += 1;
                    let attempt = timeout(limit, pending::<()>());
                    if timeout(limit, attempt)
                        .await
                        .is_ok_and(|ended| ended.is_ok())
                    {
                        break;
                    }
                }
            };
            assert!(timeout(limit, retried).await.is_err());
        }
        attempts
    });
    assert_eq!(ended.unwrap(), [1; 3]);
}
