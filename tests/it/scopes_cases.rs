//! Cancel scopes together with everything else: deadlines that meet, futures that move, destructors and wakers that
//! misbehave, requests from strange places, a million at once.
//!
//! Lines of a trace begin with the seconds since the test began.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use callsoon::{
    CancelOrigin, Cancellation, EventLoop, ReturnWhen, RunError, Task, Timeout, TimeoutState,
    as_completed, catch_cancelled, create_task, current_task, gather, get_running_loop,
    move_on_after, shield, sleep, task_builder, task_group, timeout, timeout_at, wait, wait_for,
    yield_now,
};
use futures_lite::future::{or, zip};

use crate::support::lab::{
    Farewell, SECOND, at, cancelled_at, ending, finish, gated, heard, lab, said, say, stubborn,
    tidy, unmoved, until,
};
use crate::support::{
    EvilWaker, Together, Touch, Trace, Waiting, audited, forget, one_turn, virtual_loop, watched,
};

/// Polls a boxed future once.
async fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

// Requests of a task.

#[test]
fn cancels_before_the_next_poll_are_one_request_with_the_newest_message() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
        lab(move |event_loop| {
            let zero = event_loop.time();
            let when = move |seconds| zero + Duration::from_secs_f64(seconds);
            cancelled_at(event_loop, &[], async move {
                timeout_at(when(outer), timeout_at(when(inner), pending::<()>())).await
            });
            said([&format!("1 ended: {result}")]);
        });
        // Both have been due for long when the task is polled.
        lab(move |event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
fn a_limit_that_is_moved_in_the_turn_in_which_it_is_due_holds_nobody_up() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let mut task = create_task(async { say("started") });
            let result = wait_for(&mut task, Duration::ZERO).await;
            say(format!("{result:?} {}", task.cancelled()));
        });
        said(["0 Err(TimedOut) true", "0 ended: ()"]);
    });
}

#[test]
fn a_limit_says_where_it_stands_and_is_not_moved_once_it_has_expired() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
        cancelled_at(event_loop, &[100.0], async {
            timeout(SECOND, tidy("endless", 3000)).await
        });
        said(["1 endless cleans up", r#"100 cancelled by Task "100""#]);
    });
}

#[test]
fn a_branch_that_takes_up_new_waits_for_ever_does_not_spin() {
    lab(|event_loop| {
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

// Chains.

#[test]
fn a_chain_of_tasks_takes_as_many_turns_down_as_up() {
    lab(|event_loop| {
        let marks = Rc::new(Cell::new((0, 0)));
        let bottom = Rc::clone(&marks);
        let mut task = event_loop.create_task(async move {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            bottom.set((get_running_loop().metrics().turns, 0));
            cancelled.resume().await;
        });
        for _ in 0..10 {
            task = event_loop.create_task(async { drop(task.await) });
        }
        one_turn(event_loop);
        one_turn(event_loop);
        task.cancel();
        let before = event_loop.metrics().turns;
        event_loop
            .run_until_complete(shield(task))
            .unwrap()
            .unwrap_err();
        let after = event_loop.metrics().turns;
        let middle = marks.get().0;
        assert_eq!(middle - before, 11, "one turn for each on the way down");
        assert!(
            (11..=12).contains(&(after - middle)),
            "{} on the way up",
            after - middle
        );
    });
}

// What has no node.

#[test]
fn wait_and_as_completed_leave_their_tasks_alone() {
    lab(|event_loop| {
        let job = |event_loop: &EventLoop, name: &'static str| {
            event_loop.create_task(async move {
                until(3.0).await;
                say(format!("{name} is done"));
            })
        };
        let mut waited = vec![job(event_loop, "the waited for")];
        let completed = as_completed([job(event_loop, "the other")]);
        cancelled_at(event_loop, &[1.0], async move {
            wait(&mut waited, ReturnWhen::AllCompleted, None)
                .await
                .len()
        });
        cancelled_at(event_loop, &[2.0], async move {
            let mut completed = completed;
            completed.next().await.is_some()
        });
        event_loop.run_until_complete(until(4.0)).unwrap();
        said([
            r#"1 cancelled by Task "1""#,
            r#"2 cancelled by Task "2""#,
            "3 the waited for is done",
            "3 the other is done",
        ]);
    });
}

// Dropped, forgotten.

#[test]
fn what_select_drops_cancels_no_task_and_no_future() {
    lab(|event_loop| {
        let mut task = event_loop.create_task(until(3.0));
        let future = event_loop.create_future::<()>();
        cancelled_at(event_loop, &[], async move {
            or(async { drop((&mut task).await) }, until(1.0)).await;
            or(async { drop((&future).await) }, until(2.0)).await;
            say(format!("{} {}", task.cancelling(), future.done()));
            drop(task);
        });
        event_loop.run_until_complete(until(4.0)).unwrap();
        said(["2 0 false", "2 ended: ()"]);
    });
}

#[test]
fn a_group_that_is_dropped_asks_its_children_and_waits_for_nobody() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let group = task_group(async |group| {
                group.create_task(tidy("child", 1));
                pending::<()>().await;
            });
            or(async { drop(group.await) }, until(1.0)).await;
            or(
                async { drop(gather([tidy("gathered", 1)]).await) },
                until(2.0),
            )
            .await;
        });
        event_loop.run_until_complete(until(5.0)).unwrap();
        said([
            "1 child cleans up",
            "2 child is clean",
            "2 gathered cleans up",
            "2 ended: ()",
            "3 gathered is clean",
        ]);
    });
}

