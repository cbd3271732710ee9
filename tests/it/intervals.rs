//! Intervals: the schedule of their ticks, and what happens to ticks that a program misses.

use std::time::{Duration, Instant};

use callsoon::MissedTickBehavior::{Burst, Delay, Skip};
use callsoon::{
    Interval, MissedTickBehavior, create_task, get_running_loop, interval, interval_at, sleep,
    sleep_with,
};

use crate::support::{
    DropProbe, Trace, Waiting, audited, on_virtual_time, panic_text, virtual_loop,
};

const SECOND: Duration = Duration::from_secs(1);

/// Waits for ticks, and writes down when each came and when it was due.
async fn ticks(trace: &Trace, start: Instant, interval: &mut Interval, count: usize) {
    for _ in 0..count {
        let due = interval.tick().await - start;
        let now = get_running_loop().time() - start;
        trace.push(format!("{now:?}: due {due:?}"));
    }
}

/// The trace of an interval of 4 s whose user does something else for a while after the first tick.
fn stalled(behavior: MissedTickBehavior, stall: Duration, count: usize) -> Vec<String> {
    let trace = Trace::new();
    let event_loop = virtual_loop(&trace);
    event_loop
        .run_until_complete(async {
            let start = get_running_loop().time();
            let mut interval = interval(4 * SECOND);
            interval.set_missed_tick_behavior(behavior);
            ticks(&trace, start, &mut interval, 1).await;
            sleep(stall).await;
            ticks(&trace, start, &mut interval, count).await;
        })
        .unwrap();
    trace.take()
}

#[test]
fn the_first_tick_is_due_at_once_and_the_others_a_period_apart() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let start = get_running_loop().time();
                ticks(&trace, start, &mut interval(SECOND), 3).await;
                let start = get_running_loop().time();
                let mut later = interval_at(start + 5 * SECOND, SECOND);
                ticks(&trace, start, &mut later, 2).await;
            })
            .unwrap();
        trace.expect([
            "0ns: due 0ns",
            "1s: due 1s",
            "2s: due 2s",
            "5s: due 5s",
            "6s: due 6s",
        ]);
    });
}

#[test]
fn the_time_between_ticks_is_the_users_and_does_not_shift_them() {
    audited(|| {
        for behavior in [Burst, Skip] {
            let trace = stalled(behavior, 3 * SECOND, 2);
            assert_eq!(trace, ["0ns: due 0ns", "4s: due 4s", "8s: due 8s"]);
        }
    });
}

#[test]
fn c6_burst_makes_up_for_missed_ticks() {
    audited(|| {
        assert_eq!(
            stalled(Burst, 10 * SECOND, 4),
            [
                "0ns: due 0ns",
                "10s: due 4s",
                "10s: due 8s",
                "12s: due 12s",
                "16s: due 16s"
            ]
        );
    });
}

#[test]
fn c6_delay_begins_anew_after_the_late_tick() {
    audited(|| {
        assert_eq!(
            stalled(Delay, 10 * SECOND, 3),
            [
                "0ns: due 0ns",
                "10s: due 4s",
                "14s: due 14s",
                "18s: due 18s"
            ]
        );
        // Noise is not lateness.
        let noise = Duration::from_millis(5);
        assert_eq!(
            stalled(Delay, 4 * SECOND + noise, 2),
            ["0ns: due 0ns", "4.005s: due 4s", "8s: due 8s"]
        );
        assert_eq!(
            stalled(Delay, 4 * SECOND + 2 * noise, 2),
            ["0ns: due 0ns", "4.01s: due 4s", "8.01s: due 8.01s"]
        );
    });
}

#[test]
fn c6_skip_leaves_out_missed_ticks_and_keeps_to_the_schedule() {
    audited(|| {
        assert_eq!(
            stalled(Skip, 10 * SECOND, 3),
            [
                "0ns: due 0ns",
                "10s: due 4s",
                "12s: due 12s",
                "16s: due 16s"
            ]
        );
        // The tick that would be due this very moment is the late one, so it is left out.
        assert_eq!(
            stalled(Skip, 8 * SECOND, 2),
            ["0ns: due 0ns", "8s: due 4s", "12s: due 12s"]
        );
    });
}

#[test]
fn c6_a_millisecond_interval_that_missed_ten_seconds() {
    audited(|| {
        for (behavior, missed) in [(Burst, 10_000), (Delay, 1), (Skip, 1)] {
            let event_loop = virtual_loop(&Trace::new());
            let at_once = event_loop.run_until_complete(async {
                let mut interval = interval(Duration::from_millis(1));
                interval.set_missed_tick_behavior(behavior);
                interval.tick().await;
                sleep(10 * SECOND).await;
                let now = get_running_loop().time();
                let mut at_once = 0;
                loop {
                    interval.tick().await;
                    if get_running_loop().time() > now {
                        break at_once;
                    }
                    at_once += 1;
                }
            });
            assert_eq!(at_once.unwrap(), missed, "{behavior:?}");
        }
    });
}

#[test]
fn a_burst_lets_others_run_between_its_ticks() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let mut interval = interval(SECOND);
                interval.tick().await;
                sleep(2 * SECOND).await;
                let other = {
                    let trace = trace.clone();
                    create_task(async move {
                        for n in 0..2 {
                            trace.push(format!("other {n}"));
                            callsoon::yield_now().await;
                        }
                    })
                };
                for n in 0..2 {
                    interval.tick().await;
                    trace.push(format!("tick {n}"));
                }
                other.await.unwrap();
            })
            .unwrap();
        trace.expect(["other 0", "tick 0", "other 1", "tick 1"]);
    });
}

