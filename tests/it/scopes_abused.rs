//! Cancel scopes under destructors and wakers that misbehave, and requests from destructors, wakers and other tasks.
//!
//! Lines of a trace begin with the seconds since the test began.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use callsoon::{
    Cancellation, RunError, Task, catch_cancelled, create_task, current_task, get_running_loop,
    sleep, task_builder, task_group, timeout, yield_now,
};
use futures_lite::future::zip;

use crate::support::scenario::{
    Farewell, SECOND, at, cancelled_at, ending, finish, in_scenario, said, say, stubborn,
    take_lines, tidy, unmoved, until,
};
use crate::support::{HostileWaker, Touch, Waiting, forget, one_turn};

// Destructors and wakers that misbehave.

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose: a bomb");
    }
}

async fn bombed() {
    let _bomb = Bomb;
    pending::<()>().await;
}

#[test]
fn a_destructor_that_panics_inside_a_scope_ends_its_task_as_that_panic() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            catch_cancelled(bombed()).await.is_ok()
        });
        cancelled_at(event_loop, &[], timeout(SECOND, bombed()));
        cancelled_at(event_loop, &[3.0], async {
            task_group(async |_| bombed().await).await.is_ok()
        });
        said([
            "1 the task panicked: on purpose: a bomb",
            "2 the task panicked: on purpose: a bomb",
            "3 the task panicked: on purpose: a bomb",
        ]);
    });
}

#[test]
fn a_destructor_that_panics_with_its_task_is_reported() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], zip(bombed(), tidy("a", 1)));
        let lines = take_lines();
        assert_eq!(lines[..2], ["1 a cleans up", "2 a is clean"]);
        assert!(lines[2].contains("on purpose: a bomb"), "{lines:?}");
        assert_eq!(lines[3], r#"2 cancelled by Task "1""#);
        let result = event_loop.run_until_complete(async {
            let task = current_task().unwrap();
            task.cancel_with("the main one");
            zip(bombed(), tidy("b", 1)).await
        });
        assert!(matches!(result, Err(RunError::Cancelled(_))));
        let lines = take_lines();
        assert!(lines[2].contains("on purpose: a bomb"), "{lines:?}");
    });
}

#[test]
fn a_panic_that_the_user_catches_leaves_scopes_in_order() {
    in_scenario(|event_loop| {
        let mut region = Box::pin(timeout(SECOND, bombed()));
        cancelled_at(
            event_loop,
            &[],
            poll_fn(move |context| {
                let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    region.as_mut().poll(context)
                }));
                match polled {
                    Ok(polled) => polled.map(|result| result.is_ok()),
                    Err(_) => {
                        say("caught a panic");
                        context.waker().wake_by_ref();
                        Poll::Pending
                    }
                }
            }),
        );
        said(["1 caught a panic", "1 ended: false"]);
    });
}

#[test]
fn wakers_that_panic_delay_no_other() {
    for touch in [Touch::Clone, Touch::Wake, Touch::Drop] {
        in_scenario(move |event_loop| {
            let hostile = HostileWaker::new(move |touched| {
                if touched == touch && !thread::panicking() {
                    panic!("on purpose: a waker");
                }
            });
            let hostile = [hostile.waker(), hostile.waker()];
            let mut one = Box::pin(tidy("one", 0));
            let mut two = Box::pin(timeout(SECOND * 9, tidy("two", 0)));
            let both = poll_fn(move |_| {
                let poll = |future: &mut dyn FnMut(&mut Context<'_>)| {
                    let mut context = Context::from_waker(&hostile[0]);
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        future(&mut context);
                    }));
                };
                poll(&mut |context| assert!(one.as_mut().poll(context).is_pending()));
                poll(&mut |context| assert!(two.as_mut().poll(context).is_pending()));
                Poll::<()>::Pending
            });
            let mut task = event_loop.create_task(async {
                zip(both, tidy("three", 1)).await;
            });
            let victim = task.as_ref();
            at(1.0, move || {
                victim.cancel();
            });
            finish(event_loop, &mut task);
            let lines = take_lines();
            assert_eq!(lines.last().unwrap(), "2 cancelled by Task", "{lines:?}");
            // What the bench's own wakers do at their end is not part of it.
            forget(task);
        });
    }
}

