//! Cancel scopes by the million: side by side, nested, one awaiting the next.
//!
//! Lines of a trace begin with the seconds since the test began.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use callsoon::{catch_cancelled, gather, shield, sleep, task_group, timeout};
use futures_lite::future::zip;

use crate::support::scenario::{SECOND, cancelled_at, in_scenario, said, say};
use crate::support::{JoinAll, Trace, audited, one_turn, virtual_loop, watched};

// Many at once.

#[test]
fn a_hundred_thousand_siblings_are_asked_at_once() {
    in_scenario(|event_loop| {
        let mut join_all = JoinAll::new();
        let cleaned = Rc::new(Cell::new(0));
        for _ in 0..100_000 {
            let cleaned = Rc::clone(&cleaned);
            join_all.add(async move {
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                sleep(SECOND).await;
                cleaned.set(cleaned.get() + 1);
                cancelled.resume().await;
            });
        }
        cancelled_at(event_loop, &[1.0], async { join_all.await.len() });
        assert_eq!(cleaned.get(), 100_000);
        said([r#"2 cancelled by Task "1""#]);
    });
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            gather((0..100_000).map(|_| pending::<()>())).await.is_ok()
        });
        said([r#"1 cancelled by Task "1""#]);
    });
    in_scenario(|event_loop| {
        let tasks: Vec<_> = (0..100_000)
            .map(|_| event_loop.create_task(pending::<()>()))
            .collect();
        let mut join_all = JoinAll::new();
        for task in tasks {
            join_all.add(async { task.await.is_ok() });
        }
        cancelled_at(event_loop, &[1.0], async { join_all.await.len() });
        said([r#"1 cancelled by Task "1""#]);
    });
}

#[test]
fn scopes_are_nested_as_deep_as_futures_can_be() {
    const DEPTH: u32 = 20_000;
    async fn nest(depth: u32) -> u32 {
        if depth == 0 {
            return pending().await;
        }
        let inside: Pin<Box<dyn Future<Output = u32>>> = Box::pin(nest(depth - 1));
        match depth % 3 {
            0 => timeout(SECOND * 99, inside).await.unwrap_or(depth),
            1 => match catch_cancelled(inside).await {
                Ok(value) => value,
                Err(cancelled) => cancelled.resume().await,
            },
            _ => {
                zip(inside, async {
                    drop(catch_cancelled(pending::<()>()).await)
                })
                .await
                .0
            }
        }
    }
    audited(watched(|| {
        let big = thread::Builder::new()
            .name(thread::current().name().unwrap().to_owned())
            .stack_size(512 << 20);
        let joined = big.spawn(|| {
            let event_loop = virtual_loop(&Trace::new());
            let mut task = event_loop.create_task(nest(DEPTH));
            one_turn(&event_loop);
            task.cancel();
            event_loop
                .run_until_complete(&mut task)
                .unwrap()
                .unwrap_err();
            assert_eq!(event_loop.metrics().scopes, 0);
        });
        joined.unwrap().join().unwrap();
    }));
}

/// Deep enough to overflow any stack that a recursion would use.
const MILLION: usize = 1_000_000;

/// Runs a test on a stack of 256 KiB.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    audited(watched(|| {
        let name = thread::current().name().unwrap().to_owned();
        let small = thread::Builder::new().name(name).stack_size(256 << 10);
        if let Err(panic) = small.spawn(test).unwrap().join() {
            std::panic::resume_unwind(panic);
        }
    }));
}

#[test]
fn a_cancellation_walks_down_a_million_awaiting_tasks_and_back() {
    on_a_small_stack(|| {
        let event_loop = virtual_loop(&Trace::new());
        let reached = Rc::new(Cell::new(false));
        let bottom = Rc::clone(&reached);
        let mut task = event_loop.create_task(async move {
            let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
            bottom.set(true);
            cancelled.resume().await
        });
        for _ in 1..MILLION {
            task = event_loop.create_task(async move { task.await.unwrap() });
        }
        one_turn(&event_loop);
        task.cancel_with("all the way");
        let result = event_loop.run_until_complete(shield(&mut task)).unwrap();
        let error = result.unwrap_err();
        assert_eq!(error.cancelled().unwrap().message(), Some("all the way"));
        assert!(reached.get());
        let metrics = event_loop.metrics();
        assert_eq!((metrics.tasks, metrics.scopes), (0, 0));
    });
}

#[test]
fn a_deadline_walks_down_a_million_tasks_that_await_inside_scopes() {
    on_a_small_stack(|| {
        let event_loop = virtual_loop(&Trace::new());
        let mut task = event_loop.create_task(pending::<()>());
        for _ in 1..MILLION {
            task = event_loop.create_task(async move {
                timeout(SECOND * 9999, task).await.unwrap().unwrap();
            });
        }
        one_turn(&event_loop);
        let result = event_loop.run_until_complete(timeout(SECOND, &mut task));
        assert!(result.unwrap().is_err());
        assert!(task.cancelled());
        let metrics = event_loop.metrics();
        assert_eq!((metrics.tasks, metrics.scopes), (0, 0));
    });
}

#[test]
fn a_million_futures_of_one_task_are_cancelled_at_once() {
    on_a_small_stack(|| {
        let event_loop = virtual_loop(&Trace::new());
        let mut awaited: Vec<_> = (0..MILLION)
            .map(|_| event_loop.create_future::<()>())
            .collect();
        let seen: Vec<_> = awaited.to_vec();
        let mut task = event_loop.create_task(poll_fn(move |context| {
            for future in &mut awaited {
                assert!(pin!(future).poll(context).is_pending());
            }
            Poll::<()>::Pending
        }));
        one_turn(&event_loop);
        assert_eq!(event_loop.metrics().scopes, MILLION + 1);
        task.cancel();
        event_loop
            .run_until_complete(shield(&mut task))
            .unwrap()
            .unwrap_err();
        assert!(seen.iter().all(|future| future.cancelled()));
        assert_eq!(event_loop.metrics().scopes, 0);
    });
}

#[test]
fn a_request_that_comes_before_a_limit_has_its_node_is_answered_through_it() {
    in_scenario(|event_loop| {
        let ended = event_loop.run_until_complete(task_group(async |group| {
            let work = timeout(SECOND * 9, async {
                // The request is under way before the first poll of the limit is over.
                let stop = async {
                    group.cancel();
                    pending::<()>().await;
                };
                let cancelled = catch_cancelled(stop).await.unwrap_err();
                say("cleans up");
                sleep(SECOND).await;
                say("is clean");
                cancelled.resume().await
            });
            say(if work.await.is_ok() { "ok" } else { "late" });
            say("never reached");
        }));
        say(ended.unwrap().unwrap_err());
        said(["0 cleans up", "1 is clean", "1 the task group was stopped"]);
    });
}
