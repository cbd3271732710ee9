//! Cancel scopes together: requests of a task and of scopes, raises that pass several, deadlines that meet.
//!
//! Lines of a trace begin with the seconds since the test began.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use callsoon::{
    CancelOrigin, ReturnWhen, Timeout, TimeoutState, catch_cancelled, create_task, current_task,
    get_running_loop, move_on_after, shield, sleep, task_group, timeout, timeout_at, wait,
    wait_for, yield_now,
};
use futures_lite::future::{or, zip};

use crate::support::one_turn;
use crate::support::scenario::{
    SECOND, at, cancelled_at, finish, gated, in_scenario, said, say, tidy, unmoved, until,
};

// Requests of a task.

#[test]
fn cancels_before_the_next_poll_are_one_request_with_the_newest_message() {
    in_scenario(|event_loop| {
        let mut task = event_loop.create_task(tidy("a", 1));
        one_turn(event_loop);
        assert!(task.cancel_with("first") && task.cancel_with("second"));
        assert_eq!(task.cancelling(), 2);
        finish(event_loop, &mut task);
        assert!(!task.cancel());
        said([
            "0 a cleans up",
            "1 a is clean",
            r#"1 cancelled by Task "second""#,
        ]);
    });
}

#[test]
fn a_request_that_is_taken_back_before_it_acts_is_none() {
    in_scenario(|event_loop| {
        let mut task = event_loop.create_task(async { catch_cancelled(until(1.0)).await.is_ok() });
        one_turn(event_loop);
        task.cancel();
        task.cancel();
        assert_eq!(
            (task.uncancel(), task.uncancel(), task.uncancel()),
            (1, 0, 0)
        );
        finish(event_loop, &mut task);
        said(["1 ended: true"]);
    });
}

#[test]
fn a_request_that_is_taken_back_later_only_lowers_the_count() {
    in_scenario(|event_loop| {
        let mut task = event_loop.create_task(tidy("a", 1));
        one_turn(event_loop);
        task.cancel();
        one_turn(event_loop);
        assert_eq!(task.uncancel(), 0);
        finish(event_loop, &mut task);
        said(["0 a cleans up", "1 a is clean", "1 cancelled by Task"]);
    });
}

#[test]
fn the_count_has_the_requests_of_scopes_around_the_caller_while_they_last() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let task = current_task().unwrap();
            let inside = async {
                drop(catch_cancelled(pending::<()>()).await);
                say(format!("handled: {}", task.cancelling()));
                let second = catch_cancelled(pending::<()>()).await;
                // The deadline of the region around is in progress, and the task's request not taken back.
                say(format!("late: {}", task.cancelling()));
                say(format!("taken back: {}", task.uncancel()));
                say(format!("never below: {}", task.uncancel()));
                drop(second);
                say(format!("over: {}", task.cancelling()));
            };
            let result = timeout(SECOND * 2, inside).await;
            say(format!("{result:?} {}", task.cancelling()));
        });
        said([
            "1 handled: 1",
            "2 late: 2",
            "2 taken back: 1",
            "2 never below: 1",
            "2 over: 0",
            "2 Ok(()) 0",
            "2 ended: ()",
        ]);
    });
}

#[test]
fn a_cancellation_tells_why_by_whom_and_where() {
    in_scenario(|event_loop| {
        let mut task = event_loop.create_task(async {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            let location = cancelled.location().unwrap();
            say(format!(
                "{cancelled} {:?} {}",
                cancelled.origin(),
                location.file()
            ));
            cancelled.resume().await
        });
        one_turn(event_loop);
        let line = line!() + 1;
        task.cancel_with("enough");
        let result = event_loop.run_until_complete(&mut task).unwrap();
        let error = result.unwrap_err();
        let cancellation = error.cancelled().unwrap();
        assert_eq!(cancellation.location().unwrap().line(), line);
        assert_eq!(cancellation.origin(), CancelOrigin::Task);
        said([&format!("0 cancelled: enough Task {}", file!())]);
    });
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let caught = task_group(async |group| {
                group.create_task(async { Err::<(), _>("broken") });
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                let origin = cancelled.origin();
                say(format!("{origin:?}"));
                cancelled.resume().await;
            });
            caught.await.is_err()
        });
        said(["0 Group", "0 ended: true"]);
    });
}

