//! What each kind of scope and await does when it is asked, cell by cell.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use callsoon::{
    Cancellation, TaskError, catch_cancelled, gather, shield, sleep, task_group, timeout, yield_now,
};
use futures_lite::future::{or, zip};

use crate::support::scenario::{
    Farewell, SECOND, at, cancelled_at, ending, finish, in_scenario, said, say, stubborn, tidy,
    unmoved, until,
};

// What each kind does when it is asked.

#[test]
fn a_cancelled_awaiter_leaves_the_result_that_came_in_the_same_turn() {
    in_scenario(|event_loop| {
        let inner = Rc::new(std::cell::RefCell::new(event_loop.create_task(until(1.0))));
        let shared = Rc::clone(&inner);
        let outer = event_loop.create_task(poll_fn(move |context| {
            Pin::new(&mut *shared.borrow_mut()).poll(context)
        }));
        let task = outer.as_ref();
        inner.borrow().add_done_callback(move |_| {
            task.cancel_with("too late");
        });
        let mut outer = outer;
        finish(event_loop, &mut outer);
        // The awaiter is woken by the end itself, before the callback: it has its result.
        said(["1 ended: Ok(())"]);
        drop(inner);
    });
    in_scenario(|event_loop| {
        let inner = Rc::new(std::cell::RefCell::new(event_loop.create_task(until(1.0))));
        let shared = Rc::clone(&inner);
        let outer = event_loop.create_task(async move {
            poll_fn(move |context| timeout_once(&shared, context)).await
        });
        let task = outer.as_ref();
        at(1.0, move || {
            task.cancel_with("in the same turn");
        });
        let mut outer = outer;
        finish(event_loop, &mut outer);
        let left = inner.borrow_mut().result().unwrap();
        say(ending(&left));
        said([r#"1 cancelled by Task "in the same turn""#, "1 ended: ()"]);
    });
}

type SharedTask = Rc<std::cell::RefCell<callsoon::Task<()>>>;

/// Awaits a shared task directly.
fn timeout_once(
    shared: &SharedTask,
    context: &mut std::task::Context<'_>,
) -> Poll<Result<(), TaskError>> {
    Pin::new(&mut *shared.borrow_mut()).poll(context)
}

#[test]
fn an_await_asks_its_task_once_and_waits_until_it_has_ended() {
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(async {
            tidy("inner", 2).await;
        });
        let counted = inner.as_ref();
        at(2.0, move || {
            say(format!("requests: {}", counted.cancelling()))
        });
        cancelled_at(event_loop, &[1.0], async { inner.await.is_ok() });
        said([
            "1 inner cleans up",
            "2 requests: 1",
            "3 inner is clean",
            r#"3 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn an_await_whose_task_is_being_cancelled_already_does_not_ask_again() {
    for first in [true, false] {
        in_scenario(move |event_loop| {
            let inner = event_loop.create_task(tidy("inner", 2));
            let (task, counted) = (inner.as_ref(), inner.as_ref());
            let outer = event_loop.create_task(async { inner.await.is_ok() });
            let awaiter = outer.as_ref();
            at(1.0, move || {
                // Shutdown, in either order.
                for turn in [first, !first] {
                    let one = if turn { &task } else { &awaiter };
                    one.cancel_with("shutdown");
                }
            });
            at(2.0, move || {
                say(format!("requests: {}", counted.cancelling()))
            });
            let mut outer = outer;
            finish(event_loop, &mut outer);
            said([
                "1 inner cleans up",
                "2 requests: 1",
                "3 inner is clean",
                r#"3 cancelled by Task "shutdown""#,
            ]);
        });
    }
}

#[test]
fn an_await_whose_task_ends_with_a_value_or_a_panic_keeps() {
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(async {
            stubborn("inner", 1).await;
            5
        });
        cancelled_at(event_loop, &[1.0], async {
            let result = inner.await.unwrap();
            sleep(SECOND).await;
            result
        });
        said(["1 inner is asked", "2 inner goes on", "3 ended: 5"]);
    });
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(async {
            stubborn("inner", 1).await;
            panic!("on purpose");
        });
        cancelled_at(event_loop, &[1.0], async {
            let result: Result<(), _> = inner.await;
            sleep(SECOND).await;
            result.unwrap_err().to_string()
        });
        said([
            "1 inner is asked",
            "2 inner goes on",
            r#"3 ended: "the task panicked: on purpose""#,
        ]);
    });
}

