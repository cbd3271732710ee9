//! `testing::run`: a test on a loop of its own, and the audit of what it leaves.

use std::future::pending;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use callsoon::testing::{self, Leftover, TestError, Trace};
use callsoon::{
    Clock, RunError, create_task, defer_async_drop, get_running_loop, sleep, task_builder,
    to_thread, yield_now,
};

use crate::support::{audited, forget, panic_text, quiet_panics, watched};

const HOUR: Duration = Duration::from_secs(3600);

/// What a test has left behind.
#[track_caller]
fn left_by(test: impl Future<Output = ()>) -> Vec<Leftover> {
    match testing::try_run(test) {
        Ok(()) => Vec::new(),
        Err(TestError::Leftovers(left)) => left,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn an_hour_passes_in_a_moment_and_the_value_comes_back() {
    audited(|| {
        let real = Instant::now();
        let elapsed = testing::run(async {
            let start = testing::clock().now();
            sleep(HOUR).await;
            testing::clock().now() - start
        });
        assert_eq!(elapsed, HOUR);
        assert!(real.elapsed() < HOUR / 60);
    });
}

#[test]
fn pending_tasks_are_listed_with_name_and_place_in_the_order_of_their_creation() {
    audited(|| {
        let line = line!() + 2;
        let left = left_by(async {
            task_builder().name("waits").spawn(pending::<()>()).detach();
            create_task(sleep(HOUR)).detach();
        });
        let [
            Leftover::Task { name, location },
            Leftover::Task { name: second, .. },
        ] = &left[..]
        else {
            panic!("{left:?}")
        };
        assert_eq!((name.as_str(), second.as_str()), ("waits", "Task-3"));
        assert_eq!((location.file(), location.line()), (file!(), line));
    });
}

#[test]
fn timers_are_listed_by_their_deadlines_and_cancelled_ones_are_not() {
    audited(|| {
        let left = left_by(async {
            let handle = get_running_loop();
            handle.call_later(Duration::MAX, || ());
            handle.call_later(2 * HOUR, || ());
            handle.call_later(HOUR, || ());
            handle.call_later(HOUR, || ()).cancel();
        });
        let due_in = [Some(HOUR), Some(2 * HOUR), None];
        assert_eq!(left, due_in.map(|due_in| Leftover::Timer { due_in }));
    });
}

#[test]
fn what_ends_within_the_turns_that_are_ready_is_not_left() {
    audited(|| {
        let trace = Trace::new();
        testing::run(async {
            let handle = get_running_loop();
            let (t, note) = (trace.clone(), trace.note("callback"));
            create_task(async move {
                for _ in 0..100 {
                    yield_now().await;
                }
                t.push("task");
            })
            .detach();
            handle.call_soon(move || drop(get_running_loop().call_soon(note)));
        });
        trace.expect(["callback", "task"]);
    });
}

#[test]
fn a_task_that_yields_for_ever_is_left_and_does_not_hang() {
    audited(watched(|| {
        let left = left_by(async {
            let endless = async {
                loop {
                    yield_now().await;
                }
            };
            task_builder().name("endless").spawn(endless).detach();
        });
        assert!(
            matches!(&left[..], [Leftover::Task { name, .. }] if name == "endless"),
            "{left:?}"
        );
    }));
}

#[test]
fn a_call_of_stop_after_the_end_changes_nothing() {
    audited(watched(|| {
        let left = left_by(async {
            create_task(async {
                yield_now().await;
                get_running_loop().stop();
                pending::<()>().await;
            })
            .detach();
            yield_now().await;
        });
        assert!(matches!(&left[..], [Leftover::Task { .. }]), "{left:?}");
    }));
}

#[test]
fn failures_that_nobody_handles_are_left() {
    audited(|| {
        quiet_panics();
        let left = left_by(async {
            get_running_loop().call_soon(|| panic!("on purpose: callback"));
            drop(create_task(async { panic!("on purpose: task") }));
        });
        let [Leftover::Failure(callback), Leftover::Failure(task)] = &left[..] else {
            panic!("{left:?}")
        };
        let begins = "Exception in callback (on purpose: callback), created at ";
        assert!(callback.starts_with(begins), "{callback}");
        assert!(
            task.contains("never retrieved (on purpose: task), Task-2"),
            "{task}"
        );
    });
}

#[test]
fn a_destructor_that_panics_when_the_loop_closes_is_left_too() {
    audited(|| {
        quiet_panics();
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("on purpose: destructor");
            }
        }
        let left = left_by(async {
            let panics = Panics;
            get_running_loop().call_later(HOUR, move || drop(panics));
        });
        let [Leftover::Timer { .. }, Leftover::Failure(text)] = &left[..] else {
            panic!("{left:?}")
        };
        assert!(text.contains("on purpose: destructor"), "{text}");
    });
}