#[test]
fn the_request_that_follows_awaits_is_the_same_all_the_way_down() {
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(async {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            say(format!("{cancelled} {:?}", cancelled.origin()));
            cancelled.resume().await;
        });
        let middle = event_loop.create_task(async { inner.await.is_ok() });
        cancelled_at(event_loop, &[], async {
            timeout(SECOND, middle).await.is_err()
        });
        said(["1 cancelled Timeout", "1 ended: true"]);
    });
}

// Raises.

#[test]
fn a_token_that_is_resumed_in_another_task_cancels_both() {
    in_scenario(|event_loop| {
        let slot = Rc::new(RefCell::new(None));
        let taken = Rc::clone(&slot);
        let mut other = event_loop.create_task(async move {
            until(2.0).await;
            let token: callsoon::Cancelled = taken.borrow_mut().take().unwrap();
            token.resume().await;
        });
        cancelled_at(event_loop, &[1.0], async move {
            let caught = catch_cancelled(pending::<()>()).await;
            *slot.borrow_mut() = caught.err();
            pending::<()>().await;
        });
        finish(event_loop, &mut other);
        said([r#"2 cancelled by Task "1""#, r#"2 cancelled by Raised "1""#]);
    });
}

#[test]
fn a_token_that_is_resumed_under_another_scope_of_its_task_passes_where_it_was_caught() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            let second = catch_cancelled(cancelled.resume()).await;
            say(format!(
                "{:?}",
                second.map_err(|cancelled| cancelled.origin())
            ));
            pending::<()>().await;
        });
        said(["1 Err(Raised)", r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn a_token_that_is_resumed_after_its_request_is_over_is_a_raise() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let kept = Rc::new(RefCell::new(None));
            let store = Rc::clone(&kept);
            let late = timeout(SECOND, async move {
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                *store.borrow_mut() = Some(cancelled);
                7
            });
            say(format!("{:?}", late.await));
            let token = kept.borrow_mut().take().unwrap();
            token.resume().await
        });
        said(["1 Ok(7)", "1 cancelled by Raised"]);
    });
}

#[test]
fn a_resume_climbs_out_of_all_catches_in_one_poll() {
    in_scenario(|event_loop| {
        async fn nest(depth: u32) {
            if depth == 0 {
                return pending().await;
            }
            let cancelled = catch_cancelled(Box::pin(nest(depth - 1)))
                .await
                .unwrap_err();
            cancelled.resume().await
        }
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let mut nested = Box::pin(nest(50));
        cancelled_at(
            event_loop,
            &[1.0],
            poll_fn(move |context| {
                counted.set(counted.get() + 1);
                nested.as_mut().poll(context)
            }),
        );
        assert_eq!(polls.get(), 2);
        said([r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn resume_that_is_dropped_before_its_first_poll_has_handled_the_request() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            drop(cancelled.resume());
            sleep(SECOND).await;
            "went on"
        });
        said([r#"2 ended: "went on""#]);
    });
}

// Deadlines.

#[test]
fn a_result_at_the_last_moment_is_given() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            timeout(SECOND, async {
                sleep(SECOND).await;
                "in time"
            })
            .await
        });
        said([r#"1 ended: Ok("in time")"#]);
    });
}

