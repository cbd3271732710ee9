//! Limits in unusual situations: outside a loop, side by side, around groups, forgotten, under destructors that panic.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use callsoon::{create_task, sleep, task_group, timeout, yield_now};

use crate::support::{
    CountingWaker, DropProbe, Scenario, Trace, Waiting, audited, forget, outcome, panic_text,
    run_scenario, virtual_loop,
};
use crate::timeouts::{SECOND, timers};

#[test]
fn outside_a_loop_a_limit_works_until_it_has_to_wait() {
    audited(|| {
        let mut ready = Waiting::new(timeout(SECOND, async { 4 }));
        assert_eq!(ready.poll(), Some(Ok(4)));
        let text = panic_text(|| Waiting::new(timeout(SECOND, pending::<()>())).poll());
        assert!(text.contains("no running event loop"), "{text}");
    });
}

#[test]
fn a_limit_polled_outside_any_task_drops_what_is_inside() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let probe = DropProbe::new(&trace, "inside");
        let mut limited = Box::pin(timeout(SECOND, async move {
            pending::<()>().await;
            drop(probe);
        }));
        let (counter, waker) = CountingWaker::new();
        let poll = Rc::new(RefCell::new(move || {
            limited
                .as_mut()
                .poll(&mut std::task::Context::from_waker(&waker))
        }));
        let poller = Rc::clone(&poll);
        event_loop.call_soon(move || assert!(poller.borrow_mut()().is_pending()));
        let handle = event_loop.handle();
        event_loop.call_later(2 * SECOND, move || handle.stop());
        event_loop.run_forever().unwrap();
        assert_eq!(counter.wakes(), 1);
        let (poller, t) = (Rc::clone(&poll), trace.clone());
        event_loop.call_soon(move || t.push(format!("{:?}", poller.borrow_mut()())));
        crate::support::one_turn(&event_loop);
        drop(poll);
        trace.expect(["drop inside", "Ready(Err(TimedOut))"]);
    });
}

/// Polls two futures with the task's own waker, as `join!` does.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|context| {
        if first.is_none() {
            if let Poll::Ready(value) = a.as_mut().poll(context) {
                first = Some(value);
            }
        }
        if second.is_none() {
            if let Poll::Ready(value) = b.as_mut().poll(context) {
                second = Some(value);
            }
        }
        if first.is_some() && second.is_some() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    (first.unwrap(), second.unwrap())
}

#[test]
fn limits_side_by_side_in_one_task_do_not_touch_one_another() {
    run_scenario(
        async |scenario| {
            let short = timeout(SECOND, scenario.clone().worker("short", 9.0, 0.0));
            let long = timeout(3 * SECOND, scenario.clone().worker("long", 2.0, 0.0));
            scenario.say(format!("{:?}", both(short, long).await));
        },
        [
            "1 short is cancelled",
            "1 short is clean",
            "2 long is done",
            r#"2 (Err(TimedOut), Ok("long"))"#,
        ],
    );
}

#[test]
fn a_limit_around_limits_side_by_side_waits_for_both() {
    run_scenario(
        async |scenario| {
            let inside = both(
                timeout(2 * SECOND, scenario.clone().worker("a", 9.0, 0.25)),
                timeout(3 * SECOND, scenario.clone().worker("b", 9.0, 0.5)),
            );
            scenario.say(format!("{:?}", timeout(SECOND, inside).await));
        },
        [
            "1 a is cancelled",
            "1 b is cancelled",
            "1.25 a is clean",
            "1.5 b is clean",
            "1.5 Err(TimedOut)",
        ],
    );
}

#[test]
fn an_inner_limit_may_end_while_the_outer_one_is_asking() {
    run_scenario(
        async |scenario| {
            // One branch keeps on, so that its own limit's Pass outweighs it and all of it is torn down.
            let inside = both(
                scenario.clone().stubborn("keeps on", 9.0, 5.0),
                scenario.clone().worker("passes on", 9.0, 1.0),
            );
            let late = timeout(SECOND, inside).await;
            scenario.say(format!("{late:?}"));
        },
        [
            "1 keeps on ignores: cancelled",
            "1 passes on is cancelled",
            "2 passes on is clean",
            "2 Err(TimedOut)",
        ],
    );
}

