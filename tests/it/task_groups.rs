//! Chapter 7c: `task_group`, `TaskGroup`, `for_each_limit`; and of chapter 25 what eager children do in them.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use callsoon::{
    CancelOrigin, FailureCause, GroupError, Outcome, Task, TaskGroup, catch_cancelled, create_task,
    current_task, for_each_limit, get_running_loop, sleep, task_builder, task_group, timeout,
    yield_now,
};

use crate::support::{Story, audited, ending, forget, outcome, panic_text, quiet_panics, told};

const SECOND: Duration = Duration::from_secs(1);

type Unit = Result<(), GroupError>;

/// A child: works, or cleans up, and gives nothing.
fn child(
    story: &Story,
    name: &'static str,
    work: f64,
    clean: f64,
) -> impl Future<Output = ()> + use<> {
    let story = story.clone();
    async move {
        story.worker(name, work, clean).await;
    }
}

/// A child that fails after a time.
async fn bad(seconds: f64, text: &'static str) -> Result<(), &'static str> {
    sleep(Duration::from_secs_f64(seconds)).await;
    Err(text)
}

/// Says how a group ended.
fn say<T: Debug>(story: &Story, ended: Result<T, GroupError>) {
    match ended {
        Ok(value) => story.say(format!("group: {value:?}")),
        Err(GroupError::Failed(failures)) => {
            let texts: Vec<_> = failures
                .iter()
                .map(|failure| match failure.cause() {
                    FailureCause::Error(error) => error.to_string(),
                    FailureCause::Panicked(panicked) => panicked.to_string(),
                })
                .collect();
            story.say(format!("group failed: {}", texts.join(", ")));
        }
        Err(GroupError::Stopped) => story.say("group stopped"),
    }
}

/// Runs a group and says how it ended.
async fn group_says<R: Outcome<Value: Debug>>(
    story: &Story,
    body: impl AsyncFnOnce(&TaskGroup) -> R,
) {
    say(story, task_group(body).await);
}

/// Runs a task, cancels it after a time, and says how it ended.
async fn cut_short(story: &Story, time: Duration, parent: impl Future<Output = ()> + 'static) {
    let parent = create_task(parent);
    sleep(time).await;
    parent.cancel_with("enough");
    story.say(outcome(parent.await));
}

#[test]
fn a_group_waits_for_all_children_and_gives_the_bodys_value() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.create_task(child(story, "a", 2.0, 0.0));
                group.create_task(child(story, "b", 1.0, 0.0));
                story.say(format!("{} children", group.len()));
                Ok::<_, io::Error>(7)
            })
            .await;
        },
        [
            "0: 2 children",
            "1: b is done",
            "2: a is done",
            "2: group: 7",
        ],
    );
}

#[test]
fn m2_a_group_of_nothing_is_over_at_once() {
    told(
        async |story| {
            say(
                story,
                task_group(async |group| assert!(group.is_empty())).await,
            );
            say(
                story,
                for_each_limit(Vec::<u8>::new(), 4, |_| async {}).await,
            );
        },
        ["0: group: ()", "0: group: ()"],
    );
}

#[test]
fn children_that_start_children_while_the_group_waits_are_waited_for_too() {
    told(
        async |story| {
            group_says(story, async |group| {
                let (g, s) = (group.clone(), story.clone());
                group.create_task(async move {
                    sleep(SECOND).await;
                    let (h, t) = (g.clone(), s.clone());
                    g.create_task(async move {
                        sleep(SECOND).await;
                        h.create_task(child(&t, "grandchild", 1.0, 0.0));
                    });
                    s.say("child is done");
                });
                story.say("body is done");
            })
            .await;
        },
        [
            "0: body is done",
            "1: child is done",
            "3: grandchild is done",
            "3: group: ()",
        ],
    );
}

