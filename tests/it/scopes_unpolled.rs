//! Requests of scopes that are not polled: set aside by a select loop, borrowed by a run that is stopped, or moved from
//! one task to another.
//!
//! Lines of a trace begin with the seconds since the test began.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use callsoon::{
    EventLoop, GroupError, RunError, TaskGroup, create_task, get_running_loop, sleep, task_group,
    timeout, yield_now,
};
use futures_lite::future::{or, zip};

use crate::support::poll_once;
use crate::support::scenario::{
    Farewell, SECOND, at, cancelled_at, finish, in_scenario, said, say, stubborn, tidy, until,
};

/// How a group ended, in short.
fn group_ending<T>(result: Result<T, GroupError>) -> String {
    match result {
        Ok(_) => "no failure".to_owned(),
        Err(GroupError::Stopped) => "stopped".to_owned(),
        Err(error) => format!("{} failed", error.failures().len()),
    }
}

/// A group whose child fails after so many seconds.
async fn failing(seconds: f64, body: impl Future<Output = ()>) -> String {
    let ended = task_group(async |group| {
        group.create_task(async move {
            until(seconds).await;
            Err::<(), _>("bad")
        });
        body.await;
    });
    group_ending(ended.await)
}

/// Polls a future once, leaves it for so many seconds, and awaits it.
async fn set_aside<T>(seconds: f64, future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    assert!(poll_once(&mut future).await.is_none());
    until(seconds).await;
    future.await
}

// Set aside.

#[test]
fn a_group_whose_child_failed_while_it_was_not_polled_ends_when_it_is() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let _farewell = Farewell("the task");
            say(set_aside(2.0, failing(1.0, pending())).await);
        });
        said(["2 1 failed", "2 the task is dropped", "2 ended: ()"]);
    });
}

#[test]
fn the_body_of_a_group_that_was_not_polled_cleans_up_when_it_is() {
    in_scenario(|event_loop| {
        cancelled_at(
            event_loop,
            &[],
            set_aside(2.0, failing(1.0, zip_unit(tidy("a", 1), tidy("b", 3)))),
        );
        said([
            "2 a cleans up",
            "2 b cleans up",
            "3 a is clean",
            "5 b is clean",
            r#"5 ended: "1 failed""#,
        ]);
    });
}

async fn zip_unit(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    zip(one, other).await;
}

#[test]
fn a_group_that_was_stopped_while_it_was_not_polled_ends_when_it_is() {
    in_scenario(|event_loop| {
        let handle = Rc::new(RefCell::new(None::<TaskGroup>));
        let known = Rc::clone(&handle);
        at(1.0, move || handle.take().unwrap().cancel());
        cancelled_at(event_loop, &[], async move {
            let group = task_group(async move |group| {
                known.replace(Some(group.clone()));
                group.create_task(tidy("child", 1));
                tidy("body", 1).await;
            });
            group_ending(set_aside(3.0, group).await)
        });
        said([
            "1 child cleans up",
            "2 child is clean",
            "3 body cleans up",
            "4 body is clean",
            r#"4 ended: "stopped""#,
        ]);
    });
}

#[test]
fn a_body_that_goes_on_after_its_group_was_not_polled_is_not_asked_again() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let body = async {
                stubborn("a", 1).await;
                // Any of these would be caught, were it asked once more.
                for _ in 0..3 {
                    sleep(SECOND).await;
                    yield_now().await;
                }
                say("to its end");
            };
            let mut group = Box::pin(failing(1.0, body));
            assert!(poll_once(&mut group).await.is_none());
            until(2.0).await;
            // Polled, and set aside once more.
            or(async { say(group.as_mut().await) }, until(4.0)).await;
            until(5.0).await;
            group.await
        });
        said([
            "2 a is asked",
            "3 a goes on",
            "7 to its end",
            r#"7 ended: "1 failed""#,
        ]);
    });
}

#[test]
fn a_group_that_failed_while_another_branch_was_polled_is_asked_once_it_is_polled() {
    // A select loop: the group is polled at 0, at 2, and from 4 on.
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let mut group = Box::pin(failing(1.0, tidy("body", 5)));
            assert!(poll_once(&mut group).await.is_none());
            until(2.0).await;
            assert!(poll_once(&mut group).await.is_none());
            until(4.0).await;
            group.await
        });
        said([
            "2 body cleans up",
            "7 body is clean",
            r#"7 ended: "1 failed""#,
        ]);
    });
}

#[test]
fn a_limit_that_is_set_aside_in_the_turn_of_its_deadline_asks_when_it_is_polled() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let mut limit = Box::pin(timeout(SECOND, tidy("inside", 1)));
            // Polled at the deadline, where it asks what is inside, and not in the next turn, where that would act.
            let mut polls = 0;
            poll_fn(|context| {
                polls += 1;
                assert!(limit.as_mut().poll(context).is_pending());
                match polls {
                    1 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
            until(3.0).await;
            limit.await
        });
        said([
            "3 inside cleans up",
            "4 inside is clean",
            "4 ended: Err(TimedOut)",
        ]);
    });
}