#[test]
fn a_waker_may_cancel_and_drop_and_poll_while_it_is_woken() {
    in_scenario(|event_loop| {
        let victim = Rc::new(RefCell::new(None::<callsoon::TaskRef>));
        let other = Rc::new(RefCell::new(None::<Task<()>>));
        let (shared, dropped) = (Rc::clone(&victim), Rc::clone(&other));
        let hostile = HostileWaker::new(move |touch| {
            if touch == Touch::Wake {
                if let Some(task) = &*shared.borrow() {
                    task.cancel_with("from a waker");
                }
                drop(dropped.borrow_mut().take());
                // A scope that lives and dies within.
                let mut inside = Box::pin(catch_cancelled(timeout(SECOND, pending::<()>())));
                let noop = std::task::Waker::noop();
                assert!(
                    inside
                        .as_mut()
                        .poll(&mut Context::from_waker(noop))
                        .is_pending()
                );
            }
        });
        let waker = hostile.waker();
        let mut one = Box::pin(tidy("one", 5));
        let branch = poll_fn(move |_| {
            let _ = one.as_mut().poll(&mut Context::from_waker(&waker));
            Poll::<()>::Pending
        });
        let awaited = event_loop.create_task(until(3.0));
        *other.borrow_mut() = Some(awaited);
        let mut task = event_loop.create_task(zip(branch, tidy("two", 5)));
        *victim.borrow_mut() = Some(task.as_ref());
        let canceller = task.as_ref();
        at(1.0, move || {
            canceller.cancel_with("from a timer");
        });
        finish(event_loop, &mut task);
        event_loop.run_until_complete(until(9.0)).unwrap();
        said([
            "1 one cleans up",
            "1 two cleans up",
            r#"1 cancelled by Task "from a waker""#,
        ]);
        victim.take();
    });
}

// Requests from strange places.

#[test]
fn a_task_that_cancels_itself_is_cancelled_where_it_waits_next() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            current_task().unwrap().cancel_with("by itself");
            say("goes on");
            catch_cancelled(sleep(SECOND))
                .await
                .unwrap_err()
                .resume()
                .await
        });
        said(["0 goes on", r#"0 cancelled by Task "by itself""#]);
    });
    // A request that was never delivered outweighs the result.
    in_scenario(|event_loop| {
        cancelled_at(
            event_loop,
            &[],
            async {
                current_task().unwrap().cancel_with("too late");
                Farewell("the result")
            }
            .map_debug(),
        );
        said([
            "0 the result is dropped",
            r#"0 cancelled by Task "too late""#,
        ]);
    });
}

/// For results without `Debug`.
trait MapDebug: Future + Sized {
    async fn map_debug(self) -> Shown<Self::Output> {
        Shown(self.await)
    }
}

impl<F: Future> MapDebug for F {}

struct Shown<T>(T);

impl<T> std::fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name_of_val(&self.0))
    }
}

/// Calls a closure when it is dropped.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_destructor_may_cancel_its_own_task_and_others() {
    in_scenario(|event_loop| {
        let mut other = event_loop.create_task(tidy("other", 1));
        let reference = other.as_ref();
        cancelled_at(event_loop, &[1.0], async move {
            let caught = catch_cancelled(async {
                let _end = AtEnd(|| {
                    reference.cancel_with("from a destructor");
                    current_task().unwrap().cancel_with("from a destructor");
                });
                pending::<()>().await;
            });
            let cancelled = caught.await.unwrap_err();
            tidy("the task", 1).await;
            drop(cancelled);
        });
        finish(event_loop, &mut other);
        said([
            "1 other cleans up",
            "1 the task cleans up",
            "2 other is clean",
            "2 the task is clean",
            r#"2 cancelled by Task "from a destructor""#,
            r#"2 cancelled by Task "from a destructor""#,
        ]);
    });
}

