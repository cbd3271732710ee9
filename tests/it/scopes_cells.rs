//! The tables of cancel scopes, cell by cell: what is asked of whom, what each answers, what follows.
//!
//! Lines of a trace begin with the seconds since the test began.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use callsoon::{Timeout, catch_cancelled, move_on_after, sleep, task_group, timeout};
use futures_lite::future::zip;

use crate::support::scenario::{
    Farewell, SECOND, at, cancelled_at, gated, in_scenario, said, say, stubborn, tidy, unmoved,
    until,
};

/// A gate that is open at first, and is shut and opened in turn at these times.
pub(crate) fn changing<const N: usize>(times: [f64; N]) -> Rc<Cell<bool>> {
    let gate = Rc::new(Cell::new(true));
    for time in times {
        let changes = Rc::clone(&gate);
        at(time, move || changes.set(!changes.get()));
    }
    gate
}

// Verdicts: what each kind makes of the answers from below.

#[test]
fn a_task_ends_cancelled_when_a_scope_passed() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], tidy("a", 2));
        said([
            "1 a cleans up",
            "3 a is clean",
            r#"3 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_task_goes_on_when_no_scope_passed_and_its_count_stays() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            stubborn("a", 2).await;
            sleep(SECOND).await;
            callsoon::current_task().unwrap().cancelling()
        });
        said(["1 a is asked", "3 a goes on", "4 ended: 1"]);
    });
}

#[test]
fn a_task_whose_scopes_all_abstain_ends_cancelled() {
    in_scenario(|event_loop| {
        let gate = changing([0.5]);
        cancelled_at(event_loop, &[1.0], gated(gate, tidy("a", 2)));
        said([r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn a_deadline_makes_an_error_or_nothing_of_it_when_a_scope_passed() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], timeout(SECOND, tidy("a", 1)));
        said(["1 a cleans up", "2 a is clean", "2 ended: Err(TimedOut)"]);
    });
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], move_on_after(SECOND, tidy("a", 1)));
        said(["1 a cleans up", "2 a is clean", "2 ended: None"]);
    });
}

#[test]
fn a_deadline_that_was_kept_off_leaves_the_result_and_stays_expired() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let limit = Timeout::after(SECOND);
            let result = limit
                .run(async {
                    stubborn("a", 1).await;
                    sleep(SECOND).await;
                    callsoon::current_task().unwrap().cancelling()
                })
                .await;
            (result, limit.expired())
        });
        said(["1 a is asked", "2 a goes on", "3 ended: (Ok(0), true)"]);
    });
}

#[test]
fn a_deadline_inside_a_request_drops_its_inside_and_passes() {
    in_scenario(|event_loop| {
        let inside = async {
            let _farewell = Farewell("the inside");
            tidy("a", 9).await;
        };
        cancelled_at(event_loop, &[0.5], async {
            let result = timeout(SECOND, inside).await;
            say(format!("never said: {result:?}"));
        });
        said([
            "0.5 a cleans up",
            "1 the inside is dropped",
            r#"1 cancelled by Task "0.5""#,
        ]);
    });
}

#[test]
fn a_region_that_passed_stays_pending_while_its_sibling_cleans_up() {
    in_scenario(|event_loop| {
        let region = async {
            let result = timeout(SECOND, tidy("a", 9)).await;
            say(format!("never said: {result:?}"));
        };
        cancelled_at(event_loop, &[0.5], zip(region, tidy("b", 3)));
        said([
            "0.5 a cleans up",
            "0.5 b cleans up",
            "3.5 b is clean",
            r#"3.5 cancelled by Task "0.5""#,
        ]);
    });
}

#[test]
fn a_deadline_inside_a_request_that_was_kept_off_says_keep() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[0.5], async {
            let result = timeout(SECOND, async {
                let outer = catch_cancelled(pending::<()>()).await.unwrap_err();
                say("the first is asked");
                stubborn("the clean-up", 1).await;
                drop(outer);
                "kept"
            });
            result.await
        });
        said([
            "0.5 the first is asked",
            "1 the clean-up is asked",
            "2 the clean-up goes on",
            r#"2 ended: Ok("kept")"#,
        ]);
    });
}