#[test]
fn what_is_forgotten_holds_nobody_up() {
    type Lost = Pin<Box<dyn Future<Output = ()>>>;
    let all: [fn() -> Lost; 6] = [
        || Box::pin(async { drop(catch_cancelled(pending::<()>()).await) }),
        || {
            Box::pin(async {
                let _ = timeout(SECOND * 9, pending::<()>()).await;
            })
        },
        || {
            Box::pin(async {
                drop(task_group(async |_| pending::<()>().await).await);
            })
        },
        || Box::pin(async { drop(gather([until(1.0)]).await) }),
        || Box::pin(async { drop(create_task(until(1.0)).await) }),
        || Box::pin(async { drop(get_running_loop().create_future::<()>().await) }),
    ];
    for lost in all {
        lab(move |event_loop| {
            cancelled_at(event_loop, &[2.0, 4.0], async move {
                let mut lost = lost();
                assert!(poll_once(&mut lost).await.is_none());
                forget(lost);
                unmoved("a").await;
                tidy("b", 1).await;
            });
            said([
                "2 a goes on",
                "4 b cleans up",
                "5 b is clean",
                r#"5 cancelled by Task "4""#,
            ]);
        });
    }
}

#[test]
fn a_forgotten_token_makes_its_region_wait_for_the_next_request() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[5.0], async {
            timeout(SECOND, async {
                forget(catch_cancelled(pending::<()>()).await);
                pending::<()>().await;
            })
            .await
        });
        said([r#"5 cancelled by Task "5""#]);
    });
}

// Moved while they are awaited.

/// Polls `moved` in a task that is cancelled at one second or lives on, and from two seconds on in another one, which is
/// cancelled at four.
fn moved_at_two<T: std::fmt::Debug + 'static>(
    event_loop: &EventLoop,
    first_is_cancelled: bool,
    moved: impl Future<Output = T> + 'static,
) {
    let slot = Rc::new(RefCell::new(Some(Box::pin(moved))));
    let shared = Rc::clone(&slot);
    let mut first = event_loop.create_task(poll_fn(move |context| {
        if let Some(moved) = &mut *shared.borrow_mut() {
            assert!(moved.as_mut().poll(context).is_pending());
        }
        Poll::<()>::Pending
    }));
    let other = Rc::clone(&slot);
    let mut second = event_loop.create_task(async move {
        until(2.0).await;
        let moved = other.borrow_mut().take().unwrap();
        moved.await
    });
    let (one, two) = (first.as_ref(), second.as_ref());
    if first_is_cancelled {
        at(1.0, move || {
            one.cancel_with("the first");
        });
    }
    at(4.0, move || {
        two.cancel_with("the second");
    });
    finish(event_loop, &mut second);
    first.cancel();
    finish(event_loop, &mut first);
}

#[test]
fn a_clean_up_that_moves_to_another_task_resumes_there_as_a_raise() {
    lab(|event_loop| {
        moved_at_two(event_loop, true, tidy("a", 2));
        said([
            "1 a cleans up",
            "3 a is clean",
            r#"3 cancelled by Raised "the first""#,
            r#"3 cancelled by Task "the first""#,
        ]);
    });
    // The same inside a region that moves with it.
    lab(|event_loop| {
        moved_at_two(event_loop, true, timeout(SECOND * 99, tidy("a", 2)));
        said([
            "1 a cleans up",
            "3 a is clean",
            r#"3 cancelled by Raised "the first""#,
            r#"3 cancelled by Task "the first""#,
        ]);
    });
}