#[test]
fn a_group_inside_a_limit_is_waited_for() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let late = timeout(
                SECOND,
                task_group(async move |group| {
                    group.create_task(async move {
                        s.worker("child", 9.0, 1.0).await;
                    });
                }),
            );
            scenario.say(format!("{:?}", late.await.map(|ended| ended.is_ok())));
        },
        [
            "1 child is cancelled",
            "2 child is clean",
            "2 Err(TimedOut)",
        ],
    );
}

#[test]
fn a_limit_in_a_group_cancels_only_what_is_inside_it() {
    run_scenario(
        async |scenario| {
            let s = scenario.clone();
            let ended = task_group(async move |group| {
                let t = s.clone();
                group.create_task(async move {
                    t.worker("child", 2.0, 0.0).await;
                });
                let late = timeout(SECOND, pending::<()>()).await;
                s.say(format!("body {late:?}"));
            });
            scenario.say(ended.await.is_ok());
        },
        ["1 body Err(TimedOut)", "2 child is done", "2 true"],
    );
}

#[test]
fn limits_in_a_row_leave_nothing() {
    run_scenario(
        async |_| {
            for n in 0..10_000 {
                let nap = sleep(Duration::from_micros(n % 3));
                let _ = timeout(Duration::from_micros(1), nap).await;
            }
            assert_eq!(timers(), 0);
        },
        [],
    );
}

#[test]
fn what_is_inside_is_dropped_before_the_caller_goes_on() {
    run_scenario(
        async |scenario| {
            struct Says(Scenario, &'static str);
            impl Drop for Says {
                fn drop(&mut self) {
                    self.0.say(self.1);
                }
            }
            let (ready, late) = (scenario.clone(), scenario.clone());
            timeout(SECOND, async move {
                let _says = Says(ready, "dropped ready");
                yield_now().await;
            })
            .await
            .unwrap();
            scenario.say("told ready");
            let says = Says(late, "dropped late");
            timeout(SECOND, async move {
                pending::<()>().await;
                drop(says);
            })
            .await
            .unwrap_err();
            scenario.say("told late");
        },
        [
            "0 dropped ready",
            "0 told ready",
            "1 dropped late",
            "1 told late",
        ],
    );
}

#[test]
fn a_destructor_that_panics_at_the_deadline_is_the_tasks_panic() {
    run_scenario(
        async |scenario| {
            struct Bad;
            impl Drop for Bad {
                fn drop(&mut self) {
                    panic!("on purpose, by a destructor");
                }
            }
            let task = create_task(timeout(SECOND, async {
                let _bad = Bad;
                pending::<()>().await;
            }));
            scenario.say(outcome(task.await));
        },
        ["1 the task panicked: on purpose, by a destructor"],
    );
}

#[test]
fn a_deadline_is_kept_by_the_task_that_polls_the_limit_next() {
    run_scenario(
        async |scenario| {
            // Begun in one task, ended in another.
            let mut limited = Box::pin(timeout(2 * SECOND, pending::<()>()));
            let begun = create_task(async move {
                let polled = poll_fn(|context| Poll::Ready(limited.as_mut().poll(context))).await;
                assert!(polled.is_pending());
                (limited,)
            });
            let (limited,) = begun.await.unwrap();
            sleep(SECOND).await;
            scenario.say(format!("{:?}", create_task(limited).await.unwrap()));
        },
        ["2 Err(TimedOut)"],
    );
}

#[test]
fn k5_a_forgotten_limit_is_a_leak_and_no_hang() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            let mut limited = Box::pin(timeout(SECOND, sleep(9 * SECOND)));
            let polled = poll_fn(|context| Poll::Ready(limited.as_mut().poll(context))).await;
            assert!(polled.is_pending());
            forget(limited);
            t.push(format!("{:?}", timeout(SECOND, pending::<()>()).await));
            sleep(9 * SECOND).await;
        });
        let start: Instant = event_loop.time();
        let canceller = task.as_ref();
        event_loop.call_later(3 * SECOND, move || {
            canceller.cancel();
        });
        let ended = event_loop.run_until_complete(task).unwrap();
        trace.push(outcome(ended));
        assert_eq!(event_loop.time() - start, 3 * SECOND);
        trace.expect(["Err(TimedOut)", "the task was cancelled"]);
    });
}
