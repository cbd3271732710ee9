//! Gathers that are cancelled, dropped, nested, forgotten, or polled from elsewhere.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use callsoon::{
    catch_cancelled, create_task, gather, get_running_loop, sleep, sleep_with, task_group,
    try_gather, yield_now,
};

use crate::gathers::{SECOND, made, secs};
use crate::support::{
    DropProbe, HostileWaker, Scenario, Touch, Trace, Waiting, audited, complete, ending_of, forget,
    on_virtual_time, one_turn, outcome, panic_text, quiet_panics, run_scenario, virtual_loop,
};

#[test]
fn a_cancelled_try_gather_asks_its_children_once_and_gives_their_errors() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let outer = create_task(async move {
                let t = s.clone();
                let ended = try_gather([0, 1].map(|n| {
                    let s = s.clone();
                    async move {
                        let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                        s.say(format!("{n} is {cancelled}"));
                        sleep(5 * SECOND).await;
                        if n == 0 {
                            Err("could not save")
                        } else {
                            cancelled.resume().await
                        }
                    }
                }));
                let ended: Result<Vec<()>, _> = ended.await;
                t.say(ended.unwrap_err());
                sleep(SECOND).await;
                t.say("not reached");
            });
            sleep(SECOND).await;
            outer.cancel_with("first");
            sleep(SECOND).await;
            outer.cancel_with("second");
            scenario.say(outcome(outer.await));
        },
        [
            "1 0 is cancelled: first",
            "1 1 is cancelled: first",
            "6 gathered future 0: could not save",
            "6 the task was cancelled: second",
        ],
    );
}

#[test]
fn a_gather_that_is_dropped_asks_its_children_to_end() {
    run_scenario(
        async |scenario| {
            drop(gather([scenario.clone().worker("never begun", 9.0, 0.0)]));
            let all = gather([scenario.clone().worker("begun", 9.0, 1.0)]);
            yield_now().await;
            drop(all);
            let some = try_gather([async {
                pending::<()>().await;
                Ok::<_, ()>(())
            }]);
            drop(some);
            scenario.say("all dropped");
            sleep(2 * SECOND).await;
        },
        [
            "0 all dropped",
            "0 begun is cancelled: the gather that awaited it was dropped",
            "1 begun is clean",
        ],
    );
}

#[test]
fn a_failure_after_a_gather_was_dropped_is_reported_once() {
    run_scenario(
        async |scenario| {
            let all = gather([async {
                drop(catch_cancelled(pending::<()>()).await);
                panic!("on purpose");
            }]);
            let all: callsoon::Gather<Vec<callsoon::Task<()>>> = all;
            yield_now().await;
            drop(all);
            sleep(SECOND).await;
            scenario.say("the loop goes on");
        },
        [
            "report: Task exception was never retrieved (on purpose)",
            "1 the loop goes on",
        ],
    );
}

#[test]
fn gathers_of_gathers_are_cancelled_from_the_inside_out() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let outer = create_task(async move {
                let inner = |name| {
                    let s = s.clone();
                    async move {
                        let both =
                            gather([s.clone().worker(name, 9.0, 0.0), s.worker(name, 9.0, 1.0)]);
                        both.await.unwrap();
                    }
                };
                gather([inner("a"), inner("b")]).await.unwrap();
            });
            sleep(SECOND).await;
            outer.cancel();
            scenario.say(outcome(outer.await));
        },
        [
            "1 a is cancelled",
            "1 a is cancelled",
            "1 b is cancelled",
            "1 b is cancelled",
            "1 a is clean",
            "1 b is clean",
            "2 a is clean",
            "2 b is clean",
            "2 the task was cancelled",
        ],
    );
}

#[test]
fn a_panic_of_the_iterator_leaves_the_children_that_it_gave_cancelled() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let made = create_task(async move {
                let futures = (0..3).map(|n| {
                    assert!(n < 2, "on purpose");
                    s.clone().worker("child", 1.0, 0.0)
                });
                gather(futures).await.unwrap();
            });
            scenario.say(outcome(made.await));
            sleep(2 * SECOND).await;
        },
        ["0 the task panicked: on purpose"],
    );
}

#[test]
fn outside_a_running_loop_gather_says_so() {
    audited(|| {
        quiet_panics();
        for text in [
            panic_text(|| drop(gather([async {}]))),
            panic_text(|| drop(try_gather([async { Ok::<_, ()>(()) }]))),
            panic_text(|| drop(callsoon::gather!(async {}))),
        ] {
            assert!(text.contains("no running event loop"), "{text}");
        }
    });
}

#[test]
fn children_that_end_cost_their_waiter_one_poll() {
    run_scenario(
        async |_| {
            let mut all = pin!(gather((0..1000).map(|n| sleep(n * SECOND))));
            let mut polls = 0;
            poll_fn(|context| {
                polls += 1;
                all.as_mut().poll(context).map(|ended| ended.unwrap().len())
            })
            .await;
            assert_eq!(polls, 2);
        },
        [],
    );
}

#[test]
fn values_are_dropped_once_whether_they_are_taken_or_not() {
    run_scenario(
        async |scenario| {
            let trace = Trace::new();
            let probe = |n: u32| {
                let trace = trace.clone();
                async move { sleep_with(n * SECOND, DropProbe::new(&trace, n)).await }
            };
            let all = gather((1..3).map(probe)).await.unwrap();
            trace.expect([]);
            drop(all);
            trace.expect(["drop 1", "drop 2"]);
            // Dropped when one has ended and the other has not.
            let all = gather((1..3).map(probe));
            sleep(secs(1.5)).await;
            trace.expect([]);
            drop(all);
            yield_now().await;
            yield_now().await;
            let mut dropped = trace.take();
            dropped.sort();
            assert_eq!(dropped, ["drop 1", "drop 2"]);
            scenario.say("done");
        },
        ["3.5 done"],
    );
}

