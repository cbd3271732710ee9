//! Limits of time: `timeout`, `timeout_at`, `wait_for`, `move_on_after`, `Timeout`.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use callsoon::{
    CancelOrigin, TimedOut, Timeout, TimeoutState, catch_cancelled, create_task, current_task,
    get_running_loop, move_on_after, shield, sleep, sleep_with, timeout, timeout_at, wait_for,
    yield_now,
};

use crate::support::{audited, ending_of, outcome, panic_text, run_scenario};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// How many timers are armed; one of them watches over the test.
pub(crate) fn timers() -> usize {
    get_running_loop().metrics().timers - 1
}

#[test]
fn a_result_in_time_is_given_and_leaves_no_timer() {
    run_scenario(
        async |scenario| {
            scenario.say(format!(
                "{:?}",
                wait_for(sleep_with(SECOND, 1), 2 * SECOND).await
            ));
            scenario.say(format!(
                "{:?}",
                timeout(2 * SECOND, sleep_with(SECOND, 2)).await
            ));
            scenario.say(format!(
                "{:?}",
                move_on_after(2 * SECOND, sleep_with(SECOND, 3)).await
            ));
            let when = scenario.at(9.0);
            scenario.say(format!(
                "{:?}",
                timeout_at(when, sleep_with(SECOND, 4)).await
            ));
            assert_eq!(timers(), 0);
        },
        ["1 Ok(1)", "2 Ok(2)", "3 Some(3)", "4 Ok(4)"],
    );
}

#[test]
fn at_the_deadline_what_is_inside_is_cancelled_and_its_clean_up_waited_for() {
    run_scenario(
        async |scenario| {
            let late = timeout(SECOND, scenario.clone().worker("a", 9.0, 0.5)).await;
            scenario.say(format!("{late:?}"));
            let late = timeout_at(scenario.at(3.0), scenario.clone().worker("b", 9.0, 0.0)).await;
            scenario.say(format!("{late:?}"));
            let late = wait_for(scenario.clone().worker("c", 9.0, 0.0), SECOND).await;
            scenario.say(format!("{late:?}"));
            let late = move_on_after(SECOND, scenario.clone().worker("d", 9.0, 0.0)).await;
            scenario.say(format!("{late:?}"));
        },
        [
            "1 a is cancelled",
            "1.5 a is clean",
            "1.5 Err(TimedOut)",
            "3 b is cancelled",
            "3 b is clean",
            "3 Err(TimedOut)",
            "4 c is cancelled",
            "4 c is clean",
            "4 Err(TimedOut)",
            "5 d is cancelled",
            "5 d is clean",
            "5 None",
        ],
    );
}

#[test]
fn what_catches_the_deadline_learns_that_it_is_one_and_no_count_is_left_afterwards() {
    run_scenario(
        async |_| {
            let me = current_task().unwrap();
            let inner = me.clone();
            let late = timeout(SECOND, async move {
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                assert_eq!(cancelled.origin(), CancelOrigin::Timeout);
                assert_eq!(inner.cancelling(), 1);
                // What is taken back is the task's own requests, of which there is none.
                assert_eq!(inner.uncancel(), 1);
                cancelled.resume().await
            });
            let late: Result<(), TimedOut> = late.await;
            assert!(late.is_err());
            assert_eq!(me.cancelling(), 0);
            yield_now().await;
        },
        [],
    );
}

#[test]
fn without_a_limit_wait_for_waits_for_ever() {
    run_scenario(
        async |scenario| {
            let long = Duration::from_secs(1_000_000);
            scenario.say(wait_for(sleep_with(long, "at last"), None).await.unwrap());
            let limit = Timeout::at(None);
            scenario.say(limit.run(sleep_with(long, "again")).await.unwrap());
            assert!(!limit.expired());
        },
        ["1000000 at last", "2000000 again"],
    );
}

#[test]
fn a_zero_or_past_limit_lets_the_body_run_to_its_first_suspension() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let body = async move || {
                s.say("begins");
                yield_now().await;
                s.say("never reached");
            };
            assert_eq!(timeout(Duration::ZERO, body()).await, Err(TimedOut));
            assert_eq!(wait_for(body(), Duration::ZERO).await, Err(TimedOut));
            assert_eq!(timeout_at(scenario.start, body()).await, Err(TimedOut));
            let past = scenario.start.checked_sub(SECOND).unwrap_or(scenario.start);
            assert_eq!(timeout_at(past, body()).await, Err(TimedOut));
            assert_eq!(move_on_after(Duration::ZERO, body()).await, None);
            assert_eq!(Timeout::at(Some(past)).run(body()).await, Err(TimedOut));
            assert_eq!(timeout(Duration::ZERO, async { 7 }).await, Ok(7));
            assert_eq!(timeout_at(past, async { 7 }).await, Ok(7));
        },
        ["0 begins"; 6],
    );
}