#[test]
fn a_failing_child_cancels_the_others_and_the_body_and_every_error_is_told() {
    told(
        async |story| {
            let me = current_task().unwrap();
            let ended: Unit = task_group(async |group| {
                group.create_task(child(story, "a", 9.0, 1.0));
                group.create_task(bad(1.0, "first"));
                group.create_task(async {
                    drop(catch_cancelled(pending::<()>()).await);
                    Err::<(), _>("second")
                });
                story.clone().worker("body", 9.0, 0.5).await;
            })
            .await;
            assert_eq!(me.cancelling(), 0);
            yield_now().await;
            say(story, ended);
        },
        [
            "1: a is cancelled: another part of its task group has failed",
            "1: body is cancelled: another part of its task group has failed",
            "1.5: body is clean",
            "2: a is clean",
            "2: group failed: first, second",
        ],
    );
}

#[test]
fn a_child_that_fails_after_the_body_has_ended_cancels_the_others() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.create_task(bad(1.0, "no"));
                group.create_task(child(story, "a", 9.0, 1.0));
            })
            .await;
        },
        [
            "1: a is cancelled: another part of its task group has failed",
            "2: a is clean",
            "2: group failed: no",
        ],
    );
}

#[test]
fn an_error_of_the_body_cancels_the_children_and_is_told_with_theirs() {
    told(
        async |story| {
            let ended = task_group(async |group| {
                group.create_task(child(story, "a", 9.0, 1.0));
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
            story.say(ended.as_ref().unwrap_err());
            say(story, ended);
        },
        [
            "1: a is cancelled: another part of its task group has failed",
            "2: a is clean",
            "2: 2 failures in a task group, the first: the body: the body's",
            "2: group failed: the body's, the child's",
        ],
    );
}

#[test]
fn a_child_that_is_cancelled_by_itself_is_no_failure() {
    told(
        async |story| {
            group_says(story, async |group| {
                let alone = group.create_task(child(story, "alone", 9.0, 0.0));
                group.create_task(child(story, "other", 2.0, 0.0));
                sleep(SECOND).await;
                alone.cancel_with("you");
            })
            .await;
        },
        [
            "1: alone is cancelled: you",
            "1: alone is clean",
            "2: other is done",
            "2: group: ()",
        ],
    );
}

#[test]
fn a_body_that_awaits_a_cancelled_child_hears_of_it_and_goes_on() {
    told(
        async |story| {
            group_says(story, async |group| {
                let alone = group.create_task(pending::<()>());
                alone.cancel_with("you");
                story.say(outcome(alone.await));
                story.say(current_task().unwrap().cancelling());
            })
            .await;
        },
        ["0: the task was cancelled: you", "0: 0", "0: group: ()"],
    );
}

#[test]
fn cancelling_the_parent_cancels_the_children_once_and_waits_for_them() {
    told(
        async |story| {
            let s = story.clone();
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
            story.say(outcome((&mut parent).await));
        },
        [
            "1: body is cancelled: enough",
            "1: body is clean",
            "1: a is cancelled: enough",
            "1: b is cancelled: enough",
            "2: a is clean",
            "4: b is clean",
            "4: the task was cancelled: again",
        ],
    );
}

#[test]
fn cancelling_a_parent_whose_body_has_ended_is_the_same() {
    told(
        async |story| {
            let s = story.clone();
            let parent = async move {
                group_says(&s, async |group| {
                    group.create_task(child(&s, "a", 9.0, 1.0));
                })
                .await;
            };
            cut_short(story, SECOND, parent).await;
        },
        [
            "1: a is cancelled: enough",
            "2: a is clean",
            "2: the task was cancelled: enough",
        ],
    );
}

#[test]
fn errors_go_before_the_cancellation_of_the_parent_which_comes_at_its_next_suspension() {
    told(
        async |story| {
            let s = story.clone();
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
            cut_short(story, SECOND, parent).await;
        },
        [
            "1: group failed: could not save",
            "1: the task was cancelled: enough",
        ],
    );
}

#[test]
fn a_parent_that_is_cancelled_while_a_failure_is_cleaned_up_gets_the_failure() {
    told(
        async |story| {
            let s = story.clone();
            let parent = async move {
                group_says(&s, async |group| {
                    group.create_task(bad(1.0, "broken"));
                    group.create_task(child(&s, "a", 9.0, 2.0));
                })
                .await;
                sleep(SECOND).await;
                s.say("not reached");
            };
            cut_short(story, 2 * SECOND, parent).await;
        },
        [
            "1: a is cancelled: another part of its task group has failed",
            "3: a is clean",
            "3: group failed: broken",
            "3: the task was cancelled: enough",
        ],
    );
}

#[test]
fn an_inner_groups_failure_is_one_failure_of_the_outer_one() {
    told(
        async |story| {
            let ended: Unit = task_group(async |outer| {
                let s = story.clone();
                outer.create_task(child(story, "uncle", 9.0, 0.0));
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
            say(story, ended);
        },
        [
            "1: sibling is cancelled: another part of its task group has failed",
            "1.5: sibling is clean",
            "1.5: uncle is cancelled: another part of its task group has failed",
            "1.5: uncle is clean",
            "1.5: group failed: 1 failure in a task group: Task-4: deep",
        ],
    );
}

#[test]
fn a_group_inside_the_body_of_another_fails_alone_where_its_error_is_handled() {
    told(
        async |story| {
            group_says(story, async |outer| {
                outer.create_task(child(story, "uncle", 3.0, 0.0));
                let inner: Unit = task_group(async |inner| {
                    inner.create_task(bad(1.0, "deep"));
                    pending::<()>().await;
                })
                .await;
                say(story, inner);
                assert_eq!(current_task().unwrap().cancelling(), 0);
                sleep(SECOND).await;
            })
            .await;
        },
        ["1: group failed: deep", "3: uncle is done", "3: group: ()"],
    );
}

#[test]
fn failures_of_both_an_inner_and_an_outer_group_at_once_are_both_told() {
    told(
        async |story| {
            let s = story.clone();
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
            story.say(outcome(parent.await));
        },
        [
            "1: the inner group's errors are given, its body cancelled",
            "1: group failed: outer, 1 failure in a task group: Task-4: inner",
            "2: goes on",
            "2: ()",
        ],
    );
}

#[test]
fn an_outer_failure_cancels_an_inner_group_and_its_children() {
    told(
        async |story| {
            group_says(story, async |outer| {
                outer.create_task(bad(1.0, "outer"));
                let inner: Unit = task_group(async |inner| {
                    inner.create_task(child(story, "a", 9.0, 1.0));
                    pending::<()>().await;
                })
                .await;
                say(story, inner);
            })
            .await;
        },
        [
            "1: a is cancelled: another part of its task group has failed",
            "2: a is clean",
            "2: group failed: outer",
        ],
    );
}

#[test]
fn a_panic_of_a_child_is_a_failure_with_its_payload() {
    told(
        async |story| {
            let ended: Unit = task_group(async |group| {
                group.create_task(child(story, "a", 9.0, 1.0));
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
            story.say(panicked.message());
        },
        [
            "1: a is cancelled: another part of its task group has failed",
            "2: a is clean",
            "2: on purpose",
        ],
    );
}

#[test]
fn a_panic_of_the_body_resumes_once_all_children_have_ended() {
    told(
        async |story| {
            let s = story.clone();
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
            story.say(outcome(parent.await));
        },
        [
            "1: a is cancelled: its task group was stopped",
            "2: a is clean",
            "report: A task group's failure, lost to a panic of its body (lost with the panic)",
            "2: the task panicked: on purpose, the body",
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
    told(
        async |story| {
            let s = story.clone();
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
            story.say(outcome(parent.await));
        },
        [
            "1: a is cancelled",
            "2: a is clean",
            "2: the task panicked: on purpose, a destructor",
        ],
    );
}

#[test]
fn a_group_that_shuts_down_takes_no_children() {
    told(
        async |story| {
            let keeper = Rc::new(RefCell::new(None::<TaskGroup>));
            let kept = Rc::clone(&keeper);
            group_says(story, async |group| {
                *kept.borrow_mut() = Some(group.clone());
                let (g, s) = (group.clone(), story.clone());
                group.create_task(bad(1.0, "no"));
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                let mut refused = g.create_task(child(&s, "never", 1.0, 0.0));
                story.say(refused.done());
                assert_eq!(
                    ending(&mut refused),
                    "the task was cancelled: its task group was stopped"
                );
                let refused = g.try_create_task(child(&s, "never", 1.0, 0.0)).map(drop);
                story.say(refused.as_ref().unwrap_err());
                // What was given back is there, to be run elsewhere.
                refused.unwrap_err().0.await;
                cancelled.resume().await;
            })
            .await;
            let over = keeper.take().unwrap();
            assert!(over.try_create_task(async {}).is_err());
            let builder = task_builder().name("late").eager(true);
            assert!(
                over.create_task_with(builder, child(story, "never", 1.0, 0.0))
                    .done()
            );
            assert_eq!(over.len(), 0);
        },
        [
            "1: true",
            "1: the task group takes no more children",
            "2: never is done",
            "2: group failed: no",
        ],
    );
}

#[test]
fn children_have_names_contexts_and_results() {
    told(
        async |story| {
            group_says(story, async |group| {
                let named = group.create_task_with(task_builder().name("scout"), async {
                    Ok::<_, io::Error>(current_task().unwrap().name())
                });
                let value = group.create_task(async { Ok::<_, io::Error>(6) });
                assert_eq!(named.await.unwrap(), "scout");
                Ok::<_, io::Error>(value.await.unwrap() + 1)
            })
            .await;
        },
        ["0: group: 7"],
    );
}

#[test]
fn a_failed_childs_task_counts_as_cancelled() {
    told(
        async |story| {
            let failed = Rc::new(RefCell::new(None::<Task<()>>));
            let keep = Rc::clone(&failed);
            group_says(story, async move |group| {
                *keep.borrow_mut() = Some(group.create_task(bad(1.0, "no")));
            })
            .await;
            story.say(ending(failed.borrow_mut().as_mut().unwrap()));
        },
        [
            "1: group failed: no",
            "1: the task was cancelled: it has failed, which its task group reports",
        ],
    );
}

#[test]
fn a_failed_childs_end_cannot_be_taken_back() {
    told(
        async |story| {
            group_says(story, async |group| {
                let failing = group.create_task(bad(1.0, "no"));
                sleep(SECOND).await;
                for _ in 0..3 {
                    failing.uncancel();
                    yield_now().await;
                }
            })
            .await;
        },
        ["1: group failed: no"],
    );
}

#[test]
fn a_body_that_awaits_a_failing_child_is_cancelled_there() {
    told(
        async |story| {
            group_says(story, async |group| {
                let failing = group.create_task(bad(1.0, "no"));
                story.say(outcome(failing.await));
                story.say("not reached");
            })
            .await;
        },
        ["1: group failed: no"],
    );
}

#[test]
fn stopping_a_group_ends_children_and_body_without_an_error() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.create_task(child(story, "a", 9.0, 1.0));
                let g = group.clone();
                get_running_loop().call_later(SECOND, move || {
                    g.cancel();
                    g.cancel();
                });
                story.clone().worker("body", 9.0, 0.0).await;
            })
            .await;
            assert_eq!(current_task().unwrap().cancelling(), 0);
        },
        [
            "1: a is cancelled: its task group was stopped",
            "1: body is cancelled: its task group was stopped",
            "1: body is clean",
            "2: a is clean",
            "2: group stopped",
        ],
    );
}

#[test]
fn a_group_stopped_by_its_body_gives_the_value_if_the_body_ends_by_itself() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.create_task(child(story, "never begun", 9.0, 1.0));
                group.cancel();
                Ok::<_, io::Error>("found")
            })
            .await;
            group_says(story, async |group| {
                group.create_task(child(story, "never begun", 9.0, 1.0));
                group.cancel();
                yield_now().await;
                story.say("not reached");
            })
            .await;
        },
        [r#"0: group: "found""#, "0: group stopped"],
    );
}

