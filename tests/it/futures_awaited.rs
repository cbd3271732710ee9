//! Awaiting a `Future`: when awaiters resume, in which order, and what happens when one is cancelled.

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callsoon::{FutureError, create_task, get_running_loop, shield, yield_now};

use crate::support::{
    HostileWaker, Touch, Trace, audited, complete, on_virtual_time, one_turn, virtual_loop,
};

#[test]
fn awaiting_a_done_future_does_not_suspend() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future();
        future.set_result(5).unwrap();
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            t.push("before");
            t.push(format!("value {}", (&future).await.unwrap()));
            t.push(format!("again {}", future.await.unwrap()));
        });
        event_loop.call_soon(trace.note("the next in the queue"));
        event_loop.run_until_complete(task).unwrap().unwrap();
        trace.expect(["before", "value 5", "again 5", "the next in the queue"]);
    });
}

#[test]
fn an_awaiter_resumes_in_the_turn_after_the_result_is_set() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future();
        let (t, awaited) = (trace.clone(), future.clone());
        let task = event_loop.create_task(async move {
            t.push("waits");
            t.push(format!("resumes with {}", awaited.await.unwrap()));
        });
        let (t, handle) = (trace.clone(), event_loop.handle());
        event_loop.call_soon(move || {
            future.set_result(1).unwrap();
            handle.call_soon(t.note("queued after set_result"));
            t.push("the setter returns");
        });
        event_loop.call_soon(trace.note("same turn"));
        event_loop.run_until_complete(task).unwrap().unwrap();
        trace.expect([
            "waits",
            "the setter returns",
            "same turn",
            "resumes with 1", // the next turn, in the order of the ready queue
            "queued after set_result",
        ]);
    });
}

#[test]
fn awaiters_and_callbacks_share_one_queue() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        for name in ["a", "b", "c"] {
            let (t, awaited) = (trace.clone(), future.clone());
            let awaiter = async move {
                awaited.await.unwrap();
                t.push(format!("awaiter {name}"));
            };
            event_loop.create_task(awaiter).detach();
            one_turn(&event_loop);
            let t = trace.clone();
            future.add_done_callback(move |_| t.push(format!("callback {name}")));
        }
        future.set_result(()).unwrap();
        one_turn(&event_loop);
        trace.expect([
            "awaiter a",
            "callback a",
            "awaiter b",
            "callback b",
            "awaiter c",
            "callback c",
        ]);
    });
}

#[test]
fn an_awaiter_that_is_cancelled_leaves_the_queue_and_the_others_keep_their_order() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let tasks: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .map(|name| {
                let (t, awaited) = (trace.clone(), future.clone());
                event_loop.create_task(async move {
                    shield(awaited).await.unwrap();
                    t.push(name);
                })
            })
            .collect();
        one_turn(&event_loop);
        tasks[0].cancel();
        one_turn(&event_loop);
        assert!(tasks[0].cancelled() && !future.done());
        future.set_result(()).unwrap();
        assert_eq!(event_loop.metrics().ready, 0, "nothing but the inbox knows");
        one_turn(&event_loop);
        trace.expect(["b", "c"]);
    });
}

#[test]
fn one_awaiter_that_is_queued_several_times_is_resumed_once() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<u8>();
        let (t, mut one, mut two) = (trace.clone(), future.clone(), future.clone());
        let task = event_loop.create_task(poll_fn(move |context| {
            t.push("polled");
            let first = pin!(&mut one).poll(context);
            let second = pin!(&mut two).poll(context);
            match (first, second) {
                (Poll::Ready(_), Poll::Ready(_)) => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }));
        one_turn(&event_loop);
        future.set_result(1).unwrap();
        event_loop.run_until_complete(task).unwrap().unwrap();
        trace.expect(["polled", "polled"]);
        assert_eq!(event_loop.metrics().ready, 0);
    });
}

#[test]
fn a_future_that_is_cancelled_gives_its_awaiter_the_cancellation_and_the_awaiter_goes_on() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        let (t, awaited) = (trace.clone(), future.clone());
        let task = event_loop.create_task(async move {
            let error = awaited.await.unwrap_err();
            t.push(error.cancelled().unwrap());
            "went on"
        });
        one_turn(&event_loop);
        future.cancel_with("by the owner");
        assert_eq!(
            event_loop.run_until_complete(task).unwrap().unwrap(),
            "went on"
        );
        trace.expect(["cancelled: by the owner"]);
    });
}

#[test]
fn a_future_of_another_loop_is_refused_and_its_own_awaiters_are_not_disturbed() {
    audited(|| {
        let trace = Trace::new();
        let (home, other) = (virtual_loop(&trace), virtual_loop(&trace));
        let future = home.create_future::<u8>();
        // Were it to wait, that would be for ever.
        let handle = other.handle();
        other.call_later(Duration::from_secs(1), move || handle.stop());
        let native = home.create_task(future.clone());
        one_turn(&home);
        let error = other.run_until_complete(&future).unwrap().unwrap_err();
        assert!(matches!(error, FutureError::OtherLoop));
        assert_eq!(
            error.to_string(),
            "the future is attached to a different loop"
        );
        let error = other
            .run_until_complete(future.clone().take())
            .unwrap()
            .unwrap_err();
        assert!(matches!(error, FutureError::OtherLoop));
        future.set_result(3).unwrap();
        assert_eq!(
            home.run_until_complete(native).unwrap().unwrap().unwrap(),
            3
        );
        // A result that is there needs no loop.
        assert_eq!(other.run_until_complete(future).unwrap().unwrap(), 3);
    });
}

#[test]
fn a_loop_that_runs_may_set_the_future_of_one_that_does_not() {
    audited(|| {
        let trace = Trace::new();
        let (home, other) = (virtual_loop(&trace), virtual_loop(&trace));
        let future = home.create_future::<u8>();
        let awaiting = home.create_task(future.clone());
        one_turn(&home);
        other.call_soon(move || future.set_result(3).unwrap());
        one_turn(&other);
        assert!(home.has_ready() && !other.has_ready());
        assert_eq!(
            home.run_until_complete(awaiting).unwrap().unwrap().unwrap(),
            3
        );
    });
}

/// The cancellation reaches an await whose newest waker sets the result while it is cloned.
#[test]
fn a_cancellation_does_not_overwrite_the_result_that_a_wakers_clone_sets() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let future = get_running_loop().create_future();
            let setter = Cell::new(Some(future.clone()));
            let armed = Rc::new(Cell::new(false));
            let arms = Rc::clone(&armed);
            let hostile = HostileWaker::new(move |touch| {
                if touch == Touch::Clone && arms.get() {
                    let setter = setter.take();
                    setter
                        .into_iter()
                        .for_each(|setter| setter.set_result(7).unwrap());
                }
            });
            let (awaited, arms) = (future.clone(), Rc::clone(&armed));
            let task = create_task(async move {
                let mut awaited = pin!(awaited);
                let wakers = [Waker::noop().clone(), hostile.waker()];
                poll_fn(|_| {
                    let waker = &wakers[usize::from(arms.get())];
                    awaited.as_mut().poll(&mut Context::from_waker(waker))
                })
                .await
            });
            yield_now().await;
            armed.set(true);
            task.cancel();
            assert!(task.await.unwrap_err().cancelled().is_some());
            assert_eq!(future.result().unwrap().unwrap(), 7);
        });
    });
}
