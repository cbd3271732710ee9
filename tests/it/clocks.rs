//! The real and the virtual clock: what time it is, and how long a turn may wait.

use std::cell::Cell;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::net::TcpListener;
use callsoon::{Builder, Clock, EventLoop, LoopHandle, sleep, sleep_until, yield_now};

use crate::support::{
    Trace, audited, on_virtual_time, one_turn, real_loop, virtual_loop, wait_for_an_event, watched,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_virtual_clock_does_not_jump_while_work_is_ready() {
    on_virtual_time(|trace, event_loop| {
        let start = event_loop.time();
        event_loop.call_later(Duration::from_nanos(1), trace.note("timer"));
        fn count_down(handle: LoopHandle, trace: Trace, left: u32) {
            if left == 0 {
                return trace.push("chain ends");
            }
            let next = handle.clone();
            handle.call_soon(move || count_down(next, trace, left - 1));
        }
        let (handle, t) = (event_loop.handle(), trace.clone());
        event_loop.call_soon(move || count_down(handle, t, 1_000));
        event_loop.run_until_complete(sleep(SECOND)).unwrap();
        trace.expect(["chain ends", "timer"]);
        assert_eq!(event_loop.time() - start, SECOND);
    });
}

#[test]
fn polls_for_events_are_left_out_while_work_is_ready_unless_every_turn_is_to_poll() {
    audited(|| {
        fn event_polls_of(builder: Builder) -> u64 {
            let event_loop = builder.clock(Clock::Virtual).build().unwrap();
            event_loop
                .run_until_complete(async {
                    for _ in 0..10_000 {
                        yield_now().await;
                    }
                })
                .unwrap();
            event_loop.metrics().event_polls
        }
        let every_turn = event_polls_of(EventLoop::builder().event_interval(1));
        assert!(every_turn >= 10_000);
        // At most 64 entries, one a turn here, may run between two polls for events: and nearly so many do.
        let polls = event_polls_of(EventLoop::builder());
        assert!((10_000 / 64..200).contains(&polls), "{polls} polls");
        let polls = event_polls_of(EventLoop::builder().event_interval(10));
        assert!((1_000..1_200).contains(&polls), "{polls} polls");
    });
}

#[test]
fn a_virtual_clock_gives_the_same_trace_each_time() {
    audited(|| {
        fn run() -> Vec<String> {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            let start = event_loop.time();
            let tasks: Vec<_> = (0..20_u64)
                .map(|n| {
                    let (t, handle) = (trace.clone(), event_loop.handle());
                    event_loop.create_task(async move {
                        for round in 0..20 {
                            sleep(Duration::from_micros(n * 37 % 11 * round)).await;
                            let metrics = handle.metrics();
                            let (turn, poll) = (metrics.turns, metrics.event_polls);
                            let now = handle.time() - start;
                            t.push(format!("{n} {round} {turn} {poll} {now:?}"));
                        }
                    })
                })
                .collect();
            event_loop
                .run_until_complete(async {
                    for task in tasks {
                        task.await.unwrap();
                    }
                })
                .unwrap();
            trace.take()
        }
        let first = run();
        assert_eq!(first.len(), 400);
        assert_eq!(run(), first);
    });
}

#[test]
fn a_virtual_clock_lets_events_that_are_there_go_first() {
    on_virtual_time(|trace, event_loop| {
        let start = event_loop.time();
        event_loop.call_later(Duration::from_nanos(1), trace.note("timer"));
        let accepted_at = event_loop.run_until_complete(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut accepting = Box::pin(listener.accept());
            futures_lite::future::poll_once(&mut accepting).await;
            // Queued before the loop polls for events; were the clock to jump first, the timer would come before it.
            let _client = std::net::TcpStream::connect(address).unwrap();
            wait_for_an_event(&event_loop);
            accepting.await.unwrap();
            trace.push("accepted");
            callsoon::get_running_loop().time()
        });
        assert_eq!(accepted_at.unwrap(), start);
        event_loop.run_until_complete(sleep(SECOND)).unwrap();
        trace.expect(["accepted", "timer"]);
    });
}

#[test]
fn a_virtual_loop_without_timers_waits_for_other_threads() {
    on_virtual_time(|_, event_loop| {
        let start = event_loop.time();
        let remote = event_loop.remote();
        let posting = std::thread::spawn(move || {
            let stop = || callsoon::get_running_loop().stop();
            remote.call_soon_threadsafe(stop).unwrap();
        });
        event_loop.run_forever().unwrap();
        posting.join().unwrap();
        assert_eq!(event_loop.time(), start);
    });
}

#[test]
fn a_turn_waits_no_longer_than_it_is_told() {
    on_virtual_time(|trace, event_loop| {
        let start = event_loop.time();
        let elapsed = || event_loop.time() - start;
        event_loop.call_later(10 * SECOND, trace.note("timer"));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(elapsed(), Duration::ZERO);
        event_loop.turn(Some(4 * SECOND)).unwrap();
        assert_eq!(elapsed(), 4 * SECOND);
        trace.expect([]);
        // A timer ends the wait, and so does work that is ready already.
        event_loop.turn(Some(HOUR)).unwrap();
        assert_eq!(elapsed(), 10 * SECOND);
        trace.expect(["timer"]);
        event_loop.call_soon(trace.note("ready"));
        event_loop.turn(Some(HOUR)).unwrap();
        assert_eq!(elapsed(), 10 * SECOND);
        trace.expect(["ready"]);
        // Nothing at all to do: an idle turn as long as it may be.
        event_loop.turn(Some(HOUR)).unwrap();
        assert_eq!(elapsed(), HOUR + 10 * SECOND);
    });
}