#[test]
fn a_zero_limit_never_starts_a_task_and_takes_the_result_of_one_that_has_ended() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let mut unstarted = create_task(async move { s.say("never started") });
            assert!(wait_for(&mut unstarted, Duration::ZERO).await.is_err());
            scenario.say(ending_of(&mut unstarted));
            let mut ended = create_task(async { 5 });
            sleep(Duration::ZERO).await;
            sleep(Duration::ZERO).await;
            assert_eq!(
                wait_for(&mut ended, Duration::ZERO).await.unwrap().unwrap(),
                5
            );
            let mut runs = create_task(scenario.clone().worker("runs", 9.0, 1.0));
            yield_now().await;
            assert!(wait_for(&mut runs, Duration::ZERO).await.is_err());
            scenario.say(ending_of(&mut runs));
        },
        [
            "0 the task was cancelled",
            "0 runs is cancelled",
            "1 runs is clean",
            "1 the task was cancelled",
        ],
    );
}

#[test]
fn a_task_that_is_moved_in_is_cancelled_like_one_that_is_borrowed() {
    run_scenario(
        async |scenario| {
            let given = create_task(scenario.clone().worker("given", 9.0, 1.0));
            let watched = given.as_ref();
            assert!(wait_for(given, SECOND).await.is_err());
            assert!(watched.cancelled(), "and its end was waited for");
        },
        ["1 given is cancelled", "2 given is clean"],
    );
}

#[test]
fn c1_huge_limits_never_end_and_never_overflow() {
    run_scenario(
        async |scenario| {
            let huge = [
                Duration::MAX,
                Duration::from_millis(u64::MAX),
                Duration::from_nanos(u64::MAX),
                Duration::from_secs(u64::MAX / 2),
            ];
            for delay in huge {
                assert_eq!(timeout(delay, sleep_with(SECOND, 1)).await, Ok(1));
                assert_eq!(wait_for(sleep_with(SECOND, 1), delay).await, Ok(1));
                assert_eq!(move_on_after(delay, sleep_with(SECOND, 1)).await, Some(1));
                let limit = Timeout::after(delay);
                assert_eq!(limit.run(sleep_with(SECOND, 1)).await, Ok(1));
            }
            let far = (0..63)
                .rev()
                .find_map(|power| scenario.start.checked_add(Duration::from_secs(1 << power)))
                .unwrap();
            assert_eq!(timeout_at(far, sleep_with(SECOND, 1)).await, Ok(1));
            let limit = Timeout::at(None);
            let moved = limit.run(async {
                limit.reschedule(Some(far)).unwrap();
                sleep(SECOND).await;
                assert_eq!(limit.when(), Some(far));
            });
            moved.await.unwrap();
            assert_eq!(timers(), 0);
        },
        [],
    );
}

#[test]
fn c2_the_shortest_limits_are_never_early() {
    run_scenario(
        async |_| {
            for nanos in (1..1000).step_by(7) {
                let delay = Duration::from_nanos(nanos);
                let before = get_running_loop().time();
                timeout(delay, pending::<()>()).await.unwrap_err();
                assert_eq!(get_running_loop().time() - before, delay);
            }
        },
        [],
    );
}

#[test]
fn a_result_given_in_spite_of_the_deadline_is_the_result() {
    run_scenario(
        async |scenario| {
            let limit = Timeout::after(SECOND);
            let value = limit.run(scenario.clone().stubborn("late", 9.0, 1.0)).await;
            scenario.say(format!("{value:?}, expired: {}", limit.expired()));
            let mut task = create_task(scenario.clone().stubborn("task", 9.0, 1.0));
            let value = wait_for(&mut task, SECOND).await;
            scenario.say(format!("{:?}", value.unwrap().unwrap()));
            let value = move_on_after(SECOND, async {
                let caught = catch_cancelled(pending::<()>()).await;
                caught.map_err(|_| "an error of its own")
            });
            scenario.say(format!("{:?}", value.await));
        },
        [
            "1 late ignores: cancelled",
            r#"2 Ok("late"), expired: true"#,
            "3 task ignores: cancelled",
            r#"4 "task""#,
            r#"5 Some(Err("an error of its own"))"#,
        ],
    );
}