#[test]
fn an_await_of_a_future_cancels_it() {
    in_scenario(|event_loop| {
        let future = event_loop.create_future::<()>();
        let seen = future.clone();
        cancelled_at(event_loop, &[1.0], async { future.await.is_ok() });
        assert_eq!(
            seen.result()
                .unwrap()
                .unwrap_err()
                .cancelled()
                .unwrap()
                .message(),
            Some("1")
        );
        said([r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn an_await_gives_cancelled_only_when_other_code_cancelled_what_it_awaited() {
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(pending::<()>());
        let victim = inner.as_ref();
        at(1.0, move || {
            victim.cancel_with("by somebody else");
        });
        cancelled_at(event_loop, &[], async { ending(&inner.await) });
        said([r#"1 ended: "cancelled by Task \"by somebody else\"""#]);
    });
}

#[test]
fn a_shielded_task_goes_on_and_no_request_reaches_it() {
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(async {
            until(3.0).await;
            say("the shielded one is done");
        });
        cancelled_at(event_loop, &[1.0], async { shield(inner).await.is_ok() });
        event_loop.run_until_complete(until(4.0)).unwrap();
        said([r#"1 cancelled by Task "1""#, "3 the shielded one is done"]);
    });
}

#[test]
fn a_group_that_is_asked_drops_its_body_and_cancels_its_children_once() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0, 2.0], async {
            let result = task_group(async |group| {
                let _farewell = Farewell("the body");
                group.create_task(tidy("child", 3));
                pending::<()>().await;
            });
            result.await.unwrap();
        });
        said([
            "1 the body is dropped",
            "1 child cleans up",
            "4 child is clean",
            r#"4 cancelled by Task "2""#,
        ]);
    });
}

#[test]
fn a_stopped_group_takes_no_children() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let result = task_group(async |group| {
                let handle = group.clone();
                group.create_task(async move {
                    let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                    say(handle.try_create_task(async {}).is_err());
                    cancelled.resume().await;
                });
                pending::<()>().await;
            });
            result.await.unwrap();
        });
        said(["1 true", r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn a_group_with_errors_gives_them_and_its_task_is_cancelled_when_it_waits_next() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let result = task_group(async |group| {
                group.create_task(async {
                    let _ = catch_cancelled(pending::<()>()).await;
                    sleep(SECOND).await;
                    Err::<(), _>("no clean end")
                });
                pending::<()>().await;
            });
            say(result.await.unwrap_err());
            pending::<()>().await;
        });
        let lines = crate::support::scenario::take_lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("2 ") && lines[0].contains("no clean end"),
            "{lines:?}"
        );
        assert_eq!(lines[1], r#"2 cancelled by Task "1""#);
    });
}

#[test]
fn a_group_that_gives_errors_to_a_request_has_passed_all_the_same() {
    in_scenario(|event_loop| {
        let group = async {
            let result = task_group(async |group| {
                group.create_task(async {
                    let _ = catch_cancelled(pending::<()>()).await;
                    Err::<(), _>("no clean end")
                });
                pending::<()>().await;
            });
            say(result.await.is_err());
        };
        let sibling = async {
            unmoved("b").await;
            until(3.0).await;
        };
        cancelled_at(event_loop, &[1.0], zip(group, sibling));
        said(["1 b goes on", "1 true", r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn gather_cancels_all_and_again_when_it_is_asked_again() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            gather([tidy("a", 1), tidy("b", 2)]).await.is_ok()
        });
        said([
            "1 a cleans up",
            "1 b cleans up",
            "2 a is clean",
            "3 b is clean",
            r#"3 cancelled by Task "1""#,
        ]);
    });
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0, 2.0], async {
            gather([tidy("a", 9), tidy("b", 9)]).await.is_ok()
        });
        said([
            "1 a cleans up",
            "1 b cleans up",
            r#"2 cancelled by Task "2""#,
        ]);
    });
}

#[test]
fn resume_without_a_token_is_a_raise_to_the_nearest_scope() {
    // The task.
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            Cancellation::default().resume().await
        });
        said(["0 cancelled by Raised"]);
    });
    // A catch.
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let caught = catch_cancelled(async { Cancellation::default().resume().await }).await;
            match caught {
                Err(cancelled) => cancelled.origin(),
                Ok(never) => never,
            }
        });
        said(["0 ended: Raised"]);
    });
    // A group.
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let result = task_group(async |group| {
                group.create_task(tidy("child", 1));
                yield_now().await;
                Cancellation::default().resume().await;
            });
            result.await.unwrap_err().to_string()
        });
        said([
            "0 child cleans up",
            "1 child is clean",
            r#"1 ended: "the task group was stopped""#,
        ]);
    });
}

#[test]
fn siblings_of_a_raise_clean_up_first() {
    in_scenario(|event_loop| {
        let raise = async {
            until(1.0).await;
            Cancellation::default().resume().await;
        };
        cancelled_at(event_loop, &[], zip(tidy("a", 2), raise));
        said(["1 a cleans up", "3 a is clean", "3 cancelled by Raised"]);
    });
}

#[test]
fn a_region_does_not_take_a_raise() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            timeout(SECOND, async { Cancellation::default().resume().await })
                .await
                .is_ok()
        });
        said(["0 cancelled by Raised"]);
    });
}

#[test]
fn a_catch_whose_inside_ends_before_it_acted_gives_the_value() {
    in_scenario(|event_loop| {
        // Asked through a branch that passes, while the other branch has not answered: the inside then ends by itself.
        let inside = async {
            let mut slow = pin!(stubborn("slow", 1));
            or(tidy("quick", 0), &mut slow).await;
            slow.await;
            "a value"
        };
        cancelled_at(event_loop, &[1.0], async {
            let value = catch_cancelled(inside).await.is_ok();
            say(value);
            pending::<()>().await;
        });
        let lines = crate::support::scenario::take_lines();
        assert_eq!(
            lines.last().unwrap().split(' ').next(),
            Some("2"),
            "{lines:?}"
        );
    });
}