#[test]
fn clean_up_that_moves_away_has_nothing_to_say_where_it_was() {
    lab(|event_loop| {
        let moved = Box::pin(timeout(SECOND * 99, tidy("moved", 4)));
        let slot = Rc::new(RefCell::new(Some(moved)));
        let shared = Rc::clone(&slot);
        let moved_away = poll_fn(move |context| match &mut *shared.borrow_mut() {
            Some(moved) => moved.as_mut().poll(context).map(drop),
            None => Poll::Ready(()),
        });
        let mut second = event_loop.create_task(async move {
            until(3.0).await;
            let moved = slot.borrow_mut().take().unwrap();
            moved.await
        });
        let sibling = async {
            unmoved("b").await;
            until(4.0).await;
            "went on"
        };
        cancelled_at(event_loop, &[1.0], zip(moved_away, sibling));
        finish(event_loop, &mut second);
        said([
            "1 moved cleans up",
            "1 b goes on",
            r#"4 ended: ((), "went on")"#,
            "5 moved is clean",
            r#"5 cancelled by Raised "1""#,
        ]);
    });
}

#[test]
fn a_pending_resume_that_moves_to_another_task_cancels_that_one_too() {
    lab(|event_loop| {
        let slot = Rc::new(RefCell::new(Some(Box::pin(async {
            tidy("moved", 0).await
        }))));
        let shared = Rc::clone(&slot);
        let moved_away = poll_fn(move |context| {
            if let Some(moved) = &mut *shared.borrow_mut() {
                assert!(moved.as_mut().poll(context).is_pending());
            }
            Poll::<()>::Pending
        });
        let mut second = event_loop.create_task(async move {
            until(3.0).await;
            let moved = slot.borrow_mut().take().unwrap();
            moved.await;
        });
        cancelled_at(event_loop, &[1.0], zip(moved_away, tidy("slow", 4)));
        finish(event_loop, &mut second);
        said([
            "1 moved cleans up",
            "1 slow cleans up",
            "1 moved is clean",
            "5 slow is clean",
            r#"5 cancelled by Task "1""#,
            r#"5 cancelled by Raised "1""#,
        ]);
    });
}

#[test]
fn awaits_and_scopes_that_move_are_cancelled_where_they_are() {
    type Moved = Pin<Box<dyn Future<Output = ()>>>;
    let all: [fn() -> Moved; 5] = [
        || Box::pin(tidy("inside", 1)),
        || {
            Box::pin(async {
                let _ = timeout(SECOND * 99, tidy("inside", 1)).await;
            })
        },
        || {
            Box::pin(async {
                drop(task_group(async |_| tidy("inside", 1).await).await);
            })
        },
        || Box::pin(async { drop(gather([tidy("inside", 1)]).await) }),
        || Box::pin(async { drop(create_task(tidy("inside", 1)).await) }),
    ];
    for moved in all {
        lab(move |event_loop| {
            moved_at_two(event_loop, false, async move { moved().await });
            said([
                "4 inside cleans up",
                "5 inside is clean",
                r#"5 cancelled by Task "the second""#,
                "5 cancelled by Task",
            ]);
        });
    }
}

#[test]
fn a_deadline_that_is_at_work_moves_with_its_region() {
    // The clean-up counts in the old place only; the region asks again in the new one.
    lab(|event_loop| {
        moved_at_two(
            event_loop,
            false,
            timeout(SECOND, async {
                let caught = catch_cancelled(pending::<()>()).await;
                let _ = caught.map_err(forget);
                tidy("second", 1).await;
            }),
        );
        said([
            "2 second cleans up",
            "3 second is clean",
            "3 ended: Err(TimedOut)",
            "3 cancelled by Task",
        ]);
    });
}

#[test]
fn a_region_that_passed_says_late_when_it_moves_to_where_nobody_asked() {
    lab(|event_loop| {
        let slot = Rc::new(RefCell::new(Some(Box::pin(timeout(
            SECOND,
            tidy("inside", 9),
        )))));
        let shared = Rc::clone(&slot);
        let moved_away = poll_fn(move |context| {
            if let Some(moved) = &mut *shared.borrow_mut() {
                assert!(moved.as_mut().poll(context).is_pending());
            }
            Poll::<()>::Pending
        });
        let mut second = event_loop.create_task(async move {
            until(3.0).await;
            let moved = slot.borrow_mut().take().unwrap();
            moved.await
        });
        cancelled_at(event_loop, &[0.5], zip(moved_away, tidy("slow", 4)));
        finish(event_loop, &mut second);
        said([
            "0.5 inside cleans up",
            "0.5 slow cleans up",
            "4.5 slow is clean",
            r#"4.5 cancelled by Task "0.5""#,
            "4.5 ended: Err(TimedOut)",
        ]);
    });
}

