//! Running futures side by side: `gather`, `gather!`, `Gather::settled`, `Gather::fail_fast`, `try_gather`.

use std::cell::OnceCell;
use std::future::{Future, pending, poll_fn, ready};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use callsoon::{
    EventLoop, TaskError, TryGatherError, all_tasks, create_task, current_task, gather,
    get_running_loop, shield, sleep, sleep_with, timeout, try_gather, yield_now,
};

use crate::support::{Waiting, audited, outcome, run_scenario};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Makes something inside a running loop.
pub(crate) fn made<T>(mut make: impl FnMut() -> T) -> impl Future<Output = T> {
    poll_fn(move |_| Poll::Ready(make()))
}

/// Fails after a time, by a panic.
async fn bad(seconds: f64) -> &'static str {
    sleep(secs(seconds)).await;
    panic!("on purpose, after {seconds} s")
}

#[test]
fn values_come_in_the_order_of_the_arguments_after_the_longest_time() {
    run_scenario(
        async |scenario| {
            let naps = gather([3, 1, 2].map(|n| sleep_with(n * SECOND, n))).await;
            scenario.say(format!("{:?}", naps.unwrap()));
            let (one, text, unit) = callsoon::gather!(
                sleep_with(SECOND, 1),
                sleep_with(2 * SECOND, "two"),
                async {}
            )
            .await
            .unwrap();
            scenario.say(format!("{one} {text} {unit:?}"));
        },
        ["3 [3, 1, 2]", "5 1 two ()"],
    );
}

#[test]
fn children_are_tasks_that_begin_in_order_before_anybody_awaits() {
    run_scenario(
        async |scenario| {
            let naps = gather((0..3).map(|n| {
                let s = scenario.clone();
                async move { s.say(format!("{n} begins")) }
            }));
            assert_eq!(all_tasks().len(), 3 + 1);
            yield_now().await;
            scenario.say("not awaited yet");
            naps.await.unwrap();
        },
        [
            "0 0 begins",
            "0 1 begins",
            "0 2 begins",
            "0 not awaited yet",
        ],
    );
}

#[test]
fn m2_nothing_gathered_is_ready_at_once() {
    audited(|| {
        let event_loop = EventLoop::new().unwrap();
        let checked = event_loop.run_until_complete(async {
            let none = || Vec::<std::future::Ready<u8>>::new();
            let failing = || Vec::<std::future::Ready<Result<u8, u8>>>::new();
            assert_eq!(
                Waiting::new(gather(none())).poll().unwrap().unwrap(),
                [0_u8; 0]
            );
            let settled = Waiting::new(gather(none()).settled()).poll();
            assert!(settled.unwrap().is_empty());
            assert!(
                Waiting::new(try_gather(failing()))
                    .poll()
                    .unwrap()
                    .unwrap()
                    .is_empty()
            );
            let fast = Waiting::new(gather(failing()).fail_fast()).poll();
            assert!(fast.unwrap().unwrap().is_empty());
        });
        checked.unwrap();
    });
}

#[test]
fn twelve_of_different_types_are_gathered_too() {
    run_scenario(
        async |_| {
            let all = callsoon::gather!(
                ready(0u8),
                ready(1u16),
                ready(2u32),
                ready(3u64),
                ready(4i8),
                ready(5i16),
                ready(6i32),
                ready(7i64),
                ready('8'),
                ready("9"),
                ready(10.0),
                ready([11]),
            );
            let all = all.await.unwrap();
            assert_eq!((all.0, all.8, all.11), (0, '8', [11]));
        },
        [],
    );
}

#[test]
fn the_first_failure_is_given_at_once_and_the_others_run_on() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let all: [std::pin::Pin<Box<dyn Future<Output = &'static str>>>; 4] = [
                Box::pin(s.clone().worker("first", 3.0, 0.0)),
                Box::pin(bad(1.0)),
                // A later failure is not reported.
                Box::pin(bad(2.0)),
                Box::pin(s.worker("last", 4.0, 0.0)),
            ];
            let error = gather(all).await.unwrap_err();
            scenario.say(format!("{error}"));
            assert_eq!(error.index, 1);
            sleep(9 * SECOND).await;
        },
        [
            "1 gathered future 1: the task panicked: on purpose, after 1 s",
            "3 first is done",
            "4 last is done",
        ],
    );
}

#[test]
fn settled_waits_for_all_however_they_end() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let cancelled = create_task(pending::<()>());
            let canceller = cancelled.as_ref();
            get_running_loop().call_later(SECOND, move || {
                canceller.cancel_with("alone");
            });
            let (a, b, c) = callsoon::gather!(bad(1.0), s.worker("b", 2.0, 0.0), async {
                match cancelled.await {
                    Err(TaskError::Cancelled(request)) => request.resume().await,
                    other => other.unwrap(),
                }
            })
            .settled()
            .await;
            scenario.say(outcome(a));
            scenario.say(outcome(b));
            scenario.say(outcome(c));
        },
        [
            "2 b is done",
            "2 the task panicked: on purpose, after 1 s",
            r#"2 "b""#,
            "2 the task was cancelled: alone",
        ],
    );
}

