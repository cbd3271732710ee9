//! Context variables: which value a task, a callback or a timer reads.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{Context, ContextVar, copy_context, create_task, get_running_loop, yield_now};

use crate::support::{DropProbe, PENDING, Trace, audited, on_virtual_time, one_turn, virtual_loop};

static USER: ContextVar<&str> = ContextVar::new("user");
static DEPTH: ContextVar<u32> = ContextVar::with_default("depth", || 7);

#[test]
fn a_variable_has_its_default_until_it_is_set_and_after_it_was_reset() {
    audited(|| {
        assert_eq!((USER.get(), DEPTH.get()), (None, Some(7)));
        let event_loop = virtual_loop(&Trace::new());
        event_loop
            .run_until_complete(async {
                let first = DEPTH.set(1);
                let second = DEPTH.set(2);
                assert_eq!((USER.get(), DEPTH.get()), (None, Some(2)));
                DEPTH.reset(second);
                assert_eq!(DEPTH.get(), Some(1));
                DEPTH.reset(first);
                assert_eq!((DEPTH.get(), copy_context().len()), (Some(7), 0));
            })
            .unwrap();
        assert_eq!(DEPTH.get(), Some(7), "the thread's context is another");
    });
}

#[test]
fn a_task_runs_in_a_copy_of_the_context_in_which_it_was_made() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop
            .run_until_complete(async move {
                USER.set("parent");
                let child = create_task({
                    let t = t.clone();
                    async move {
                        t.push(format!("child begins as {:?}", USER.get()));
                        USER.set("child");
                        yield_now().await;
                        t.push(format!("child goes on as {:?}", USER.get()));
                    }
                });
                USER.set("parent, later");
                yield_now().await;
                t.push(format!("parent is {:?}", USER.get()));
                child.await.unwrap();
                t.push(format!("parent is still {:?}", USER.get()));
            })
            .unwrap();
        trace.expect([
            "child begins as Some(\"parent\")",
            "parent is Some(\"parent, later\")",
            "child goes on as Some(\"child\")",
            "parent is still Some(\"parent, later\")",
        ]);
    });
}

#[test]
fn callbacks_timers_and_done_callbacks_run_in_the_context_in_which_they_were_made() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop
            .run_until_complete(async move {
                let event_loop = get_running_loop();
                let note = |what: &'static str| {
                    let t = t.clone();
                    move || {
                        t.push(format!("{what} {:?}", USER.get()));
                        USER.set("overwritten by a callback");
                    }
                };
                let future = event_loop.create_future::<()>();
                let task = create_task(async {});
                USER.set("a");
                event_loop.call_soon(note("soon"));
                event_loop.call_later(Duration::from_secs(1), note("timer"));
                let done = note("future done");
                future.add_done_callback(move |_| done());
                let done = note("task done");
                task.add_done_callback(move |_| done());
                USER.set("b");
                future.set_result(()).unwrap();
                callsoon::sleep(Duration::from_secs(2)).await;
                t.push(format!("main {:?}", USER.get()));
                drop(task);
            })
            .unwrap();
        trace.expect([
            "soon Some(\"a\")",
            "future done Some(\"a\")",
            "task done Some(\"a\")",
            "timer Some(\"a\")",
            "main Some(\"b\")",
        ]);
    });
}

#[test]
fn what_a_callback_sets_reaches_no_entry_after_it() {
    on_virtual_time(|trace, event_loop| {
        // Both were queued before any variable of this loop was set.
        event_loop.call_soon(|| drop(USER.set("mine")));
        let t = trace.clone();
        event_loop.call_soon(move || t.push(format!("{:?}", USER.get())));
        let t = trace.clone();
        event_loop
            .create_task(async move {
                t.push(format!("{:?}", USER.get()));
                USER.set("the task's");
                yield_now().await;
                t.push(format!("{:?}", USER.get()));
            })
            .detach();
        let t = trace.clone();
        let remote = event_loop.remote();
        remote
            .call_soon_threadsafe(|| drop(USER.set("a post's")))
            .unwrap();
        event_loop.call_later(Duration::ZERO, move || t.push(format!("{:?}", USER.get())));
        for _ in 0..3 {
            one_turn(&event_loop);
        }
        trace.expect(["None", "None", "None", "Some(\"the task's\")"]);
    });
}

#[test]
fn a_task_in_a_given_context_shares_it_with_its_other_owners() {
    on_virtual_time(|_, event_loop| {
        event_loop
            .run_until_complete(async {
                let context = Context::new();
                let writer = callsoon::task_builder()
                    .context(context.clone())
                    .spawn(async {
                        USER.set("written");
                        yield_now().await;
                        USER.get()
                    });
                yield_now().await;
                assert_eq!(context.run(|| USER.get()), Some("written"));
                context.run(|| drop(USER.set("written back")));
                assert_eq!(writer.await.unwrap(), Some("written back"));
                assert_eq!(USER.get(), None);
            })
            .unwrap();
    });
}

#[test]
fn a_context_is_left_again_when_what_ran_in_it_panics() {
    on_virtual_time(|_, event_loop| {
        event_loop
            .run_until_complete(async {
                USER.set("outside");
                let context = Context::new();
                let inside = std::panic::AssertUnwindSafe(|| {
                    context.run(|| {
                        USER.set("inside");
                        panic!("on purpose");
                    })
                });
                assert!(std::panic::catch_unwind(inside).is_err());
                assert_eq!(USER.get(), Some("outside"));
                assert_eq!(context.run(|| USER.get()), Some("inside"));
                let failing = create_task(async {
                    USER.set("failing");
                    panic!("on purpose");
                });
                assert!(failing.await.is_err());
                assert_eq!(USER.get(), Some("outside"));
            })
            .unwrap();
    });
}