#[test]
fn a_handle_that_is_awaited_by_turns_is_cancelled_by_its_newest_awaiter() {
    lab(|event_loop| {
        let inner = event_loop.create_task(tidy("inner", 1));
        moved_at_two(event_loop, false, async { inner.await.is_ok() });
        said([
            "4 inner cleans up",
            "5 inner is clean",
            r#"5 cancelled by Task "the second""#,
            "5 cancelled by Task",
        ]);
    });
}

// Destructors and wakers that misbehave.

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose: a bomb");
    }
}

async fn bombed() {
    let _bomb = Bomb;
    pending::<()>().await;
}

#[test]
fn a_destructor_that_panics_inside_a_scope_ends_its_task_as_that_panic() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            catch_cancelled(bombed()).await.is_ok()
        });
        cancelled_at(event_loop, &[], timeout(SECOND, bombed()));
        cancelled_at(event_loop, &[3.0], async {
            task_group(async |_| bombed().await).await.is_ok()
        });
        said([
            "1 the task panicked: on purpose: a bomb",
            "2 the task panicked: on purpose: a bomb",
            "3 the task panicked: on purpose: a bomb",
        ]);
    });
}

#[test]
fn a_destructor_that_panics_with_its_task_is_reported() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], zip(bombed(), tidy("a", 1)));
        let lines = heard();
        assert_eq!(lines[..2], ["1 a cleans up", "2 a is clean"]);
        assert!(lines[2].contains("on purpose: a bomb"), "{lines:?}");
        assert_eq!(lines[3], r#"2 cancelled by Task "1""#);
        let result = event_loop.run_until_complete(async {
            let task = current_task().unwrap();
            task.cancel_with("the main one");
            zip(bombed(), tidy("b", 1)).await
        });
        assert!(matches!(result, Err(RunError::Cancelled(_))));
        let lines = heard();
        assert!(lines[2].contains("on purpose: a bomb"), "{lines:?}");
    });
}

#[test]
fn a_panic_that_the_user_catches_leaves_scopes_in_order() {
    lab(|event_loop| {
        let mut region = Box::pin(timeout(SECOND, bombed()));
        cancelled_at(
            event_loop,
            &[],
            poll_fn(move |context| {
                let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    region.as_mut().poll(context)
                }));
                match polled {
                    Ok(polled) => polled.map(|result| result.is_ok()),
                    Err(_) => {
                        say("caught a panic");
                        context.waker().wake_by_ref();
                        Poll::Pending
                    }
                }
            }),
        );
        said(["1 caught a panic", "1 ended: false"]);
    });
}

#[test]
fn wakers_that_panic_hold_nobody_up() {
    for touch in [Touch::Clone, Touch::Wake, Touch::Drop] {
        lab(move |event_loop| {
            let evil = EvilWaker::new(move |touched| {
                if touched == touch && !thread::panicking() {
                    panic!("on purpose: a waker");
                }
            });
            let evil = [evil.waker(), evil.waker()];
            let mut one = Box::pin(tidy("one", 0));
            let mut two = Box::pin(timeout(SECOND * 9, tidy("two", 0)));
            let both = poll_fn(move |_| {
                let poll = |future: &mut dyn FnMut(&mut Context<'_>)| {
                    let mut context = Context::from_waker(&evil[0]);
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        future(&mut context);
                    }));
                };
                poll(&mut |context| assert!(one.as_mut().poll(context).is_pending()));
                poll(&mut |context| assert!(two.as_mut().poll(context).is_pending()));
                Poll::<()>::Pending
            });
            let mut task = event_loop.create_task(async {
                zip(both, tidy("three", 1)).await;
            });
            let victim = task.as_ref();
            at(1.0, move || {
                victim.cancel();
            });
            finish(event_loop, &mut task);
            let lines = heard();
            assert_eq!(lines.last().unwrap(), "2 cancelled by Task", "{lines:?}");
            // What the bench's own wakers do at their end is not part of it.
            forget(task);
        });
    }
}

