//! Debug mode: it warns of callbacks that delayed the loop and of tasks that were forgotten, and changes nothing else.
//! No test here waits: with a limit of zero every callback is slow, with one of an hour none is.

use std::future::pending;
use std::time::Duration;

use callsoon::{Clock, EventLoop, yield_now};

use crate::support::{Trace, audited, one_turn, virtual_loop, warnings_of};

fn debug_loop(limit: Duration) -> EventLoop {
    EventLoop::builder()
        .clock(Clock::Virtual)
        .debug(true)
        .slow_callback_duration(limit)
        .build()
        .unwrap()
}

/// What was logged, without the times, which differ from run to run.
fn slow(f: impl FnOnce()) -> Vec<String> {
    let without_time = |line: String| {
        let words = line.split(' ').filter(|word| !word.starts_with("took="));
        words.collect::<Vec<_>>().join(" ")
    };
    warnings_of(f).into_iter().map(without_time).collect()
}

#[test]
fn debug_mode_is_off_unless_asked_for_and_can_be_switched() {
    audited(|| {
        let event_loop = EventLoop::builder().debug(true).build().unwrap();
        assert!(event_loop.debug());
        event_loop.set_debug(false);
        assert!(!event_loop.debug());
        assert_eq!(
            event_loop.slow_callback_duration(),
            Duration::from_millis(100)
        );
        assert!(!EventLoop::builder().debug(false).build().unwrap().debug());
        assert!(format!("{event_loop:?}").contains("debug: false"));
    });
}

#[test]
fn every_kind_of_callback_and_every_step_that_takes_long_is_named_with_its_birthplace() {
    audited(|| {
        let event_loop = debug_loop(Duration::ZERO);
        let lines = slow(|| {
            event_loop.call_soon(|| ());
            event_loop.call_at(event_loop.time(), || ());
            event_loop.create_task(yield_now()).detach();
            event_loop.create_future::<()>().add_done_callback(|_| ());
            let future = event_loop.create_future::<()>();
            future.add_done_callback(|_| ());
            future.cancel();
            one_turn(&event_loop);
            one_turn(&event_loop);
        });
        let first = line!() - 10;
        let held_up = |what: &str, line: u32, column: u32| {
            format!(
                "WARN a slow {what} held up the loop location={}:{line}:{column}",
                file!()
            )
        };
        let step = held_up("step of a task", first + 2, 24) + " task=\"Task-1\"";
        assert_eq!(
            lines,
            [
                held_up("callback", first, 24),
                step.clone(),
                held_up("callback", first + 5, 20),
                held_up("callback", first + 1, 24),
                step,
            ]
        );
    });
}

#[test]
fn the_main_future_is_measured_too() {
    audited(|| {
        let event_loop = debug_loop(Duration::ZERO);
        let lines = slow(|| event_loop.run_until_complete(async {}).unwrap());
        let line = line!() - 1;
        let place = format!("location={}:{line}:", file!());
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with(&format!(
            "WARN a slow step of a task held up the loop {place}"
        )));
    });
}

#[test]
fn what_is_faster_than_the_limit_is_not_mentioned_and_the_limit_can_be_changed() {
    audited(|| {
        let hour = Duration::from_secs(3600);
        let event_loop = debug_loop(hour);
        assert_eq!(event_loop.slow_callback_duration(), hour);
        let run = || {
            event_loop.call_soon(|| ());
            event_loop.run_until_complete(async {}).unwrap();
        };
        assert_eq!(slow(run), [""; 0]);
        event_loop.set_slow_callback_duration(Duration::ZERO);
        assert_eq!(slow(run).len(), 2);
        event_loop.set_slow_callback_duration(hour);
        assert_eq!(slow(run), [""; 0]);
    });
}

#[test]
fn without_debug_mode_nothing_is_measured() {
    audited(|| {
        let event_loop = debug_loop(Duration::ZERO);
        event_loop.set_debug(false);
        let lines = slow(|| {
            event_loop.call_soon(|| ());
            event_loop.run_until_complete(yield_now()).unwrap();
        });
        assert_eq!(lines, [""; 0]);
    });
}

#[test]
fn a_callback_that_panics_is_measured_and_reported() {
    audited(|| {
        let event_loop = debug_loop(Duration::ZERO);
        let lines = slow(|| {
            event_loop.call_soon(|| panic!("on purpose"));
            one_turn(&event_loop);
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("ERROR Exception in callback"));
        assert!(lines[1].starts_with("WARN a slow callback held up the loop"));
    });
}

#[test]
fn a_loop_that_is_dropped_with_pending_tasks_names_each_in_both_modes() {
    audited(|| {
        let line = line!() + 6;
        let pending_tasks = |debug: bool, count: usize| {
            slow(move || {
                let event_loop = debug_loop(Duration::from_secs(3600));
                event_loop.set_debug(debug);
                for _ in 0..count {
                    event_loop.create_task(pending::<()>()).detach();
                }
                drop(event_loop);
            })
        };
        let named = ["Task-1", "Task-2"].map(|task| {
            format!(
                "ERROR Task was destroyed but it is pending!; task: {task}; created at {}:{line}:32",
                file!()
            )
        });
        for debug in [true, false] {
            assert_eq!(pending_tasks(debug, 2), named);
            assert_eq!(pending_tasks(debug, 0), [""; 0]);
        }
    });
}

#[test]
fn debug_mode_changes_no_order() {
    audited(|| {
        let run = |debug: bool| {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            event_loop.set_debug(debug);
            let t = trace.clone();
            event_loop.call_soon(trace.note("callback"));
            event_loop.call_later(Duration::from_secs(1), trace.note("timer"));
            event_loop.call_soon(|| panic!("on purpose"));
            event_loop
                .run_until_complete(async move {
                    t.push("main");
                    yield_now().await;
                    t.push("main again");
                    callsoon::sleep(Duration::from_secs(1)).await;
                })
                .unwrap();
            event_loop.call_soon(trace.note("cancelled")).cancel();
            one_turn(&event_loop);
            trace.take()
        };
        assert_eq!(run(true), run(false));
        assert_eq!(run(true).len(), 5);
    });
}