#[test]
fn a_request_from_outside_still_passes_by_what_is_set_aside() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let mut aside = Box::pin(failing(9.0, tidy("aside", 1)));
            assert!(poll_once(&mut aside).await.is_none());
            stubborn("here", 1).await;
            until(3.0).await;
            drop(aside);
            "went on"
        });
        said(["1 here is asked", "2 here goes on", r#"3 ended: "went on""#]);
    });
}

// Torn down around a future that lives on.

#[test]
fn a_group_that_failed_inside_a_limit_tells_so_after_the_limit() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let mut group = Box::pin(failing(1.0, tidy("body", 1)));
            let limited = timeout(SECOND * 2, async {
                assert!(poll_once(&mut group).await.is_none());
                pending::<()>().await;
            });
            say(format!("{:?}", limited.await));
            group.await
        });
        said([
            "2 Err(TimedOut)",
            "2 body cleans up",
            "3 body is clean",
            r#"3 ended: "1 failed""#,
        ]);
    });
}

#[test]
fn a_limit_that_left_it_to_the_one_around_it_is_over_by_itself_afterwards() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let mut inner = Box::pin(timeout(SECOND, pending::<()>()));
            let outer = timeout(SECOND, inner.as_mut()).await;
            say(format!("{outer:?}"));
            inner.await
        });
        said(["1 Err(TimedOut)", "1 ended: Err(TimedOut)"]);
    });
}

// Lent to a run that is stopped.

/// Runs a lent future; `None` where the run was stopped. More than an hour is for ever.
fn run_borrowed<F: Future>(event_loop: &EventLoop, main: Pin<&mut F>) -> Option<F::Output> {
    let handle = event_loop.handle();
    let limit = event_loop.call_later(SECOND * 3600, move || handle.stop());
    let ended = event_loop.run_until_complete(main);
    limit.cancel();
    match ended {
        Ok(value) => Some(value),
        Err(RunError::Stopped) => None,
        Err(error) => panic!("{error}"),
    }
}

fn stop_at(event_loop: &EventLoop, seconds: f64) {
    let handle = event_loop.handle();
    at(seconds, move || handle.stop());
}

#[test]
fn a_borrowed_main_that_is_stopped_in_a_limits_clean_up_cleans_up_and_is_late() {
    in_scenario(|event_loop| {
        let mut main = pin!(timeout(SECOND, tidy("main", 2)));
        stop_at(event_loop, 2.0);
        assert!(run_borrowed(event_loop, main.as_mut()).is_none());
        say("stopped");
        say(format!("{:?}", run_borrowed(event_loop, main.as_mut())));
        said([
            "1 main cleans up",
            "2 stopped",
            "3 main is clean",
            "3 Some(Err(TimedOut))",
        ]);
    });
}

#[test]
fn a_borrowed_main_that_is_stopped_in_a_groups_clean_up_cleans_up_and_fails() {
    in_scenario(|event_loop| {
        let mut main = pin!(failing(1.0, zip_unit(tidy("a", 2), tidy("b", 3))));
        for seconds in [2.0, 3.5] {
            stop_at(event_loop, seconds);
            assert!(run_borrowed(event_loop, main.as_mut()).is_none());
            say("stopped");
        }
        say(run_borrowed(event_loop, main.as_mut()).unwrap());
        said([
            "1 a cleans up",
            "1 b cleans up",
            "2 stopped",
            "3 a is clean",
            "3.5 stopped",
            "4 b is clean",
            "4 1 failed",
        ]);
    });
}

#[test]
fn a_borrowed_main_whose_groups_child_fails_in_the_turn_of_the_stop_fails_in_the_next_run() {
    in_scenario(|event_loop| {
        let mut main = pin!(async {
            let ended = task_group(async |group| {
                group.create_task(async {
                    until(1.0).await;
                    get_running_loop().stop();
                    Err::<(), _>("bad")
                });
                tidy("body", 1).await;
            });
            group_ending(ended.await)
        });
        assert!(run_borrowed(event_loop, main.as_mut()).is_none());
        say("stopped");
        say(run_borrowed(event_loop, main.as_mut()).unwrap());
        said([
            "1 stopped",
            "1 body cleans up",
            "2 body is clean",
            "2 1 failed",
        ]);
    });
}