#[test]
fn a_waker_may_cancel_and_drop_and_poll_while_it_is_woken() {
    lab(|event_loop| {
        let victim = Rc::new(RefCell::new(None::<callsoon::TaskRef>));
        let other = Rc::new(RefCell::new(None::<Task<()>>));
        let (shared, dropped) = (Rc::clone(&victim), Rc::clone(&other));
        let evil = EvilWaker::new(move |touch| {
            if touch == Touch::Wake {
                if let Some(task) = &*shared.borrow() {
                    task.cancel_with("from a waker");
                }
                drop(dropped.borrow_mut().take());
                // A scope that lives and dies within.
                let mut inside = Box::pin(catch_cancelled(timeout(SECOND, pending::<()>())));
                let noop = std::task::Waker::noop();
                assert!(
                    inside
                        .as_mut()
                        .poll(&mut Context::from_waker(noop))
                        .is_pending()
                );
            }
        });
        let waker = evil.waker();
        let mut one = Box::pin(tidy("one", 5));
        let branch = poll_fn(move |_| {
            let _ = one.as_mut().poll(&mut Context::from_waker(&waker));
            Poll::<()>::Pending
        });
        let awaited = event_loop.create_task(until(3.0));
        *other.borrow_mut() = Some(awaited);
        let mut task = event_loop.create_task(zip(branch, tidy("two", 5)));
        *victim.borrow_mut() = Some(task.as_ref());
        let canceller = task.as_ref();
        at(1.0, move || {
            canceller.cancel_with("from a timer");
        });
        finish(event_loop, &mut task);
        event_loop.run_until_complete(until(9.0)).unwrap();
        said([
            "1 one cleans up",
            "1 two cleans up",
            r#"1 cancelled by Task "from a waker""#,
        ]);
        victim.take();
    });
}

// Requests from strange places.

#[test]
fn a_task_that_cancels_itself_is_cancelled_where_it_waits_next() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[], async {
            current_task().unwrap().cancel_with("by itself");
            say("goes on");
            catch_cancelled(sleep(SECOND))
                .await
                .unwrap_err()
                .resume()
                .await
        });
        said(["0 goes on", r#"0 cancelled by Task "by itself""#]);
    });
    // A request that was never delivered outweighs the result.
    lab(|event_loop| {
        cancelled_at(
            event_loop,
            &[],
            async {
                current_task().unwrap().cancel_with("too late");
                Farewell("the result")
            }
            .map_debug(),
        );
        said([
            "0 the result is dropped",
            r#"0 cancelled by Task "too late""#,
        ]);
    });
}

/// For results that cannot show themselves.
trait MapDebug: Future + Sized {
    async fn map_debug(self) -> Shown<Self::Output> {
        Shown(self.await)
    }
}

impl<F: Future> MapDebug for F {}

struct Shown<T>(#[allow(dead_code, reason = "it is there to be dropped")] T);

impl<T> std::fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("shown")
    }
}

/// Calls a closure when it is dropped.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_destructor_may_cancel_its_own_task_and_others() {
    lab(|event_loop| {
        let mut other = event_loop.create_task(tidy("other", 1));
        let reference = other.as_ref();
        cancelled_at(event_loop, &[1.0], async move {
            let caught = catch_cancelled(async {
                let _end = AtEnd(|| {
                    reference.cancel_with("from a destructor");
                    current_task().unwrap().cancel_with("from a destructor");
                });
                pending::<()>().await;
            });
            let cancelled = caught.await.unwrap_err();
            tidy("the task", 1).await;
            drop(cancelled);
        });
        finish(event_loop, &mut other);
        said([
            "1 other cleans up",
            "1 the task cleans up",
            "2 other is clean",
            "2 the task is clean",
            r#"2 cancelled by Task "from a destructor""#,
            r#"2 cancelled by Task "from a destructor""#,
        ]);
    });
}

#[test]
fn a_destructor_may_open_scopes_while_its_task_ends() {
    let poll_a_scope = || {
        let mut inside = Box::pin(catch_cancelled(timeout(SECOND, pending::<()>())));
        let noop = std::task::Waker::noop();
        assert!(
            inside
                .as_mut()
                .poll(&mut Context::from_waker(noop))
                .is_pending()
        );
        // It outlives the task.
        forget(inside);
    };
    lab(move |event_loop| {
        cancelled_at(
            event_loop,
            &[1.0],
            zip(tidy("a", 0), async move {
                let _end = AtEnd(poll_a_scope);
                pending::<()>().await;
            }),
        );
        said([
            "1 a cleans up",
            "1 a is clean",
            r#"1 cancelled by Task "1""#,
        ]);
        // The same as the main task's.
        let result = event_loop.run_until_complete(async move {
            let _end = AtEnd(poll_a_scope);
            current_task().unwrap().cancel();
            yield_now().await;
        });
        assert!(matches!(result, Err(RunError::Cancelled(_))));
        event_loop
            .run_until_complete(async move { drop(AtEnd(poll_a_scope)) })
            .unwrap();
        // One that is only lent, and stopped.
        let handle = event_loop.handle();
        let result = event_loop.run_until_complete(async move {
            let _end = AtEnd(poll_a_scope);
            handle.stop();
            pending::<()>().await;
        });
        assert!(matches!(result, Err(RunError::Stopped)));
    });
}