#[test]
fn a_limit_cancels_a_task_and_waits_for_it_and_leaves_a_shielded_one() {
    run_scenario(
        async |scenario| {
            let mut task = create_task(scenario.clone().worker("task", 9.0, 1.0));
            assert!(timeout(SECOND, &mut task).await.is_err());
            scenario.say(ending_of(&mut task));
            let mut task = create_task(scenario.clone().worker("shielded", 2.0, 1.0));
            assert!(timeout(SECOND, shield(&mut task)).await.is_err());
            scenario.say(outcome(task.await));
        },
        [
            "1 task is cancelled",
            "2 task is clean",
            "2 the task was cancelled",
            "4 shielded is done",
            r#"4 "shielded""#,
        ],
    );
}

#[test]
fn a_panic_of_a_task_at_its_deadline_is_what_the_waiter_gets() {
    run_scenario(
        async |scenario| {
            let mut task = create_task(async {
                drop(catch_cancelled(pending::<()>()).await);
                panic!("on purpose");
            });
            let ended: Result<Result<(), _>, _> = wait_for(&mut task, SECOND).await;
            scenario.say(ended.unwrap().unwrap_err());
        },
        ["1 the task panicked: on purpose"],
    );
}

#[test]
fn a_future_of_the_loop_is_cancelled_at_the_deadline() {
    run_scenario(
        async |_| {
            let future = get_running_loop().create_future::<u8>();
            assert!(wait_for(future.clone(), SECOND).await.is_err());
            assert!(future.cancelled());
            let future = get_running_loop().create_future::<u8>();
            assert!(wait_for(shield(future.clone()), SECOND).await.is_err());
            assert!(!future.done());
        },
        [],
    );
}

#[test]
fn of_nested_limits_the_earliest_alone_says_that_time_is_over() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let outer = timeout(SECOND, async move {
                let inner = timeout(2 * SECOND, s.clone().worker("a", 9.0, 0.0)).await;
                s.say(format!("not reached: {inner:?}"));
            });
            scenario.say(format!("outer {:?}", outer.await));
            let s = scenario.clone();
            let outer = timeout(2 * SECOND, async move {
                let inner = timeout(SECOND, s.clone().worker("b", 9.0, 0.0)).await;
                s.say(format!("inner {inner:?}"));
            });
            scenario.say(format!("outer {:?}", outer.await));
        },
        [
            "1 a is cancelled",
            "1 a is clean",
            "1 outer Err(TimedOut)",
            "2 b is cancelled",
            "2 b is clean",
            "2 inner Err(TimedOut)",
            "2 outer Ok(())",
        ],
    );
}

#[test]
fn of_equal_deadlines_the_outermost_goes_first() {
    run_scenario(
        async |scenario| {
            let when = scenario.at(1.0);
            let said = Rc::new(Cell::new(0));
            let s = Rc::clone(&said);
            let outer = timeout_at(when, async move {
                let middle = timeout_at(when, async {
                    let inner = timeout_at(when, pending::<()>()).await;
                    s.set(s.get() + 1);
                    inner
                });
                let middle = middle.await;
                s.set(s.get() + 1);
                middle
            });
            scenario.say(format!("{:?}", outer.await));
            assert_eq!(said.get(), 0);
        },
        ["1 Err(TimedOut)"],
    );
}

#[test]
fn an_outer_deadline_interrupts_the_clean_up_of_an_inner_one() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let outer = timeout(2 * SECOND, async move {
                let inner = timeout(SECOND, s.clone().worker("inner", 9.0, 5.0)).await;
                s.say(format!("not reached: {inner:?}"));
            });
            scenario.say(format!("{:?}", outer.await));
        },
        ["1 inner is cancelled", "2 Err(TimedOut)"],
    );
}

#[test]
fn an_inner_limit_that_expires_while_the_outer_one_does_adds_nothing() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let outer = timeout(SECOND, async move {
                let caught = catch_cancelled(pending::<()>()).await;
                s.say("cleaning up, with a limit of its own");
                let late = timeout(SECOND, pending::<()>()).await;
                s.say(format!("{late:?}"));
                caught.unwrap_err().resume().await
            });
            let outer: Result<(), _> = outer.await;
            scenario.say(format!("{outer:?}"));
        },
        [
            "1 cleaning up, with a limit of its own",
            "2 Err(TimedOut)",
            "2 Err(TimedOut)",
        ],
    );
}

#[test]
fn a_thousand_nested_limits_poll_what_is_inside_once_a_poll() {
    run_scenario(
        async |scenario| {
            type Nested = std::pin::Pin<Box<dyn Future<Output = Result<(), TimedOut>>>>;
            let polls = Rc::new(Cell::new(0));
            let counted = Rc::clone(&polls);
            let when = scenario.at(1.0);
            let mut nested: Nested = Box::pin(poll_fn(move |_| {
                counted.set(counted.get() + 1);
                Poll::Pending
            }));
            for _ in 0..1000 {
                let inner = nested;
                nested = Box::pin(async move {
                    timeout_at(when, inner).await?.unwrap();
                    unreachable!("the outermost goes first")
                });
            }
            assert_eq!(timeout_at(when, nested).await, Err(TimedOut));
            scenario.say("the outermost");
            assert!(polls.get() < 10, "polled {} times", polls.get());
            assert_eq!(timers(), 0);
        },
        ["1 the outermost"],
    );
}

