//! Task groups with a limit, room in them, and `for_each_limit`.

use std::cell::Cell;
use std::rc::Rc;

use callsoon::{
    catch_cancelled, create_task, for_each_limit, get_running_loop, sleep, task_group, timeout,
    yield_now,
};

use crate::support::{outcome, run_scenario};
use crate::task_groups::{SECOND, bad, child, group_says, say};

#[test]
fn a_limit_lets_children_begin_first_come_first_served() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.set_limit(2);
                for (name, work) in [("a", 2.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)] {
                    group.create_task(child(scenario, name, work, 0.0));
                }
                assert_eq!(group.len(), 4);
            })
            .await;
        },
        [
            "1 b is done",
            "2 a is done",
            "2 c is done",
            "3 d is done",
            "3 group: ()",
        ],
    );
}

#[test]
fn m2_a_limit_of_zero_is_one_and_the_largest_is_none() {
    run_scenario(
        async |scenario| {
            for limit in [0, 1, usize::MAX] {
                let ended = task_group(async |group| {
                    group.set_limit(limit);
                    for _ in 0..3 {
                        group.wait_vacancy().await;
                        group.create_task(sleep(SECOND));
                    }
                });
                ended.await.unwrap();
                scenario.say(format!("{limit} by hand"));
                for_each_limit(0..3, limit, |_| sleep(SECOND))
                    .await
                    .unwrap();
                scenario.say(limit);
            }
        },
        [
            "3 0 by hand",
            "6 0",
            "9 1 by hand",
            "12 1",
            "13 18446744073709551615 by hand",
            "14 18446744073709551615",
        ],
    );
}

#[test]
fn a_limit_that_is_raised_lets_those_who_wait_begin() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.set_limit(1);
                for _ in 0..4 {
                    group.create_task(child(scenario, "child", 1.0, 0.0));
                }
                sleep(SECOND / 2).await;
                group.set_limit(3);
                sleep(SECOND / 4).await;
                // The children that run go on.
                group.set_limit(1);
            })
            .await;
        },
        [
            "1 child is done",
            "1.5 child is done",
            "1.5 child is done",
            "2.5 child is done",
            "2.5 group: ()",
        ],
    );
}

#[test]
fn children_that_wait_for_a_place_never_begin_when_the_group_ends() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.set_limit(1);
                group.create_task(bad(1.0, "no"));
                for _ in 0..3 {
                    group.create_task(child(scenario, "never", 1.0, 0.0));
                }
                group.wait_vacancy().await;
                scenario.say("not reached: the body is cancelled");
            })
            .await;
        },
        ["1 group failed: no"],
    );
}

#[test]
fn a_child_that_is_cancelled_while_it_waits_for_a_place_frees_no_other_place() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.set_limit(1);
                group.create_task(child(scenario, "a", 2.0, 0.0));
                let b = group.create_task(child(scenario, "b", 1.0, 0.0));
                group.create_task(child(scenario, "c", 1.0, 0.0));
                sleep(SECOND).await;
                b.cancel();
                yield_now().await;
                assert_eq!(group.len(), 2);
            })
            .await;
        },
        ["2 a is done", "3 c is done", "3 group: ()"],
    );
}

#[test]
fn a_task_that_waits_for_a_vacancy_goes_on_when_there_is_one_or_the_group_shuts_down() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.set_limit(1);
                group.create_task(child(scenario, "a", 1.0, 0.0));
                // A waiter that is dropped must not keep the vacancy.
                assert!(timeout(SECOND / 2, group.wait_vacancy()).await.is_err());
                group.wait_vacancy().await;
                scenario.say("room");
                let (g, s) = (group.clone(), scenario.clone());
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
            "1 a is done",
            "1 room",
            "2 let in or cancelled: true",
            "2 group: ()",
        ],
    );
}

#[test]
fn a_vacancy_whose_waiter_is_dropped_goes_to_the_next_waiter() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                group.set_limit(1);
                group.create_task(child(scenario, "a", 1.0, 0.0));
                yield_now().await;
                let [first, second] = ["first", "second"].map(|name| {
                    let (g, s) = (group.clone(), scenario.clone());
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
                scenario.say(outcome(first.await));
                second.await.unwrap();
            })
            .await;
        },
        [
            "1 a is done",
            "1 the task was cancelled",
            "1 second has room",
            "1 group: ()",
        ],
    );
}