#[test]
fn the_earlier_deadline_goes_first_and_of_equal_ones_the_outermost() {
    for (outer, inner, result) in [
        (2.0, 1.0, "Ok(Err(TimedOut))"),
        (1.0, 2.0, "Err(TimedOut)"),
        (1.0, 1.0, "Err(TimedOut)"),
    ] {
        in_scenario(move |event_loop| {
            let zero = event_loop.time();
            let when = move |seconds| zero + Duration::from_secs_f64(seconds);
            cancelled_at(event_loop, &[], async move {
                timeout_at(when(outer), timeout_at(when(inner), pending::<()>())).await
            });
            said([&format!("1 ended: {result}")]);
        });
        // Both have been due for long when the task is polled.
        in_scenario(move |event_loop| {
            let zero = event_loop.time();
            let when = move |seconds| zero + Duration::from_secs_f64(seconds);
            let gate = Rc::new(Cell::new(true));
            let (shut, reopened) = (Rc::clone(&gate), Rc::clone(&gate));
            at(0.5, move || shut.set(false));
            at(3.0, move || reopened.set(true));
            let both = timeout_at(when(outer), timeout_at(when(inner), pending::<()>()));
            cancelled_at(event_loop, &[], async move {
                or(gated(gate, both), async {
                    until(4.0).await;
                    pending().await
                })
                .await
            });
            said([&format!("4 ended: {result}")]);
        });
    }
}

#[test]
fn a_deadline_that_was_kept_off_holds_up_none_inside_it() {
    in_scenario(|event_loop| {
        cancelled_at(
            event_loop,
            &[],
            timeout(SECOND, async {
                unmoved("a").await;
                timeout(SECOND * 2, pending::<()>()).await
            }),
        );
        said(["1 a goes on", "3 ended: Ok(Err(TimedOut))"]);
    });
}

#[test]
fn a_region_whose_inside_has_passed_does_not_expire_by_itself() {
    in_scenario(|event_loop| {
        let future = event_loop.create_future::<()>();
        let region = async {
            let result = timeout(SECOND, future).await;
            say(format!("never said: {result:?}"));
        };
        cancelled_at(event_loop, &[0.5], zip(region, tidy("b", 3)));
        said([
            "0.5 b cleans up",
            "3.5 b is clean",
            r#"3.5 cancelled by Task "0.5""#,
        ]);
    });
}

#[test]
fn of_equal_deadlines_the_outermost_alone_goes_through_a_catch_between() {
    in_scenario(|event_loop| {
        let zero = event_loop.time();
        cancelled_at(event_loop, &[], async move {
            timeout_at(zero + SECOND, async move {
                let inner = timeout_at(zero + SECOND, tidy("inside", 1));
                match catch_cancelled(inner).await {
                    Ok(result) => say(format!("never said: {result:?}")),
                    Err(cancelled) => {
                        say("caught");
                        cancelled.resume().await
                    }
                }
            })
            .await
        });
        said([
            "1 inside cleans up",
            "2 inside is clean",
            "2 caught",
            "2 ended: Err(TimedOut)",
        ]);
    });
}

#[test]
fn a_limit_that_is_moved_in_the_turn_in_which_it_is_due_delays_no_other() {
    in_scenario(|event_loop| {
        let zero = event_loop.time();
        cancelled_at(event_loop, &[], async move {
            let outer = Timeout::at(Some(zero + SECOND));
            let limit = outer.clone();
            let result = outer.run(async move {
                let inner = timeout_at(zero + SECOND, async {
                    sleep(SECOND).await;
                    limit.reschedule(Some(zero + SECOND * 9)).unwrap();
                    pending::<()>().await;
                });
                let inner = inner.await;
                say(format!("{inner:?}"));
            });
            result.await
        });
        said(["1 Err(TimedOut)", "1 ended: Ok(())"]);
    });
}

#[test]
fn no_time_at_all_polls_once() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            assert_eq!(timeout(Duration::ZERO, async { 1 }).await, Ok(1));
            assert!(timeout(Duration::ZERO, yield_now()).await.is_err());
            let past = get_running_loop().time();
            assert_eq!(timeout_at(past, async { 1 }).await, Ok(1));
            assert!(timeout_at(past, pending::<()>()).await.is_err());
            assert_eq!(move_on_after(Duration::ZERO, pending::<()>()).await, None);
        });
        said(["0 ended: ()"]);
    });
}