#[test]
fn equal_ticks_come_in_the_order_in_which_they_were_waited_for() {
    on_virtual_time(|trace, event_loop| {
        let ticker = |name: &'static str, period: u32| {
            let trace = trace.clone();
            event_loop.create_task(async move {
                let mut interval = interval(period * SECOND);
                for n in 0..3 {
                    interval.tick().await;
                    trace.push(format!("{name} {n}"));
                }
            })
        };
        let tickers = [ticker("a", 1), ticker("b", 2), ticker("c", 1)];
        event_loop.run_until_complete(sleep(9 * SECOND)).unwrap();
        trace.expect([
            "a 0", "b 0", "c 0", "a 1", "c 1", "b 1", "a 2", "c 2", "b 2",
        ]);
        drop(tickers);
    });
}

#[test]
fn a_dropped_tick_is_still_due() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let start = get_running_loop().time();
                let mut interval = interval(SECOND);
                ticks(&trace, start, &mut interval, 1).await;
                let waiting = Waiting::begun(interval.tick());
                sleep(SECOND).await;
                callsoon::yield_now().await;
                assert!(waiting.is_woken());
                drop(waiting);
                ticks(&trace, start, &mut interval, 2).await;
            })
            .unwrap();
        trace.expect(["0ns: due 0ns", "1s: due 1s", "2s: due 2s"]);
    });
}

#[test]
fn reset_begins_anew_also_while_a_tick_is_waited_for() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let start = get_running_loop().time();
                let mut interval = interval(4 * SECOND);
                ticks(&trace, start, &mut interval, 1).await;
                drop(Waiting::begun(interval.tick()));
                sleep(3 * SECOND).await;
                interval.reset();
                ticks(&trace, start, &mut interval, 2).await;
            })
            .unwrap();
        trace.expect(["0ns: due 0ns", "7s: due 7s", "11s: due 11s"]);
    });
}

#[test]
fn c1_periods_beyond_the_clock_tick_once_whatever_is_done_to_them() {
    audited(|| {
        let extremes = [
            Duration::MAX,
            Duration::from_secs(u64::MAX),
            Duration::from_nanos(u64::MAX),
        ];
        for period in extremes {
            for behavior in [Burst, Delay, Skip] {
                let trace = Trace::new();
                let event_loop = virtual_loop(&trace);
                event_loop
                    .run_until_complete(async {
                        let start = get_running_loop().time();
                        let mut interval = interval(period);
                        interval.set_missed_tick_behavior(behavior);
                        ticks(&trace, start, &mut interval, 1).await;
                        sleep(SECOND).await;
                        drop(Waiting::begun(interval.tick()));
                        interval.reset();
                        drop(Waiting::begun(interval.tick()));
                    })
                    .unwrap();
                event_loop.run_until_complete(sleep(SECOND)).unwrap();
                trace.expect(["0ns: due 0ns"]);
            }
        }
    });
}

#[test]
fn c1_a_tick_that_is_missed_by_ages_does_not_overflow() {
    audited(|| {
        let year = Duration::from_secs(365 * 86_400);
        for behavior in [Burst, Delay, Skip] {
            let event_loop = virtual_loop(&Trace::new());
            event_loop
                .run_until_complete(async {
                    let mut interval = interval(300 * year);
                    interval.set_missed_tick_behavior(behavior);
                    interval.tick().await;
                    sleep(500 * year).await;
                    interval.tick().await;
                    drop(Waiting::begun(interval.tick()));
                })
                .unwrap();
        }
    });
}

#[test]
fn an_interval_made_outside_a_loop_begins_with_its_first_tick() {
    audited(|| {
        let trace = Trace::new();
        let mut interval = interval(SECOND);
        let event_loop = virtual_loop(&trace);
        event_loop.run_until_complete(sleep(SECOND)).unwrap();
        let start = event_loop.time();
        event_loop
            .run_until_complete(ticks(&trace, start, &mut interval, 2))
            .unwrap();
        let mut early = interval_at(start - SECOND, 4 * SECOND);
        event_loop
            .run_until_complete(async {
                let due = early.tick().await;
                trace.push(format!("{:?} before the start", start - due));
                ticks(&trace, start, &mut early, 1).await;
            })
            .unwrap();
        trace.expect([
            "0ns: due 0ns",
            "1s: due 1s",
            "1s before the start",
            "3s: due 3s",
        ]);
    });
}

#[test]
fn m2_a_period_of_zero_is_refused() {
    audited(|| {
        let text = "interval: the period must be longer than zero";
        assert_eq!(panic_text(|| interval(Duration::ZERO)), text);
        assert_eq!(
            panic_text(|| interval_at(Instant::now(), Duration::ZERO)),
            text
        );
    });
}

#[test]
fn m1_ticks_need_a_running_loop() {
    audited(|| {
        let text = panic_text(|| Waiting::new(interval(SECOND).tick()).poll());
        assert!(text.contains("no running event loop"), "{text}");
        let text = panic_text(|| interval(SECOND).reset());
        assert!(text.contains("no running event loop"), "{text}");
    });
}

#[test]
fn sleep_with_gives_its_value_after_the_delay_and_drops_it_when_it_is_dropped() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let start = get_running_loop().time();
                let value = sleep_with(3600 * SECOND, "soup").await;
                let at = get_running_loop().time() - start;
                trace.push(format!("{at:?}: {value}"));
                trace.push(sleep_with(Duration::ZERO, "at once").await);
                let probe = DropProbe::new(&trace, "the value");
                drop(Waiting::begun(sleep_with(Duration::MAX, probe)));
                trace.push("went with it");
            })
            .unwrap();
        trace.expect(["3600s: soup", "at once", "drop the value", "went with it"]);
    });
}