#[test]
fn a_group_is_stopped_by_a_child_and_the_child_goes_with_it() {
    told(
        async |story| {
            group_says(story, async |group| {
                let (g, s) = (group.clone(), story.clone());
                group.create_task(async move {
                    sleep(SECOND).await;
                    g.cancel();
                    s.say("goes on to its next suspension");
                    yield_now().await;
                    s.say("not reached");
                });
                group.create_task(child(story, "other", 9.0, 0.0));
            })
            .await;
        },
        [
            "1: goes on to its next suspension",
            "1: other is cancelled: its task group was stopped",
            "1: other is clean",
            "1: group: ()",
        ],
    );
}

#[test]
fn stopping_a_group_after_its_end_or_its_failure_does_nothing() {
    told(
        async |story| {
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
            group_says(story, async |group| {
                group.create_task(bad(1.0, "no"));
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                group.cancel();
                sleep(SECOND).await;
                cancelled.resume().await;
            })
            .await;
        },
        ["2: group failed: no"],
    );
}

#[test]
fn a_cancellation_from_outside_is_not_lost_when_the_group_is_stopped_as_well() {
    for stop_first in [true, false] {
        told(
            async move |story| {
                let s = story.clone();
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
                story.say("cancelled");
            },
            [
                "1: a is cancelled: its task group was stopped",
                "2: a is clean",
                "2: cancelled",
            ],
        );
    }
}

