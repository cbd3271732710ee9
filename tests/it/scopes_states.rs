//! The table of states and events of cancel scopes, cell by cell.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use callsoon::{
    catch_cancelled, create_task, get_running_loop, sleep, task_group, timeout, yield_now,
};
use futures_lite::future::{or, zip};

use crate::scopes_cells::changing;
use crate::support::scenario::{
    Farewell, SECOND, at, cancelled_at, ending, finish, gated, in_scenario, said, say, stubborn,
    tidy, unmoved, until,
};
use crate::support::{JoinAll, poll_once};

// States and events.

#[test]
fn who_is_asked_acts_before_its_inside_is_polled() {
    in_scenario(|event_loop| {
        let inside = poll_fn(|_| {
            say("polled");
            Poll::<()>::Pending
        });
        cancelled_at(event_loop, &[1.0], async {
            catch_cancelled(inside).await.is_err()
        });
        said(["0 polled", "1 ended: true"]);
    });
}

#[test]
fn who_is_asked_and_not_polled_is_passed_by() {
    in_scenario(|event_loop| {
        let gate = changing([0.5]);
        let aside = gated(gate, tidy("a", 9));
        cancelled_at(event_loop, &[1.0], zip(aside, tidy("b", 1)));
        said([
            "1 b cleans up",
            "2 b is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn who_is_passed_by_is_so_at_the_end_of_the_poll_however_busy_the_task_is() {
    in_scenario(|event_loop| {
        let gate = Rc::new(Cell::new(true));
        let shut = Rc::clone(&gate);
        let busy = async move {
            shut.set(false);
            callsoon::current_task().unwrap().cancel();
            for round in 0..9 {
                say(round);
                yield_now().await;
            }
        };
        cancelled_at(event_loop, &[], zip(gated(gate, tidy("aside", 1)), busy));
        said(["0 0", "0 1", "0 cancelled by Task"]);
    });
}

#[test]
fn who_was_passed_by_is_not_asked_again_until_it_is_polled() {
    in_scenario(|event_loop| {
        let gate = changing([0.5]);
        let sibling = async {
            unmoved("b").await;
            poll_fn(|_| {
                say("b is polled");
                Poll::<()>::Pending
            })
            .await;
        };
        cancelled_at(
            event_loop,
            &[1.0, 2.0],
            zip(gated(gate, tidy("aside", 1)), sibling),
        );
        said(["1 b goes on", "1 b is polled", r#"2 cancelled by Task "2""#]);
    });
}

#[test]
fn a_scope_that_was_passed_by_is_idle_when_it_is_polled_again_and_receives_the_next_request() {
    in_scenario(|event_loop| {
        let gate = changing([0.5, 3.0]);
        let aside = gated(gate, tidy("a", 1));
        cancelled_at(
            event_loop,
            &[1.0, 5.0],
            zip(aside, async {
                stubborn("b", 0).await;
                until(4.0).await;
            }),
        );
        said([
            "1 b is asked",
            "1 b goes on",
            "5 a cleans up",
            "6 a is clean",
            r#"6 cancelled by Task "5""#,
        ]);
    });
}

#[test]
fn a_catch_that_was_passed_by_after_its_inside_was_cancelled_acts_when_it_is_polled_again() {
    in_scenario(|event_loop| {
        let gate = Rc::new(Cell::new(true));
        let (shut, reopened) = (Rc::clone(&gate), Rc::clone(&gate));
        let inner_gate = Rc::new(Cell::new(true));
        let inner = Rc::clone(&inner_gate);
        at(0.5, move || inner.set(false));
        at(3.0, move || reopened.set(true));
        let future = event_loop.create_future::<()>();
        let aside = gated(gate, async move {
            // One passes in the poll of the request, the other is passed by at its end: only then is the catch asked.
            let both = zip(future, gated(inner_gate, tidy("never polled again", 0)));
            let cancelled = catch_cancelled(both).await.unwrap_err();
            say("caught");
            cancelled.resume().await;
        });
        cancelled_at(
            event_loop,
            &[1.0],
            zip(aside, async move {
                unmoved("b").await;
                shut.set(false);
                until(4.0).await;
                pending::<()>().await;
            }),
        );
        said(["1 b goes on", "4 caught", r#"4 cancelled by Task "1""#]);
    });
}

#[test]
fn a_catch_that_was_asked_waits_for_what_opens_before_it_acts() {
    in_scenario(|event_loop| {
        let gate = changing([0.5]);
        let future = event_loop.create_future::<()>();
        // One passes, one is passed by, and one has opened anew when the catch is asked.
        let anew = async {
            unmoved("b").await;
            tidy("anew", 2).await;
        };
        let inside = zip(zip(future, gated(gate, tidy("aside", 0))), anew);
        cancelled_at(event_loop, &[1.0], async {
            let cancelled = catch_cancelled(inside).await.unwrap_err();
            say("caught");
            cancelled.resume().await
        });
        said([
            "1 b goes on",
            "1 anew cleans up",
            "3 anew is clean",
            "3 caught",
            r#"3 cancelled by Task "1""#,
        ]);
    });
}

/// Cleans up for a second, late: of its polls, those after the first few pass by, and have the task queued again.
fn lazy(few: u32) -> impl Future<Output = ()> + Unpin {
    let mut inside = Box::pin(tidy("lazy", 1));
    let mut polls = 0;
    poll_fn(move |context| {
        polls += 1;
        if polls > few && polls <= few + 3 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        inside.as_mut().poll(context)
    })
}

#[test]
fn sub_wakers_are_woken_and_have_time_while_the_task_is_queued_again() {
    for begins_with_the_task_s in [false, true] {
        in_scenario(move |event_loop| {
            cancelled_at(event_loop, &[1.0], async move {
                let mut lazy = lazy(1 + u32::from(begins_with_the_task_s));
                if begins_with_the_task_s {
                    assert!(poll_once(&mut lazy).await.is_none());
                }
                JoinAll::new().with(lazy).with(tidy("b", 0)).await
            });
            said([
                "1 b cleans up",
                "1 b is clean",
                "1 lazy cleans up",
                "2 lazy is clean",
                r#"2 cancelled by Task "1""#,
            ]);
        });
    }
}

#[test]
fn who_was_polled_with_the_task_s_waker_last_has_no_time_however_busy_the_task_is() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let mut aside = Box::pin(tidy("aside", 1));
            let noop = std::task::Waker::noop();
            let polled = aside
                .as_mut()
                .poll(&mut std::task::Context::from_waker(noop));
            assert!(polled.is_pending() && poll_once(&mut aside).await.is_none());
            callsoon::current_task().unwrap().cancel();
            for round in 0..9 {
                say(round);
                yield_now().await;
            }
        });
        said(["0 0", "0 1", "0 cancelled by Task"]);
    });
}

#[test]
fn a_sub_waker_that_leads_nowhere_is_passed_by() {
    in_scenario(|event_loop| {
        let mut inside = Box::pin(tidy("a", 9));
        let mut begun = false;
        let unheard = poll_fn(move |_| {
            if !std::mem::replace(&mut begun, true) {
                let noop = std::task::Waker::noop();
                let _ = inside
                    .as_mut()
                    .poll(&mut std::task::Context::from_waker(noop));
            }
            Poll::<()>::Pending
        });
        cancelled_at(event_loop, &[1.0], zip(unheard, tidy("b", 1)));
        said([
            "1 b cleans up",
            "2 b is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn an_await_whose_task_has_ended_and_that_is_not_polled_is_passed_by() {
    in_scenario(|event_loop| {
        let gate = changing([1.5, 4.0]);
        let mut inner = event_loop.create_task(tidy("inner", 1));
        let aside = gated(gate, async move { ending(&(&mut inner).await) });
        cancelled_at(
            event_loop,
            &[1.0],
            zip(aside, async {
                stubborn("b", 0).await;
                until(5.0).await;
            }),
        );
        said([
            "1 b is asked",
            "1 inner cleans up",
            "1 b goes on",
            "2 inner is clean",
            // What the task ended with is a result like any other by now.
            r#"5 ended: ("cancelled by Task \"1\"", ())"#,
        ]);
    });
}

#[test]
fn a_group_whose_children_have_ended_and_that_is_not_polled_is_passed_by() {
    in_scenario(|event_loop| {
        let gate = changing([1.5, 4.0]);
        let aside = gated(gate, async {
            let result = task_group(async |group| {
                group.create_task(tidy("child", 1));
                pending::<()>().await;
            });
            result.await.unwrap_err().to_string()
        });
        cancelled_at(
            event_loop,
            &[1.0],
            zip(aside, async {
                stubborn("b", 0).await;
                until(5.0).await;
            }),
        );
        said([
            "1 b is asked",
            "1 child cleans up",
            "1 b goes on",
            "2 child is clean",
            r#"5 ended: ("the task group was stopped", ())"#,
        ]);
    });
}

#[test]
fn who_is_dropped_while_it_owes_an_answer_passes() {
    // An await whose task is cleaning up.
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(tidy("inner", 2));
        cancelled_at(event_loop, &[1.0], async {
            or(async { drop(inner.await) }, stubborn("b", 1)).await;
            say("the code around it goes on until it waits");
            pending::<()>().await;
        });
        event_loop.run_until_complete(until(4.0)).unwrap();
        said([
            "1 b is asked",
            "1 inner cleans up",
            "2 b goes on",
            "2 the code around it goes on until it waits",
            r#"2 cancelled by Task "1""#,
            "3 inner is clean",
        ]);
    });
    // A catch that has not acted yet.
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            or(unmoved("b"), tidy("a", 1)).await;
            pending::<()>().await;
        });
        said(["1 b goes on", r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn clean_up_that_is_dropped_from_outside_has_decided_as_its_token_does() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            or(tidy("a", 9), stubborn("b", 1)).await;
            sleep(SECOND).await;
        });
        said([
            "1 a cleans up",
            "1 b is asked",
            "2 b goes on",
            "3 ended: ()",
        ]);
    });
}

#[test]
fn a_second_request_interrupts_clean_up_and_makes_its_token_stale() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0, 2.0], async {
            let _farewell = Farewell("the task");
            tidy("a", 9).await;
        });
        said([
            "1 a cleans up",
            "2 the task is dropped",
            r#"2 cancelled by Task "2""#,
        ]);
    });
    // The token that has gone stale is dropped: that says nothing to the second request.
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0, 2.0], async {
            let first = catch_cancelled(pending::<()>()).await.unwrap_err();
            let second = catch_cancelled(pending::<()>()).await.unwrap_err();
            drop(first);
            sleep(SECOND).await;
            say("still there");
            second.resume().await
        });
        said(["3 still there", r#"3 cancelled by Task "2""#]);
    });
}