#[test]
fn a_done_callback_may_cancel_the_awaiter() {
    lab(|event_loop| {
        let inner = event_loop.create_task(tidy("inner", 1));
        let reference = inner.as_ref();
        let outer = event_loop.create_task(async {
            let result = inner.await;
            say(ending(&result));
            tidy("outer", 1).await;
        });
        let awaiter = outer.as_ref();
        reference.add_done_callback(move |_| {
            say("called back");
            awaiter.cancel_with("by a callback");
        });
        at(1.0, move || {
            reference.cancel_with("the inner");
        });
        let mut outer = outer;
        finish(event_loop, &mut outer);
        said([
            "1 inner cleans up",
            "2 inner is clean",
            r#"2 cancelled by Task "the inner""#,
            "2 called back",
            "2 outer cleans up",
            "3 outer is clean",
            r#"3 cancelled by Task "by a callback""#,
        ]);
    });
}

#[test]
fn a_task_that_is_cancelled_in_its_last_poll_by_somebody_else_is_cancelled() {
    lab(|event_loop| {
        let mut task = event_loop.create_task(async {
            let own = current_task().unwrap();
            yield_now().await;
            // Somebody else's code, within the poll.
            let hook = EvilWaker::new(move |_| assert!(own.cancel_with("in its last poll")));
            hook.waker().wake();
            7
        });
        finish(event_loop, &mut task);
        said([r#"0 cancelled by Task "in its last poll""#]);
    });
}

#[test]
fn a_request_that_was_delivered_leaves_the_result_to_the_task() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let _ = catch_cancelled(pending::<()>()).await.map_err(forget);
            "an error of the clean-up"
        });
        said([r#"1 ended: "an error of the clean-up""#]);
    });
}

#[test]
fn an_eager_task_has_a_tree_of_its_own() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let result = timeout(SECOND * 9, async {
                let eager = task_builder().eager(true).spawn(async {
                    say("starts inside");
                    tidy("eager", 2).await;
                });
                let detached = task_builder().eager(true).spawn(stubborn("detached", 1));
                detached.detach();
                tidy("inside", 1).await;
                drop(eager);
            });
            result.await.is_ok()
        });
        for task in event_loop.all_tasks() {
            task.cancel();
        }
        event_loop.run_until_complete(until(9.0)).unwrap();
        said([
            "0 starts inside",
            "1 inside cleans up",
            "2 inside is clean",
            r#"2 cancelled by Task "1""#,
            "2 eager cleans up",
            "2 detached is asked",
            "3 detached goes on",
            "4 eager is clean",
        ]);
    });
}

#[test]
fn the_main_future_is_cancelled_as_any_task() {
    lab(|event_loop| {
        let result = event_loop.run_until_complete(async {
            let task = current_task().unwrap();
            at(1.0, move || {
                task.cancel_with("the main one");
            });
            let inner = create_task(tidy("inner", 1));
            zip(
                async { drop(inner.await) },
                timeout(SECOND * 9, tidy("main", 2)),
            )
            .await
        });
        say(format!("{:?}", result.map_err(|error| error.to_string())));
        let result = event_loop.run_until_complete(async {
            let task = current_task().unwrap();
            at(5.0, move || {
                task.cancel();
            });
            unmoved("main").await;
            7
        });
        say(result.unwrap());
        said([
            "1 main cleans up",
            "1 inner cleans up",
            "2 inner is clean",
            "3 main is clean",
            r#"3 Err("the main task was cancelled: the main one")"#,
            "5 main goes on",
            "5 7",
        ]);
    });
}

