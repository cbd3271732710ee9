//! `shield`: a cancellation of the awaiter does not reach the task.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{EventLoop, Task, shield, sleep};

use crate::support::{
    Trace, Waiting, audited, complete, on_virtual_time, one_turn, quiet_panics, virtual_loop,
};

const SECOND: Duration = Duration::from_secs(1);

/// A task that writes a line after a second, and ends with it.
fn job(event_loop: &EventLoop, trace: &Trace) -> Task<&'static str> {
    let trace = trace.clone();
    event_loop.create_task(async move {
        sleep(SECOND).await;
        trace.push("the job is done");
        "saved"
    })
}

fn bad_job(event_loop: &EventLoop) -> Task<()> {
    event_loop.create_task(async {
        sleep(SECOND).await;
        panic!("on purpose")
    })
}

#[test]
fn cancelling_the_awaiter_ends_the_awaiter_and_not_the_task() {
    on_virtual_time(|trace, event_loop| {
        let job = Rc::new(RefCell::new(job(&event_loop, &trace)));
        let outer = event_loop.create_task({
            let (job, trace) = (Rc::clone(&job), trace.clone());
            #[allow(
                clippy::await_holding_refcell_ref,
                reason = "nobody else borrows meanwhile"
            )]
            async move {
                let outcome = shield(&mut *job.borrow_mut()).await;
                trace.push(format!("never written: {outcome:?}"));
            }
        });
        one_turn(&event_loop);
        outer.cancel();
        let error = event_loop.run_until_complete(outer).unwrap().unwrap_err();
        trace.push(error);
        let job = Rc::into_inner(job).unwrap().into_inner();
        trace.push(format!(
            "{:?}",
            event_loop.run_until_complete(shield(job)).unwrap().ok()
        ));
        trace.expect([
            "the task was cancelled",
            "the job is done",
            r#"Some("saved")"#,
        ]);
    });
}

#[test]
fn an_owned_task_runs_on_unread_when_its_shield_is_dropped() {
    on_virtual_time(|trace, event_loop| {
        drop(Waiting::begun(shield(job(&event_loop, &trace))));
        event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
        // Its value is not taken, which is no failure: no report.
        trace.expect(["the job is done"]);
    });
}

#[test]
fn a_task_that_fails_after_its_awaiter_is_gone_is_reported_once() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let job = bad_job(&event_loop);
        let outer = event_loop.create_task(async move { shield(job).await });
        one_turn(&event_loop);
        outer.cancel();
        event_loop.run_until_complete(outer).unwrap().unwrap_err();
        trace.push("the awaiter is gone");
        event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
        event_loop.close().unwrap();
        trace.expect([
            "the awaiter is gone",
            "report: Task exception was never retrieved (on purpose)",
        ]);
    });
}

#[test]
fn a_task_that_fails_while_it_is_awaited_tells_its_awaiter_alone() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let job = bad_job(&event_loop);
        let outcome = event_loop.run_until_complete(shield(job)).unwrap();
        trace.push(outcome.unwrap_err());
        event_loop.close().unwrap();
        trace.expect(["the task panicked: on purpose"]);
    });
}

#[test]
fn cancelling_the_task_itself_is_what_the_awaiter_gets() {
    on_virtual_time(|_, event_loop| {
        let job = event_loop.create_task(pending::<()>());
        let inner = job.as_ref();
        event_loop.call_later(SECOND, move || {
            inner.cancel_with("inside");
        });
        let outcome = event_loop.run_until_complete(shield(job)).unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(error.cancelled().unwrap().message(), Some("inside"));
    });
}

#[test]
fn a_task_that_has_ended_is_not_waited_for() {
    on_virtual_time(|trace, event_loop| {
        let mut job = job(&event_loop, &trace);
        event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
        assert_eq!(
            Waiting::new(shield(&mut job)).poll().unwrap().unwrap(),
            "saved"
        );
        trace.expect(["the job is done"]);
    });
}

#[test]
fn a_future_can_be_shielded_like_a_task() {
    on_virtual_time(|_, event_loop| {
        let future = event_loop.create_future::<u8>();
        drop(Waiting::begun(shield(future.clone())));
        assert!(!future.done() && !future.cancelled());
        let mut waiting = Waiting::begun(shield(future.clone()));
        future.set_result(7).unwrap();
        assert!(waiting.is_woken());
        assert_eq!(waiting.poll().unwrap().unwrap(), 7);
    });
}

#[test]
fn a_boxed_future_becomes_a_task_at_once_and_outlives_its_awaiter() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let outer = event_loop.create_task(async move {
            let begun = t.clone();
            let never_awaited = shield(Box::pin(async move { begun.push("it runs unawaited") }));
            drop(never_awaited);
            let outcome = shield(Box::pin(async move {
                t.push("the job begins");
                sleep(SECOND).await;
                t.push("the job is done");
            }));
            outcome.await.unwrap();
        });
        one_turn(&event_loop);
        one_turn(&event_loop);
        trace.expect(["it runs unawaited", "the job begins"]);
        outer.cancel();
        let error = event_loop.run_until_complete(outer).unwrap().unwrap_err();
        trace.push(error);
        event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
        trace.expect(["the task was cancelled", "the job is done"]);
    });
}

#[test]
fn a_boxed_future_that_panics_is_an_error_of_its_awaiter() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let outcome = event_loop.run_until_complete(async {
            let job: Pin<Box<dyn Future<Output = u8>>> = Box::pin(async { panic!("on purpose") });
            shield(job).await
        });
        trace.push(outcome.unwrap().unwrap_err());
        event_loop.close().unwrap();
        trace.expect(["the task panicked: on purpose"]);
    });
}

#[test]
fn the_macro_makes_a_task_of_a_future_and_shields_a_task_itself() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let outer = event_loop.create_task(async move {
            let t = t.clone();
            callsoon::shield!(async move {
                sleep(SECOND).await;
                t.push("saved");
            })
            .await
        });
        one_turn(&event_loop);
        outer.cancel();
        trace.push(event_loop.run_until_complete(outer).unwrap().unwrap_err());
        complete(&event_loop, async {
            // The task runs on, and is no other's.
            trace.push(callsoon::all_tasks().len());
            sleep(SECOND).await;
            trace.push(callsoon::all_tasks().len());
            let count = || callsoon::all_tasks().len();
            let mut task = callsoon::create_task(sleep(SECOND));
            drop(callsoon::shield!(&mut task));
            let shielded = callsoon::shield!(task);
            assert_eq!(count(), 2);
            let boxed: Pin<Box<dyn Future<Output = u8>>> = Box::pin(async { 1 });
            let boxed = callsoon::shield!(boxed);
            let future = callsoon::get_running_loop().create_future();
            future.set_result(2).unwrap();
            let future = callsoon::shield!(future);
            assert_eq!(count(), 3);
            let ready = callsoon::shield!(std::future::ready(3));
            let builder = callsoon::shield!(generic(async { 4 }));
            assert_eq!(count(), 5);
            shielded.await.unwrap();
            trace.push(format!(
                "{} {} {} {}",
                boxed.await.unwrap(),
                future.await.unwrap(),
                ready.await.unwrap(),
                builder.await.unwrap().unwrap()
            ));
        });
        trace.expect(["the task was cancelled", "2", "saved", "1", "1 2 3 4"]);
    });
}

/// Where the type is a parameter, the argument is a future.
async fn generic<F: Future + 'static>(future: F) -> Result<F::Output, callsoon::TaskError> {
    callsoon::shield!(future).await
}
