//! `task_group`, `TaskGroup`, `for_each_limit`, and eager children in them.

use std::fmt::Debug;
use std::future::{Future, pending};
use std::io;
use std::time::Duration;

use callsoon::{
    FailureCause, GroupError, Outcome, TaskGroup, catch_cancelled, create_task, current_task,
    for_each_limit, sleep, task_group, yield_now,
};

use crate::support::{Scenario, outcome, run_scenario};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) type Unit = Result<(), GroupError>;

/// A child: works, or cleans up, and gives nothing.
pub(crate) fn child(
    scenario: &Scenario,
    name: &'static str,
    work: f64,
    clean: f64,
) -> impl Future<Output = ()> + use<> {
    let scenario = scenario.clone();
    async move {
        scenario.worker(name, work, clean).await;
    }
}

/// A child that fails after a time.
pub(crate) async fn bad(seconds: f64, text: &'static str) -> Result<(), &'static str> {
    sleep(Duration::from_secs_f64(seconds)).await;
    Err(text)
}

/// Says how a group ended.
pub(crate) fn say<T: Debug>(scenario: &Scenario, ended: Result<T, GroupError>) {
    match ended {
        Ok(value) => scenario.say(format!("group: {value:?}")),
        Err(GroupError::Failed(failures)) => {
            let texts: Vec<_> = failures
                .iter()
                .map(|failure| match failure.cause() {
                    FailureCause::Error(error) => error.to_string(),
                    FailureCause::Panicked(panicked) => panicked.to_string(),
                })
                .collect();
            scenario.say(format!("group failed: {}", texts.join(", ")));
        }
        Err(GroupError::Stopped) => scenario.say("group stopped"),
    }
}

/// Runs a group and says how it ended.
pub(crate) async fn group_says<R: Outcome<Value: Debug>>(
    scenario: &Scenario,
    body: impl AsyncFnOnce(&TaskGroup) -> R,
) {
    say(scenario, task_group(body).await);
}

/// Runs a task, cancels it after a time, and says how it ended.
async fn cut_short(
    scenario: &Scenario,
    time: Duration,
    parent: impl Future<Output = ()> + 'static,
) {
    let parent = create_task(parent);
    sleep(time).await;
    parent.cancel_with("enough");
    scenario.say(outcome(parent.await));
}

#[test]
fn a_group_waits_for_all_children_and_gives_the_bodys_value() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.create_task(child(scenario, "a", 2.0, 0.0));
                group.create_task(child(scenario, "b", 1.0, 0.0));
                scenario.say(format!("{} children", group.len()));
                Ok::<_, io::Error>(7)
            })
            .await;
        },
        ["0 2 children", "1 b is done", "2 a is done", "2 group: 7"],
    );
}

#[test]
fn m2_a_group_of_nothing_is_over_at_once() {
    run_scenario(
        async |scenario| {
            say(
                scenario,
                task_group(async |group| assert!(group.is_empty())).await,
            );
            say(
                scenario,
                for_each_limit(Vec::<u8>::new(), 4, |_| async {}).await,
            );
        },
        ["0 group: ()", "0 group: ()"],
    );
}

#[test]
fn children_that_start_children_while_the_group_waits_are_waited_for_too() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let (g, s) = (group.clone(), scenario.clone());
                group.create_task(async move {
                    sleep(SECOND).await;
                    let (h, t) = (g.clone(), s.clone());
                    g.create_task(async move {
                        sleep(SECOND).await;
                        h.create_task(child(&t, "grandchild", 1.0, 0.0));
                    });
                    s.say("child is done");
                });
                scenario.say("body is done");
            })
            .await;
        },
        [
            "0 body is done",
            "1 child is done",
            "3 grandchild is done",
            "3 group: ()",
        ],
    );
}

#[test]
fn a_failing_child_cancels_the_others_and_the_body_and_every_error_is_given() {
    run_scenario(
        async |scenario| {
            let me = current_task().unwrap();
            let ended: Unit = task_group(async |group| {
                group.create_task(child(scenario, "a", 9.0, 1.0));
                group.create_task(bad(1.0, "first"));
                group.create_task(async {
                    drop(catch_cancelled(pending::<()>()).await);
                    Err::<(), _>("second")
                });
                scenario.clone().worker("body", 9.0, 0.5).await;
            })
            .await;
            assert_eq!(me.cancelling(), 0);
            yield_now().await;
            say(scenario, ended);
        },
        [
            "1 a is cancelled: another part of its task group has failed",
            "1 body is cancelled: another part of its task group has failed",
            "1.5 body is clean",
            "2 a is clean",
            "2 group failed: first, second",
        ],
    );
}

#[test]
fn a_child_that_fails_after_the_body_has_ended_cancels_the_others() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.create_task(bad(1.0, "no"));
                group.create_task(child(scenario, "a", 9.0, 1.0));
            })
            .await;
        },
        [
            "1 a is cancelled: another part of its task group has failed",
            "2 a is clean",
            "2 group failed: no",
        ],
    );
}