#[test]
fn a_main_future_that_is_stopped_leaves_nothing_behind() {
    lab(|event_loop| {
        let mut lent = Box::pin(timeout(SECOND * 9, tidy("lent", 1)));
        for _ in 0..2 {
            let handle = event_loop.handle();
            let stop = event_loop.call_later(SECOND, move || handle.stop());
            let result = event_loop.run_until_complete(&mut lent);
            assert!(matches!(result, Err(RunError::Stopped)));
            stop.cancel();
            assert_eq!(event_loop.metrics().scopes, 0);
        }
        let result = event_loop.run_until_complete(&mut lent).unwrap();
        say(format!("{result:?}"));
        said(["9 lent cleans up", "10 lent is clean", "10 Err(TimedOut)"]);
    });
}

#[test]
fn outside_any_task_scopes_only_poll() {
    lab(|event_loop| {
        let future = event_loop.create_future();
        let setter = future.clone();
        let mut waiting = Waiting::begun(catch_cancelled(future));
        assert_eq!(event_loop.metrics().scopes, 0);
        setter.set_result(7).unwrap();
        assert!(waiting.is_woken());
        assert!(waiting.poll().unwrap().is_ok());
        // From a callback of the running loop.
        let mut raise = Box::pin(Cancellation::default().resume());
        event_loop.call_soon(move || {
            let noop = std::task::Waker::noop();
            let mut context = Context::from_waker(noop);
            assert!(raise.as_mut().poll(&mut context).is_pending());
            let mut limit = Box::pin(timeout(Duration::ZERO, pending::<()>()));
            assert!(limit.as_mut().poll(&mut context).is_ready());
            let mut limit = Box::pin(timeout(SECOND, pending::<()>()));
            assert!(limit.as_mut().poll(&mut context).is_pending());
            assert_eq!(get_running_loop().metrics().scopes, 0);
        });
        one_turn(event_loop);
    });
}

#[test]
fn a_scope_that_was_polled_outside_is_a_scope_once_it_is_awaited() {
    lab(|event_loop| {
        let slot = Rc::new(RefCell::new(Box::pin(tidy("a", 1))));
        let shared = Rc::clone(&slot);
        event_loop.call_soon(move || {
            let noop = std::task::Waker::noop();
            let mut context = Context::from_waker(noop);
            assert!(shared.borrow_mut().as_mut().poll(&mut context).is_pending());
        });
        one_turn(event_loop);
        let moved = Rc::into_inner(slot).unwrap().into_inner();
        cancelled_at(event_loop, &[1.0], moved);
        said([
            "1 a cleans up",
            "2 a is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_child_of_a_group_whose_request_is_taken_back_ends_all_the_same() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let result = task_group(async |group| {
                let child = group.create_task(async { Err::<(), _>("broken") });
                let reference = child.as_ref();
                group.create_task(async move {
                    // In the turn in which the child has failed and has not ended.
                    reference.uncancel();
                });
            });
            result.await.is_err()
        });
        said(["0 ended: true"]);
    });
}

// Many at once.

