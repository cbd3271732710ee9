//! The tables of cancel scopes, cell by cell: what is asked of whom, what each answers, what follows.
//!
//! Lines of a trace begin with the seconds since the test began.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use callsoon::{
    Cancellation, TaskError, Timeout, catch_cancelled, create_task, gather, get_running_loop,
    move_on_after, shield, sleep, task_group, timeout, yield_now,
};
use futures_lite::future::{or, zip};

use crate::support::lab::{
    Farewell, SECOND, at, cancelled_at, ending, finish, gated, lab, said, say, stubborn, tidy,
    unmoved, until,
};
use crate::support::{Together, poll_once};

/// A gate that is open, and shut and opened in turn at these times.
fn changing<const N: usize>(times: [f64; N]) -> Rc<Cell<bool>> {
    let gate = Rc::new(Cell::new(true));
    for time in times {
        let changes = Rc::clone(&gate);
        at(time, move || changes.set(!changes.get()));
    }
    gate
}

// Verdicts: what each kind makes of the answers from below.

#[test]
fn a_task_ends_cancelled_when_somebody_passed() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], tidy("a", 2));
        said([
            "1 a cleans up",
            "3 a is clean",
            r#"3 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_task_goes_on_when_nobody_passed_and_its_count_stays() {
    lab(|event_loop| {
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
    lab(|event_loop| {
        let gate = changing([0.5]);
        cancelled_at(event_loop, &[1.0], gated(gate, tidy("a", 2)));
        said([r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn a_deadline_makes_an_error_or_nothing_of_it_when_somebody_passed() {
    lab(|event_loop| {
        cancelled_at(event_loop, &[], timeout(SECOND, tidy("a", 1)));
        said(["1 a cleans up", "2 a is clean", "2 ended: Err(TimedOut)"]);
    });
    lab(|event_loop| {
        cancelled_at(event_loop, &[], move_on_after(SECOND, tidy("a", 1)));
        said(["1 a cleans up", "2 a is clean", "2 ended: None"]);
    });
}

#[test]
fn a_deadline_that_was_kept_off_lets_the_result_stand_and_stays_expired() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], timeout(SECOND * 9, tidy("a", 1)));
        said([
            "1 a cleans up",
            "2 a is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
    // Keep.
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], timeout(SECOND * 9, stubborn("a", 1)));
        said(["1 a is asked", "2 a goes on", "2 ended: Ok(())"]);
    });
    // Abstain, which does not outweigh a Keep beside it.
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
        let gate = changing([0.5]);
        let region = timeout(SECOND * 9, gated(gate, tidy("aside", 1)));
        cancelled_at(event_loop, &[1.0], region);
        said([r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn a_catch_is_asked_once_what_is_below_it_has_passed() {
    lab(|event_loop| {
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
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            catch_cancelled(stubborn("inner", 1)).await.is_ok()
        });
        said(["1 inner is asked", "2 inner goes on", "2 ended: true"]);
    });
}

#[test]
fn a_group_is_asked_once_its_body_has_passed() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
fn a_scope_that_has_opened_since_the_asking_is_asked_before_the_fall() {
    lab(|event_loop| {
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

// States and events.

#[test]
fn who_is_asked_acts_before_its_inside_is_polled() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
fn who_was_passed_by_is_idle_when_it_is_polled_again_and_hears_the_next_request() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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

#[test]
fn sub_wakers_are_woken_and_have_time_while_the_task_is_queued_again() {
    lab(|event_loop| {
        let lazy = |mut polls: u32| {
            let mut inside = Box::pin(tidy("lazy", 1));
            poll_fn(move |context| {
                // Each poll but the first few passes by; the task is queued again meanwhile.
                if polls > 0 && polls < 4 {
                    polls += 1;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                polls += 1;
                inside.as_mut().poll(context)
            })
        };
        let both = Together::new().with(lazy(0)).with(tidy("b", 0));
        cancelled_at(event_loop, &[1.0], both);
        said([
            "1 b cleans up",
            "1 b is clean",
            "1 lazy cleans up",
            "2 lazy is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_sub_waker_that_leads_nowhere_is_passed_by() {
    lab(|event_loop| {
        let mut inside = Box::pin(tidy("a", 9));
        let mut begun = false;
        let deaf = poll_fn(move |_| {
            if !std::mem::replace(&mut begun, true) {
                let deaf = std::task::Waker::noop();
                let _ = inside
                    .as_mut()
                    .poll(&mut std::task::Context::from_waker(deaf));
            }
            Poll::<()>::Pending
        });
        cancelled_at(event_loop, &[1.0], zip(deaf, tidy("b", 1)));
        said([
            "1 b cleans up",
            "2 b is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn an_await_whose_task_has_ended_and_that_is_not_polled_is_passed_by() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            or(unmoved("b"), tidy("a", 1)).await;
            pending::<()>().await;
        });
        said(["1 b goes on", r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn clean_up_that_is_dropped_from_outside_has_decided_as_its_token_does() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
        let inner = event_loop.create_task(tidy("inner", 9));
        cancelled_at(event_loop, &[1.0, 2.0], async { inner.await.is_ok() });
        said(["1 inner cleans up", r#"2 cancelled by Task "2""#]);
    });
}

#[test]
fn who_has_passed_stays_pending_until_it_is_dropped() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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

// What each kind does when it is asked.

#[test]
fn a_cancelled_awaiter_leaves_the_result_that_came_in_the_same_turn() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
        lab(move |event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
fn an_await_says_cancelled_only_when_somebody_else_cancelled_what_it_awaited() {
    lab(|event_loop| {
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
fn a_shielded_task_goes_on_and_is_nobodys_business() {
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
        let lines = crate::support::lab::heard();
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
        cancelled_at(event_loop, &[], async {
            Cancellation::default().resume().await
        });
        said(["0 cancelled by Raised"]);
    });
    // A catch.
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
    lab(|event_loop| {
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
        let lines = crate::support::lab::heard();
        assert_eq!(
            lines.last().unwrap().split(' ').next(),
            Some("2"),
            "{lines:?}"
        );
    });
}