#[test]
fn a_gather_awaited_by_a_waker_of_another_runtime_wakes_it_once() {
    on_virtual_time(|_, event_loop| {
        let all = event_loop.run_until_complete(made(|| gather([1, 2].map(|n| sleep(n * SECOND)))));
        let mut waiting = Waiting::begun(all.unwrap());
        event_loop.run_until_complete(sleep(secs(1.5))).unwrap();
        assert!(!waiting.is_woken());
        event_loop.run_until_complete(sleep(SECOND)).unwrap();
        assert!(waiting.is_woken());
        assert!(waiting.poll().unwrap().is_ok());
        event_loop.close().unwrap();
    });
}

#[test]
fn a_waker_that_panics_keeps_no_child_from_ending() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let all = event_loop.run_until_complete(made(|| gather([sleep(SECOND)])));
        let mut waiting = Waiting::new(all.unwrap());
        let hostile = HostileWaker::new(|touch| {
            assert!(
                touch != Touch::Wake && touch != Touch::WakeByRef,
                "on purpose"
            );
        });
        assert!(waiting.poll_with(&hostile.waker()).is_none());
        event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
        assert_eq!(hostile.wakes(), 1);
        assert!(waiting.poll().unwrap().is_ok());
        trace.expect(["report: Exception in a waker (on purpose)"]);
    });
}

/// A result, a cancellation of the waiter and one of the child, all in one turn and in every order.
#[test]
fn c7_a_gather_whose_last_child_ends_while_it_is_cancelled_is_cancelled() {
    audited(|| {
        for order in ["rc", "cr"] {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            let gate = event_loop.create_future::<Rc<DropProbe>>();
            let g = gate.clone();
            let mut task = event_loop.create_task(async move {
                let child = async move { g.await.unwrap() };
                gather([child]).await.unwrap().len()
            });
            one_turn(&event_loop);
            one_turn(&event_loop);
            for rival in order.chars() {
                if rival == 'r' {
                    let probe = Rc::new(DropProbe::new(&trace, "value"));
                    gate.set_result(probe).ok().unwrap();
                } else {
                    task.cancel_with("outside");
                }
            }
            drop(gate);
            let end = event_loop.run_until_complete(async { outcome((&mut task).await) });
            trace.push(format!("{order}: {}", end.unwrap()));
            let _ = ending_of(&mut task);
            event_loop.close().unwrap();
            assert_eq!(
                trace.take().last().unwrap().as_str(),
                format!("{order}: the task was cancelled: outside")
            );
        }
    });
}

/// Polls a future whenever it is woken, at once, as another runtime may, and writes down its output.
fn polled_when_woken<T: 'static>(
    trace: &Trace,
    future: impl Future<Output = T> + 'static,
    describe: impl Fn(T) -> String + 'static,
) {
    let (trace, own) = (trace.clone(), Rc::new(OnceCell::new()));
    let future = RefCell::new(Some(Box::pin(future)));
    let poll = Rc::new(move |waker: &Waker| {
        let taken = future.borrow_mut().take();
        let Some(mut taken) = taken else { return };
        match taken.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(output) => trace.push(describe(output)),
            Poll::Pending => *future.borrow_mut() = Some(taken),
        }
    });
    let (polls, waker) = (Rc::downgrade(&poll), Rc::downgrade(&own));
    let hostile = HostileWaker::new(move |touch| {
        let waker = waker.upgrade().filter(|_| touch == Touch::Wake);
        if let (Some(waker), Some(poll)) = (waker, polls.upgrade()) {
            poll(waker.get().unwrap());
        }
    });
    let waker = own.get_or_init(|| hostile.waker()).clone();
    poll(&waker);
    // Both are kept while the loop runs.
    get_running_loop().call_later(SECOND, move || drop((poll, own)));
}

/// The last child of each reports its end while its future is dropped, so a moment before its task has ended.
#[test]
fn a_parent_that_is_polled_by_the_wake_of_its_last_child_finds_it_ended() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let children = || [1, 2].map(|n| async move { n });
            polled_when_woken(&trace, gather(children()), |all| {
                format!("{:?}", all.unwrap())
            });
            let settled = gather(children()).settled();
            polled_when_woken(&trace, settled, |all| {
                format!("{:?}", all[1].as_ref().unwrap())
            });
            let children = children().map(|child| async { Ok::<_, ()>(child.await) });
            polled_when_woken(&trace, try_gather(children), |all| format!("{all:?}"));
            let last = Rc::new(Cell::new(None));
            let started = Rc::clone(&last);
            let group = task_group(async move |group| {
                started.set(Some(group.create_task(yield_now())));
            });
            polled_when_woken(&trace, group, move |ended| {
                format!("{ended:?} and {}", last.take().unwrap().done())
            });
            sleep(2 * SECOND).await;
            trace.expect(["[1, 2]", "2", "Ok([1, 2])", "Ok(()) and true"]);
        });
    });
}

#[test]
fn k5_a_forgotten_gather_is_a_leak_and_no_hang() {
    run_scenario(
        async |scenario| {
            let s: Scenario = scenario.clone();
            let outer = create_task(async move {
                let mut all = Box::pin(gather([s.clone().worker("child", 2.0, 0.0)]));
                let polled = poll_fn(|context| Poll::Ready(all.as_mut().poll(context))).await;
                assert!(polled.is_pending());
                forget(all);
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