#[test]
fn the_value_of_a_body_that_keeps_on_is_given_when_the_group_was_stopped() {
    told(
        async |story| {
            group_says(story, async |group| {
                let g = group.clone();
                get_running_loop().call_later(SECOND, move || g.cancel());
                Ok::<_, io::Error>(story.clone().stubborn("body", 9.0, 1.0).await)
            })
            .await;
        },
        [
            "1: body ignores: cancelled: its task group was stopped",
            r#"2: group: "body""#,
        ],
    );
}

#[test]
fn a_group_that_is_dropped_half_way_asks_its_children_to_end() {
    told(
        async |story| {
            let mut half = Box::pin(task_group(async |group| {
                group.create_task(child(story, "a", 9.0, 1.0));
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
            story.say("dropped");
            sleep(2 * SECOND).await;
        },
        [
            "0: dropped",
            "0: a is cancelled: its task group was stopped",
            "1: a is clean",
        ],
    );
}

#[test]
fn an_eager_child_that_fails_does_not_cancel_the_body_before_its_next_suspension() {
    told(
        async |story| {
            group_says(story, async |group| {
                let eager = || task_builder().eager(true);
                let mut failed = group.create_task_with(eager(), async { Err::<(), _>("at once") });
                story.say(format!("the body goes on: {}", ending(&mut failed)));
                assert!(group.try_create_task(async {}).is_err());
                yield_now().await;
                story.say("not reached");
            })
            .await;
            assert_eq!(current_task().unwrap().cancelling(), 0);
            yield_now().await;
            // A body that ends in the same step is not cancelled any more.
            group_says(story, async |group| {
                let builder = task_builder().eager(true);
                group.create_task_with(builder, async { Err::<(), _>("at once") });
                Ok::<_, io::Error>("the value")
            })
            .await;
            yield_now().await;
        },
        [
            "0: the body goes on: unfinished",
            "0: group failed: at once",
            "0: group failed: at once",
        ],
    );
}

#[test]
fn eager_children_that_end_at_once_are_done_and_cost_no_turn() {
    told(
        async |story| {
            let turns = || get_running_loop().metrics().turns;
            let before = turns();
            group_says(story, async |group| {
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
        ["0: group: ()"],
    );
}

#[test]
fn an_eager_child_may_stop_its_group_and_start_children() {
    told(
        async |story| {
            group_says(story, async |group| {
                let (g, s) = (group.clone(), story.clone());
                let builder = task_builder().eager(true);
                group.create_task_with(builder, async move {
                    g.create_task(child(&s, "never begun", 1.0, 0.0));
                    g.cancel();
                    s.worker("eager", 1.0, 0.0).await;
                });
                story.say("the body goes on");
                sleep(9 * SECOND).await;
            })
            .await;
        },
        [
            "0: the body goes on",
            "0: eager is cancelled: its task group was stopped",
            "0: eager is clean",
            "0: group stopped",
        ],
    );
}

#[test]
fn a_limit_lets_children_begin_first_come_first_served() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.set_limit(2);
                for (name, work) in [("a", 2.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)] {
                    group.create_task(child(story, name, work, 0.0));
                }
                assert_eq!(group.len(), 4);
            })
            .await;
        },
        [
            "1: b is done",
            "2: a is done",
            "2: c is done",
            "3: d is done",
            "3: group: ()",
        ],
    );
}

#[test]
fn m2_a_limit_of_zero_is_one_and_the_largest_is_none() {
    told(
        async |story| {
            for limit in [0, 1, usize::MAX] {
                let ended = task_group(async |group| {
                    group.set_limit(limit);
                    for _ in 0..3 {
                        group.wait_vacancy().await;
                        group.create_task(sleep(SECOND));
                    }
                });
                ended.await.unwrap();
                story.say(format!("{limit} by hand"));
                for_each_limit(0..3, limit, |_| sleep(SECOND))
                    .await
                    .unwrap();
                story.say(limit);
            }
        },
        [
            "3: 0 by hand",
            "6: 0",
            "9: 1 by hand",
            "12: 1",
            "13: 18446744073709551615 by hand",
            "14: 18446744073709551615",
        ],
    );
}

#[test]
fn a_limit_that_is_raised_lets_those_who_wait_begin() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.set_limit(1);
                for _ in 0..4 {
                    group.create_task(child(story, "child", 1.0, 0.0));
                }
                sleep(SECOND / 2).await;
                group.set_limit(3);
                sleep(SECOND / 4).await;
                // Those who run go on.
                group.set_limit(1);
            })
            .await;
        },
        [
            "1: child is done",
            "1.5: child is done",
            "1.5: child is done",
            "2.5: child is done",
            "2.5: group: ()",
        ],
    );
}

