//! User code that panics inside primitives and combinators: predicates, iterators, closures, destructors. The panic
//! goes to its caller or its task, and nobody else is left waiting. Queues have `queue_panics`.

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use callsoon::net::staggered_race;
use callsoon::sync::{Condition, Lock};
use callsoon::{
    GroupError, Task, as_completed, create_task, for_each_limit, gather, move_on_after, sleep,
    task_group, timeout, try_gather, yield_now,
};

use crate::support::{DropProbe, Trace, Waiting, audited, complete, on_virtual_time, panic_text};

const SECOND: Duration = Duration::from_secs(1);

/// Never ready; panics when it is dropped.
struct Bomb;

impl Future for Bomb {
    type Output = Result<(), std::fmt::Error>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped on purpose");
    }
}

/// What a task has come to; it must come to something within virtual hours.
async fn end<T: 'static>(task: Task<T>) -> String {
    match timeout(3600 * SECOND, task).await {
        Ok(Ok(_)) => "value".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "never".to_owned(),
    }
}

/// A child that records its drop, also before its first step.
fn child(trace: Trace) -> impl Future<Output = ()> {
    let probe = DropProbe::new(&trace, "child");
    async move {
        let _probe = probe;
        pending().await
    }
}

#[test]
fn a_predicate_that_panics_hands_its_notification_on_and_releases_the_lock() {
    audited(|| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        let acquire = || lock.try_acquire().unwrap();
        let armed = Cell::new(false);
        let predicate = |value: &mut i32| {
            assert!(!armed.get(), "on purpose");
            *value > 0
        };
        let mut first = Waiting::begun(condition.wait_for(acquire(), predicate));
        let mut second = Waiting::begun(condition.wait_for(acquire(), |value| *value > 0));
        *acquire() = 1;
        condition.notify(1);
        assert!(first.is_woken() && !second.is_woken());
        armed.set(true);
        panic_text(|| first.poll());
        assert!(!lock.locked());
        assert!(second.is_woken());
        assert_eq!(*second.poll().unwrap(), 1);
    });
}

#[test]
fn a_predicate_that_panics_before_it_has_waited_notifies_no_waiter() {
    audited(|| {
        let (lock, condition) = (Lock::new(()), Condition::new());
        let waiter = Waiting::begun(condition.wait(lock.try_acquire().unwrap()));
        let guard = lock.try_acquire().unwrap();
        panic_text(|| Waiting::new(condition.wait_for(guard, |()| panic!("on purpose"))).poll());
        assert!(!waiter.is_woken() && !lock.locked());
    });
}

#[test]
fn an_iterator_or_a_closure_of_for_each_that_panics_ends_the_children_first() {
    for in_closure in [false, true] {
        on_virtual_time(move |trace, event_loop| {
            complete(&event_loop, async {
                let t = trace.clone();
                let each = create_task(async move {
                    let items = (0..3).inspect(|n| assert!(in_closure || *n < 2, "on purpose"));
                    let each = |n| {
                        assert!(n < 2, "on purpose");
                        child(t.clone())
                    };
                    for_each_limit(items, 3, each).await
                });
                trace.push(end(each).await);
            });
            let panicked = "the task panicked: on purpose";
            trace.expect(["drop child", "drop child", panicked]);
        });
    }
}

#[test]
fn a_body_of_a_group_that_panics_in_its_destructor_ends_the_children_first() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let t = trace.clone();
            let group = create_task(async move {
                let grouped = task_group(async |group| {
                    drop(group.create_task(child(t)));
                    drop(group.create_task(async { Err::<(), _>(std::fmt::Error) }));
                    Bomb.await
                });
                grouped.await
            });
            trace.push(end(group).await);
        });
        let panicked = "the task panicked: dropped on purpose";
        let reported = trace.take();
        assert_eq!(reported.first().map(String::as_str), Some("drop child"));
        assert_eq!(reported.last().map(String::as_str), Some(panicked));
    });
}

#[test]
fn a_child_that_panics_in_its_destructor_ends_nonetheless_for_its_group() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let group = create_task(async {
                task_group(async |group| {
                    drop(group.create_task(Bomb));
                    yield_now().await;
                    group.cancel();
                    pending::<()>().await
                })
                .await
            });
            let ended = timeout(3600 * SECOND, group).await.unwrap().unwrap();
            assert!(matches!(
                ended,
                Err(GroupError::Stopped | GroupError::Failed(_))
            ));
        });
        trace.take();
    });
}

#[test]
fn a_child_that_panics_in_its_destructor_ends_nonetheless_for_its_gather() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let gathered = create_task(async { gather([Bomb, Bomb]).await.map(drop) });
            yield_now().await;
            gathered.cancel();
            assert_ne!(end(gathered).await, "never");
            let gathered = create_task(async { try_gather([Bomb, Bomb]).await.map(drop) });
            yield_now().await;
            gathered.cancel();
            assert_ne!(end(gathered).await, "never");
        });
        trace.take();
    });
}

#[test]
fn what_panics_in_its_destructor_at_a_deadline_panics_its_task_and_no_other_limit() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let limited = create_task(async { timeout(SECOND, Bomb).await.map(drop) });
            assert_eq!(end(limited).await, "the task panicked: dropped on purpose");
            let limited =
                create_task(async { move_on_after(Duration::ZERO, Bomb).await.map(drop) });
            assert_eq!(end(limited).await, "the task panicked: dropped on purpose");
            let outer = create_task(async {
                timeout(SECOND, async { timeout(2 * SECOND, Bomb).await.map(drop) })
                    .await
                    .map(drop)
            });
            assert_eq!(end(outer).await, "the task panicked: dropped on purpose");
            assert!(timeout(SECOND, pending::<()>()).await.is_err());
        });
        assert_eq!(trace.take(), [""; 0]);
    });
}

#[test]
fn an_iterator_that_panics_leaves_the_tasks_that_it_gave_running() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let ended = Rc::new(Cell::new(0));
            let tasks = (0..3).map(|n| {
                assert!(n < 2, "on purpose");
                let ended = Rc::clone(&ended);
                create_task(async move {
                    sleep(SECOND).await;
                    ended.set(ended.get() + 1);
                })
            });
            panic_text(|| as_completed(tasks));
            sleep(2 * SECOND).await;
            assert_eq!(ended.get(), 2);
        });
        assert_eq!(trace.take(), [""; 0]);
    });
}

#[test]
fn an_attempt_of_a_race_that_panics_panics_the_race_and_drops_the_others() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let t = trace.clone();
            let race = create_task(async move {
                let attempts = (0..2).map(|n| {
                    let t = t.clone();
                    async move {
                        let _probe = DropProbe::new(&t, n);
                        sleep(SECOND).await;
                        assert!(n == 0, "on purpose");
                        pending::<Result<(), ()>>().await
                    }
                });
                staggered_race(attempts, Some(Duration::ZERO)).await.is_ok()
            });
            trace.push(end(race).await);
        });
        trace.expect(["drop 1", "drop 0", "the task panicked: on purpose"]);
    });
}
