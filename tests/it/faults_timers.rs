//! Faults C1 to C6 and P2: extreme delays, long uptimes, stale handles.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::net::TcpListener;
use callsoon::{Clock, EventLoop, LoopHandle, Task, TimerHandle, get_running_loop};
use callsoon::{sleep, sleep_until};

use crate::support::{
    DropProbe, Trace, audited, on_virtual_time, one_turn, real_loop, thread_id, virtual_loop,
    wait_for_an_event, wait_until_asleep, watched,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Around every limit at which a timer, a poller or a conversion has failed before.
const EXTREMES: [Duration; 20] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_nanos(999),
    Duration::from_micros(1),
    Duration::from_nanos(999_999),
    Duration::from_millis(i32::MAX as u64),
    Duration::from_millis(i32::MAX as u64 + 1),
    Duration::from_millis(u32::MAX as u64),
    Duration::from_millis(u32::MAX as u64 + 1),
    Duration::from_nanos(i64::MAX as u64),
    Duration::from_nanos(i64::MAX as u64 + 1),
    Duration::from_nanos(u64::MAX - 1),
    Duration::from_nanos(u64::MAX),
    Duration::from_nanos(u64::MAX).saturating_add(Duration::from_nanos(1)),
    Duration::from_micros(u64::MAX),
    Duration::from_millis(u64::MAX),
    Duration::from_secs(i64::MAX as u64),
    Duration::from_secs(u64::MAX),
    Duration::MAX.saturating_sub(Duration::from_nanos(1)),
    Duration::MAX,
];

/// Up to here, 292 years, a virtual clock can be moved; beyond the end of its scale nothing ever fires.
const HORIZON: Duration = Duration::from_nanos(i64::MAX as u64 + 2);

/// `start + delay`, or the last instant that there is.
fn saturated(start: Instant, delay: Duration) -> Instant {
    start.checked_add(delay).unwrap_or_else(last_instant)
}

fn last_instant() -> Instant {
    let (mut last, mut step) = (Instant::now(), Duration::MAX);
    while step > Duration::ZERO {
        match last.checked_add(step) {
            Some(later) => last = later,
            None => step /= 2,
        }
    }
    last
}

fn first_instant() -> Instant {
    let (mut first, mut step) = (Instant::now(), Duration::MAX);
    while step > Duration::ZERO {
        match first.checked_sub(step) {
            Some(earlier) => first = earlier,
            None => step /= 2,
        }
    }
    first
}

/// Arms a timer of `delay` in one of the ways there are; when it fires it writes its time.
type Entry = fn(&EventLoop, Duration, Trace);

fn fired(handle: &LoopHandle, start: Instant, trace: &Trace) {
    trace.push(format!("{:?}", handle.time() - start));
}

fn by_call_later(event_loop: &EventLoop, delay: Duration, trace: Trace) {
    let (handle, start) = (event_loop.handle(), event_loop.time());
    event_loop.call_later(delay, move || fired(&handle, start, &trace));
}

fn by_call_at(event_loop: &EventLoop, delay: Duration, trace: Trace) {
    let (handle, start) = (event_loop.handle(), event_loop.time());
    let when = saturated(start, delay);
    event_loop.call_at(when, move || fired(&handle, start, &trace));
}

fn by_sleep(event_loop: &EventLoop, delay: Duration, trace: Trace) {
    let (handle, start) = (event_loop.handle(), event_loop.time());
    let sleeping = async move {
        sleep(delay).await;
        fired(&handle, start, &trace);
    };
    event_loop.create_task(sleeping).detach();
}

fn by_sleep_until(event_loop: &EventLoop, delay: Duration, trace: Trace) {
    let (handle, start) = (event_loop.handle(), event_loop.time());
    let when = saturated(start, delay);
    let sleeping = async move {
        sleep_until(when).await;
        fired(&handle, start, &trace);
    };
    event_loop.create_task(sleeping).detach();
}

const ENTRIES: [Entry; 4] = [by_call_later, by_call_at, by_sleep, by_sleep_until];