#[test]
fn a_region_hands_on_what_is_below_it_says() {
    // Pass.
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], timeout(SECOND * 9, tidy("a", 1)));
        said([
            "1 a cleans up",
            "2 a is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
    // Keep.
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], timeout(SECOND * 9, stubborn("a", 1)));
        said(["1 a is asked", "2 a goes on", "2 ended: Ok(())"]);
    });
    // Abstain, which does not outweigh a Keep beside it.
    in_scenario(|event_loop| {
        let gate = changing([0.5, 4.0]);
        let aside = gated(gate, timeout(SECOND * 9, catch_cancelled(until(6.0))));
        cancelled_at(
            event_loop,
            &[1.0],
            zip(aside, async {
                stubborn("b", 1).await;
                until(5.0).await;
            }),
        );
        said(["1 b is asked", "2 b goes on", "6 ended: (Ok(Ok(())), ())"]);
    });
}

#[test]
fn what_a_region_hands_on_counts_beside_others() {
    // Its Pass outweighs a Keep.
    in_scenario(|event_loop| {
        let region = timeout(SECOND * 9, tidy("a", 1));
        cancelled_at(event_loop, &[1.0], zip(region, unmoved("b")));
        said([
            "1 a cleans up",
            "1 b goes on",
            "2 a is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
    // Also that which it had from the request before.
    in_scenario(|event_loop| {
        let region = timeout(SECOND * 9, event_loop.create_future::<()>());
        let sibling = async {
            let first = catch_cancelled(pending::<()>()).await;
            unmoved("b").await;
            drop(first);
        };
        cancelled_at(event_loop, &[1.0, 2.0], zip(region, sibling));
        said(["2 b goes on", r#"2 cancelled by Task "2""#]);
    });
    // Nothing, where what is inside abstains.
    in_scenario(|event_loop| {
        let gate = changing([0.5]);
        let region = timeout(SECOND * 9, gated(gate, tidy("aside", 1)));
        cancelled_at(event_loop, &[1.0], region);
        said([r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn a_catch_is_asked_once_what_is_below_it_has_passed() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let cancelled = catch_cancelled(tidy("inner", 1)).await.unwrap_err();
            say("the outer one cleans up");
            sleep(SECOND).await;
            cancelled.resume().await
        });
        said([
            "1 inner cleans up",
            "2 inner is clean",
            "2 the outer one cleans up",
            r#"3 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_catch_is_not_asked_where_what_is_below_it_goes_on() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            catch_cancelled(stubborn("inner", 1)).await.is_ok()
        });
        said(["1 inner is asked", "2 inner goes on", "2 ended: true"]);
    });
}

#[test]
fn a_group_is_asked_once_its_body_has_passed() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            task_group(async |group| {
                group.create_task(tidy("child", 1));
                tidy("body", 1).await;
            })
            .await
            .unwrap();
        });
        said([
            "1 body cleans up",
            "2 body is clean",
            "2 child cleans up",
            "3 child is clean",
            r#"3 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_group_whose_body_goes_on_keeps_its_children() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            task_group(async |group| {
                group.create_task(async {
                    until(4.0).await;
                    say("the child is done");
                });
                stubborn("body", 1).await;
                Ok::<_, &str>("body")
            })
            .await
            .unwrap()
        });
        said([
            "1 body is asked",
            "2 body goes on",
            "4 the child is done",
            r#"4 ended: "body""#,
        ]);
    });
}

#[test]
fn one_pass_outweighs_any_keep_and_both_are_waited_for() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], zip(tidy("a", 1), stubborn("b", 3)));
        said([
            "1 a cleans up",
            "1 b is asked",
            "2 a is clean",
            "4 b goes on",
            r#"4 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_scope_that_has_opened_since_the_asking_is_asked_before_it_is_torn_down() {
    in_scenario(|event_loop| {
        let second = async {
            stubborn("b", 0).await;
            tidy("b's second", 2).await;
        };
        cancelled_at(event_loop, &[1.0], zip(tidy("a", 1), second));
        said([
            "1 a cleans up",
            "1 b is asked",
            "1 b goes on",
            "2 a is clean",
            "2 b's second cleans up",
            "4 b's second is clean",
            r#"4 cancelled by Task "1""#,
        ]);
    });
}
