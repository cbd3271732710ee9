//! The life of a loop: running, stopping and closing a loop.

use std::cell::Cell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::TcpListener;
use callsoon::{
    Clock, EventLoop, LoopClosed, LoopHandle, RunError, get_running_loop, try_get_running_loop,
    yield_now,
};

use crate::support::{
    DropProbe, PENDING, Trace, audited, on_virtual_time, one_turn, panic_text, virtual_loop,
    wait_for_an_event,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A callback that writes a line and stops the loop.
fn stopping(trace: &Trace, line: &str) -> impl FnOnce() + 'static {
    let note = trace.note(line);
    move || {
        note();
        get_running_loop().stop();
    }
}

#[test]
fn stop_lets_the_batch_finish_and_what_it_scheduled_waits_for_the_next_run() {
    on_virtual_time(|trace, event_loop| {
        let (handle, note) = (event_loop.handle(), trace.note("scheduled by first"));
        let first = trace.note("first");
        event_loop.call_soon(move || {
            first();
            handle.call_soon(note);
        });
        event_loop.call_soon(stopping(&trace, "stops"));
        event_loop.call_soon(trace.note("behind the stop"));
        event_loop.run_forever().unwrap();
        trace.expect(["first", "stops", "behind the stop"]);
        assert_eq!(event_loop.metrics().ready, 1);
        one_turn(&event_loop);
        trace.expect(["scheduled by first"]);
    });
}

#[test]
fn stop_before_a_run_makes_it_one_turn_that_does_not_wait() {
    on_virtual_time(|trace, event_loop| {
        let start = event_loop.time();
        event_loop.call_later(HOUR, trace.note("an hour later"));
        event_loop.call_at(start, trace.note("due timer"));
        let (handle, note) = (event_loop.handle(), trace.note("next turn"));
        event_loop.call_soon(move || drop(handle.call_soon(note)));
        // Two requests are one.
        event_loop.stop();
        event_loop.stop();
        event_loop.run_forever().unwrap();
        trace.expect(["due timer"]);
        assert_eq!(event_loop.metrics().turns, 1);
        // The request is used up: this run ends by the second timer, an hour later.
        event_loop.call_later(HOUR, stopping(&trace, "stops"));
        event_loop.run_forever().unwrap();
        trace.expect(["next turn", "an hour later", "stops"]);
        assert_eq!(event_loop.time() - start, HOUR);
    });
}

#[test]
fn a_callback_that_stops_makes_exactly_one_turn() {
    on_virtual_time(|_, event_loop| {
        for turns in 1..=3 {
            let handle = event_loop.handle();
            event_loop.call_soon(move || handle.stop());
            event_loop.run_forever().unwrap();
            assert_eq!(event_loop.metrics().turns, turns);
        }
    });
}

#[test]
fn one_turn_runs_ready_callbacks_then_io_then_due_timers() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = EventLoop::builder()
            .clock(Clock::Virtual)
            .event_interval(1)
            .build()
            .unwrap();
        let listener = event_loop
            .run_until_complete(TcpListener::bind("127.0.0.1:0"))
            .unwrap()
            .unwrap();
        let address = listener.local_addr().unwrap();
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            let (accepted, _) = listener.accept().await.unwrap();
            t.push("event");
            drop(accepted);
        });
        one_turn(&event_loop);
        // All three are there before the turn; the timer came first and the event second.
        event_loop.call_at(event_loop.time(), trace.note("timer"));
        let client = std::net::TcpStream::connect(address).unwrap();
        wait_for_an_event(&event_loop);
        event_loop.call_soon(trace.note("callback"));
        one_turn(&event_loop);
        trace.expect(["callback", "event", "timer"]);
        assert!(task.done());
        drop(client);
    });
}

#[test]
fn run_until_complete_takes_a_future_that_borrows() {
    on_virtual_time(|_, event_loop| {
        let mut log = vec![1];
        let length = event_loop.run_until_complete(async {
            yield_now().await;
            log.push(2);
            log.len()
        });
        assert_eq!((length.unwrap(), log), (2, vec![1, 2]));
    });
}

#[test]
fn the_batch_in_which_main_ends_is_finished_and_no_more() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let value = event_loop.run_until_complete(async {
            let inner = t.clone();
            callsoon::create_task(async move {
                // Queued before main ended, so it gets its first step, as in asyncio, and no second one.
                inner.push("child starts");
                yield_now().await;
                inner.push("child goes on");
            })
            .detach();
            t.push("main ends");
            7
        });
        assert_eq!(value.unwrap(), 7);
        trace.expect(["main ends", "child starts"]);
        one_turn(&event_loop);
        trace.expect(["child goes on"]);
    });
}