#[test]
fn children_that_wait_for_a_place_never_begin_when_the_group_ends() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.set_limit(1);
                group.create_task(bad(1.0, "no"));
                for _ in 0..3 {
                    group.create_task(child(story, "never", 1.0, 0.0));
                }
                group.wait_vacancy().await;
                story.say("not reached: the body is cancelled");
            })
            .await;
        },
        ["1: group failed: no"],
    );
}

#[test]
fn a_child_that_is_cancelled_while_it_waits_for_a_place_frees_nobody_elses() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.set_limit(1);
                group.create_task(child(story, "a", 2.0, 0.0));
                let b = group.create_task(child(story, "b", 1.0, 0.0));
                group.create_task(child(story, "c", 1.0, 0.0));
                sleep(SECOND).await;
                b.cancel();
                yield_now().await;
                assert_eq!(group.len(), 2);
            })
            .await;
        },
        ["2: a is done", "3: c is done", "3: group: ()"],
    );
}

#[test]
fn whoever_waits_for_room_is_let_in_when_it_is_there_or_the_group_shuts_down() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.set_limit(1);
                group.create_task(child(story, "a", 1.0, 0.0));
                // One who gives up must not take the room with it.
                assert!(timeout(SECOND / 2, group.wait_vacancy()).await.is_err());
                group.wait_vacancy().await;
                story.say("room");
                let (g, s) = (group.clone(), story.clone());
                group.create_task(async move {
                    get_running_loop().call_later(SECOND, {
                        let g = g.clone();
                        move || g.cancel()
                    });
                    // No vacancy ever: this child itself runs.
                    let caught = catch_cancelled(g.wait_vacancy()).await;
                    s.say(format!(
                        "let in or cancelled: {}",
                        caught.is_ok() || caught.is_err()
                    ));
                });
            })
            .await;
        },
        [
            "1: a is done",
            "1: room",
            "2: let in or cancelled: true",
            "2: group: ()",
        ],
    );
}

