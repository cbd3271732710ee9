//! Task groups in unusual situations: all fail at once, outside a loop, side by side, forgotten.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use callsoon::{TaskGroup, create_task, get_running_loop, sleep, task_group, yield_now};

use crate::support::{audited, forget, outcome, panic_text, quiet_panics, run_scenario};
use crate::task_groups::{SECOND, Unit, bad, child, group_says, say};

#[test]
fn children_that_all_fail_at_once_are_all_in_the_error_in_order() {
    run_scenario(
        async |scenario| {
            group_says(scenario, async |group| {
                for text in ["a", "b", "c"] {
                    group.create_task(bad(1.0, text));
                }
            })
            .await;
        },
        ["1 group failed: a, b, c"],
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
    run_scenario(
        async |scenario| {
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
            group_says(scenario, async move |group| {
                group.create_task(tree(group.clone(), 9, counted));
            })
            .await;
            scenario.say(count.get());
        },
        ["0 group: ()", "0 1023"],
    );
}

#[test]
fn k5_a_forgotten_group_is_a_leak_and_no_hang() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
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
            scenario.say(outcome(outer.await));
            sleep(2 * SECOND).await;
        },
        ["1 the task was cancelled", "2 child is done"],
    );
}

/// C7: the last child ends, and the parent is cancelled, in one turn.
#[test]
fn c7_a_cancellation_in_the_turn_of_the_last_childs_end_is_not_lost() {
    for (order, ended) in [
        ("ec", "1 the task was cancelled: outside"),
        ("ce", "1 the task was cancelled: outside"),
    ] {
        run_scenario(
            async move |scenario| {
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
                scenario.say(outcome(parent.await));
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
    run_scenario(
        async |scenario| {
            let (one, two) = both(
                task_group(async |group| {
                    group.create_task(bad(1.0, "one"));
                    pending::<()>().await;
                }),
                task_group(async |group| {
                    group.create_task(child(scenario, "two", 2.0, 0.0));
                }),
            )
            .await;
            say(scenario, one);
            say(scenario, two);
        },
        ["2 two is done", "2 group failed: one", "2 group: ()"],
    );
}