#[test]
fn a_destructor_may_open_scopes_while_its_task_ends() {
    let poll_a_scope = || {
        let mut inside = Box::pin(catch_cancelled(timeout(SECOND, pending::<()>())));
        let noop = std::task::Waker::noop();
        assert!(
            inside
                .as_mut()
                .poll(&mut Context::from_waker(noop))
                .is_pending()
        );
        // It outlives the task.
        forget(inside);
    };
    in_scenario(move |event_loop| {
        cancelled_at(
            event_loop,
            &[1.0],
            zip(tidy("a", 0), async move {
                let _end = AtEnd(poll_a_scope);
                pending::<()>().await;
            }),
        );
        said([
            "1 a cleans up",
            "1 a is clean",
            r#"1 cancelled by Task "1""#,
        ]);
        // The same as the main task's.
        let result = event_loop.run_until_complete(async move {
            let _end = AtEnd(poll_a_scope);
            current_task().unwrap().cancel();
            yield_now().await;
        });
        assert!(matches!(result, Err(RunError::Cancelled(_))));
        event_loop
            .run_until_complete(async move { drop(AtEnd(poll_a_scope)) })
            .unwrap();
        // One that is only lent, and stopped.
        let handle = event_loop.handle();
        let result = event_loop.run_until_complete(async move {
            let _end = AtEnd(poll_a_scope);
            handle.stop();
            pending::<()>().await;
        });
        assert!(matches!(result, Err(RunError::Stopped)));
    });
}

#[test]
fn a_done_callback_may_cancel_the_awaiter() {
    in_scenario(|event_loop| {
        let inner = event_loop.create_task(tidy("inner", 1));
        let reference = inner.as_ref();
        let outer = event_loop.create_task(async {
            let result = inner.await;
            say(ending(&result));
            tidy("outer", 1).await;
        });
        let awaiter = outer.as_ref();
        reference.add_done_callback(move |_| {
            say("called back");
            awaiter.cancel_with("by a callback");
        });
        at(1.0, move || {
            reference.cancel_with("the inner");
        });
        let mut outer = outer;
        finish(event_loop, &mut outer);
        said([
            "1 inner cleans up",
            "2 inner is clean",
            r#"2 cancelled by Task "the inner""#,
            "2 called back",
            "2 outer cleans up",
            "3 outer is clean",
            r#"3 cancelled by Task "by a callback""#,
        ]);
    });
}

#[test]
fn a_task_that_is_cancelled_in_its_last_poll_by_other_code_is_cancelled() {
    in_scenario(|event_loop| {
        let mut task = event_loop.create_task(async {
            let own = current_task().unwrap();
            yield_now().await;
            // Somebody else's code, within the poll.
            let hook = HostileWaker::new(move |_| assert!(own.cancel_with("in its last poll")));
            hook.waker().wake();
            7
        });
        finish(event_loop, &mut task);
        said([r#"0 cancelled by Task "in its last poll""#]);
    });
}

#[test]
fn a_request_that_was_delivered_leaves_the_result_to_the_task() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let _ = catch_cancelled(pending::<()>()).await.map_err(forget);
            "an error of the clean-up"
        });
        said([r#"1 ended: "an error of the clean-up""#]);
    });
}

#[test]
fn an_eager_task_has_a_tree_of_its_own() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[1.0], async {
            let result = timeout(SECOND * 9, async {
                let eager = task_builder().eager(true).spawn(async {
                    say("starts inside");
                    tidy("eager", 2).await;
                });
                let detached = task_builder().eager(true).spawn(stubborn("detached", 1));
                detached.detach();
                tidy("inside", 1).await;
                drop(eager);
            });
            result.await.is_ok()
        });
        for task in event_loop.all_tasks() {
            task.cancel();
        }
        event_loop.run_until_complete(until(9.0)).unwrap();
        said([
            "0 starts inside",
            "1 inside cleans up",
            "2 inside is clean",
            r#"2 cancelled by Task "1""#,
            "2 eager cleans up",
            "2 detached is asked",
            "3 detached goes on",
            "4 eager is clean",
        ]);
    });
}