#[test]
fn a_result_that_comes_with_the_deadline_wins_if_it_was_there_first() {
    run_scenario(
        async |scenario| {
            let when = scenario.at(1.0);
            let value = timeout_at(when, async move {
                callsoon::sleep_until(when).await;
                "in the same turn"
            });
            scenario.say(format!("{:?}", value.await));
        },
        [r#"1 Ok("in the same turn")"#],
    );
}

#[test]
fn a_timeout_has_a_state_and_can_be_moved_only_while_it_is_active() {
    run_scenario(
        async |scenario| {
            let limit = Timeout::at(Some(scenario.at(5.0)));
            assert_eq!(limit.when(), Some(scenario.at(5.0)));
            let before = limit.reschedule(Some(scenario.at(1.0)));
            scenario.say(before.unwrap_err());
            let body = limit.run(async {
                scenario.say(format!("{limit:?}").contains("Active"));
                assert_eq!(limit.reschedule(Some(scenario.at(2.0))), Ok(()));
                assert_eq!(limit.when(), Some(scenario.at(2.0)));
                assert!(!limit.expired());
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                assert!(limit.expired());
                scenario.say(limit.reschedule(Some(scenario.at(9.0))).unwrap_err());
                assert_eq!(limit.when(), Some(scenario.at(2.0)));
                cancelled.resume().await
            });
            let late: Result<(), _> = body.await;
            scenario.say(format!("{late:?}"));
            scenario.say(limit.reschedule(None).unwrap_err());
            let limit = Timeout::at(None);
            limit.run(async {}).await.unwrap();
            scenario.say(limit.reschedule(None).unwrap_err());
            assert!(!limit.expired());
        },
        [
            "0 the timeout has not been entered",
            "0 true",
            "2 the timeout is expiring",
            "2 Err(TimedOut)",
            "2 the timeout has expired",
            "2 the timeout has finished",
        ],
    );
}

#[test]
fn a_limit_is_moved_by_others_later_earlier_away_and_into_the_past() {
    run_scenario(
        async |scenario| {
            for (at, to, name) in [
                (1.0, Some(3.0), "later"),
                (4.0, Some(4.5), "earlier"),
                (5.0, Some(0.5), "past"),
                (6.0, None, "away"),
            ] {
                let limit = Timeout::at(Some(scenario.at(at + 1.0)));
                let (mover, s) = (limit.clone(), scenario.clone());
                get_running_loop().call_at(scenario.at(at), move || {
                    mover.reschedule(to.map(|to| s.at(to))).unwrap();
                });
                let slept = limit
                    .run(callsoon::sleep_until(scenario.at(at + 2.0)))
                    .await;
                scenario.say(format!("{name} {slept:?} {}", limit.expired()));
            }
        },
        [
            "3 later Ok(()) false",
            "4.5 earlier Err(TimedOut) true",
            "5 past Err(TimedOut) true",
            "8 away Ok(()) false",
        ],
    );
}

#[test]
fn a_limit_that_is_moved_in_the_turn_of_its_deadline_holds_on_if_it_was_moved_first() {
    run_scenario(
        async |scenario| {
            let when = scenario.at(1.0);
            for first in [true, false] {
                let when = if first { when } else { scenario.at(3.0) };
                let limit = Timeout::at(Some(when));
                let mover = limit.clone();
                let move_it = move || {
                    let _ = mover.reschedule(Some(when + SECOND));
                };
                if first {
                    get_running_loop().call_at(when, move_it);
                } else {
                    get_running_loop().call_soon(move || {
                        // Armed after the limit's own timer.
                        get_running_loop().call_at(when, move_it);
                    });
                }
                let slept = limit.run(callsoon::sleep_until(when + SECOND / 2)).await;
                scenario.say(format!("{first} {slept:?}"));
            }
        },
        ["1.5 true Ok(())", "3 false Err(TimedOut)"],
    );
}

#[test]
fn a_limit_is_put_around_one_future_once() {
    audited(|| {
        let limit = Timeout::after(SECOND);
        let run = limit.run(pending::<()>());
        let text = panic_text(|| drop(limit.run(pending::<()>())));
        assert_eq!(text, "a Timeout is put around one future, once");
        drop(run);
        assert_eq!(limit.reschedule(None), Err(TimeoutState::Finished));
    });
}