#[test]
fn the_clock_is_live_within_a_callback_real_clock() {
    audited(|| {
        let event_loop = real_loop(&Trace::new());
        let handle = event_loop.handle();
        let advanced = event_loop.run_until_complete(async move {
            let before = handle.time();
            while handle.time() == before {
                std::hint::spin_loop();
            }
            handle.time() > before
        });
        assert!(advanced.unwrap());
    });
}

#[test]
fn the_clock_reads_as_instant_does_and_never_ahead_of_it_real_clock() {
    audited(|| {
        for _ in 0..100 {
            let before = Instant::now();
            let event_loop = real_loop(&Trace::new());
            // Behind it at most by the time that the loop has taken to be made.
            let mapped = event_loop.time();
            assert!(before <= mapped && mapped <= Instant::now());
            // So a deadline that was made from an `Instant` is not early on that scale either.
            let when = Instant::now() + Duration::from_micros(200);
            event_loop.run_until_complete(sleep_until(when)).unwrap();
            assert!(Instant::now() >= when);
        }
    });
}

#[test]
fn sleeps_of_any_length_are_never_early_and_never_busy_real_clock() {
    audited(|| {
        // test_events.test_timeout_rounding: from 10 ms down to nothing, at most 20 iterations all together.
        let event_loop = real_loop(&Trace::new());
        let before = event_loop.metrics();
        let delays = (2..=10).map(|exponent| 10_f64.powi(-exponent));
        let delays: Vec<_> = delays.map(Duration::from_secs_f64).collect();
        assert_eq!(delays[8], Duration::ZERO, "a tenth of a nanosecond");
        for &delay in &delays {
            let start = Instant::now();
            event_loop.run_until_complete(sleep(delay)).unwrap();
            assert!(start.elapsed() >= delay);
        }
        let polls = event_loop.metrics().event_polls - before.event_polls;
        // Each sleep is a run: its first poll for events, its wait, and at most one more.
        assert!(polls <= 3 * delays.len() as u64, "{polls} polls");
    });
}

#[test]
fn a_callback_chain_does_not_keep_a_timer_waiting_real_clock() {
    audited(watched(|| {
        fn again(handle: LoopHandle) {
            let next = handle.clone();
            handle.call_soon(move || again(next));
        }
        let event_loop = real_loop(&Trace::new());
        let handle = event_loop.handle();
        event_loop.call_soon(move || again(handle));
        let start = Instant::now();
        event_loop.run_until_complete(sleep(MILLISECOND)).unwrap();
        // It ends at all, since the chain never does; how soon is a benchmark's question.
        assert!(start.elapsed() >= MILLISECOND);
    }));
}

#[test]
fn timers_within_the_slack_may_share_a_wake_up_and_others_do_not_real_clock() {
    audited(|| {
        // Two timers; the first of them ends the run with its turn.
        fn fired(slack: Duration, gap: Duration) -> usize {
            let event_loop = EventLoop::builder().timer_slack(slack).build().unwrap();
            let (fired, start) = (Rc::new(Cell::new(0)), event_loop.time());
            for when in [start + MILLISECOND, start + MILLISECOND + gap] {
                let (handle, counter) = (event_loop.handle(), Rc::clone(&fired));
                event_loop.call_at(when, move || {
                    assert!(handle.time() >= when, "early");
                    counter.set(counter.get() + 1);
                    handle.stop();
                });
            }
            event_loop.run_forever().unwrap();
            fired.get()
        }
        // Whether a pair shares depends on where in the timers' wheel it falls: three in four do.
        assert!((0..12).any(|_| fired(SECOND, MILLISECOND) == 2));
        assert_eq!(fired(Duration::ZERO, HOUR), 1);
        // A timer that is never due does not make a turn wait.
        assert_eq!(fired(SECOND, HOUR), 1);
    });
}

#[test]
fn a_post_wakes_a_loop_that_sleeps_or_spins_real_clock() {
    audited(watched(|| {
        for spin in [Duration::ZERO, HOUR] {
            let event_loop = EventLoop::builder().spin(spin).build().unwrap();
            event_loop.call_later(HOUR, || unreachable!());
            let remote = event_loop.remote();
            let posting = std::thread::spawn(move || {
                let stop = || callsoon::get_running_loop().stop();
                remote.call_soon_threadsafe(stop).unwrap();
            });
            event_loop.run_forever().unwrap();
            posting.join().unwrap();
        }
    }));
}

#[test]
fn a_spinning_loop_keeps_time_real_clock() {
    audited(|| {
        let event_loop = EventLoop::builder().spin(MILLISECOND).build().unwrap();
        for delay in [MILLISECOND / 2, 2 * MILLISECOND] {
            let start = Instant::now();
            event_loop.run_until_complete(sleep(delay)).unwrap();
            assert!(start.elapsed() >= delay);
        }
    });
}

#[test]
fn a_closed_loop_has_no_descriptor() {
    on_virtual_time(|_, event_loop| {
        assert!(event_loop.as_raw_fd() >= 0);
        one_turn(&event_loop);
        event_loop.close().unwrap();
        assert_eq!(event_loop.as_raw_fd(), -1);
    });
}
