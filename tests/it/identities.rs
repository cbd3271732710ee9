//! A key of a task, a scope or a timer finds that object or none, however many there have been since. Counters pass 16,
//! 30, 31 and 32 bits without a visible effect.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callsoon::{
    Clock, EventLoop, Gather, catch_cancelled, create_task, gather, sleep, task_group, timeout,
    try_gather, yield_now,
};

use crate::support::{
    Trace, audited, on_virtual_time, one_turn, panic_text, quiet_panics, virtual_loop,
};

/// Where counts begin in these tests: shortly before they outgrow one width or another.
const BEGINNINGS: [u64; 6] = [
    0,
    (1 << 16) - 20,
    (1 << 30) - 20,
    (1 << 31) - 20,
    (1 << 32) - 20,
    (1 << 63) - 20,
];

fn each_beginning(test: impl Fn(&EventLoop, u64)) {
    for first in BEGINNINGS {
        let event_loop = EventLoop::builder()
            .clock(Clock::Virtual)
            .counts(first)
            .build()
            .unwrap();
        test(&event_loop, first);
        let metrics = event_loop.metrics();
        assert_eq!((metrics.tasks, metrics.scopes), (0, 0), "from {first}");
    }
}

/// Runs 65,535 tasks after the one that ended last, and then another task in its slot with its key.
async fn other_task_after(children_ended: u32) -> callsoon::Task<()> {
    for _ in children_ended..65_536 {
        create_task(async {}).await.unwrap();
    }
    create_task(pending())
}

/// Drops a gather one of whose children has ended, when another task has that one's key.
fn spares_another_task<C>(gathered: impl FnOnce() -> Gather<C> + Send + 'static) {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        event_loop
            .run_until_complete(async {
                let gathered = gathered();
                yield_now().await;
                let other = other_task_after(1).await;
                drop(gathered);
                yield_now().await;
                yield_now().await;
                assert!(!other.done(), "{other:?}");
                other.cancel();
                drop(other.await);
            })
            .unwrap();
        assert!(event_loop.all_tasks().is_empty());
    });
}

#[test]
fn a_gather_that_is_dropped_spares_the_task_that_has_an_ended_childs_key() {
    spares_another_task(|| {
        gather([0, 1].map(|n| async move {
            if n == 1 {
                pending::<()>().await
            }
        }))
    });
    spares_another_task(|| callsoon::gather!(async {}, pending::<()>()));
}

#[test]
fn a_gather_that_fails_or_is_cancelled_spares_the_task_that_has_an_ended_childs_key() {
    for fails in [true, false] {
        audited(move || {
            let event_loop = virtual_loop(&Trace::new());
            event_loop
                .run_until_complete(async {
                    let gate = callsoon::get_running_loop().create_future::<()>();
                    let open = gate.clone();
                    let gathered = create_task(async move {
                        let children = [0, 1, 2].map(|n| {
                            let gate = gate.clone();
                            async move {
                                match n {
                                    0 => Ok(()),
                                    1 => gate.await.map_err(drop).and(Err(())),
                                    _ => pending().await,
                                }
                            }
                        });
                        try_gather(children).await
                    });
                    yield_now().await;
                    yield_now().await;
                    // The gather's own task was the first.
                    let other = other_task_after(3).await;
                    if fails {
                        open.set_result(()).unwrap();
                    } else {
                        gathered.cancel();
                    }
                    let ended = gathered.await;
                    assert_eq!(ended.is_ok(), fails);
                    yield_now().await;
                    assert!(!other.done(), "{other:?}");
                    other.cancel();
                    drop(other.await);
                })
                .unwrap();
            assert!(event_loop.all_tasks().is_empty());
        });
    }
}