#[test]
fn a_task_that_is_given_no_time_never_starts() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let mut task = create_task(async { say("started") });
            let result = wait_for(&mut task, Duration::ZERO).await;
            say(format!("{result:?} {}", task.cancelled()));
        });
        said(["0 Err(TimedOut) true", "0 ended: ()"]);
    });
}

#[test]
fn a_limit_has_a_state_and_is_not_moved_once_it_has_expired() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let limit = Timeout::after(SECOND);
            assert_eq!(limit.reschedule(None), Err(TimeoutState::Created));
            let inside = limit.clone();
            let result = limit
                .run(async move {
                    yield_now().await;
                    inside
                        .reschedule(Some(inside.when().unwrap() + SECOND))
                        .unwrap();
                    let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                    say(format!("{:?}", inside.reschedule(None)));
                    cancelled.resume().await
                })
                .await;
            let result: Result<(), _> = result;
            say(format!("{result:?} {:?}", limit.reschedule(None)));
        });
        said([
            "2 Err(Expiring)",
            "2 Err(TimedOut) Err(Expired)",
            "2 ended: ()",
        ]);
    });
}

#[test]
fn a_limit_around_a_task_cancels_it_and_one_around_a_shield_does_not() {
    in_scenario(|event_loop| {
        let mut task = event_loop.create_task(async {
            until(3.0).await;
            "done"
        });
        cancelled_at(event_loop, &[], async move {
            let first = timeout(SECOND, shield(&mut task)).await;
            say(format!("{} {}", first.is_err(), task.done()));
            let mut tasks = vec![task];
            let done = wait(&mut tasks, ReturnWhen::AllCompleted, Some(SECOND / 2)).await;
            say(format!("{} {}", done.len(), tasks.len()));
            let mut task = tasks.remove(0);
            let third = timeout(SECOND, &mut task).await;
            say(format!("{} {}", third.is_err(), task.cancelled()));
        });
        said(["1 true false", "1.5 0 1", "2.5 true true", "2.5 ended: ()"]);
    });
}

#[test]
fn an_outer_deadline_interrupts_clean_up_and_is_the_outcome() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let inner = async {
                let result = timeout(SECOND, tidy("a", 9)).await;
                say(format!("never said: {result:?}"));
            };
            timeout(SECOND * 2, inner).await
        });
        said(["1 a cleans up", "2 ended: Err(TimedOut)"]);
    });
}

#[test]
fn the_clean_up_of_a_group_s_children_outlasts_an_outer_deadline() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let inner = timeout(SECOND, async {
                task_group(async |group| {
                    group.create_task(tidy("child", 3));
                    pending::<()>().await;
                })
                .await
                .is_ok()
            });
            timeout(SECOND * 2, inner).await
        });
        said([
            "1 child cleans up",
            "4 child is clean",
            "4 ended: Err(TimedOut)",
        ]);
    });
}

#[test]
fn an_inner_that_never_stops_is_waited_for_until_a_second_request() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[100.0], async {
            timeout(SECOND, tidy("endless", 3000)).await
        });
        said(["1 endless cleans up", r#"100 cancelled by Task "100""#]);
    });
}

#[test]
fn a_branch_that_takes_up_new_waits_for_ever_does_not_spin() {
    in_scenario(|event_loop| {
        let endless = async {
            loop {
                drop(catch_cancelled(pending::<()>()).await);
            }
        };
        let looped = zip(tidy("a", 1), endless);
        let mut task = event_loop.create_task(async { looped.await.1 });
        let victim = task.as_ref();
        at(1.0, move || {
            victim.cancel();
        });
        finish(event_loop, &mut task);
        said(["1 a cleans up", "2 a is clean", "2 cancelled by Task"]);
    });
}