#[test]
fn values_are_dropped_with_the_last_context_that_holds_them() {
    static PROBE: ContextVar<Rc<DropProbe>> = ContextVar::new("probe");
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop
            .run_until_complete(async move {
                PROBE.set(Rc::new(DropProbe::new(&t, "main's")));
                let inner = t.clone();
                let child = create_task(async move {
                    PROBE.set(Rc::new(DropProbe::new(&inner, "child's")));
                });
                child.await.unwrap();
                t.push("the child has ended");
            })
            .unwrap();
        trace.expect(["drop child's", "the child has ended", "drop main's"]);
        let t = trace.clone();
        event_loop
            .create_task(async move {
                PROBE.set(Rc::new(DropProbe::new(&t, "a pending task's")));
                std::future::pending::<()>().await;
            })
            .detach();
        one_turn(&event_loop);
        trace.expect([]);
        event_loop.close().unwrap();
        trace.expect([PENDING, "drop a pending task's"]);
    });
}

#[test]
fn an_eager_task_takes_its_first_step_as_the_current_task_in_a_context_of_its_own() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop
            .run_until_complete(async move {
                USER.set("parent");
                let inner = t.clone();
                let task = callsoon::task_builder()
                    .name("eager")
                    .eager(true)
                    .spawn(async move {
                        let name = || callsoon::current_task().unwrap().name();
                        inner.push(format!("{} as {:?}", name(), USER.get()));
                        USER.set("eager");
                        yield_now().await;
                        inner.push(format!("{} as {:?}", name(), USER.get()));
                    });
                let current = callsoon::current_task().unwrap().name();
                t.push(format!(
                    "{current} as {:?}, {} tasks",
                    USER.get(),
                    callsoon::all_tasks().len()
                ));
                task.await.unwrap();
                let done = callsoon::task_builder().eager(true).spawn(async { 5 });
                assert!(done.done());
                assert_eq!(done.await.unwrap(), 5);
            })
            .unwrap();
        trace.expect([
            "eager as Some(\"parent\")",
            "Task-1 as Some(\"parent\"), 2 tasks",
            "eager as Some(\"eager\")",
        ]);
    });
}

#[test]
fn an_eager_task_is_polled_once_a_wake_and_never_for_having_been_queued() {
    on_virtual_time(|_, event_loop| {
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let task = event_loop
            .run_until_complete(std::future::poll_fn(move |_| {
                let counted = Rc::clone(&counted);
                let builder = callsoon::task_builder().eager(true);
                std::task::Poll::Ready(builder.spawn(std::future::poll_fn(move |_| {
                    counted.set(counted.get() + 1);
                    std::task::Poll::<()>::Pending
                })))
            }))
            .unwrap();
        assert_eq!(polls.get(), 1);
        one_turn(&event_loop);
        one_turn(&event_loop);
        assert_eq!(polls.get(), 1, "nobody has woken it");
        task.cancel();
        one_turn(&event_loop);
        assert!(task.cancelled());
    });
}

#[test]
fn outside_a_run_an_eager_task_waits_for_the_first_turn() {
    on_virtual_time(|_, event_loop| {
        let mut task = event_loop.task_builder().eager(true).spawn(async { 1 });
        assert!(!task.done());
        one_turn(&event_loop);
        assert_eq!(task.result().unwrap().unwrap(), 1);
    });
}

#[test]
fn eager_tasks_nest_and_one_that_panics_leaves_the_others_alone() {
    on_virtual_time(|trace, event_loop| {
        let depth = event_loop.run_until_complete(nested(20)).unwrap();
        assert_eq!(depth, 20);
        event_loop
            .run_until_complete(async {
                let task = callsoon::task_builder()
                    .eager(true)
                    .spawn(async { panic!("on purpose") });
                assert!(task.done());
                assert_eq!(callsoon::current_task().unwrap().name(), "Task-22");
                assert!(task.await.unwrap_err().panicked().is_some());
            })
            .unwrap();
        trace.expect([]);
    });
}

/// Starts an eager task that starts an eager task.
async fn nested(depth: u32) -> u32 {
    if depth == 0 {
        return 0;
    }
    let inner = callsoon::task_builder()
        .eager(true)
        .spawn(Box::pin(nested(depth - 1)));
    assert!(inner.done());
    inner.await.unwrap() + 1
}

#[test]
fn the_task_hook_is_called_for_every_task_before_its_first_step() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_task_hook(move |_, task| t.push(format!("made {}", task.name())));
        let t = trace.clone();
        event_loop
            .create_task(async move { t.push("runs") })
            .detach();
        one_turn(&event_loop);
        event_loop.set_task_hook(|_, _| panic!("on purpose"));
        event_loop.create_task(async {}).detach();
        event_loop.reset_task_hook();
        event_loop.create_task(async {}).detach();
        one_turn(&event_loop);
        trace.expect([
            "made Task-1",
            "runs",
            "report: Exception in the task hook (on purpose)",
        ]);
    });
}