#[test]
fn the_main_future_is_cancelled_as_any_task() {
    in_scenario(|event_loop| {
        let result = event_loop.run_until_complete(async {
            let task = current_task().unwrap();
            at(1.0, move || {
                task.cancel_with("the main one");
            });
            let inner = create_task(tidy("inner", 1));
            zip(
                async { drop(inner.await) },
                timeout(SECOND * 9, tidy("main", 2)),
            )
            .await
        });
        say(format!("{:?}", result.map_err(|error| error.to_string())));
        let result = event_loop.run_until_complete(async {
            let task = current_task().unwrap();
            at(5.0, move || {
                task.cancel();
            });
            unmoved("main").await;
            7
        });
        say(result.unwrap());
        said([
            "1 main cleans up",
            "1 inner cleans up",
            "2 inner is clean",
            "3 main is clean",
            r#"3 Err("the main task was cancelled: the main one")"#,
            "5 main goes on",
            "5 7",
        ]);
    });
}

#[test]
fn a_main_future_that_is_stopped_leaves_nothing_behind() {
    in_scenario(|event_loop| {
        let mut lent = Box::pin(timeout(SECOND * 9, tidy("lent", 1)));
        for _ in 0..2 {
            let handle = event_loop.handle();
            let stop = event_loop.call_later(SECOND, move || handle.stop());
            let result = event_loop.run_until_complete(&mut lent);
            assert!(matches!(result, Err(RunError::Stopped)));
            stop.cancel();
            assert_eq!(event_loop.metrics().scopes, 0);
        }
        let result = event_loop.run_until_complete(&mut lent).unwrap();
        say(format!("{result:?}"));
        said(["9 lent cleans up", "10 lent is clean", "10 Err(TimedOut)"]);
    });
}

#[test]
fn outside_any_task_scopes_only_poll() {
    in_scenario(|event_loop| {
        let future = event_loop.create_future();
        let setter = future.clone();
        let mut waiting = Waiting::begun(catch_cancelled(future));
        assert_eq!(event_loop.metrics().scopes, 0);
        setter.set_result(7).unwrap();
        assert!(waiting.is_woken());
        assert!(waiting.poll().unwrap().is_ok());
        // From a callback of the running loop.
        let mut raise = Box::pin(Cancellation::default().resume());
        event_loop.call_soon(move || {
            let noop = std::task::Waker::noop();
            let mut context = Context::from_waker(noop);
            assert!(raise.as_mut().poll(&mut context).is_pending());
            let mut limit = Box::pin(timeout(Duration::ZERO, pending::<()>()));
            assert!(limit.as_mut().poll(&mut context).is_ready());
            let mut limit = Box::pin(timeout(SECOND, pending::<()>()));
            assert!(limit.as_mut().poll(&mut context).is_pending());
            assert_eq!(get_running_loop().metrics().scopes, 0);
        });
        one_turn(event_loop);
    });
}

#[test]
fn a_scope_that_was_polled_outside_is_a_scope_once_it_is_awaited() {
    in_scenario(|event_loop| {
        let slot = Rc::new(RefCell::new(Box::pin(tidy("a", 1))));
        let shared = Rc::clone(&slot);
        event_loop.call_soon(move || {
            let noop = std::task::Waker::noop();
            let mut context = Context::from_waker(noop);
            assert!(shared.borrow_mut().as_mut().poll(&mut context).is_pending());
        });
        one_turn(event_loop);
        let moved = Rc::into_inner(slot).unwrap().into_inner();
        cancelled_at(event_loop, &[1.0], moved);
        said([
            "1 a cleans up",
            "2 a is clean",
            r#"2 cancelled by Task "1""#,
        ]);
    });
}

#[test]
fn a_child_of_a_group_whose_request_is_taken_back_ends_all_the_same() {
    in_scenario(|event_loop| {
        cancelled_at(event_loop, &[], async {
            let result = task_group(async |group| {
                let child = group.create_task(async { Err::<(), _>("broken") });
                let reference = child.as_ref();
                group.create_task(async move {
                    // In the turn in which the child has failed and has not ended.
                    reference.uncancel();
                });
            });
            result.await.is_err()
        });
        said(["0 ended: true"]);
    });
}
