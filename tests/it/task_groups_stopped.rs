//! Task groups that shut down, are stopped or dropped; children by name, and eager ones.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::Poll;

use callsoon::{
    CancelOrigin, Task, TaskGroup, catch_cancelled, create_task, current_task, get_running_loop,
    sleep, task_builder, task_group, yield_now,
};

use crate::support::{ending_of, outcome, run_scenario};
use crate::task_groups::{SECOND, bad, child, group_says};

#[test]
fn a_group_that_shuts_down_takes_no_children() {
    run_scenario(
        async |scenario| {
            let keeper = Rc::new(RefCell::new(None::<TaskGroup>));
            let kept = Rc::clone(&keeper);
            group_says(scenario, async |group| {
                *kept.borrow_mut() = Some(group.clone());
                let (g, s) = (group.clone(), scenario.clone());
                group.create_task(bad(1.0, "no"));
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                let mut refused = g.create_task(child(&s, "never", 1.0, 0.0));
                scenario.say(refused.done());
                assert_eq!(
                    ending_of(&mut refused),
                    "the task was cancelled: its task group was stopped"
                );
                let refused = g.try_create_task(child(&s, "never", 1.0, 0.0)).map(drop);
                scenario.say(refused.as_ref().unwrap_err());
                // What was given back is there, to be run elsewhere.
                refused.unwrap_err().0.await;
                cancelled.resume().await;
            })
            .await;
            let over = keeper.take().unwrap();
            assert!(over.try_create_task(async {}).is_err());
            let builder = task_builder().name("late").eager(true);
            assert!(
                over.create_task_with(builder, child(scenario, "never", 1.0, 0.0))
                    .done()
            );
            assert_eq!(over.len(), 0);
        },
        [
            "1 true",
            "1 the task group takes no more children",
            "2 never is done",
            "2 group failed: no",
        ],
    );
}

#[test]
fn children_have_names_contexts_and_results() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let named = group.create_task_with(task_builder().name("scout"), async {
                    Ok::<_, io::Error>(current_task().unwrap().name())
                });
                let value = group.create_task(async { Ok::<_, io::Error>(6) });
                assert_eq!(named.await.unwrap(), "scout");
                Ok::<_, io::Error>(value.await.unwrap() + 1)
            })
            .await;
        },
        ["0 group: 7"],
    );
}

#[test]
fn a_failed_childs_task_counts_as_cancelled() {
    run_scenario(
        async |scenario| {
            let failed = Rc::new(RefCell::new(None::<Task<()>>));
            let keep = Rc::clone(&failed);
            group_says(scenario, async move |group| {
                *keep.borrow_mut() = Some(group.create_task(bad(1.0, "no")));
            })
            .await;
            scenario.say(ending_of(failed.borrow_mut().as_mut().unwrap()));
        },
        [
            "1 group failed: no",
            "1 the task was cancelled: it has failed, which its task group reports",
        ],
    );
}

#[test]
fn a_failed_childs_end_cannot_be_taken_back() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let failing = group.create_task(bad(1.0, "no"));
                sleep(SECOND).await;
                for _ in 0..3 {
                    failing.uncancel();
                    yield_now().await;
                }
            })
            .await;
        },
        ["1 group failed: no"],
    );
}

#[test]
fn a_body_that_awaits_a_failing_child_is_cancelled_there() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let failing = group.create_task(bad(1.0, "no"));
                scenario.say(outcome(failing.await));
                scenario.say("not reached");
            })
            .await;
        },
        ["1 group failed: no"],
    );
}

#[test]
fn stopping_a_group_ends_children_and_body_without_an_error() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.create_task(child(scenario, "a", 9.0, 1.0));
                let g = group.clone();
                get_running_loop().call_later(SECOND, move || {
                    g.cancel();
                    g.cancel();
                });
                scenario.clone().worker("body", 9.0, 0.0).await;
            })
            .await;
            assert_eq!(current_task().unwrap().cancelling(), 0);
        },
        [
            "1 a is cancelled: its task group was stopped",
            "1 body is cancelled: its task group was stopped",
            "1 body is clean",
            "2 a is clean",
            "2 group stopped",
        ],
    );
}

#[test]
fn a_group_stopped_by_its_body_gives_the_value_if_the_body_ends_by_itself() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.create_task(child(scenario, "never begun", 9.0, 1.0));
                group.cancel();
                Ok::<_, io::Error>("found")
            })
            .await;
            group_says(scenario, async |group| {
                group.create_task(child(scenario, "never begun", 9.0, 1.0));
                group.cancel();
                yield_now().await;
                scenario.say("not reached");
            })
            .await;
        },
        [r#"0 group: "found""#, "0 group stopped"],
    );
}

#[test]
fn a_group_is_stopped_by_a_child_and_the_child_goes_with_it() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let (g, s) = (group.clone(), scenario.clone());
                group.create_task(async move {
                    sleep(SECOND).await;
                    g.cancel();
                    s.say("goes on to its next suspension");
                    yield_now().await;
                    s.say("not reached");
                });
                group.create_task(child(scenario, "other", 9.0, 0.0));
            })
            .await;
        },
        [
            "1 goes on to its next suspension",
            "1 other is cancelled: its task group was stopped",
            "1 other is clean",
            "1 group: ()",
        ],
    );
}