#[test]
fn all_tasks_and_ids_are_in_the_order_of_creation_however_many_tasks_there_were() {
    audited(|| {
        each_beginning(|event_loop, first| {
            let tasks: Vec<_> = (0..40)
                .map(|_| event_loop.create_task(pending::<()>()))
                .collect();
            let all = event_loop.all_tasks();
            let ids: Vec<_> = all.iter().map(callsoon::TaskRef::id).collect();
            let expected: Vec<_> = tasks.iter().map(callsoon::Task::id).collect();
            assert_eq!(ids, expected, "from {first}");
            assert!(ids.is_sorted_by(|a, b| a < b), "from {first}: {ids:?}");
            assert_eq!(all[39].name(), format!("Task-{}", first + 40));
            for task in &tasks {
                task.cancel();
            }
            event_loop.run_until_complete(yield_now()).unwrap();
            event_loop.run_until_complete(yield_now()).unwrap();
        });
    });
}

#[test]
fn ids_of_ended_tasks_are_not_used_again() {
    audited(|| {
        let ended = {
            let event_loop = virtual_loop(&Trace::new());
            let task = event_loop.create_task(async {});
            event_loop.run_until_complete(yield_now()).unwrap();
            task.id()
        };
        // Sooner or later a loop has the number of the first one.
        for _ in 0..300 {
            let event_loop = virtual_loop(&Trace::new());
            let task = event_loop.create_task(async {});
            assert_ne!(task.id(), ended);
            event_loop.run_until_complete(task).unwrap().unwrap();
        }
    });
}

#[test]
fn a_zero_limit_ends_what_is_inside_it_and_not_an_await_beside_it() {
    audited(|| {
        each_beginning(|event_loop, first| {
            event_loop
                .run_until_complete(async {
                    for _ in 0..40 {
                        let mut beside = create_task(pending::<()>());
                        let watched = beside.as_ref();
                        let mut context = 0;
                        let outcome = poll_fn(|cx| {
                            context += 1;
                            assert!(Pin::new(&mut beside).poll(cx).is_pending());
                            if context < 2 {
                                cx.waker().wake_by_ref();
                                return Poll::Pending;
                            }
                            let mut limited = Box::pin(timeout(Duration::ZERO, pending::<()>()));
                            let polled = limited.as_mut().poll(cx);
                            Poll::Ready(polled.is_ready())
                        })
                        .await;
                        assert!(outcome, "from {first}: a zero limit is over at once");
                        yield_now().await;
                        yield_now().await;
                        assert!(!watched.done(), "from {first}");
                        watched.cancel();
                        drop(beside.await);
                    }
                })
                .unwrap();
        });
    });
}

#[test]
fn a_limit_takes_over_what_was_polled_inside_it_however_many_scopes_there_were() {
    audited(|| {
        each_beginning(|event_loop, first| {
            event_loop
                .run_until_complete(async {
                    for _ in 0..40 {
                        let inner = create_task(catch_cancelled(pending::<()>()));
                        let seen = inner.as_ref();
                        let limited = timeout(Duration::from_secs(1), inner).await;
                        assert!(
                            seen.done(),
                            "from {first}: the limit cancels what it awaits"
                        );
                        assert!(limited.is_ok_and(|ended| ended.unwrap().is_err()));
                    }
                    let grouped = task_group(async |group| {
                        for n in 0..40 {
                            group.create_task(async move {
                                timeout(Duration::from_secs(n), pending::<()>()).await.ok();
                            });
                        }
                    });
                    grouped.await.unwrap();
                })
                .unwrap();
        });
    });
}

#[test]
fn a_handle_that_outlives_its_awaiter_ends_no_scope_of_another_task() {
    audited(|| {
        each_beginning(|event_loop, first| {
            event_loop
                .run_until_complete(async {
                    let handle = Rc::new(std::cell::RefCell::new(create_task(pending::<()>())));
                    let theirs = handle.clone();
                    let awaiter = create_task(timeout(
                        Duration::from_secs(9),
                        poll_fn(move |context| Pin::new(&mut *theirs.borrow_mut()).poll(context)),
                    ));
                    yield_now().await;
                    let handle = Rc::clone(&handle);
                    // Detached from its awaiter by a waker of another runtime, with the node still noted.
                    let mut outside = Context::from_waker(Waker::noop());
                    assert!(
                        Pin::new(&mut *handle.borrow_mut())
                            .poll(&mut outside)
                            .is_pending()
                    );
                    let scopes: Vec<_> = (0..40)
                        .map(|n| {
                            create_task(timeout(
                                Duration::from_secs(20 + n),
                                sleep(Duration::from_secs(2)),
                            ))
                        })
                        .collect();
                    yield_now().await;
                    awaiter.cancel();
                    drop(awaiter.await);
                    handle.borrow().cancel();
                    drop(handle);
                    for scope in scopes {
                        assert!(scope.await.unwrap().is_ok(), "from {first}");
                    }
                })
                .unwrap();
        });
    });
}