#[test]
fn a_child_that_is_cancelled_is_a_failure_and_does_not_cancel_the_gathering_task() {
    run_scenario(
        async |scenario| {
            let child = Rc::new(OnceCell::new());
            let all = gather([1.0, 2.0].map(|time| {
                let (s, child) = (scenario.clone(), Rc::clone(&child));
                async move {
                    child.get_or_init(|| current_task().unwrap());
                    s.worker("child", time, 0.0).await
                }
            }));
            yield_now().await;
            child.get().unwrap().cancel_with("alone");
            let error = all.await.unwrap_err();
            scenario.say(&error);
            assert!(error.error.cancelled().is_some());
            assert_eq!(current_task().unwrap().cancelling(), 0);
            sleep(9 * SECOND).await;
        },
        [
            "0 child is cancelled: alone",
            "0 child is clean",
            "0 gathered future 0: the task was cancelled: alone",
            "2 child is done",
        ],
    );
}

#[test]
fn cancelling_the_gathering_task_cancels_all_children_and_waits_for_them() {
    for settled in [false, true] {
        run_scenario(
            async move |scenario| {
                let s = scenario.clone();
                let mut outer = create_task(async move {
                    let naps = [(1.0, 0.0), (9.0, 1.0), (9.0, 2.0)];
                    let all =
                        gather(naps.map(|(work, clean)| s.clone().worker("child", work, clean)));
                    if settled {
                        format!("{:?}", all.settled().await.len())
                    } else {
                        format!("{:?}", all.await)
                    }
                });
                sleep(2 * SECOND).await;
                outer.cancel_with("enough");
                scenario.say(outcome((&mut outer).await));
            },
            [
                "1 child is done",
                "2 child is cancelled: enough",
                "2 child is cancelled: enough",
                "3 child is clean",
                "4 child is clean",
                "4 the task was cancelled: enough",
            ],
        );
    }
}

#[test]
fn children_that_keep_on_do_not_keep_the_gather_from_being_cancelled() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let outer = create_task(async move {
                let all = gather([s.clone().stubborn("a", 9.0, 1.0), s.stubborn("b", 9.0, 2.0)]);
                all.await.unwrap()
            });
            sleep(SECOND).await;
            outer.cancel_with("stop");
            scenario.say(outcome(outer.await));
        },
        [
            "1 a ignores: cancelled: stop",
            "1 b ignores: cancelled: stop",
            "3 the task was cancelled: stop",
        ],
    );
}

#[test]
fn a_second_request_cancels_the_clean_up_of_the_children() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let outer = create_task(async move {
                gather([s.worker("child", 9.0, 9.0)]).await.unwrap();
            });
            sleep(SECOND).await;
            outer.cancel_with("first");
            sleep(SECOND).await;
            outer.cancel_with("second");
            scenario.say(outcome(outer.await));
        },
        [
            "1 child is cancelled: first",
            "2 the task was cancelled: second",
        ],
    );
}

#[test]
fn a_gather_in_a_shielded_task_leaves_its_children_and_one_of_shielded_tasks_leaves_them() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let mut inner =
                create_task(async move { gather([s.worker("a", 3.0, 0.0)]).await.unwrap() });
            assert!(timeout(SECOND, shield(&mut inner)).await.is_err());
            scenario.say(outcome(inner.await));
            let mut kept = create_task(scenario.clone().worker("b", 3.0, 0.0));
            let late = timeout(SECOND, async {
                let kept = &mut kept;
                // A borrowed task cannot go into a gather, whose children are tasks of their own; a shared one can.
                shield(kept).await.unwrap()
            });
            assert!(late.await.is_err());
            scenario.say(outcome(kept.await));
        },
        ["3 a is done", r#"3 ["a"]"#, "6 b is done", r#"6 "b""#],
    );
}

#[test]
fn tasks_that_are_gathered_are_cancelled_with_the_gather_and_shielded_ones_are_not() {
    run_scenario(
        async |scenario| {
            let tasks = [1, 2].map(|_| create_task(scenario.clone().worker("task", 3.0, 0.0)));
            let shielded = create_task(scenario.clone().worker("shielded", 3.0, 0.0));
            let late = timeout(SECOND, async move {
                let [a, b] = tasks;
                let all = callsoon::gather!(a, b, shield(shielded));
                all.await.unwrap().0
            });
            scenario.say(late.await.is_err());
            sleep(9 * SECOND).await;
        },
        [
            "1 task is cancelled",
            "1 task is cancelled",
            "1 task is clean",
            "1 task is clean",
            "1 true",
            "3 shielded is done",
        ],
    );
}