#[test]
fn c1_every_extreme_delay_fires_on_its_nanosecond_or_never_and_never_panics() {
    audited(watched(|| {
        for delay in EXTREMES {
            for arm in ENTRIES {
                let trace = Trace::new();
                let event_loop = virtual_loop(&trace);
                let handle = event_loop.handle();
                arm(&event_loop, delay, trace.clone());
                event_loop.call_later(HORIZON, move || handle.stop());
                event_loop.run_forever().unwrap();
                if delay < HORIZON {
                    assert_eq!(trace.take(), [format!("{delay:?}")]);
                } else {
                    assert!(trace.take().is_empty(), "{delay:?} fired");
                    assert_eq!(event_loop.metrics().timers, 1);
                }
            }
        }
    }));
}

#[test]
fn c1_extreme_delays_beside_a_millisecond_real_clock() {
    audited(watched(|| {
        for delay in EXTREMES {
            for arm in ENTRIES {
                let trace = Trace::new();
                let event_loop = real_loop(&trace);
                arm(&event_loop, delay, trace.clone());
                // A guest's turn arms the system's timer for the extreme itself.
                event_loop.turn(Some(Duration::ZERO)).unwrap();
                event_loop.turn(Some(Duration::ZERO)).unwrap();
                let (handle, over) = (event_loop.handle(), delay.max(MILLISECOND));
                event_loop.call_later(over.min(MILLISECOND), move || handle.stop());
                event_loop.run_forever().unwrap();
                assert_eq!(trace.take().len(), usize::from(delay < SECOND), "{delay:?}");
            }
        }
    }));
}

#[test]
fn c1_a_loop_that_waits_for_the_end_of_time_can_be_woken_real_clock() {
    audited(watched(|| {
        for delay in EXTREMES.into_iter().filter(|&delay| delay > DAY) {
            let event_loop = real_loop(&Trace::new());
            let timer = event_loop.call_later(delay, || unreachable!());
            for run in [
                |event_loop: &EventLoop, _| event_loop.run_forever(),
                |event_loop: &EventLoop, delay| event_loop.turn(Some(delay)),
            ] {
                let (remote, thread) = (event_loop.remote(), thread_id());
                let posting = std::thread::spawn(move || {
                    wait_until_asleep(thread);
                    let stop = || get_running_loop().stop();
                    remote.call_soon_threadsafe(stop).unwrap();
                });
                run(&event_loop, delay).unwrap();
                posting.join().unwrap();
            }
            assert_eq!(event_loop.metrics().timers, 1);
            timer.cancel();
            assert_eq!(event_loop.metrics().timers, 0);
        }
    }));
}

#[test]
fn c1_a_turn_of_any_length_ends_with_the_next_timer() {
    audited(watched(|| {
        for delay in EXTREMES {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            let start = event_loop.time();
            event_loop.call_later(MILLISECOND, trace.note("timer"));
            event_loop.turn(Some(delay)).unwrap();
            assert_eq!(event_loop.time() - start, delay.min(MILLISECOND));
            assert_eq!(trace.take().len(), usize::from(delay >= MILLISECOND));
            let event_loop = real_loop(&trace);
            let timer = event_loop.call_later(MILLISECOND, trace.note("timer"));
            let begun = event_loop.time();
            event_loop.turn(Some(delay)).unwrap();
            // Of a turn that lasts until it is due it is a part, and of no other; some last longer on a busy machine.
            let ran = !trace.take().is_empty();
            let end = begun.checked_add(delay);
            assert!(ran || end.is_some_and(|end| end < timer.when()));
            assert!(!ran || event_loop.time() >= timer.when());
        }
    }));
}

#[test]
fn c1_any_slack_and_any_spin_leave_timers_on_time() {
    audited(watched(|| {
        for extreme in EXTREMES {
            for clock in [Clock::Virtual, Clock::Monotonic] {
                let builder = || EventLoop::builder().clock(clock);
                for builder in [builder().timer_slack(extreme), builder().spin(extreme)] {
                    let event_loop = builder.build().unwrap();
                    let (trace, start) = (Trace::new(), event_loop.time());
                    for delay in [MILLISECOND / 2, MILLISECOND] {
                        let (handle, t) = (event_loop.handle(), trace.clone());
                        event_loop.call_later(delay, move || {
                            let late = (handle.time() - start).checked_sub(delay);
                            t.push(
                                late.is_some_and(|late| clock != Clock::Virtual || late.is_zero()),
                            );
                        });
                    }
                    event_loop.run_until_complete(sleep(MILLISECOND)).unwrap();
                    trace.expect(["true", "true"]);
                }
            }
        }
    }));
}

