//! Clocks that the program moves: in a run, between turns, and in guest mode.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::{Clock, EventLoop, create_task, get_running_loop, sleep, timeout, yield_now};

use crate::support::{Trace, audited, on_virtual_time, readable_within, record_reports, watched};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a test whose loop has a clock that nobody else moves.
#[track_caller]
fn on_manual_time(test: impl FnOnce(Trace, EventLoop) + Send + 'static) {
    audited(watched(move || {
        let trace = Trace::new();
        let event_loop = EventLoop::builder().clock(Clock::Manual).build().unwrap();
        record_reports(&event_loop, &trace);
        test(trace, event_loop);
    }));
}

#[test]
fn timers_fire_when_the_program_moves_the_clock_to_them_and_not_before() {
    on_manual_time(|trace, event_loop| {
        let clock = event_loop.clock().unwrap();
        let start = clock.now();
        for seconds in [3, 1, 2] {
            event_loop.call_later(seconds * SECOND, trace.note(seconds));
        }
        clock.advance(SECOND - Duration::from_nanos(1));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect([]);
        clock.advance(Duration::from_nanos(1));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect(["1"]);
        // Both are due at once, and fire in the order of their deadlines.
        clock.advance_to(start + 10 * SECOND);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect(["2", "3"]);
        assert_eq!(event_loop.time() - start, 10 * SECOND);
    });
}

#[test]
fn a_task_moves_the_clock_of_its_own_loop_step_by_step() {
    on_manual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let clock = get_running_loop().clock().unwrap();
                let start = clock.now();
                let t = trace.clone();
                let ticking = create_task(async move {
                    for _ in 0..3 {
                        sleep(2 * SECOND).await;
                        t.push(format!("{:?}", get_running_loop().time() - start));
                    }
                });
                yield_now().await;
                while !ticking.done() {
                    let moved = clock.advance_to_next().unwrap();
                    trace.push(format!("moved {moved:?}"));
                    // The timer fires in the next turn, and its task runs in the same one, behind this one.
                    yield_now().await;
                    yield_now().await;
                }
                assert_eq!(clock.advance_to_next(), None);
            })
            .unwrap();
        trace.expect(["moved 2s", "2s", "moved 2s", "4s", "moved 2s", "6s"]);
    });
}

#[test]
fn time_never_goes_back_and_never_reaches_the_deadline_that_never_comes() {
    on_manual_time(|trace, event_loop| {
        let clock = event_loop.clock().unwrap();
        let start = clock.now();
        event_loop.call_later(Duration::MAX, trace.note("never"));
        clock.advance_to(start - SECOND);
        assert_eq!(clock.now(), start);
        assert_eq!(clock.advance_to_next(), None);
        clock.advance(Duration::MAX);
        let end = clock.now();
        clock.advance(SECOND);
        assert_eq!(clock.now(), end);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect([]);
    });
}

#[test]
fn an_idle_turn_on_a_manual_clock_ends_by_real_time_real_clock() {
    on_manual_time(|trace, event_loop| {
        event_loop.call_later(Duration::from_micros(1), trace.note("timer"));
        let (start, real) = (event_loop.time(), Instant::now());
        event_loop.turn(Some(Duration::from_millis(2))).unwrap();
        assert!(real.elapsed() >= Duration::from_millis(2));
        assert_eq!(event_loop.time(), start);
        trace.expect([]);
    });
}

#[test]
fn a_guest_is_readable_once_the_clock_was_moved_to_a_timer() {
    on_manual_time(|trace, event_loop| {
        let clock = event_loop.clock().unwrap();
        event_loop.call_later(SECOND, trace.note("first"));
        event_loop.call_later(2 * SECOND, trace.note("second"));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(!readable_within(&event_loop, Duration::ZERO));
        clock.advance(SECOND - Duration::from_nanos(1));
        assert!(!readable_within(&event_loop, Duration::ZERO));
        clock.advance(Duration::from_nanos(1));
        assert!(readable_within(&event_loop, Duration::ZERO));
        event_loop.turn(None).unwrap();
        trace.expect(["first"]);
        assert!(!readable_within(&event_loop, Duration::ZERO));
        // A callback moves the clock itself, in the turn.
        let moving = clock.clone();
        event_loop.call_soon(move || moving.advance(SECOND));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect([]);
        assert!(readable_within(&event_loop, Duration::ZERO));
        event_loop.turn(None).unwrap();
        trace.expect(["second"]);
    });
}

#[test]
fn a_clock_that_is_held_waits_for_real_bytes_instead_of_jumping_to_the_timeout() {
    on_virtual_time(|_, event_loop| {
        let start = event_loop.time();
        let arrived = event_loop.run_until_complete(async {
            let clock = get_running_loop().clock().unwrap();
            let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let near = callsoon::net::UnixStream::from_std(near).unwrap();
            let held = clock.hold();
            let writing = std::thread::spawn(move || {
                use std::io::Write as _;
                far.write_all(b"x").unwrap();
                far
            });
            let mut byte = [0];
            let read = timeout(SECOND, near.read(&mut byte)).await;
            assert_eq!(read.unwrap().unwrap(), 1);
            assert_eq!(clock.now(), start);
            // Dropped by another thread, it lets a loop that waits go on.
            let far = writing.join().unwrap();
            let dropping = std::thread::spawn(move || drop(held));
            let read = timeout(SECOND, near.read(&mut byte)).await;
            dropping.join().unwrap();
            drop(far);
            read.is_err()
        });
        assert!(arrived.unwrap());
        assert_eq!(event_loop.time() - start, SECOND);
    });
}

#[test]
fn a_held_clock_does_not_keep_a_turn_longer_than_it_may_wait_real_clock() {
    on_virtual_time(|trace, event_loop| {
        let start = event_loop.time();
        event_loop.call_later(SECOND, trace.note("timer"));
        let held = event_loop.clock().unwrap().hold();
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(event_loop.time(), start);
        drop(held);
        // The first turn hears that it was dropped.
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        trace.expect([]);
        event_loop.turn(Some(SECOND)).unwrap();
        trace.expect(["timer"]);
    });
}

#[test]
fn automatic_moves_are_switched_off_and_on() {
    on_virtual_time(|trace, event_loop| {
        let clock = event_loop.clock().unwrap();
        assert!(clock.auto_advance());
        clock.set_auto_advance(false);
        event_loop.call_later(SECOND, trace.note("timer"));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        event_loop.turn(Some(Duration::from_nanos(1))).unwrap();
        trace.expect([]);
        clock.set_auto_advance(true);
        event_loop.turn(None).unwrap();
        trace.expect(["timer"]);
    });
}

#[test]
fn a_closed_loop_keeps_its_clock_and_the_systems_has_no_handle() {
    on_manual_time(|_, event_loop| {
        let clock = event_loop.clock().unwrap();
        let dropped = Rc::new(Cell::new(0));
        event_loop.call_later(SECOND, {
            let dropped = Rc::clone(&dropped);
            move || dropped.set(1)
        });
        event_loop.close().unwrap();
        assert_eq!(Rc::strong_count(&dropped), 1);
        let before = clock.now();
        clock.advance(2 * SECOND);
        assert_eq!((clock.now() - before, dropped.get()), (2 * SECOND, 0));
        assert_eq!(clock.advance_to_next(), None);
        drop(clock.hold());
        assert!(EventLoop::new().unwrap().clock().is_none());
    });
}