#[test]
fn an_error_of_the_body_cancels_the_children_and_is_given_with_theirs() {
    run_scenario(
        async |scenario| {
            let ended = task_group(async |group| {
                group.create_task(child(scenario, "a", 9.0, 1.0));
                group.create_task(async {
                    drop(catch_cancelled(pending::<()>()).await);
                    Err::<(), _>("the child's")
                });
                sleep(SECOND).await;
                Err::<(), _>("the body's")
            })
            .await;
            let failures = ended.as_ref().unwrap_err().failures();
            assert_eq!((failures[0].task(), failures[0].location()), (None, None));
            assert_eq!(failures[1].task(), Some("Task-3"));
            scenario.say(ended.as_ref().unwrap_err());
            say(scenario, ended);
        },
        [
            "1 a is cancelled: another part of its task group has failed",
            "2 a is clean",
            "2 2 failures in a task group, the first: the body: the body's",
            "2 group failed: the body's, the child's",
        ],
    );
}

#[test]
fn a_child_that_is_cancelled_by_itself_is_no_failure() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let alone = group.create_task(child(scenario, "alone", 9.0, 0.0));
                group.create_task(child(scenario, "other", 2.0, 0.0));
                sleep(SECOND).await;
                alone.cancel_with("you");
            })
            .await;
        },
        [
            "1 alone is cancelled: you",
            "1 alone is clean",
            "2 other is done",
            "2 group: ()",
        ],
    );
}

#[test]
fn a_body_that_awaits_a_cancelled_child_gets_the_cancellation_and_goes_on() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                let alone = group.create_task(pending::<()>());
                alone.cancel_with("you");
                scenario.say(outcome(alone.await));
                scenario.say(current_task().unwrap().cancelling());
            })
            .await;
        },
        ["0 the task was cancelled: you", "0 0", "0 group: ()"],
    );
}

#[test]
fn cancelling_the_parent_cancels_the_children_once_and_waits_for_them() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let mut parent = create_task(async move {
                group_says(&s, async |group| {
                    group.create_task(child(&s, "a", 9.0, 1.0));
                    group.create_task(child(&s, "b", 9.0, 3.0));
                    s.clone().worker("body", 9.0, 0.0).await;
                })
                .await;
            });
            sleep(SECOND).await;
            parent.cancel_with("enough");
            sleep(SECOND / 2).await;
            // The children's clean-up goes on.
            parent.cancel_with("again");
            scenario.say(outcome((&mut parent).await));
        },
        [
            "1 body is cancelled: enough",
            "1 body is clean",
            "1 a is cancelled: enough",
            "1 b is cancelled: enough",
            "2 a is clean",
            "4 b is clean",
            "4 the task was cancelled: again",
        ],
    );
}

#[test]
fn cancelling_a_parent_whose_body_has_ended_is_the_same() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let parent = async move {
                group_says(&s, async |group| {
                    group.create_task(child(&s, "a", 9.0, 1.0));
                })
                .await;
            };
            cut_short(scenario, SECOND, parent).await;
        },
        [
            "1 a is cancelled: enough",
            "2 a is clean",
            "2 the task was cancelled: enough",
        ],
    );
}

#[test]
fn errors_go_before_the_cancellation_of_the_parent_which_comes_at_its_next_suspension() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let parent = async move {
                group_says(&s, async |group| {
                    group.create_task(async {
                        drop(catch_cancelled(pending::<()>()).await);
                        Err::<(), _>("could not save")
                    });
                })
                .await;
                yield_now().await;
                s.say("not reached");
            };
            cut_short(scenario, SECOND, parent).await;
        },
        [
            "1 group failed: could not save",
            "1 the task was cancelled: enough",
        ],
    );
}

#[test]
fn a_parent_that_is_cancelled_while_a_failure_is_cleaned_up_gets_the_failure() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let parent = async move {
                group_says(&s, async |group| {
                    group.create_task(bad(1.0, "broken"));
                    group.create_task(child(&s, "a", 9.0, 2.0));
                })
                .await;
                sleep(SECOND).await;
                s.say("not reached");
            };
            cut_short(scenario, 2 * SECOND, parent).await;
        },
        [
            "1 a is cancelled: another part of its task group has failed",
            "3 a is clean",
            "3 group failed: broken",
            "3 the task was cancelled: enough",
        ],
    );
}