#[test]
fn clean_up_that_a_second_request_interrupts_is_not_polled_again() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0, 2.0], async {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            poll_fn(|_| {
                say("clean-up is polled");
                Poll::<()>::Pending
            })
            .await;
            drop(cancelled);
        });
        said(["1 clean-up is polled", r#"2 cancelled by Task "2""#]);
    });
}

#[test]
fn what_was_owed_to_the_first_request_is_not_paid_to_the_second() {
    in_scenario(|event_loop| {
        let region = timeout(SECOND * 9, stubborn("a", 2));
        let sibling = async {
            let first = catch_cancelled(pending::<()>()).await;
            tidy("b", 2).await;
            drop(first);
        };
        cancelled_at(event_loop, &[1.0, 2.0], zip(region, sibling));
        said([
            "1 a is asked",
            "2 b cleans up",
            "3 a goes on",
            "4 b is clean",
            r#"4 cancelled by Task "2""#,
        ]);
    });
}

#[test]
fn a_request_from_above_ends_that_of_a_deadline() {
    in_scenario(|event_loop| {
        cancelled_at(
            event_loop,
            &[2.0],
            timeout(SECOND, async {
                let count = || callsoon::current_task().unwrap().cancelling();
                let first = catch_cancelled(pending::<()>()).await.unwrap_err();
                say(count());
                let second = catch_cancelled(pending::<()>()).await.unwrap_err();
                say(count());
                drop(first);
                second.resume().await
            }),
        );
        said(["1 1", "2 1", r#"2 cancelled by Task "2""#]);
    });
}

#[test]
fn an_await_that_has_acted_acts_again_at_a_second_request() {
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(tidy("inner", 9));
        cancelled_at(event_loop, &[1.0, 2.0], async { inner.await.is_ok() });
        said(["1 inner cleans up", r#"2 cancelled by Task "2""#]);
    });
}

#[test]
fn who_has_passed_stays_pending_until_it_is_dropped() {
    in_scenario(|event_loop| {
        let future = event_loop.create_future::<u8>();
        let awaits = async {
            let result = future.await;
            say(format!("never said: {result:?}"));
        };
        cancelled_at(
            event_loop,
            &[1.0],
            zip(awaits, async {
                tidy("b", 1).await;
            }),
        );
        said([
            "1 b cleans up",
            "2 b is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_deadline_in_the_turn_of_a_request_is_a_second_request_to_what_is_inside() {
    in_scenario(|event_loop| {
        let late = async { timeout(SECOND, stubborn("late", 1)).await.is_ok() };
        cancelled_at(event_loop, &[1.0], zip(late, stubborn("b", 2)));
        said([
            "1 late is asked",
            "1 b is asked",
            "3 b goes on",
            r#"3 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_region_that_completes_with_a_token_leaves_the_decision_to_its_holder() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let caught = timeout(SECOND * 9, catch_cancelled(pending::<()>())).await;
            let cancelled = caught.unwrap().unwrap_err();
            say("the token is outside of the region");
            sleep(SECOND).await;
            cancelled.resume().await
        });
        said([
            "1 the token is outside of the region",
            r#"2 cancelled by Task "1""#,
        ]);
    });
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let caught = timeout(SECOND * 9, catch_cancelled(pending::<()>())).await;
            drop(caught);
            sleep(SECOND).await;
            "went on"
        });
        said([r#"2 ended: "went on""#]);
    });
}

#[test]
fn a_region_that_completes_with_the_token_of_its_own_request_is_over_with_it() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let caught = timeout(SECOND, catch_cancelled(pending::<()>())).await;
            let cancelled = caught.unwrap().unwrap_err();
            say(format!("{:?}", cancelled.origin()));
            cancelled.resume().await
        });
        said(["1 Timeout", "1 cancelled by Raised"]);
    });
}

