//! Cancelling tasks without scopes: when it acts, what wins over it, what is left.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use callsoon::{TaskError, yield_now};

use crate::support::{CountingWaker, DropProbe, Trace, audited, one_turn, virtual_loop};

#[test]
fn cancel_is_true_until_the_task_has_ended_and_takes_a_turn_to_act() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let probe = DropProbe::new(&trace, "future");
        let task = event_loop.create_task(async move {
            let _probe = probe;
            pending::<()>().await;
        });
        one_turn(&event_loop);
        assert!(task.cancel() && task.cancel());
        assert!(!task.done() && !task.cancelled());
        trace.expect([]);
        one_turn(&event_loop);
        trace.expect(["drop future"]);
        assert!(task.done() && task.cancelled());
        assert!(!task.cancel(), "it has ended");
    });
}

#[test]
fn a_task_cancelled_before_its_first_step_never_runs_and_keeps_the_message() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let (t, probe) = (trace.clone(), DropProbe::new(&trace, "future"));
        let task = event_loop.create_task(async move {
            let _probe = probe;
            t.push("never");
        });
        task.cancel_with("changed my mind");
        let line = line!() - 1;
        let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
        let cancelled = error.cancelled().unwrap();
        assert_eq!(cancelled.message(), Some("changed my mind"));
        let place = cancelled.location().unwrap();
        assert_eq!((place.file(), place.line()), (file!(), line));
        trace.expect(["drop future"]);
    });
}

#[test]
fn of_several_requests_the_newest_message_counts() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let task = event_loop.create_task(pending::<()>());
        task.cancel_with("first");
        task.cancel_with("second");
        let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the task was cancelled: second");
    });
}

#[test]
fn a_task_that_cancels_itself_ends_at_its_next_await_or_with_its_return() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let awaits = event_loop.create_task(async move {
            callsoon::current_task().unwrap().cancel();
            t.push("goes on to its await");
            yield_now().await;
            unreachable!("the request came first");
        });
        let value = DropProbe::new(&trace, "the discarded value");
        let returns = event_loop.create_task(async move {
            callsoon::current_task().unwrap().cancel();
            value
        });
        one_turn(&event_loop);
        trace.expect(["goes on to its await", "drop the discarded value"]);
        assert!(returns.cancelled() && !awaits.done());
        one_turn(&event_loop);
        assert!(awaits.cancelled());
    });
}

#[test]
fn cancelling_in_the_turn_in_which_the_awaited_thing_completes_cancels() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let future = event_loop.create_future();
        let task = event_loop.create_task(future.clone());
        one_turn(&event_loop);
        future.set_result(1).unwrap();
        task.cancel();
        one_turn(&event_loop);
        assert!(task.cancelled());
        assert_eq!(
            future.result().unwrap().unwrap(),
            1,
            "the result stays where it was"
        );
    });
}

#[test]
fn a_panic_wins_over_a_request_that_came_meanwhile() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let mut task = event_loop.create_task(async {
            callsoon::current_task().unwrap().cancel();
            panic!("on purpose: louder");
        });
        one_turn(&event_loop);
        let result: Result<(), TaskError> = task.result().unwrap();
        assert_eq!(
            result.unwrap_err().panicked().unwrap().message(),
            "on purpose: louder"
        );
        assert!(!task.cancelled());
    });
}

#[test]
fn a_cancelled_sleep_disarms_its_timer() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let start = event_loop.time();
        let task = event_loop.create_task(callsoon::sleep(Duration::from_secs(3600)));
        one_turn(&event_loop);
        assert_eq!(event_loop.metrics().timers, 1);
        task.cancel();
        assert!(event_loop.run_until_complete(task).unwrap().is_err());
        assert_eq!(event_loop.metrics().timers, 0);
        assert_eq!(event_loop.time(), start);
    });
}

#[test]
fn a_stored_waker_counts_as_one_wake_however_often_it_is_used() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let (counter, waker) = CountingWaker::new();
        let future = event_loop.create_future::<()>();
        let mut handle = future.clone();
        let mut context = Context::from_waker(&waker);
        for _ in 0..5 {
            assert!(Pin::new(&mut handle).poll(&mut context).is_pending());
        }
        future.set_result(()).unwrap();
        assert_eq!(counter.wakes(), 1, "one handle has one place in the queue");
    });
}