#[test]
fn c1_the_first_and_the_last_instant_are_deadlines_like_others() {
    audited(|| {
        for event_loop in [virtual_loop(&Trace::new()), real_loop(&Trace::new())] {
            let trace = Trace::new();
            let past = event_loop.call_at(first_instant(), trace.note("first"));
            let never = event_loop.call_at(last_instant(), trace.note("last"));
            let longest = event_loop.call_later(Duration::MAX, trace.note("longest"));
            one_turn(&event_loop);
            trace.expect(["first"]);
            // What no clock can show is shown as the end of the loop's own scale: all of them the same, and in order.
            assert!(past.when() < event_loop.time());
            assert_eq!(never.when(), longest.when());
            assert!(never.when() > event_loop.time() + 500 * YEAR);
            never.cancel();
            longest.cancel();
            assert_eq!(event_loop.metrics().timers, 0);
        }
    });
}

#[test]
fn c2_tiny_and_past_delays_cost_one_poll_for_events_each_and_are_never_early() {
    on_virtual_time(|_, event_loop| {
        let start = event_loop.time();
        let result = event_loop.run_until_complete(async {
            let handle = get_running_loop();
            let mut sum = Duration::ZERO;
            for nanos in (1..1_000).chain((1..1_000).map(|micros| 1_000 * micros)) {
                let (delay, polls) = (Duration::from_nanos(nanos), handle.metrics().event_polls);
                sleep(delay).await;
                sum += delay;
                assert_eq!(handle.time() - start, sum);
                assert_eq!(handle.metrics().event_polls, polls + 1);
            }
        });
        result.unwrap();
    });
}

#[test]
fn c2_a_timer_that_rearms_itself_with_no_delay_starves_no_other() {
    audited(|| {
        fn again(handle: LoopHandle) {
            let next = handle.clone();
            handle.call_later(Duration::ZERO, move || again(next));
        }
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let handle = event_loop.handle();
        event_loop.call_later(Duration::ZERO, move || again(handle));
        let t = trace.clone();
        let listener = TcpListener::bind("127.0.0.1:0");
        let listener = event_loop.run_until_complete(listener).unwrap().unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        wait_for_an_event(&event_loop);
        event_loop.call_soon(trace.note("callback"));
        let turns = event_loop.metrics().turns;
        let accepted = event_loop.run_until_complete(async {
            let accepted = listener.accept().await;
            t.push("event");
            accepted
        });
        accepted.unwrap().unwrap();
        trace.expect(["callback", "event"]);
        assert!(event_loop.metrics().turns - turns < 10);
        drop(client);
    });
}

/// +12 d (a tokio timer), 2³¹ ms, 2³² ms, the top of tokio's wheel, a life.
const UPTIMES: [Duration; 5] = [
    DAY.saturating_mul(12),
    Duration::from_millis(1 << 31),
    Duration::from_millis(1 << 32),
    Duration::from_millis(1 << 36),
    YEAR.saturating_mul(100),
];

#[test]
fn c3_timers_fire_in_order_around_and_after_every_long_uptime() {
    on_virtual_time(|trace, event_loop| {
        let start = event_loop.time();
        let mut expected = Vec::new();
        let at = |when: Duration, place: &str| {
            let (handle, t, name) = (
                event_loop.handle(),
                trace.clone(),
                format!("{when:?} {place}"),
            );
            let line = name.clone();
            event_loop.call_at(start + when, move || {
                assert_eq!(handle.time() - start, when);
                t.push(name);
            });
            line
        };
        // All of them armed at the beginning, the farthest first ...
        for uptime in UPTIMES.into_iter().rev() {
            let nanosecond = Duration::from_nanos(1);
            let mut around = vec![
                at(uptime - MILLISECOND, "before"),
                at(uptime - nanosecond, "before"),
                at(uptime, "on it"),
                at(uptime, "on it, too"),
                at(uptime + nanosecond, "after"),
                at(uptime + MILLISECOND, "after"),
            ];
            around.append(&mut expected);
            expected = around;
        }
        let last = UPTIMES[4] + SECOND;
        event_loop
            .run_until_complete(sleep_until(start + last))
            .unwrap();
        assert_eq!(trace.take(), expected);
        assert_eq!(event_loop.time() - start, last);
    });
}

