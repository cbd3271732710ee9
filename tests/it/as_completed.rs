//! `as_completed`: tasks are given in the order in which they end.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use callsoon::{Task, as_completed, create_task, get_running_loop, sleep, sleep_with, yield_now};

use crate::support::{
    DropProbe, Trace, Waiting, audited, complete, on_virtual_time, one_turn, quiet_panics,
    virtual_loop,
};

const SECOND: Duration = Duration::from_secs(1);

/// Tasks that last so many seconds, which is their result. To be called in a loop.
fn lasting<const N: usize>(seconds: [u32; N]) -> [Task<u32>; N] {
    seconds.map(|n| create_task(async move { sleep_with(n * SECOND, n).await }))
}

#[test]
fn tasks_come_back_in_the_order_of_their_ends_at_their_times() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let start = get_running_loop().time();
                let mut ended = as_completed(lasting([3, 1, 2]));
                while let Some(task) = ended.next().await {
                    assert!(task.done());
                    let at = get_running_loop().time() - start;
                    trace.push(format!("{at:?}: {} {}", task.await.unwrap(), ended.len()));
                }
                assert!(ended.is_empty() && ended.next().await.is_none());
            })
            .unwrap();
        trace.expect(["1s: 1 2", "2s: 2 1", "3s: 3 0"]);
    });
}

#[test]
fn those_that_ended_before_come_first_in_their_order_and_without_suspending() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let tasks = lasting([3, 2, 9, 1]);
                sleep(3 * SECOND + SECOND / 2).await;
                let mut ended = as_completed(tasks);
                let waker = std::task::Waker::noop();
                let mut context = std::task::Context::from_waker(waker);
                for _ in 0..3 {
                    let next = std::pin::pin!(ended.next());
                    let std::task::Poll::Ready(Some(task)) = next.poll(&mut context) else {
                        panic!("it suspended");
                    };
                    trace.push(task.await.unwrap());
                }
                trace.push(ended.next().await.unwrap().await.unwrap());
            })
            .unwrap();
        trace.expect(["3", "2", "1", "9"]);
    });
}

#[test]
fn panicked_and_cancelled_tasks_come_back_too() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        event_loop
            .run_until_complete(async {
                let cancelled = create_task(pending::<()>());
                let bad = create_task(async { panic!("on purpose") });
                cancelled.cancel_with("enough");
                let mut ended = as_completed([bad, cancelled]);
                while let Some(task) = ended.next().await {
                    trace.push(task.await.unwrap_err());
                }
            })
            .unwrap();
        trace.expect([
            "the task was cancelled: enough",
            "the task panicked: on purpose",
        ]);
    });
}

#[test]
fn c7_a_dropped_next_loses_nothing_and_the_next_one_goes_on() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let mut ended = as_completed(lasting([1, 2]));
                // Woken, and dropped before it is polled again.
                drop(Waiting::begun(ended.next()));
                let waiting = Waiting::begun(ended.next());
                sleep(SECOND).await;
                yield_now().await;
                assert!(waiting.is_woken());
                drop(waiting);
                trace.push(ended.next().await.unwrap().await.unwrap());
                trace.push(ended.next().await.unwrap().await.unwrap());
            })
            .unwrap();
        trace.expect(["1", "2"]);
    });
}

#[test]
fn the_newest_waker_is_woken_and_no_other() {
    on_virtual_time(|_, event_loop| {
        let gate = event_loop.create_future::<()>();
        let mut ended = as_completed([event_loop.create_task(gate.clone())]);
        let mut waiting = Waiting::begun(ended.next());
        let (newest, waker) = crate::support::CountingWaker::new();
        assert!(waiting.poll_with(&waker).is_none());
        gate.set_result(()).unwrap();
        one_turn(&event_loop);
        assert!(!waiting.is_woken());
        assert_eq!(newest.wakes(), 1);
        assert!(waiting.poll().is_some());
    });
}

