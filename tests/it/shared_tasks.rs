//! A shared task: several awaits of one task, each with a result of its own.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{
    EventLoop, NoException, SharedTask, TaskError, create_task, sleep, sleep_with, timeout,
    yield_now,
};

use crate::support::{
    DropProbe, PENDING, Trace, audited, complete, on_virtual_time, one_turn, virtual_loop, watched,
};

const SECOND: Duration = Duration::from_secs(1);

/// A task that awaits a shared one and writes down what it got.
fn awaiter(
    event_loop: &EventLoop,
    trace: &Trace,
    name: &'static str,
    shared: &SharedTask<&'static str>,
) -> callsoon::Task<()> {
    let (trace, shared) = (trace.clone(), shared.clone());
    event_loop.create_task(async move {
        match shared.await {
            Ok(value) => trace.push(format!("{name}: {value}")),
            Err(error) => trace.push(format!("{name}: {error}")),
        }
    })
}

#[test]
fn all_awaiters_get_the_result_in_the_order_of_their_awaits() {
    on_virtual_time(|trace, event_loop| {
        let shared = event_loop.create_task(sleep_with(SECOND, "done")).shared();
        for name in ["a", "b", "c"] {
            awaiter(&event_loop, &trace, name, &shared).detach();
        }
        event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
        trace.expect(["a: done", "b: done", "c: done"]);
        awaiter(&event_loop, &trace, "late", &shared).detach();
        one_turn(&event_loop);
        trace.expect(["late: done"]);
        assert_eq!(shared.result().unwrap().unwrap(), "done");
        assert_eq!(shared.result().unwrap().unwrap(), "done");
    });
}

#[test]
fn an_awaiter_resumes_in_the_turn_after_the_task_s_end_like_that_of_a_plain_task() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let work = |name: &'static str| {
            let t = t.clone();
            async move {
                t.push(name);
                name
            }
        };
        let plain = event_loop.create_task(work("plain"));
        let shared = event_loop.create_task(work("shared")).shared();
        let t = trace.clone();
        let first =
            event_loop.create_task(async move { t.push(format!("got {}", plain.await.unwrap())) });
        let second = awaiter(&event_loop, &trace, "got", &shared);
        for _ in 0..3 {
            one_turn(&event_loop);
            trace.push("-");
        }
        assert!(first.done() && second.done());
        trace.expect(["plain", "shared", "got plain", "got: shared", "-", "-", "-"]);
    });
}

#[test]
fn cancelling_or_dropping_one_awaiter_leaves_the_task_and_the_others() {
    on_virtual_time(|trace, event_loop| {
        let shared = event_loop.create_task(sleep_with(SECOND, "done")).shared();
        let cancelled = awaiter(&event_loop, &trace, "cancelled", &shared);
        let other = awaiter(&event_loop, &trace, "other", &shared);
        one_turn(&event_loop);
        cancelled.cancel();
        let timed = complete(&event_loop, async {
            timeout(SECOND / 2, shared.clone()).await.is_err()
        });
        assert!(timed && cancelled.cancelled());
        assert_eq!(shared.as_ref().cancelling(), 0);
        event_loop.run_until_complete(other).unwrap().unwrap();
        trace.expect(["other: done"]);
    });
}

#[test]
fn without_any_awaiter_the_task_runs_on() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            sleep(SECOND).await;
            t.push("ran to its end");
            DropProbe::new(&t, "the result that nobody reads")
        });
        let shared = task.shared();
        drop(shared.clone());
        drop(shared);
        event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
        trace.expect(["ran to its end", "drop the result that nobody reads"]);
    });
}

#[test]
fn cancelling_the_task_ends_it_for_all() {
    on_virtual_time(|trace, event_loop| {
        let shared = event_loop.create_task(pending::<&str>()).shared();
        let (a, b) = (
            awaiter(&event_loop, &trace, "a", &shared),
            awaiter(&event_loop, &trace, "b", &shared),
        );
        one_turn(&event_loop);
        assert!(shared.cancel_with("closed"));
        event_loop.run_until_complete(a).unwrap().unwrap();
        event_loop.run_until_complete(b).unwrap().unwrap();
        assert!(!shared.cancel());
        assert_eq!(shared.exception().unwrap_err(), NoException::Cancelled);
        trace.expect([
            "a: the task was cancelled: closed",
            "b: the task was cancelled: closed",
        ]);
    });
}