#[test]
fn c3_new_timers_of_any_length_work_at_every_uptime() {
    on_virtual_time(|_, event_loop| {
        let start = event_loop.time();
        for uptime in UPTIMES {
            // ... and armed at each uptime, across the next border and back down to a nanosecond.
            event_loop
                .run_until_complete(sleep_until(start + uptime))
                .unwrap();
            let mut delay = YEAR;
            while delay > Duration::ZERO {
                let before = event_loop.time();
                event_loop.run_until_complete(sleep(delay)).unwrap();
                assert_eq!(event_loop.time() - before, delay);
                delay /= 7;
            }
        }
    });
}

/// Sebastiano Vigna's splitmix64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    /// A delay of any order of magnitude, from nothing to a generation.
    fn delay(&mut self) -> Duration {
        let magnitude = self.below(60);
        Duration::from_nanos(self.below(1 << magnitude))
    }
}

/// Timers on a loop and, beside them, what an ordered map says of them.
struct Modelled {
    handle: LoopHandle,
    random: Random,
    /// Deadline and number of creation.
    armed: BTreeMap<(Instant, u64), TimerHandle>,
    made: u64,
    fired: u64,
    /// How many are to be made in all.
    most: u64,
    /// When the latest one fired.
    last: Instant,
}

fn arm(modelled: &Rc<RefCell<Modelled>>, delay: Duration) {
    let mut all = modelled.borrow_mut();
    let (handle, number) = (all.handle.clone(), all.made);
    all.made += 1;
    let when = handle.time() + delay;
    let next = Rc::clone(modelled);
    let timer = handle.call_at(when, move || fire(&next, (when, number)));
    all.armed.insert((when, number), timer);
}

fn fire(modelled: &Rc<RefCell<Modelled>>, key: (Instant, u64)) {
    let mut all = modelled.borrow_mut();
    assert_eq!(all.armed.pop_first().unwrap().0, key);
    assert_eq!(all.handle.time(), key.0);
    all.fired += 1;
    all.last = key.0;
    // Every other time an arbitrary timer goes, and two come for it.
    let cancelled = all.random.below(2) == 0 && all.armed.len() > 500;
    if cancelled {
        let from = (key.0 + all.random.delay(), 0);
        let victim = all.armed.range(from..).next().map(|(&key, _)| key);
        if let Some(timer) = victim.and_then(|key| all.armed.remove(&key)) {
            timer.cancel();
        }
    }
    let new = if all.made >= all.most {
        0
    } else {
        1 + u64::from(cancelled)
    };
    let delays: Vec<_> = (0..new).map(|_| all.random.delay()).collect();
    drop(all);
    delays.into_iter().for_each(|delay| arm(modelled, delay));
}

#[test]
fn c3_c5_p2_random_timers_over_decades_fire_as_an_ordered_map_says() {
    on_virtual_time(|_, event_loop| {
        let start = event_loop.time();
        let modelled = Rc::new(RefCell::new(Modelled {
            handle: event_loop.handle(),
            random: Random(7),
            armed: BTreeMap::new(),
            made: 0,
            fired: 0,
            most: 100_000,
            last: start,
        }));
        for _ in 0..1_000 {
            let delay = modelled.borrow_mut().random.delay();
            arm(&modelled, delay);
        }
        event_loop
            .run_until_complete(sleep_until(start + 100 * YEAR))
            .unwrap();
        let all = modelled.borrow();
        assert!(all.armed.is_empty() && all.made >= all.most && all.fired > all.made / 2);
        assert!(all.last - start > 20 * YEAR);
        assert_eq!(event_loop.metrics().timers, 0);
    });
}