#[test]
fn try_gather_cancels_the_others_at_the_first_failure_and_waits_for_them() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let child = |n: u32| {
                let s = s.clone();
                async move {
                    if n == 1 {
                        sleep(SECOND).await;
                        return Err("no");
                    }
                    s.worker("child", 9.0, f64::from(n)).await;
                    Ok(n)
                }
            };
            let error = try_gather((0..3).map(child)).await.unwrap_err();
            scenario.say(&error);
            assert_eq!(error.index(), 1);
        },
        [
            "1 child is cancelled: another of those gathered with it has failed",
            "1 child is cancelled: another of those gathered with it has failed",
            "1 child is clean",
            "3 child is clean",
            "3 gathered future 1: no",
        ],
    );
}

#[test]
fn try_gather_gives_values_and_counts_panics_and_cancellations_as_failures() {
    run_scenario(
        async |scenario| {
            let fine = try_gather([1, 2].map(|n| sleep_with(SECOND, Ok::<_, ()>(n)))).await;
            scenario.say(format!("{:?}", fine.unwrap()));
            let error =
                try_gather([1.0, 2.0].map(|s| async move { Ok::<_, ()>(bad(s).await) })).await;
            let Err(TryGatherError::Ended { index: 0, error }) = error else {
                panic!("{error:?}");
            };
            scenario.say(error);
            let error = try_gather([1, 2].map(|n| async move {
                sleep(n * SECOND).await;
                current_task().unwrap().cancel_with("by itself");
                sleep(SECOND).await;
                Ok::<_, ()>(())
            }));
            let Err(TryGatherError::Ended { index: 0, error }) = error.await else {
                unreachable!()
            };
            scenario.say(error);
        },
        [
            "1 [1, 2]",
            "2 the task panicked: on purpose, after 1 s",
            "3 the task was cancelled: by itself",
        ],
    );
}

#[test]
fn fail_fast_gives_the_first_error_and_lets_the_others_run() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let child = |n: u32| {
                let s = s.clone();
                async move {
                    match n {
                        1 => Err(sleep_with(SECOND, "no").await),
                        _ => Ok(s.worker("child", 2.0, 0.0).await),
                    }
                }
            };
            let error = gather((0..3).map(child)).fail_fast().await.unwrap_err();
            scenario.say(error);
            sleep(9 * SECOND).await;
        },
        [
            "1 gathered future 1: no",
            "2 child is done",
            "2 child is done",
        ],
    );
}

#[test]
fn a_child_that_cancels_itself_and_returns_is_a_failure_at_once() {
    /// Cancels the task that it is dropped in.
    struct CancelsItself;
    impl Drop for CancelsItself {
        fn drop(&mut self) {
            current_task().unwrap().cancel();
        }
    }
    async fn child(number: u64) -> Result<u64, ()> {
        match number {
            0 => {
                current_task().unwrap().cancel();
            }
            1 => {
                let held = CancelsItself;
                // The destructor of what is left of the child runs when it has returned.
                return poll_fn(move |_| {
                    let _ = &held;
                    Poll::Ready(Ok(1))
                })
                .await;
            }
            _ => sleep(3600 * SECOND).await,
        }
        Ok(number)
    }
    run_scenario(
        async |scenario| {
            for first in [0, 1] {
                let error = gather([first, 2].map(child)).await.unwrap_err();
                scenario.say(format!("{}: {}", error.index, error.error));
                let error = gather([first, 2].map(child)).fail_fast().await;
                scenario.say(error.unwrap_err().index());
                let error = try_gather([first, 2].map(child)).await.unwrap_err();
                scenario.say(error.index());
            }
            for task in all_tasks() {
                if !task.done() && task.name() != current_task().unwrap().name() {
                    task.cancel();
                }
            }
            yield_now().await;
        },
        [
            "0 0: the task was cancelled",
            "0 0",
            "0 0",
            "0 0: the task was cancelled",
            "0 0",
            "0 0",
        ],
    );
}

#[test]
fn a_child_whose_destructor_panics_after_it_has_returned_gives_its_value() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose: a bomb");
        }
    }
    audited(|| {
        let trace = crate::support::Trace::new();
        let event_loop = crate::support::virtual_loop(&trace);
        let bomb = || {
            let held = Bomb;
            poll_fn(move |_| {
                let _ = &held;
                Poll::Ready(7)
            })
        };
        let values = event_loop.run_until_complete(async { gather([bomb()]).await.unwrap() });
        assert_eq!(values.unwrap(), [7]);
        let lines = trace.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("on purpose: a bomb"), "{lines:?}");
    });
}