#[test]
fn room_that_was_told_to_one_who_is_gone_is_told_to_the_next() {
    told(
        async |story| {
            group_says(story, async |group| {
                group.set_limit(1);
                group.create_task(child(story, "a", 1.0, 0.0));
                yield_now().await;
                let [first, second] = ["first", "second"].map(|name| {
                    let (g, s) = (group.clone(), story.clone());
                    create_task(async move {
                        g.wait_vacancy().await;
                        s.say(format!("{name} has room"));
                    })
                });
                // In the turn in which the child ends, after the first was woken and before it runs.
                let gone = first.as_ref();
                get_running_loop().call_later(SECOND, move || {
                    gone.cancel();
                });
                story.say(outcome(first.await));
                second.await.unwrap();
            })
            .await;
        },
        [
            "1: a is done",
            "1: the task was cancelled",
            "1: second has room",
            "1: group: ()",
        ],
    );
}

#[test]
fn for_each_limit_takes_items_only_when_there_is_room() {
    told(
        async |story| {
            let taken = Cell::new(0);
            let running = Rc::new(Cell::new(0));
            let items = (1..=4).inspect(|n| taken.set(*n));
            let ended = for_each_limit(items, 2, |n| {
                let (s, running) = (story.clone(), Rc::clone(&running));
                s.say(format!("{n} taken"));
                async move {
                    running.set(running.get() + 1);
                    assert!(running.get() <= 2);
                    sleep(n * SECOND).await;
                    running.set(running.get() - 1);
                }
            });
            say(story, ended.await);
            assert_eq!(taken.get(), 4);
        },
        [
            "0: 1 taken",
            "0: 2 taken",
            "1: 3 taken",
            "2: 4 taken",
            "6: group: ()",
        ],
    );
}