#[test]
fn timers_and_their_handles_keep_their_order_however_many_there_were() {
    audited(|| {
        each_beginning(|event_loop, first| {
            let when = event_loop.time() + Duration::from_secs(1);
            let fired = Rc::new(std::cell::RefCell::new(Vec::new()));
            let handles: Vec<_> = (0..40)
                .map(|n| {
                    let fired = fired.clone();
                    event_loop.call_at(when, move || fired.borrow_mut().push(n))
                })
                .collect();
            assert!(handles.is_sorted_by(|a, b| a < b), "from {first}");
            handles[25].cancel();
            event_loop
                .run_until_complete(sleep(Duration::from_secs(2)))
                .unwrap();
            let expected: Vec<_> = (0..40).filter(|n| *n != 25).collect();
            assert_eq!(*fired.borrow(), expected, "from {first}");
        });
    });
}

#[test]
fn done_callbacks_are_removed_by_their_own_id_alone() {
    audited(|| {
        each_beginning(|event_loop, first| {
            let task = event_loop.create_task(async {});
            let called = Rc::new(std::cell::Cell::new(0));
            let ids: Vec<_> = (0..40)
                .map(|n| {
                    let called = called.clone();
                    task.add_done_callback(move |_| called.set(called.get() + n))
                })
                .collect();
            assert!(task.remove_done_callback(ids[7]) && !task.remove_done_callback(ids[7]));
            event_loop
                .run_until_complete(async {
                    drop(task.await);
                    yield_now().await
                })
                .unwrap();
            assert_eq!(called.get(), (0..40).sum::<i32>() - 7, "from {first}");
        });
    });
}

#[test]
fn an_id_that_another_loop_gave_removes_no_callback_and_no_awaiter() {
    audited(|| {
        let trace = Trace::new();
        let (one, other) = (virtual_loop(&trace), virtual_loop(&trace));
        let ended = other.create_task(async {});
        let ids: Vec<_> = (0..4).map(|_| ended.add_done_callback(|_| ())).collect();

        let future = one.create_future::<u8>();
        let awaiter = one.create_task(future.clone());
        let note = trace.note("task's callback");
        awaiter.add_done_callback(move |_| note());
        one.turn(Some(Duration::ZERO)).unwrap();
        for id in ids {
            assert!(!future.remove_done_callback(id) && !awaiter.remove_done_callback(id));
        }
        future.set_result(1).unwrap();
        let value = one.run_until_complete(async {
            let value = awaiter.await;
            yield_now().await;
            value
        });
        assert_eq!(value.unwrap().unwrap().unwrap(), 1);
        trace.expect(["task's callback"]);
        other.run_until_complete(ended).unwrap().unwrap();
    });
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("the result's destructor");
    }
}

#[test]
fn a_result_that_nobody_took_lives_until_the_last_reference_whose_drop_its_destructor_may_panic() {
    on_virtual_time(|trace, event_loop| {
        quiet_panics();
        let task = event_loop.create_task(async { PanicsInDrop });
        let reference = task.as_ref();
        drop(task);
        one_turn(&event_loop);
        one_turn(&event_loop);
        assert!(reference.done());
        assert_eq!(
            panic_text(|| drop(reference)),
            "the result's destructor",
            "not earlier, and not by the loop"
        );
        assert_eq!(trace.take(), [""; 0]);
    });
}