#[test]
fn stopping_a_group_after_its_end_or_its_failure_does_nothing() {
    run_scenario(
        async |scenario| {
            let keeper = Rc::new(RefCell::new(None::<TaskGroup>));
            let kept = Rc::clone(&keeper);
            task_group(async move |group| {
                *kept.borrow_mut() = Some(group.clone());
            })
            .await
            .unwrap();
            keeper.take().unwrap().cancel();
            yield_now().await;
            assert_eq!(current_task().unwrap().cancelling(), 0);
            group_says(scenario, async |group| {
                group.create_task(bad(1.0, "no"));
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                group.cancel();
                sleep(SECOND).await;
                cancelled.resume().await;
            })
            .await;
        },
        ["2 group failed: no"],
    );
}

#[test]
fn a_cancellation_from_outside_is_not_lost_when_the_group_is_stopped_as_well() {
    for stop_first in [true, false] {
        run_scenario(
            async move |scenario| {
                let s = scenario.clone();
                let handle = Rc::new(RefCell::new(None::<TaskGroup>));
                let keep = Rc::clone(&handle);
                let parent = create_task(async move {
                    group_says(&s, async |group| {
                        *keep.borrow_mut() = Some(group.clone());
                        group.create_task(child(&s, "a", 9.0, 1.0));
                        pending::<()>().await;
                    })
                    .await;
                    yield_now().await;
                    s.say("not reached");
                });
                sleep(SECOND).await;
                if stop_first {
                    handle.take().unwrap().cancel();
                    parent.cancel_with("outside");
                } else {
                    parent.cancel_with("outside");
                    handle.take().unwrap().cancel();
                }
                let ended = parent.await;
                assert_eq!(
                    ended.unwrap_err().cancelled().unwrap().origin(),
                    CancelOrigin::Task
                );
                scenario.say("cancelled");
            },
            [
                "1 a is cancelled: its task group was stopped",
                "2 a is clean",
                "2 cancelled",
            ],
        );
    }
}

#[test]
fn the_value_of_a_body_that_keeps_on_is_given_when_the_group_was_stopped() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let g = group.clone();
                get_running_loop().call_later(SECOND, move || g.cancel());
                Ok::<_, io::Error>(scenario.clone().stubborn("body", 9.0, 1.0).await)
            })
            .await;
        },
        [
            "1 body ignores: cancelled: its task group was stopped",
            r#"2 group: "body""#,
        ],
    );
}

#[test]
fn a_group_that_is_dropped_half_way_asks_its_children_to_end() {
    run_scenario(
        async |scenario| {
            let mut half = Box::pin(task_group(async |group| {
                group.create_task(child(scenario, "a", 9.0, 1.0));
                let g = group.clone();
                group.create_task(async move {
                    let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                    assert!(g.try_create_task(async {}).is_err());
                    cancelled.resume().await;
                });
                pending::<()>().await;
            }));
            let polled = poll_fn(|context| Poll::Ready(half.as_mut().poll(context).is_pending()));
            assert!(polled.await);
            yield_now().await;
            drop(half);
            scenario.say("dropped");
            sleep(2 * SECOND).await;
        },
        [
            "0 dropped",
            "0 a is cancelled: its task group was stopped",
            "1 a is clean",
        ],
    );
}

#[test]
fn an_eager_child_that_fails_does_not_cancel_the_body_before_its_next_suspension() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let eager = || task_builder().eager(true);
                let mut failed = group.create_task_with(eager(), async { Err::<(), _>("at once") });
                scenario.say(format!("the body goes on: {}", ending_of(&mut failed)));
                assert!(group.try_create_task(async {}).is_err());
                yield_now().await;
                scenario.say("not reached");
            })
            .await;
            assert_eq!(current_task().unwrap().cancelling(), 0);
            yield_now().await;
            // A body that ends in the same step is not cancelled any more.
            group_says(scenario, async |group| {
                let builder = task_builder().eager(true);
                group.create_task_with(builder, async { Err::<(), _>("at once") });
                Ok::<_, io::Error>("the value")
            })
            .await;
            yield_now().await;
        },
        [
            "0 the body goes on: unfinished",
            "0 group failed: at once",
            "0 group failed: at once",
        ],
    );
}

#[test]
fn eager_children_that_end_at_once_are_done_and_cost_no_turn() {
    run_scenario(
        async |scenario| {
            let turns = || get_running_loop().metrics().turns;
            let before = turns();
            group_says(scenario, async |group| {
                for n in 0..100 {
                    let builder = task_builder().eager(true);
                    let mut task =
                        group.create_task_with(builder, async move { Ok::<_, io::Error>(n) });
                    assert_eq!(task.result().unwrap().unwrap(), n);
                    assert_eq!(group.len(), 0);
                }
            })
            .await;
            assert_eq!(turns(), before);
        },
        ["0 group: ()"],
    );
}

#[test]
fn an_eager_child_may_stop_its_group_and_start_children() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let (g, s) = (group.clone(), scenario.clone());
                let builder = task_builder().eager(true);
                group.create_task_with(builder, async move {
                    g.create_task(child(&s, "never begun", 1.0, 0.0));
                    g.cancel();
                    s.worker("eager", 1.0, 0.0).await;
                });
                scenario.say("the body goes on");
                sleep(9 * SECOND).await;
            })
            .await;
        },
        [
            "0 the body goes on",
            "0 eager is cancelled: its task group was stopped",
            "0 eager is clean",
            "0 group stopped",
        ],
    );
}