#[test]
fn a_borrowed_main_whose_groups_child_fails_between_its_runs_fails_in_the_next_one() {
    in_scenario(|event_loop| {
        let mut main = pin!(failing(1.0, tidy("body", 1)));
        stop_at(event_loop, 0.5);
        assert!(run_borrowed(event_loop, main.as_mut()).is_none());
        // Another main future, while the first one is not polled.
        event_loop.run_until_complete(until(2.0)).unwrap();
        say(run_borrowed(event_loop, main.as_mut()).unwrap());
        said(["2 body cleans up", "3 body is clean", "3 1 failed"]);
    });
}

#[test]
fn of_equal_limits_in_a_borrowed_main_the_outer_expires_in_the_next_run_too() {
    in_scenario(|event_loop| {
        let inner = async { timeout(SECOND, pending::<()>()).await.is_err() };
        let mut main = pin!(timeout(SECOND, inner));
        stop_at(event_loop, 0.5);
        assert!(run_borrowed(event_loop, main.as_mut()).is_none());
        say(format!("{:?}", run_borrowed(event_loop, main.as_mut())));
        said(["1 Some(Err(TimedOut))"]);
    });
}

#[test]
fn a_borrowed_main_that_is_dropped_in_its_clean_up_leaves_nothing() {
    in_scenario(|event_loop| {
        let mut main = Box::pin(zip(
            timeout(SECOND, tidy("limit", 9)),
            failing(1.0, tidy("group", 9)),
        ));
        stop_at(event_loop, 2.0);
        assert!(run_borrowed(event_loop, main.as_mut()).is_none());
        drop(main);
        event_loop.run_until_complete(until(3.0)).unwrap();
        said(["1 limit cleans up", "1 group cleans up"]);
    });
}

// Handed from one task to another.

/// Polls a future once in a task of its own, which ends or waits for ever afterwards, and gives it back.
async fn handed_on<F: Future + 'static>(future: F, first_ends: bool) -> Pin<Box<F>> {
    let slot = Rc::new(Cell::new(None));
    let place = Rc::clone(&slot);
    let first = create_task(async move {
        let mut future = Box::pin(future);
        assert!(poll_once(&mut future).await.is_none());
        place.set(Some(future));
        if !first_ends {
            pending::<()>().await;
        }
    });
    yield_now().await;
    yield_now().await;
    assert_eq!(first.done(), first_ends);
    // A task that waits ends with the test.
    at(90.0, move || {
        first.cancel();
    });
    slot.take().unwrap()
}

#[test]
fn a_group_that_is_handed_to_another_task_fails_there() {
    for first_ends in [true, false] {
        // The child fails before the other task polls the group, or afterwards.
        for polled_at in [2.0, 0.5] {
            in_scenario(move |event_loop| {
                let mut second = event_loop.create_task(async move {
                    let group = failing(1.0, tidy("body", 1));
                    let group = handed_on(group, first_ends).await;
                    until(polled_at).await;
                    group.await
                });
                finish(event_loop, &mut second);
                let (asked, clean) = match polled_at {
                    2.0 => ("2 body cleans up", "3 body is clean"),
                    _ => ("1 body cleans up", "2 body is clean"),
                };
                let end = match polled_at {
                    2.0 => r#"3 ended: "1 failed""#,
                    _ => r#"2 ended: "1 failed""#,
                };
                said([asked, clean, end]);
                event_loop.run_until_complete(until(91.0)).unwrap();
            });
        }
    }
}

#[test]
fn a_limit_that_is_handed_on_in_its_clean_up_by_a_task_that_ends_is_late_there() {
    in_scenario(|event_loop| {
        let slot = Rc::new(Cell::new(None));
        let place = Rc::clone(&slot);
        event_loop
            .create_task(async move {
                let mut limit = Box::pin(timeout(SECOND, tidy("inside", 3)));
                or(async { assert!(limit.as_mut().await.is_ok()) }, until(2.0)).await;
                place.set(Some(limit));
            })
            .detach();
        let mut second = event_loop.create_task(async move {
            until(3.0).await;
            slot.take().unwrap().await
        });
        finish(event_loop, &mut second);
        said([
            "1 inside cleans up",
            "4 inside is clean",
            "4 ended: Err(TimedOut)",
        ]);
    });
}

// Outside any task.

#[test]
fn a_group_that_fails_outside_any_task_drops_its_body() {
    in_scenario(|event_loop| {
        let body = async {
            let _farewell = Farewell("the body");
            pending::<()>().await;
        };
        let group = Rc::new(RefCell::new(Box::pin(failing(1.0, body))));
        for seconds in [0.0, 2.0] {
            let group = Rc::clone(&group);
            at(seconds, move || {
                let mut context = Context::from_waker(Waker::noop());
                say(format!(
                    "{:?}",
                    group.borrow_mut().as_mut().poll(&mut context)
                ));
            });
        }
        event_loop.run_until_complete(until(2.5)).unwrap();
        said([
            "0 Pending",
            "2 the body is dropped",
            r#"2 Ready("1 failed")"#,
        ]);
    });
}