#[test]
fn an_inner_groups_failure_is_one_failure_of_the_outer_one() {
    run_scenario(
        async |scenario| {
            let ended: Unit = task_group(async |outer| {
                let s = scenario.clone();
                outer.create_task(child(scenario, "uncle", 9.0, 0.0));
                outer.create_task(async move {
                    task_group(async |inner| {
                        inner.create_task(bad(1.0, "deep"));
                        inner.create_task(child(&s, "sibling", 9.0, 0.5));
                    })
                    .await
                });
            })
            .await;
            let failures = ended.as_ref().unwrap_err().failures();
            let inner = failures[0].error().unwrap();
            assert!(inner.downcast_ref::<GroupError>().is_some());
            say(scenario, ended);
        },
        [
            "1 sibling is cancelled: another part of its task group has failed",
            "1.5 sibling is clean",
            "1.5 uncle is cancelled: another part of its task group has failed",
            "1.5 uncle is clean",
            "1.5 group failed: 1 failure in a task group: Task-4: deep",
        ],
    );
}

#[test]
fn a_group_inside_the_body_of_another_fails_alone_where_its_error_is_handled() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |outer| {
                outer.create_task(child(scenario, "uncle", 3.0, 0.0));
                let inner: Unit = task_group(async |inner| {
                    inner.create_task(bad(1.0, "deep"));
                    pending::<()>().await;
                })
                .await;
                say(scenario, inner);
                assert_eq!(current_task().unwrap().cancelling(), 0);
                sleep(SECOND).await;
            })
            .await;
        },
        ["1 group failed: deep", "3 uncle is done", "3 group: ()"],
    );
}

#[test]
fn failures_of_both_an_inner_and_an_outer_group_at_once_are_both_given() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let parent = create_task(async move {
                group_says(&s, async |outer| {
                    outer.create_task(bad(1.0, "outer"));
                    let inner: Unit = task_group(async |inner| {
                        inner.create_task(bad(1.0, "inner"));
                        pending::<()>().await;
                    })
                    .await;
                    s.say("the inner group's errors are given, its body cancelled");
                    inner
                })
                .await;
                assert_eq!(current_task().unwrap().cancelling(), 0);
                sleep(SECOND).await;
                s.say("goes on");
            });
            scenario.say(outcome(parent.await));
        },
        [
            "1 the inner group's errors are given, its body cancelled",
            "1 group failed: outer, 1 failure in a task group: Task-4: inner",
            "2 goes on",
            "2 ()",
        ],
    );
}

#[test]
fn an_outer_failure_cancels_an_inner_group_and_its_children() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |outer| {
                outer.create_task(bad(1.0, "outer"));
                let inner: Unit = task_group(async |inner| {
                    inner.create_task(child(scenario, "a", 9.0, 1.0));
                    pending::<()>().await;
                })
                .await;
                say(scenario, inner);
            })
            .await;
        },
        [
            "1 a is cancelled: another part of its task group has failed",
            "2 a is clean",
            "2 group failed: outer",
        ],
    );
}

#[test]
fn a_panic_of_a_child_is_a_failure_with_its_payload() {
    run_scenario(
        async |scenario| {
            let ended: Unit = task_group(async |group| {
                group.create_task(child(scenario, "a", 9.0, 1.0));
                group.create_task(async {
                    sleep(SECOND).await;
                    panic!("on purpose");
                });
            })
            .await;
            let Err(GroupError::Failed(mut failures)) = ended else {
                unreachable!()
            };
            let FailureCause::Panicked(panicked) = failures.remove(0).into_cause() else {
                unreachable!()
            };
            scenario.say(panicked.message());
        },
        [
            "1 a is cancelled: another part of its task group has failed",
            "2 a is clean",
            "2 on purpose",
        ],
    );
}

#[test]
fn a_panic_of_the_body_resumes_once_all_children_have_ended() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let parent = create_task(async move {
                let _: Unit = task_group(async |group| {
                    group.create_task(child(&s, "a", 9.0, 1.0));
                    group.create_task(async {
                        drop(catch_cancelled(pending::<()>()).await);
                        Err::<(), _>("lost with the panic")
                    });
                    sleep(SECOND).await;
                    panic!("on purpose, the body");
                })
                .await;
            });
            scenario.say(outcome(parent.await));
        },
        [
            "1 a is cancelled: its task group was stopped",
            "2 a is clean",
            "report: A task group's failure, lost to a panic of its body (lost with the panic)",
            "2 the task panicked: on purpose, the body",
        ],
    );
}

#[test]
fn a_destructor_of_the_body_that_panics_when_it_is_cancelled_is_the_bodys_panic() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("on purpose, a destructor");
        }
    }
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let parent = create_task(async move {
                let _: Unit = task_group(async |group| {
                    group.create_task(child(&s, "a", 9.0, 1.0));
                    let _bad = Bad;
                    sleep(9 * SECOND).await;
                })
                .await;
            });
            sleep(SECOND).await;
            parent.cancel();
            scenario.say(outcome(parent.await));
        },
        [
            "1 a is cancelled",
            "2 a is clean",
            "2 the task panicked: on purpose, a destructor",
        ],
    );
}