#[test]
fn for_each_limit_takes_nothing_more_after_a_failure() {
    told(
        async |story| {
            let s = story.clone();
            let ended = for_each_limit(1.., 2, move |n: u32| {
                s.say(format!("{n} taken"));
                async move {
                    sleep(SECOND).await;
                    if n == 3 { Err("three") } else { Ok(()) }
                }
            });
            say(story, ended.await);
        },
        [
            "0: 1 taken",
            "0: 2 taken",
            "1: 3 taken",
            "1: 4 taken",
            "2: group failed: three",
        ],
    );
}

#[test]
fn a_panic_of_the_iterator_of_for_each_limit_resumes_after_the_tasks() {
    told(
        async |story| {
            let s = story.clone();
            let whole = create_task(async move {
                let items = (0..3).inspect(|n| assert!(*n < 1, "on purpose, the iterator"));
                let ended = for_each_limit(items, 2, |_| child(&s, "a", 9.0, 1.0)).await;
                s.say(format!("not reached {ended:?}"));
            });
            story.say(outcome(whole.await));
        },
        ["0: the task panicked: on purpose, the iterator"],
    );
}

#[test]
fn cancelling_for_each_limit_cancels_what_runs() {
    told(
        async |story| {
            let late = timeout(
                SECOND,
                for_each_limit(0.., 2, |_: u32| child(story, "child", 9.0, 1.0)),
            );
            story.say(late.await.is_err());
        },
        [
            "1: child is cancelled",
            "1: child is cancelled",
            "2: child is clean",
            "2: child is clean",
            "2: true",
        ],
    );
}

#[test]
fn children_that_all_fail_at_once_are_all_told_in_order() {
    told(
        async |story| {
            group_says(story, async |group| {
                for text in ["a", "b", "c"] {
                    group.create_task(bad(1.0, text));
                }
            })
            .await;
        },
        ["1: group failed: a, b, c"],
    );
}