#[test]
fn a_hundred_thousand_siblings_are_asked_at_once() {
    lab(|event_loop| {
        let mut together = Together::new();
        let cleaned = Rc::new(Cell::new(0));
        for _ in 0..100_000 {
            let cleaned = Rc::clone(&cleaned);
            together.add(async move {
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                sleep(SECOND).await;
                cleaned.set(cleaned.get() + 1);
                cancelled.resume().await;
            });
        }
        cancelled_at(event_loop, &[1.0], async { together.await.len() });
        assert_eq!(cleaned.get(), 100_000);
        said([r#"2 cancelled by Task "1""#]);
    });
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            gather((0..100_000).map(|_| pending::<()>())).await.is_ok()
        });
        said([r#"1 cancelled by Task "1""#]);
    });
    lab(|event_loop| {
        let tasks: Vec<_> = (0..100_000)
            .map(|_| event_loop.create_task(pending::<()>()))
            .collect();
        let mut together = Together::new();
        for task in tasks {
            together.add(async { task.await.is_ok() });
        }
        cancelled_at(event_loop, &[1.0], async { together.await.len() });
        said([r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn scopes_are_nested_as_deep_as_futures_can_be() {
    const DEPTH: u32 = 20_000;
    async fn nest(depth: u32) -> u32 {
        if depth == 0 {
            return pending().await;
        }
        let inside: Pin<Box<dyn Future<Output = u32>>> = Box::pin(nest(depth - 1));
        match depth % 3 {
            0 => timeout(SECOND * 99, inside).await.unwrap_or(depth),
            1 => match catch_cancelled(inside).await {
                Ok(value) => value,
                Err(cancelled) => cancelled.resume().await,
            },
            _ => {
                zip(inside, async {
                    drop(catch_cancelled(pending::<()>()).await)
                })
                .await
                .0
            }
        }
    }
    audited(watched(|| {
        let big = thread::Builder::new()
            .name(thread::current().name().unwrap().to_owned())
            .stack_size(512 << 20);
        let joined = big.spawn(|| {
            let event_loop = virtual_loop(&Trace::new());
            let mut task = event_loop.create_task(nest(DEPTH));
            one_turn(&event_loop);
            task.cancel();
            event_loop
                .run_until_complete(&mut task)
                .unwrap()
                .unwrap_err();
            assert_eq!(event_loop.metrics().scopes, 0);
        });
        joined.unwrap().join().unwrap();
    }));
}

/// Deep enough to overflow any stack that a recursion would use.
const MILLION: usize = 1_000_000;

/// Runs a test on a stack of 256 KiB.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    audited(watched(|| {
        let name = thread::current().name().unwrap().to_owned();
        let small = thread::Builder::new().name(name).stack_size(256 << 10);
        if let Err(panic) = small.spawn(test).unwrap().join() {
            std::panic::resume_unwind(panic);
        }
    }));
}

#[test]
fn a_cancellation_walks_down_a_million_awaiting_tasks_and_back() {
    on_a_small_stack(|| {
        let event_loop = virtual_loop(&Trace::new());
        let reached = Rc::new(Cell::new(false));
        let bottom = Rc::clone(&reached);
        let mut task = event_loop.create_task(async move {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            bottom.set(true);
            cancelled.resume().await
        });
        for _ in 1..MILLION {
            task = event_loop.create_task(async move { task.await.unwrap() });
        }
        one_turn(&event_loop);
        task.cancel_with("all the way");
        let result = event_loop.run_until_complete(shield(&mut task)).unwrap();
        let error = result.unwrap_err();
        assert_eq!(error.cancelled().unwrap().message(), Some("all the way"));
        assert!(reached.get());
        let metrics = event_loop.metrics();
        assert_eq!((metrics.tasks, metrics.scopes), (0, 0));
    });
}

#[test]
fn a_deadline_walks_down_a_million_tasks_that_await_inside_scopes() {
    on_a_small_stack(|| {
        let event_loop = virtual_loop(&Trace::new());
        let mut task = event_loop.create_task(pending::<()>());
        for _ in 1..MILLION {
            task = event_loop.create_task(async move {
                timeout(SECOND * 9999, task).await.unwrap().unwrap();
            });
        }
        one_turn(&event_loop);
        let result = event_loop.run_until_complete(timeout(SECOND, &mut task));
        assert!(result.unwrap().is_err());
        assert!(task.cancelled());
        let metrics = event_loop.metrics();
        assert_eq!((metrics.tasks, metrics.scopes), (0, 0));
    });
}

#[test]
fn a_million_futures_of_one_task_are_cancelled_at_once() {
    on_a_small_stack(|| {
        let event_loop = virtual_loop(&Trace::new());
        let mut awaited: Vec<_> = (0..MILLION)
            .map(|_| event_loop.create_future::<()>())
            .collect();
        let seen: Vec<_> = awaited.to_vec();
        let mut task = event_loop.create_task(poll_fn(move |context| {
            for future in &mut awaited {
                assert!(pin!(future).poll(context).is_pending());
            }
            Poll::<()>::Pending
        }));
        one_turn(&event_loop);
        assert_eq!(event_loop.metrics().scopes, MILLION + 1);
        task.cancel();
        event_loop
            .run_until_complete(shield(&mut task))
            .unwrap()
            .unwrap_err();
        assert!(seen.iter().all(|future| future.cancelled()));
        assert_eq!(event_loop.metrics().scopes, 0);
    });
}

#[test]
fn a_request_that_comes_before_a_limit_has_its_node_is_answered_through_it() {
    lab(|event_loop| {
        let ended = event_loop.run_until_complete(task_group(async |group| {
            let work = timeout(SECOND * 9, async {
                // The request is under way before the first poll of the limit is over.
                let stop = async {
                    group.cancel();
                    pending::<()>().await;
                };
                let cancelled = catch_cancelled(stop).await.unwrap_err();
                say("cleans up");
                sleep(SECOND).await;
                say("is clean");
                cancelled.resume().await
            });
            say(if work.await.is_ok() { "ok" } else { "late" });
            say("never reached");
        }));
        say(ended.unwrap().unwrap_err());
        said(["0 cleans up", "1 is clean", "1 the task group was stopped"]);
    });
}