#[test]
fn dropping_it_leaves_the_tasks_running_and_reports_a_panic_that_nobody_can_read() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let job = |seconds, end: fn()| {
            let probe = DropProbe::new(&trace, seconds);
            let trace = trace.clone();
            event_loop.create_task(async move {
                sleep(seconds * SECOND).await;
                trace.push(format!("{seconds} s are over"));
                end();
                drop(probe);
            })
        };
        let mut ended = as_completed([job(1, || ()), job(2, || panic!("on purpose"))]);
        drop(Waiting::begun(ended.next()));
        drop(ended);
        event_loop.run_until_complete(sleep(3 * SECOND)).unwrap();
        trace.expect([
            "1 s are over",
            "drop 1",
            "2 s are over",
            "drop 2",
            "report: Task exception was never retrieved (on purpose)",
        ]);
    });
}

#[test]
fn m2_none_of_no_tasks_ends() {
    audited(|| {
        let mut ended = as_completed(Vec::<Task<()>>::new());
        assert_eq!(ended.len(), 0);
        let mut waiting = Waiting::new(ended.next());
        assert!(waiting.poll().expect("it suspended").is_none());
    });
}

#[test]
fn boxed_futures_become_tasks_at_once_and_tasks_stay_what_they_are() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                let boxed: [Pin<Box<dyn Future<Output = u32>>>; 3] = [
                    Box::pin(sleep_with(2 * SECOND, 2)),
                    Box::pin(async { 0 }),
                    Box::pin(async { sleep_with(SECOND, 1).await }),
                ];
                let mut ended = as_completed(boxed);
                // This task, and the three that run without anybody who waits.
                trace.push(callsoon::all_tasks().len());
                sleep(3 * SECOND).await;
                trace.push(callsoon::all_tasks().len());
                while let Some(task) = ended.next().await {
                    trace.push(task.await.unwrap());
                }
                let tasks = lasting([2, 1]);
                let ids = [tasks[1].id(), tasks[0].id()];
                let mut ended = as_completed(tasks);
                for id in ids {
                    assert_eq!(ended.next().await.unwrap().id(), id);
                }
            })
            .unwrap();
        trace.expect(["4", "1", "0", "1", "2"]);
    });
}

#[test]
fn the_macro_makes_tasks_of_futures_in_order_and_leaves_tasks_what_they_are() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let task = create_task(sleep_with(2 * SECOND, 2));
            let id = task.id();
            let boxed: Pin<Box<dyn Future<Output = u32>>> = Box::pin(sleep_with(SECOND, 1));
            let nap = async { sleep_with(3 * SECOND, 3).await };
            let mut ended = callsoon::as_completed!(nap, task, boxed, std::future::ready(0));
            assert_eq!(callsoon::all_tasks().len(), 5);
            while let Some(task) = ended.next().await {
                let own = task.id() == id;
                trace.push(format!("{} {own}", task.await.unwrap()));
            }
        });
        trace.expect(["0 false", "1 false", "2 true", "3 false"]);
    });
}

#[test]
fn as_an_iterator_it_gives_futures_of_the_results_in_the_order_of_the_ends() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let start = get_running_loop().time();
            let bad = create_task(async {
                sleep(2 * SECOND).await;
                panic!("on purpose")
            });
            let [last, first] = lasting([3, 1]);
            for earliest in as_completed([last, bad, first]) {
                let result = earliest.await.map_err(|error| error.to_string());
                trace.push(format!(
                    "{:?}: {result:?}",
                    get_running_loop().time() - start
                ));
            }
        });
        trace.expect([
            "1s: Ok(1)",
            "2s: Err(\"the task panicked: on purpose\")",
            "3s: Ok(3)",
        ]);
    });
}

#[test]
fn its_futures_may_wait_side_by_side_and_one_that_is_given_up_loses_nothing() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let mut futures = as_completed(lasting([3, 1, 2])).into_iter();
            assert_eq!(futures.len(), 3);
            let [a, b, c] = [(); 3].map(|()| futures.next().unwrap());
            assert!(futures.next().is_none() && futures.next().is_none());
            drop(futures);
            // The first waits for the task, the second for the first, and the third takes over.
            let (a, mut b) = (Waiting::begun(a), Waiting::begun(b));
            let c = create_task(c);
            yield_now().await;
            sleep(SECOND).await;
            yield_now().await;
            assert!(a.is_woken() && !b.is_woken());
            drop(a);
            assert!(b.is_woken());
            trace.push(format!("{:?}", b.poll().unwrap().unwrap()));
            trace.push(format!("{:?}", c.await.unwrap().unwrap()));
        });
        trace.expect(["1", "2"]);
    });
}