#[test]
fn who_owes_nothing_completes_and_is_dropped_in_silence() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let mut aside = Box::pin(catch_cancelled(timeout(SECOND, pending::<()>())));
            or(async { drop((&mut aside).await) }, yield_now()).await;
            drop(aside);
            timeout(SECOND, yield_now()).await.unwrap();
            catch_cancelled(yield_now()).await.unwrap();
            get_running_loop().metrics().scopes
        });
        // The task's root is there as long as the task.
        said(["0 ended: 1"]);
    });
}

#[test]
fn a_future_that_moves_to_another_task_abstains_here_and_is_idle_there() {
    in_scenario(|event_loop| {
        let mut moved = Box::pin(async {
            tidy("moved", 1).await;
        });
        let first = event_loop.create_task(async move {
            assert!(poll_once(&mut moved).await.is_none());
            let second = create_task(async move {
                moved.await;
            });
            let task = second.as_ref();
            at(3.0, move || {
                task.cancel_with("the second");
            });
            at(5.0, move || say(ending(&{ second }.result().unwrap())));
            pending::<()>().await;
        });
        let task = first.as_ref();
        at(1.0, move || {
            task.cancel_with("the first");
        });
        let mut first = first;
        finish(event_loop, &mut first);
        event_loop.run_until_complete(until(6.0)).unwrap();
        said([
            r#"1 cancelled by Task "the first""#,
            "3 moved cleans up",
            "4 moved is clean",
            r#"5 cancelled by Task "the second""#,
        ]);
    });
}