#[test]
fn a_run_that_is_stopped_leaves_the_borrowed_task_to_the_next_one() {
    on_virtual_time(|trace, event_loop| {
        let mut task = event_loop.create_task(async {
            callsoon::sleep(HOUR).await;
            "slept"
        });
        event_loop.call_later(HOUR / 2, stopping(&trace, "stops"));
        let stopped = event_loop.run_until_complete(&mut task);
        assert!(matches!(stopped, Err(RunError::Stopped)));
        assert_eq!(
            stopped.unwrap_err().to_string(),
            "the event loop was stopped before the future completed"
        );
        assert!(!task.done());
        assert_eq!(
            event_loop.run_until_complete(task).unwrap().unwrap(),
            "slept"
        );
    });
}

#[test]
fn a_task_that_outlives_its_run_does_not_end_a_later_one() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let mut task = event_loop.create_task(async move {
            yield_now().await;
            t.push("task ends");
        });
        event_loop.stop();
        assert!(event_loop.run_until_complete(&mut task).is_err());
        event_loop.call_later(HOUR, stopping(&trace, "stops"));
        event_loop.run_forever().unwrap();
        trace.expect(["task ends", "stops"]);
    });
}

#[test]
fn stop_in_the_turn_in_which_main_ends_still_gives_the_value() {
    on_virtual_time(|trace, event_loop| {
        event_loop.stop();
        assert_eq!(event_loop.run_until_complete(async { 1 }).unwrap(), 1);
        // What would have ended that run is still in the queue, and ends no other.
        event_loop.call_later(HOUR, stopping(&trace, "stops"));
        event_loop.run_forever().unwrap();
        trace.expect(["stops"]);
    });
}

#[test]
fn a_stopped_run_drops_a_main_future_that_it_owns() {
    on_virtual_time(|trace, event_loop| {
        let probe = DropProbe::new(&trace, "main");
        event_loop.call_soon(stopping(&trace, "stops"));
        let stopped = event_loop.run_until_complete(async move {
            let _probe = probe;
            pending::<()>().await;
        });
        assert!(matches!(stopped, Err(RunError::Stopped)));
        trace.expect(["stops", "drop main"]);
        assert!(event_loop.all_tasks().is_empty());
    });
}

#[test]
fn an_unfinished_main_future_is_dropped_inside_its_loop_and_its_panic_is_reported() {
    audited(|| {
        struct Loud(Trace);
        impl Drop for Loud {
            fn drop(&mut self) {
                get_running_loop().call_soon(self.0.note("queued by the destructor"));
                panic!("on purpose: in main's destructor");
            }
        }
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let loud = Loud(trace.clone());
        event_loop.stop();
        let stopped = event_loop.run_until_complete(async move {
            let _loud = loud;
            pending::<()>().await;
        });
        assert!(matches!(stopped, Err(RunError::Stopped)));
        trace.expect([
            "report: Exception in the destructor of an unfinished main task (on purpose: in main's destructor)",
        ]);
        one_turn(&event_loop);
        trace.expect(["queued by the destructor"]);
    });
}

#[test]
fn a_panic_of_main_resumes_after_its_batch_and_the_loop_is_usable() {
    on_virtual_time(|trace, event_loop| {
        let note = trace.note("behind main");
        let text = panic_text(|| {
            event_loop.run_until_complete(async {
                get_running_loop().call_soon(note);
                panic!("on purpose: main");
            })
        });
        assert_eq!(text, "on purpose: main");
        trace.expect(["behind main"]);
        assert!(!event_loop.is_running());
        assert!(try_get_running_loop().is_none());
        // No request to stop was left behind.
        event_loop.call_later(HOUR, stopping(&trace, "stops"));
        event_loop.run_forever().unwrap();
        trace.expect(["stops"]);
        assert_eq!(event_loop.run_until_complete(async { 3 }).unwrap(), 3);
    });
}