#[test]
fn for_each_limit_takes_items_only_when_there_is_room() {
    run_scenario(
        async |scenario| {
            let taken = Cell::new(0);
            let running = Rc::new(Cell::new(0));
            let items = (1..=4).inspect(|n| taken.set(*n));
            let ended = for_each_limit(items, 2, |n| {
                let (s, running) = (scenario.clone(), Rc::clone(&running));
                s.say(format!("{n} taken"));
                async move {
                    running.set(running.get() + 1);
                    assert!(running.get() <= 2);
                    sleep(n * SECOND).await;
                    running.set(running.get() - 1);
                }
            });
            say(scenario, ended.await);
            assert_eq!(taken.get(), 4);
        },
        [
            "0 1 taken",
            "0 2 taken",
            "1 3 taken",
            "2 4 taken",
            "6 group: ()",
        ],
    );
}

#[test]
fn for_each_limit_takes_nothing_more_after_a_failure() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let ended = for_each_limit(1.., 2, move |n: u32| {
                s.say(format!("{n} taken"));
                async move {
                    sleep(SECOND).await;
                    if n == 3 { Err("three") } else { Ok(()) }
                }
            });
            say(scenario, ended.await);
        },
        [
            "0 1 taken",
            "0 2 taken",
            "1 3 taken",
            "1 4 taken",
            "2 group failed: three",
        ],
    );
}

#[test]
fn a_panic_of_the_iterator_of_for_each_limit_resumes_after_the_tasks() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let whole = create_task(async move {
                let items = (0..3).inspect(|n| assert!(*n < 1, "on purpose, the iterator"));
                let ended = for_each_limit(items, 2, |_| child(&s, "a", 9.0, 1.0)).await;
                s.say(format!("not reached {ended:?}"));
            });
            scenario.say(outcome(whole.await));
        },
        ["0 the task panicked: on purpose, the iterator"],
    );
}

#[test]
fn cancelling_for_each_limit_cancels_what_runs() {
    run_scenario(
        async |scenario| {
            let late = timeout(
                SECOND,
                for_each_limit(0.., 2, |_: u32| child(scenario, "child", 9.0, 1.0)),
            );
            scenario.say(late.await.is_err());
        },
        [
            "1 child is cancelled",
            "1 child is cancelled",
            "2 child is clean",
            "2 child is clean",
            "2 true",
        ],
    );
}

#[test]
fn for_each_limit_takes_nothing_more_when_a_child_fails_in_the_turn_in_which_another_ends() {
    run_scenario(
        async |scenario| {
            let taken = Rc::new(Cell::new(0));
            let count = Rc::clone(&taken);
            let items = std::iter::from_fn(move || {
                count.set(count.get() + 1);
                assert!(count.get() < 100, "it takes without end");
                Some(count.get())
            });
            let ended = for_each_limit(items, 2, |number| async move {
                yield_now().await;
                if number == 2 { Err("two") } else { Ok(()) }
            });
            let failures = ended.await.unwrap_err().into_failures().len();
            scenario.say(format!("{failures} failure, {} taken", taken.get()));
        },
        ["0 1 failure, 2 taken"],
    );
}

#[test]
fn a_loop_over_wait_vacancy_goes_no_further_once_its_group_shuts_down() {
    run_scenario(
        async |scenario| {
            let started = Cell::new(0);
            let ended = task_group(async |group| {
                group.set_limit(2);
                loop {
                    group.wait_vacancy().await;
                    started.set(started.get() + 1);
                    assert!(started.get() < 100, "it starts without end");
                    let number = started.get();
                    group.create_task(async move {
                        yield_now().await;
                        if number == 2 { Err("two") } else { Ok(()) }
                    });
                }
                #[expect(unreachable_code, reason = "the body's type")]
                ()
            });
            let failures = ended.await.unwrap_err().into_failures().len();
            scenario.say(format!("{failures} failure, {} started", started.get()));
        },
        ["0 1 failure, 2 started"],
    );
}

#[test]
fn a_body_that_goes_on_after_its_group_was_stopped_waits_for_a_turn_at_each_vacancy() {
    run_scenario(
        async |scenario| {
            let limited = timeout(SECOND, async {
                task_group(async |group| {
                    group.cancel();
                    drop(catch_cancelled(std::future::pending::<()>()).await);
                    scenario.say("goes on");
                    // It would be polled for ever, and the limit would never be checked.
                    for _ in 0..1_000 {
                        let turns = get_running_loop().metrics().turns;
                        group.wait_vacancy().await;
                        assert!(get_running_loop().metrics().turns > turns);
                    }
                    sleep(SECOND * 9).await;
                })
                .await
            });
            scenario.say(format!("{:?}", limited.await.is_err()));
        },
        ["0 goes on", "1 true"],
    );
}