#[test]
fn p2_a_century_of_hourly_timers_is_exact_to_the_nanosecond() {
    on_virtual_time(|_, event_loop| {
        let (start, hour) = (event_loop.time(), Duration::from_secs(3600));
        let rounds = event_loop.run_until_complete(async {
            let handle = get_running_loop();
            let mut rounds = 0;
            while handle.time() - start < 100 * YEAR {
                sleep(hour).await;
                rounds += 1;
            }
            rounds
        });
        assert_eq!(rounds.unwrap(), 100 * 365 * 24);
        assert_eq!(event_loop.time() - start, 100 * YEAR);
    });
}

#[test]
fn c5_a_stale_handle_cannot_cancel_the_timer_that_took_its_place() {
    on_virtual_time(|trace, event_loop| {
        let fired = event_loop.call_later(MILLISECOND, trace.note("first"));
        event_loop.run_until_complete(sleep(MILLISECOND)).unwrap();
        let cancelled = event_loop.call_later(MILLISECOND, trace.note("never"));
        cancelled.cancel();
        // One slot is free, and this timer takes it.
        event_loop.call_later(MILLISECOND, trace.note("second"));
        fired.cancel();
        cancelled.cancel();
        event_loop.run_until_complete(sleep(MILLISECOND)).unwrap();
        trace.expect(["first", "second"]);
    });
}

#[test]
fn c5_a_slot_that_is_reused_within_a_batch_fires_for_its_new_timer_only() {
    on_virtual_time(|trace, event_loop| {
        let slot = Rc::new(RefCell::new(None::<TimerHandle>));
        let (victim, handle, t) = (Rc::clone(&slot), event_loop.handle(), trace.clone());
        event_loop.call_later(MILLISECOND, move || {
            // The second timer is due and is in the queue. It goes, and another one gets its slot.
            victim.take().unwrap().cancel();
            handle.call_later(Duration::ZERO, t.note("in its slot"));
            t.push("first");
        });
        let second = event_loop.call_later(MILLISECOND, trace.note("never"));
        *slot.borrow_mut() = Some(second);
        event_loop.call_later(MILLISECOND, trace.note("third"));
        event_loop
            .run_until_complete(sleep(2 * MILLISECOND))
            .unwrap();
        trace.expect(["first", "third", "in its slot"]);
    });
}

#[test]
fn c5_a_sleep_dropped_at_its_very_deadline_wakes_no_task() {
    on_virtual_time(|trace, event_loop| {
        let probe = DropProbe::new(&trace, "sleeper");
        let task = Rc::new(RefCell::new(None::<Task<()>>));
        let victim = Rc::clone(&task);
        let t = trace.clone();
        event_loop.call_later(MILLISECOND, move || {
            assert!(victim.borrow().as_ref().unwrap().cancel());
            t.push("cancelled");
        });
        let t = trace.clone();
        *task.borrow_mut() = Some(event_loop.create_task(async move {
            let _probe = probe;
            sleep(MILLISECOND).await;
            t.push("woken");
        }));
        event_loop
            .run_until_complete(sleep(2 * MILLISECOND))
            .unwrap();
        trace.expect(["cancelled", "drop sleeper"]);
        assert!(task.borrow().as_ref().unwrap().cancelled());
        assert_eq!(event_loop.metrics().timers, 0);
    });
}

#[test]
fn c6_after_a_stall_overdue_timers_come_at_once_and_in_order_real_clock() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let (handle, t) = (event_loop.handle(), trace.clone());
        let start = event_loop.time();
        for (delay, line) in [(3, "c"), (1, "a"), (2, "b"), (3, "d")] {
            event_loop.call_at(start + delay * MILLISECOND, t.note(line));
        }
        event_loop.call_soon(move || {
            // The stall: a callback that works until all of them are overdue.
            while handle.time() < start + 4 * MILLISECOND {
                std::hint::spin_loop();
            }
            t.push("stall ends");
        });
        one_turn(&event_loop);
        one_turn(&event_loop);
        trace.expect(["stall ends", "a", "b", "c", "d"]);
    });
}