#[test]
fn a_cancelled_main_is_an_error_with_its_message() {
    on_virtual_time(|trace, event_loop| {
        let handle = event_loop.handle();
        event_loop.call_later(HOUR, move || {
            assert!(handle.all_tasks()[0].cancel_with("too late"));
        });
        let probe = DropProbe::new(&trace, "main");
        let cancelled = event_loop.run_until_complete(async move {
            let _probe = probe;
            pending::<()>().await;
        });
        let Err(RunError::Cancelled(cancelled)) = cancelled else {
            panic!("{cancelled:?}");
        };
        assert_eq!(cancelled.message(), Some("too late"));
        trace.expect(["drop main"]);
    });
}

#[test]
fn a_loop_says_whether_it_runs_and_is_closed() {
    on_virtual_time(|_, event_loop| {
        let handle = event_loop.handle();
        let state = |handle: &LoopHandle| (handle.is_running(), handle.is_closed());
        assert_eq!(state(&handle), (false, false));
        let inside = event_loop.run_until_complete(async { state(&handle) });
        assert_eq!(inside.unwrap(), (true, false));
        let (in_turn, seen) = (handle.clone(), Rc::new(Cell::new(false)));
        let flag = Rc::clone(&seen);
        event_loop.call_soon(move || flag.set(in_turn.is_running()));
        event_loop.turn(None).unwrap();
        assert!(seen.get());
        assert_eq!(state(&handle), (false, false));
        event_loop.close().unwrap();
        assert_eq!(state(&handle), (false, true));
    });
}

#[test]
fn a_loop_prints_its_state() {
    audited(|| {
        let event_loop = EventLoop::builder().debug(true).build().unwrap();
        let handle = event_loop.handle();
        let text = event_loop
            .run_until_complete(async { format!("{handle:?}") })
            .unwrap();
        let expected = "LoopHandle { running: true, closed: false, debug: true }";
        assert_eq!(text, expected);
        event_loop.close().unwrap();
        let expected = "EventLoop { running: false, closed: true, debug: true }";
        assert_eq!(format!("{event_loop:?}"), expected);
    });
}

#[test]
fn the_running_loop_is_known_inside_a_run_and_only_there() {
    on_virtual_time(|_, event_loop| {
        assert!(try_get_running_loop().is_none());
        let text = panic_text(get_running_loop);
        let expected = "no running event loop: this call belongs inside a task or callback of one";
        assert_eq!(text, expected);
        let seen = Rc::new(Cell::new(false));
        let flag = Rc::clone(&seen);
        event_loop.call_soon(move || flag.set(try_get_running_loop().is_some()));
        one_turn(&event_loop);
        assert!(seen.get());
        assert!(try_get_running_loop().is_none());
    });
}

#[test]
fn the_innermost_loop_is_the_running_one_and_the_outer_one_comes_back() {
    audited(|| {
        struct InClose(Trace);
        impl Drop for InClose {
            fn drop(&mut self) {
                // The loop that is being closed, not the one whose callback closes it.
                self.0.push(format!("{:?}", get_running_loop()));
            }
        }
        let trace = Trace::new();
        let (outer, inner) = (virtual_loop(&trace), virtual_loop(&trace));
        let in_close = InClose(trace.clone());
        inner.call_soon(move || drop(in_close));
        let t = trace.clone();
        outer.call_soon(move || {
            drop(inner);
            t.push(format!("{:?}", get_running_loop()));
        });
        one_turn(&outer);
        trace.expect([
            "LoopHandle { running: false, closed: true, debug: false }",
            "LoopHandle { running: true, closed: false, debug: false }",
        ]);
    });
}

#[test]
fn close_drops_everything_unrun_and_a_second_close_does_nothing() {
    on_virtual_time(|trace, event_loop| {
        let probe = |name| DropProbe::new(&trace, name);
        let (a, b) = (probe("callback"), probe("timer"));
        let (c, d) = (probe("never polled"), probe("sleeping"));
        let sleeping = event_loop.create_task(async move {
            let _probe = d;
            callsoon::sleep(HOUR).await;
        });
        one_turn(&event_loop);
        event_loop.call_soon(move || unreachable!("{}", drop_late(a)));
        event_loop.call_later(HOUR, move || unreachable!("{}", drop_late(b)));
        let never_polled = event_loop.create_task(async move { drop_late(c) });
        event_loop.close().unwrap();
        assert!(sleeping.cancelled() && never_polled.cancelled());
        // Tasks in the order of their creation, then callbacks, then timers.
        trace.expect([
            PENDING,
            "drop sleeping",
            PENDING,
            "drop never polled",
            "drop callback",
            "drop timer",
        ]);
        event_loop.close().unwrap();
        let metrics = event_loop.metrics();
        let left = (
            metrics.ready,
            metrics.timers,
            metrics.tasks,
            metrics.sources,
        );
        assert_eq!(left, (0, 0, 0, 0));
    });
}