#[test]
fn all_awaiters_get_a_panic_and_it_is_reported_only_if_none_has_read_it() {
    on_virtual_time(|trace, event_loop| {
        let failing = || {
            event_loop
                .create_task(async {
                    yield_now().await;
                    if true {
                        panic!("on purpose");
                    }
                    "never"
                })
                .shared()
        };
        let shared = failing();
        let (a, b) = (
            awaiter(&event_loop, &trace, "a", &shared),
            awaiter(&event_loop, &trace, "b", &shared),
        );
        event_loop.run_until_complete(a).unwrap().unwrap();
        event_loop.run_until_complete(b).unwrap().unwrap();
        drop(shared);
        trace.expect([
            "a: the task panicked: on purpose",
            "b: the task panicked: on purpose",
        ]);

        let unread = "report: Task exception was never retrieved (on purpose)";
        let shared = failing();
        for _ in 0..3 {
            one_turn(&event_loop);
        }
        let last = shared.clone();
        drop(shared);
        trace.expect([]);
        drop(last);
        trace.expect([unread]);

        drop(failing());
        for _ in 0..3 {
            one_turn(&event_loop);
        }
        trace.expect([unread]);

        let shared = failing();
        assert_eq!(shared.exception().unwrap_err(), NoException::InvalidState);
        for _ in 0..3 {
            one_turn(&event_loop);
        }
        assert!(shared.exception().unwrap().is_some());
        drop(shared);
        let shared = failing();
        for _ in 0..3 {
            one_turn(&event_loop);
        }
        assert!(!shared.cancel(), "who cancels it needs no report");
        drop(shared);
        trace.expect([]);
    });
}

#[test]
fn a_task_that_has_ended_is_shared_with_its_result() {
    on_virtual_time(|_, event_loop| {
        let task = event_loop.create_task(async { Rc::new(5) });
        one_turn(&event_loop);
        let shared = task.shared();
        let (a, b) = event_loop
            .run_until_complete(async { (shared.clone().await, shared.await) })
            .unwrap();
        assert!(Rc::ptr_eq(&a.unwrap(), &b.unwrap()));
        let mut task = event_loop.create_task(async {});
        one_turn(&event_loop);
        task.result().unwrap().unwrap();
        assert!(matches!(task.shared().result(), Ok(Err(TaskError::Taken))));
    });
}

#[test]
fn a_handle_that_was_polled_before_can_still_be_shared() {
    on_virtual_time(|trace, event_loop| {
        let mut task = event_loop.create_task(sleep_with(SECOND, "done"));
        let early = complete(&event_loop, async {
            timeout(SECOND / 2, &mut task).await.is_err()
        });
        assert!(early);
        let shared = task.shared();
        awaiter(&event_loop, &trace, "a", &shared).detach();
        // The await that timed out has cancelled the task.
        event_loop.run_until_complete(sleep(SECOND)).unwrap();
        trace.expect(["a: the task was cancelled"]);
    });
}

#[test]
fn a_task_cannot_await_its_own_shared_handle() {
    on_virtual_time(|trace, event_loop| {
        let own = event_loop.create_future::<SharedTask<()>>();
        let (receiver, t) = (own.clone(), trace.clone());
        let task = event_loop.create_task(async move {
            let own = receiver.take().await.unwrap();
            t.push(own.await.unwrap_err());
        });
        let shared = task.shared();
        own.set_result(shared.clone()).unwrap();
        event_loop.run_until_complete(shared).unwrap().unwrap();
        trace.expect(["the task awaits itself"]);
    });
}

#[test]
fn a_shared_task_of_another_loop_is_refused() {
    audited(watched(|| {
        let trace = Trace::new();
        let (ours, theirs) = (virtual_loop(&trace), virtual_loop(&trace));
        let shared = theirs.create_task(async {}).shared();
        let refused = ours.run_until_complete(shared.clone()).unwrap();
        assert!(matches!(refused, Err(TaskError::OtherLoop)));
        theirs.run_until_complete(shared.clone()).unwrap().unwrap();
        trace.expect([]);
    }));
}

#[test]
fn a_loop_that_closes_ends_a_shared_task_and_its_result_is_there() {
    on_virtual_time(|trace, event_loop| {
        let shared = event_loop.create_task(pending::<&str>()).shared();
        awaiter(&event_loop, &trace, "never", &shared).detach();
        one_turn(&event_loop);
        event_loop.close().unwrap();
        trace.expect([PENDING, PENDING]);
        assert!(matches!(shared.result(), Ok(Err(TaskError::Cancelled(_)))));
    });
}

#[test]
fn cloning_the_result_may_read_it_again() {
    thread_local! {
        static SHARED: std::cell::RefCell<Option<SharedTask<Again>>> = const { std::cell::RefCell::new(None) };
    }
    struct Again(u32);
    impl Clone for Again {
        fn clone(&self) -> Self {
            let shared = SHARED.take();
            let inner = shared.map_or(0, |shared| shared.result().unwrap().unwrap().0);
            Self(self.0 + inner)
        }
    }
    on_virtual_time(|_, event_loop| {
        let shared = event_loop.create_task(async { Again(1) }).shared();
        one_turn(&event_loop);
        SHARED.set(Some(shared.clone()));
        assert_eq!(shared.result().unwrap().unwrap().0, 2);
    });
}

#[test]
fn one_circle_of_tasks_ends_when_one_of_them_is_cancelled() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let other = callsoon::get_running_loop().create_future::<SharedTask<()>>();
            let receiver = other.clone();
            let first =
                create_task(async move { drop(receiver.take().await.unwrap().await) }).shared();
            let awaited = first.clone();
            let second = create_task(async move { drop(awaited.await) }).shared();
            other.set_result(second.clone()).unwrap();
            yield_now().await;
            yield_now().await;
            first.cancel();
            assert!(first.await.unwrap_err().cancelled().is_some());
            second.await.unwrap();
        });
        trace.expect([]);
    });
}