#[test]
fn a_socket_that_somebody_keeps_is_left() {
    audited(|| {
        let mut kept = None;
        let left = left_by(async { kept = Some(callsoon::net::UnixStream::pair().unwrap()) });
        assert_eq!(left, [Leftover::Sources(2)]);
        drop(kept);
    });
}

#[test]
fn a_thread_is_left_until_it_ends_and_threads_of_others_are_not() {
    audited(watched(|| {
        let (end, ended) = mpsc::channel::<()>();
        let (end_other, other_ended) = mpsc::channel::<()>();
        let other = thread::spawn(move || other_ended.recv().is_err());
        let mut thread = None;
        let left = left_by(async {
            let ours = thread::Builder::new().name("leaks".into());
            thread = ours.spawn(move || ended.recv().is_err()).ok();
        });
        assert!(
            matches!(&left[..], [Leftover::Thread { name, .. }] if name == "leaks"),
            "{left:?}"
        );
        drop((end, end_other));
        thread.unwrap().join().unwrap();
        other.join().unwrap();
        testing::run(async {
            thread::spawn(|| ()).join().unwrap();
            to_thread(|| ()).await.unwrap();
        });
    }));
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_process_is_left_until_it_was_waited_for() {
    audited(watched(|| {
        let mut child = None;
        let left = left_by(async {
            child = std::process::Command::new("sleep").arg("3600").spawn().ok();
        });
        let mut child = child.unwrap();
        let id = child.id();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            matches!(&left[..], [Leftover::Process { id: left, .. }] if *left == id),
            "{left:?}"
        );
        testing::run(async {
            let process = callsoon::create_subprocess_exec("true", []).await.unwrap();
            process.wait().await.unwrap();
        });
    }));
}

#[test]
fn clean_ups_run_before_the_audit_and_may_take_their_time() {
    audited(|| {
        let trace = Trace::new();
        testing::run(async {
            let t = trace.clone();
            let clean_up = async move {
                sleep(HOUR / 60).await;
                t.push("cleaned up");
            };
            forget(defer_async_drop(clean_up));
        });
        trace.expect(["cleaned up"]);
    });
}

#[test]
fn the_panic_of_a_test_comes_through_and_that_of_the_audit_lists_what_is_left() {
    audited(|| {
        quiet_panics();
        let text = panic_text(|| testing::run(async { panic!("on purpose: test") }));
        assert_eq!(text, "on purpose: test");
        let text = panic_text(|| {
            testing::run(async {
                task_builder().name("left").spawn(pending::<()>()).detach();
                get_running_loop().call_later(HOUR, || ());
            });
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "the test has left behind:");
        assert!(
            lines[1].starts_with("  pending task left, created at "),
            "{text}"
        );
        assert_eq!(lines[2..], ["  timer that is due in 3600s"]);
    });
}

#[test]
fn a_test_that_is_stopped_or_cancelled_or_nested_is_an_error() {
    audited(|| {
        let stopped = testing::try_run(async {
            get_running_loop().stop();
            pending::<()>().await;
        });
        assert!(matches!(stopped, Err(TestError::Run(RunError::Stopped))));
        let cancelled = testing::try_run(async {
            get_running_loop().current_task().unwrap().cancel();
            pending::<()>().await;
        });
        assert!(matches!(
            cancelled,
            Err(TestError::Run(RunError::Cancelled(_)))
        ));
        testing::run(async {
            let nested = testing::try_run(async {});
            assert!(matches!(nested, Err(TestError::Run(RunError::Nested))));
        });
    });
}

#[test]
fn the_settings_reach_the_loop() {
    audited(|| {
        testing::builder()
            .clock(Clock::Monotonic)
            .debug(true)
            .run(async {
                assert!(get_running_loop().debug());
                assert!(get_running_loop().clock().is_none());
            });
        let builder = testing::builder().with(|builder| builder.counts(100));
        builder.run(async { assert_eq!(create_task(async {}).name(), "Task-102") });
    });
}

#[test]
fn settling_runs_what_is_ready_and_moves_no_clock() {
    audited(|| {
        let trace = Trace::new();
        testing::run(async {
            let t = trace.clone();
            let sleeping = create_task(async move {
                for round in 0..3 {
                    yield_now().await;
                    t.push(round);
                }
                sleep(HOUR).await;
                t.push("slept");
            });
            let before = testing::clock().now();
            testing::settle().await;
            trace.expect(["0", "1", "2"]);
            assert_eq!(testing::clock().now(), before);
            testing::clock().advance(HOUR);
            testing::settle().await;
            trace.expect(["slept"]);
            assert!(sleeping.done());
            sleeping.await.unwrap();
        });
    });
}
