//! A limit and a cancellation at the same time: which one wins, and what is cleaned up under which.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{
    Task, Timeout, TimeoutState, catch_cancelled, create_task, current_task, get_running_loop,
    sleep, timeout, timeout_at, yield_now,
};

use crate::support::{outcome, run_scenario};
use crate::timeouts::SECOND;

#[test]
fn errors_and_cancellations_from_elsewhere_pass_unchanged() {
    run_scenario(
        async |scenario| {
            let error = timeout(SECOND, async { Err::<(), _>("its own") }).await;
            assert_eq!(error, Ok(Err("its own")));
            let limit = Timeout::after(9 * SECOND);
            let l = limit.clone();
            let mut task = create_task(async move { l.run(pending::<()>()).await });
            sleep(SECOND).await;
            task.cancel_with("enough");
            scenario.say(outcome((&mut task).await));
            assert!(!limit.expired());
            assert_eq!(limit.reschedule(None), Err(TimeoutState::Finished));
        },
        ["1 the task was cancelled: enough"],
    );
}

#[test]
fn a_cancellation_from_within_passes_the_limit() {
    run_scenario(
        async |scenario| {
            let mut task = create_task(async {
                let me = current_task().unwrap();
                let inside = timeout(9 * SECOND, async move {
                    me.cancel_with("by itself");
                    sleep(SECOND).await;
                });
                inside.await
            });
            scenario.say(outcome((&mut task).await));
        },
        ["0 the task was cancelled: by itself"],
    );
}

#[test]
fn a_limit_holds_during_the_clean_up_after_a_cancellation() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let mut task = create_task(async move {
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                let me = current_task().unwrap();
                assert_eq!(me.cancelling(), 1);
                let late = timeout(SECOND, pending::<()>()).await;
                s.say(format!("{late:?}"));
                assert_eq!(me.cancelling(), 1);
                assert_eq!(timeout(SECOND, async { 3 }).await, Ok(3));
                cancelled.resume().await
            });
            yield_now().await;
            task.cancel();
            let ended: Result<(), _> = (&mut task).await;
            scenario.say(outcome(ended));
        },
        ["1 Err(TimedOut)", "1 the task was cancelled"],
    );
}

#[test]
fn a_deadline_during_the_clean_up_after_a_cancellation_leaves_the_task_cancelled() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let limited = async move { timeout(2 * SECOND, s.worker("a", 9.0, 9.0)).await };
            let mut task = create_task(limited);
            sleep(SECOND).await;
            task.cancel_with("first");
            scenario.say(outcome((&mut task).await));
        },
        ["1 a is cancelled: first", "2 the task was cancelled: first"],
    );
}

#[test]
fn a_cancellation_during_the_clean_up_after_a_deadline_ends_the_task() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let limited = async move { timeout(SECOND, s.worker("a", 9.0, 9.0)).await };
            let mut task = create_task(limited);
            sleep(2 * SECOND).await;
            task.cancel_with("second");
            scenario.say(outcome((&mut task).await));
        },
        ["1 a is cancelled", "2 the task was cancelled: second"],
    );
}

/// C7: the task that is waited for ends, its deadline comes, and the waiter is cancelled, all in one turn, in every
/// order.
#[test]
fn c7_a_cancellation_is_never_swallowed_by_a_result_or_a_deadline() {
    run_scenario(
        async |scenario| {
            for order in ["rdc", "rcd", "drc", "dcr", "crd", "cdr"] {
                let when = get_running_loop().time() + SECOND;
                let gate = get_running_loop().create_future::<u8>();
                let waiter = Rc::new(RefCell::new(None::<Task<_>>));
                for rival in order.chars() {
                    match rival {
                        'r' => {
                            let gate = gate.clone();
                            let give = move || {
                                let _ = gate.set_result(1);
                            };
                            get_running_loop().call_at(when, give);
                        }
                        'd' => {
                            let gate = gate.clone();
                            let mut inner = create_task(async move { gate.await.unwrap() });
                            let wait =
                                async move { timeout_at(when, &mut inner).await.map(outcome) };
                            waiter.replace(Some(create_task(wait)));
                            sleep(Duration::ZERO).await;
                        }
                        _ => {
                            let waiter = Rc::clone(&waiter);
                            let cancel = move || {
                                let waiter = waiter.borrow();
                                assert!(waiter.as_ref().unwrap().cancel_with("outside"));
                            };
                            get_running_loop().call_at(when, cancel);
                        }
                    }
                }
                callsoon::sleep_until(when).await;
                let waiter = waiter.take().unwrap();
                scenario.say(format!("{order}: {}", outcome(waiter.await)));
            }
        },
        [
            "1 rdc: the task was cancelled: outside",
            "2 rcd: the task was cancelled: outside",
            "3 drc: the task was cancelled: outside",
            "4 dcr: the task was cancelled: outside",
            "5 crd: the task was cancelled: outside",
            "6 cdr: the task was cancelled: outside",
        ],
    );
}