#[test]
fn a_group_outside_a_running_loop_says_so() {
    audited(|| {
        quiet_panics();
        let text = panic_text(|| {
            crate::support::Waiting::new(task_group(async |_: &TaskGroup| ())).poll()
        });
        assert!(text.contains("no running event loop"), "{text}");
    });
}

#[test]
fn a_group_that_spawns_a_child_per_child_ends_when_all_have() {
    told(
        async |story| {
            async fn tree(group: TaskGroup, depth: u32, count: Rc<Cell<u32>>) {
                count.set(count.get() + 1);
                yield_now().await;
                for _ in 0..if depth == 0 { 0 } else { 2 } {
                    let branch = tree(group.clone(), depth - 1, Rc::clone(&count));
                    group.create_task(Box::pin(branch) as Pin<Box<dyn Future<Output = ()>>>);
                }
            }
            let count = Rc::new(Cell::new(0));
            let counted = Rc::clone(&count);
            group_says(story, async move |group| {
                group.create_task(tree(group.clone(), 9, counted));
            })
            .await;
            story.say(count.get());
        },
        ["0: group: ()", "0: 1023"],
    );
}

#[test]
fn k5_a_forgotten_group_is_a_leak_and_no_hang() {
    told(
        async |story| {
            let s = story.clone();
            let outer = create_task(async move {
                let t = s.clone();
                let mut half = Box::pin(task_group(async move |group| {
                    group.create_task(child(&t, "child", 2.0, 0.0));
                    pending::<()>().await;
                }));
                let polled =
                    poll_fn(|context| Poll::Ready(half.as_mut().poll(context).is_pending()));
                assert!(polled.await);
                forget(half);
                sleep(9 * SECOND).await;
            });
            sleep(SECOND).await;
            outer.cancel();
            story.say(outcome(outer.await));
            sleep(2 * SECOND).await;
        },
        ["1: the task was cancelled", "2: child is done"],
    );
}

/// C7: the last child ends, and the parent is cancelled, in one turn.
#[test]
fn c7_a_cancellation_in_the_turn_of_the_last_childs_end_is_not_lost() {
    for (order, ended) in [
        ("ec", "1: the task was cancelled: outside"),
        ("ce", "1: the task was cancelled: outside"),
    ] {
        told(
            async move |story| {
                let gate = get_running_loop().create_future::<()>();
                let g = gate.clone();
                let parent = create_task(async move {
                    task_group(async move |group| {
                        group.create_task(async move { g.await.unwrap() });
                    })
                    .await
                    .unwrap();
                });
                sleep(SECOND).await;
                for rival in order.chars() {
                    if rival == 'e' {
                        gate.set_result(()).unwrap();
                    } else {
                        parent.cancel_with("outside");
                    }
                }
                story.say(outcome(parent.await));
            },
            [ended],
        );
    }
}

/// Polls both with the task's own waker.
async fn both(a: impl Future<Output = Unit>, b: impl Future<Output = Unit>) -> (Unit, Unit) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|context| {
        if first.is_none() {
            if let Poll::Ready(ended) = a.as_mut().poll(context) {
                first = Some(ended);
            }
        }
        if second.is_none() {
            if let Poll::Ready(ended) = b.as_mut().poll(context) {
                second = Some(ended);
            }
        }
        match (&first, &second) {
            (Some(_), Some(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    (first.unwrap(), second.unwrap())
}

#[test]
fn groups_side_by_side_in_one_task_fail_alone() {
    told(
        async |story| {
            let (one, two) = both(
                task_group(async |group| {
                    group.create_task(bad(1.0, "one"));
                    pending::<()>().await;
                }),
                task_group(async |group| {
                    group.create_task(child(story, "two", 2.0, 0.0));
                }),
            )
            .await;
            say(story, one);
            say(story, two);
        },
        ["2: two is done", "2: group failed: one", "2: group: ()"],
    );
}