fn drop_late(_: DropProbe) -> &'static str {
    "never called"
}

#[test]
fn close_while_running_is_an_error_and_changes_nothing() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = Rc::new(virtual_loop(&trace));
        let (inside, t) = (Rc::clone(&event_loop), trace.clone());
        event_loop.call_soon(move || {
            assert!(matches!(inside.close(), Err(RunError::Nested)));
            t.push("still open");
        });
        event_loop.call_soon(trace.note("still runs"));
        one_turn(&event_loop);
        trace.expect(["still open", "still runs"]);
        assert!(!event_loop.is_closed());
    });
}

#[test]
fn after_close_every_call_says_so_and_drops_what_it_was_given() {
    on_virtual_time(|trace, event_loop| {
        let kept = event_loop.call_later(HOUR, || ());
        let when = kept.when();
        event_loop.close().unwrap();
        let probe = || DropProbe::new(&trace, "given");

        let a = probe();
        let text = panic_text(|| event_loop.call_soon(move || drop(a)));
        assert_eq!(text, "call_soon: the event loop is closed");
        let a = probe();
        let text = panic_text(|| event_loop.call_later(HOUR, move || drop(a)));
        assert_eq!(text, "call_later: the event loop is closed");
        let a = probe();
        let text = panic_text(|| event_loop.call_at(when, move || drop(a)));
        assert_eq!(text, "call_at: the event loop is closed");
        let a = probe();
        let text = panic_text(|| event_loop.create_task(async move { drop(a) }));
        assert_eq!(text, "create_task: the event loop is closed");
        trace.expect(["drop given"; 4]);

        assert!(event_loop.remote().is_closed());
        let posted = event_loop.remote().call_soon_threadsafe(|| ());
        assert_eq!(posted.unwrap_err(), LoopClosed);
        let a = probe();
        let run = event_loop.run_until_complete(async move { drop(a) });
        assert!(matches!(run, Err(RunError::Closed)));
        trace.expect(["drop given"]);
        assert!(matches!(event_loop.run_forever(), Err(RunError::Closed)));
        let turn = event_loop.turn(Some(Duration::ZERO));
        assert!(matches!(turn, Err(RunError::Closed)));

        // What only asks, or takes back, goes on working.
        kept.cancel();
        assert_eq!((kept.cancelled(), kept.when()), (true, when));
        event_loop.stop();
        assert!(event_loop.time() <= when);
        assert!(!event_loop.has_ready());
        assert!(event_loop.all_tasks().is_empty() && event_loop.current_task().is_none());
    });
}

/// Calls everything that takes new work and writes what became of it.
struct Late {
    handle: LoopHandle,
    trace: Trace,
}

impl Drop for Late {
    fn drop(&mut self) {
        let (handle, trace) = (&self.handle, &self.trace);
        let given = DropProbe::new(trace, "callback");
        let soon = handle.call_soon(move || drop(given));
        let later = handle.call_later(Duration::ZERO, || ());
        let given = DropProbe::new(trace, "task");
        let task = handle.create_task(async move { drop(given) });
        let posted = handle.remote().call_soon_threadsafe(|| ());
        trace.push(format!(
            "{} {} {} {posted:?}",
            soon.cancelled(),
            later.cancelled(),
            task.cancelled()
        ));
    }
}

const REFUSED: [&str; 3] = [
    "drop callback",
    "drop task",
    "true true true Err(LoopClosed)",
];

#[test]
fn while_the_loop_closes_new_work_is_refused_without_a_panic() {
    on_virtual_time(|trace, event_loop| {
        let late = Late {
            handle: event_loop.handle(),
            trace: trace.clone(),
        };
        event_loop.call_soon(move || drop(late));
        drop(event_loop);
        trace.expect(REFUSED);
    });
}

#[test]
fn while_the_thread_unwinds_a_closed_loop_refuses_without_a_panic() {
    on_virtual_time(|trace, event_loop| {
        event_loop.close().unwrap();
        let late = Late {
            handle: event_loop.handle(),
            trace: trace.clone(),
        };
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let _late = late;
            panic!("on purpose: a second panic here would abort");
        }));
        assert!(unwound.is_err());
        trace.expect(REFUSED);
    });
}
