//! Tasks: when they run, what they give, how they end. asyncio's behaviour, except that a cancelled task is dropped
//! at its next step.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{TaskError, yield_now};

use crate::support::{DropProbe, Trace, audited, one_turn, panic_text, virtual_loop};
use crate::tasks_polled::JoinTwo;

#[test]
fn a_task_starts_in_the_next_turn_and_not_inside_create_task() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        event_loop.call_soon(move || {
            let inner = t.clone();
            callsoon::create_task(async move { inner.push("the task") }).detach();
            t.push("create_task has returned");
        });
        event_loop.call_soon(trace.note("same turn"));
        one_turn(&event_loop);
        trace.expect(["create_task has returned", "same turn"]);
        one_turn(&event_loop);
        trace.expect(["the task"]);
    });
}

#[test]
fn tasks_start_in_the_order_of_their_creation_among_callbacks() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        for n in 0..3 {
            let t = trace.clone();
            let task = async move { t.push(format!("task {n}")) };
            event_loop.create_task(task).detach();
            event_loop.call_soon(trace.note(format!("callback {n}")));
        }
        one_turn(&event_loop);
        trace.expect([
            "task 0",
            "callback 0",
            "task 1",
            "callback 1",
            "task 2",
            "callback 2",
        ]);
    });
}

#[test]
fn awaiting_a_future_directly_runs_it_inside_the_task_and_awaiting_tasks_costs_a_turn_each() {
    fn turn() -> u64 {
        callsoon::get_running_loop().metrics().turns
    }
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let start = event_loop.metrics().turns;
        let says = move |who: &str| t.push(format!("{who} in turn {}", turn() - start));
        let inline = says.clone();
        let inner = event_loop.create_task(async move {
            says("inner starts");
            yield_now().await;
            says("inner ends");
            says
        });
        let middle = event_loop.create_task(async move {
            let says = inner.await.unwrap();
            says("middle resumes");
            says
        });
        let outer = async move {
            async { inline("a plain block") }.await;
            let says = middle.await.unwrap();
            says("outer resumes");
        };
        event_loop.run_until_complete(outer).unwrap();
        trace.expect([
            "inner starts in turn 1",
            "a plain block in turn 1",
            "inner ends in turn 2",
            "middle resumes in turn 3",
            "outer resumes in turn 4",
        ]);
    });
}

#[test]
fn yield_now_gives_up_exactly_one_turn() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        for name in ["a", "b"] {
            let t = trace.clone();
            let task = async move {
                for step in 0..3 {
                    t.push(format!("{name}{step}"));
                    yield_now().await;
                }
            };
            event_loop.create_task(task).detach();
        }
        for expected in [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]] {
            one_turn(&event_loop);
            trace.expect(expected);
        }
        one_turn(&event_loop);
        assert!(event_loop.all_tasks().is_empty());
    });
}

#[test]
fn the_loop_owns_its_tasks_and_dropping_a_handle_lets_them_run_on() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let spawn = |name: &'static str| {
            let t = trace.clone();
            event_loop.create_task(async move {
                callsoon::sleep(Duration::from_secs(1)).await;
                t.push(name);
            })
        };
        drop(spawn("dropped before its first step"));
        spawn("detached").detach();
        let mut polled = spawn("dropped after it was awaited");
        event_loop
            .run_until_complete(futures_lite::future::or(
                async { drop((&mut polled).await) },
                callsoon::sleep(Duration::from_millis(1)),
            ))
            .unwrap();
        drop(polled);
        assert_eq!(event_loop.all_tasks().len(), 3);
        event_loop
            .run_until_complete(callsoon::sleep(Duration::from_secs(2)))
            .unwrap();
        trace.expect([
            "dropped before its first step",
            "detached",
            "dropped after it was awaited",
        ]);
    });
}

#[test]
fn an_output_that_nobody_awaits_is_dropped_when_the_task_ends() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let (future, output) = (
            DropProbe::new(&trace, "future"),
            DropProbe::new(&trace, "output"),
        );
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            let _future = future;
            t.push("last step");
            output
        });
        task.add_done_callback({
            let t = trace.clone();
            move |_| t.push("done callback")
        });
        task.detach();
        one_turn(&event_loop);
        // The done callback holds a reference to the task, and with it the output.
        trace.expect(["last step", "drop future"]);
        one_turn(&event_loop);
        trace.expect(["done callback", "drop output"]);
    });
}

#[test]
fn a_result_can_be_taken_once_by_awaiting_or_by_asking() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let mut task = event_loop.create_task(async { String::from("moved out") });
        assert!(task.result().is_err(), "not yet");
        assert_eq!(
            event_loop.run_until_complete(&mut task).unwrap().unwrap(),
            "moved out"
        );
        assert!(matches!(task.result(), Ok(Err(TaskError::Taken))));
        // Polled after Ready: an error, neither a panic nor a hang.
        let again = event_loop.run_until_complete(&mut task).unwrap();
        assert!(matches!(again, Err(TaskError::Taken)));
        assert!(task.done() && !task.cancelled());
    });
}

#[test]
fn done_callbacks_of_a_task_run_in_order_through_the_queue_and_the_awaiter_comes_first() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            yield_now().await;
            t.push("last step");
        });
        for n in 1..=2 {
            let t = trace.clone();
            task.add_done_callback(move |task| {
                t.push(format!(
                    "callback {n} of {}: done {}",
                    task.name(),
                    task.done()
                ));
            });
        }
        let removed = task.add_done_callback(|_| unreachable!());
        assert!(task.remove_done_callback(removed) && !task.remove_done_callback(removed));
        let reference = task.as_ref();
        let t = trace.clone();
        let awaiter = async move {
            task.await.unwrap();
            t.push("awaiter");
        };
        event_loop.run_until_complete(awaiter).unwrap();
        one_turn(&event_loop);
        let t = trace.clone();
        reference.add_done_callback(move |_| t.push("added after the end"));
        trace.push("not inline");
        one_turn(&event_loop);
        trace.expect([
            "last step",
            "awaiter",
            "callback 1 of Task-1: done true",
            "callback 2 of Task-1: done true",
            "not inline",
            "added after the end",
        ]);
    });
}

#[test]
fn a_panic_is_the_tasks_result_and_the_loop_goes_on() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let number = event_loop.metrics().turns;
        let task = event_loop.create_task(async move {
            yield_now().await;
            panic!("on purpose: {number}");
        });
        event_loop.call_soon(trace.note("unharmed"));
        let result: Result<(), TaskError> = event_loop.run_until_complete(task).unwrap();
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: on purpose: 0");
        let TaskError::Panicked(panicked) = error else {
            unreachable!()
        };
        assert_eq!(
            panicked.into_payload().downcast_ref::<String>().unwrap(),
            "on purpose: 0"
        );
        trace.expect(["unharmed"]); // somebody has read it: no report
    });
}

#[test]
fn a_task_says_how_it_ended_without_giving_its_result_away() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let panics = event_loop.task_builder().name("panics");
        let mut panics = panics.spawn(async { panic!("on purpose") });
        let value = event_loop.task_builder().name("value").spawn(async { 1 });
        let cancelled = event_loop.task_builder().name("cancelled");
        let cancelled = cancelled.spawn(pending::<()>());
        cancelled.cancel();
        for task in event_loop.all_tasks() {
            assert!(!task.panicked(), "{} has not begun", task.name());
            let t = trace.clone();
            task.add_done_callback(move |task| {
                let how = (task.panicked(), task.cancelled());
                t.push(format!("{} {how:?}", task.name()));
            });
        }
        one_turn(&event_loop);
        one_turn(&event_loop);
        trace.expect([
            "panics (true, false)",
            "value (false, false)",
            "cancelled (false, true)",
        ]);
        let how = (panics.panicked(), value.panicked(), cancelled.panicked());
        assert_eq!(how, (true, false, false));
        // The panic is still stored and can be taken; and the task has panicked also after it was taken.
        assert!(panics.result().unwrap().unwrap_err().panicked().is_some());
        assert!(panics.panicked());
        drop(panics);
        trace.expect([]);
        // Asking whether there is one does not retrieve it: what was never retrieved is reported.
        let unseen = event_loop.create_task(async { panic!("on purpose: unseen") });
        one_turn(&event_loop);
        assert!(unseen.panicked());
        drop::<callsoon::Task<()>>(unseen);
        trace.expect(["report: Task exception was never retrieved (on purpose: unseen)"]);
    });
}

#[test]
fn a_panic_that_nobody_reads_is_reported_when_the_last_handle_is_dropped() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let spawn = || event_loop.create_task(async { panic!("on purpose") });
        spawn().detach();
        let (kept, read): (callsoon::Task<()>, callsoon::Task<()>) = (spawn(), spawn());
        one_turn(&event_loop);
        trace.expect(["report: Task exception was never retrieved (on purpose)"]);
        drop(kept);
        trace.expect(["report: Task exception was never retrieved (on purpose)"]);
        let mut read = read;
        assert!(read.result().unwrap().is_err());
        drop(read);
        trace.expect([]);
    });
}

#[test]
fn a_task_that_awaits_itself_gets_an_error() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let own = Rc::new(RefCell::new(None::<callsoon::Task<()>>));
        let (handle, end) = (Rc::clone(&own), trace.clone());
        let task = event_loop.create_task(async move {
            let mut own = handle.take().unwrap();
            let plain = (&mut own).await.unwrap_err();
            assert!(matches!(plain, TaskError::AwaitsItself));
            // Through a combinator's waker, which says nothing of the task behind it.
            let polls = Rc::new(Cell::new(0));
            let inner = async { assert!(matches!(own.await, Err(TaskError::AwaitsItself))) };
            JoinTwo::new(inner, yield_now(), &polls).await;
            end.push("ended well");
        });
        *own.borrow_mut() = Some(task);
        one_turn(&event_loop);
        one_turn(&event_loop);
        assert!(event_loop.all_tasks().is_empty());
        trace.expect(["ended well"]);
    });
}

#[test]
fn a_task_of_another_loop_is_refused_until_it_has_ended() {
    audited(|| {
        let trace = Trace::new();
        let (home, other) = (virtual_loop(&trace), virtual_loop(&trace));
        // Were it to wait, that would be for ever.
        let handle = other.handle();
        other.call_later(Duration::from_secs(1), move || handle.stop());
        let mut task = home.create_task(async { 1 });
        let error = other.run_until_complete(&mut task).unwrap().unwrap_err();
        assert!(matches!(error, TaskError::OtherLoop));
        assert_eq!(
            error.to_string(),
            "the task is attached to a different loop"
        );
        one_turn(&home);
        assert_eq!(other.run_until_complete(task).unwrap().unwrap(), 1);
    });
}

#[test]
fn names_count_up_and_can_be_given_and_changed() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let plain = event_loop.create_task(async {});
        let named = event_loop.task_builder().name("worker").spawn(async {
            let own = callsoon::current_task().unwrap();
            own.set_name(format!("{} at work", own.name()));
        });
        let third = event_loop.create_task(async {});
        assert_eq!(
            [plain.name(), named.name(), third.name()],
            ["Task-1", "worker", "Task-3"]
        );
        let main = event_loop
            .run_until_complete(async { callsoon::current_task().unwrap().name() })
            .unwrap();
        assert_eq!(main, "Task-4");
        assert_eq!(named.name(), "worker at work");
        // Another loop counts for itself.
        assert_eq!(virtual_loop(&trace).create_task(async {}).name(), "Task-1");
    });
}

#[test]
fn a_task_shows_its_name_state_and_birthplace() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let spawn = |running: bool| {
            let t = trace.clone();
            event_loop.task_builder().name("t").spawn(async move {
                let own = callsoon::current_task().unwrap();
                t.push(format!("{own:?}"));
                if running {
                    pending().await
                }
            })
        };
        let line = line!() - 8;
        let (ends, stays) = (spawn(false), spawn(true));
        let place = ends.as_ref().location();
        assert_eq!((place.file(), place.line()), (file!(), line));
        let shown =
            |state: &str| format!("Task {{ name: \"t\", state: {state}, created_at: {place} }}");
        assert_eq!(format!("{ends:?}"), shown("pending"));
        one_turn(&event_loop);
        assert_eq!(trace.take(), [shown("running"), shown("running")]);
        assert_eq!(format!("{ends:?}"), shown("finished"));
        assert_eq!(format!("{stays:?}"), shown("pending"));
        stays.cancel();
        assert_eq!(format!("{stays:?}"), shown("cancelling"));
        one_turn(&event_loop);
        assert_eq!(format!("{stays:?}"), shown("cancelled"));
        assert_eq!(format!("{:?}", stays.as_ref()), shown("cancelled"));
    });
}

#[test]
fn the_current_task_is_the_one_whose_step_is_under_way() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let says = move |place: &str| {
            let name = callsoon::current_task().map(|task| task.name());
            t.push(format!("{place}: {name:?}"));
        };
        struct OnDrop<F: Fn(&str)>(F);
        impl<F: Fn(&str)> Drop for OnDrop<F> {
            fn drop(&mut self) {
                (self.0)("its destructor");
            }
        }
        let (inside, dropped, callback) = (says.clone(), says.clone(), says.clone());
        let task = event_loop.create_task(async move {
            let _on_drop = OnDrop(dropped);
            inside("a task");
            yield_now().await;
        });
        task.add_done_callback(move |_| callback("a done callback"));
        event_loop.call_soon(move || says("a callback"));
        event_loop.run_until_complete(task).unwrap().unwrap();
        one_turn(&event_loop);
        assert!(event_loop.current_task().is_none());
        trace.expect([
            "a task: Some(\"Task-1\")",
            "a callback: None",
            "its destructor: Some(\"Task-1\")",
            "a done callback: None",
        ]);
    });
}

#[test]
fn all_tasks_are_the_unfinished_ones_in_the_order_of_their_creation() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let names = || -> Vec<String> {
            let all = callsoon::get_running_loop().all_tasks();
            all.iter().map(|task| task.name()).collect()
        };
        let first = event_loop.create_task(pending::<()>());
        event_loop.create_task(async {}).detach();
        event_loop.create_task(pending::<()>()).detach();
        event_loop
            .run_until_complete(async move {
                assert_eq!(names(), ["Task-1", "Task-3", "Task-4"], "4 is this one");
                let own = callsoon::current_task().unwrap();
                assert!(callsoon::all_tasks().contains(&own));
                assert!(own != first.as_ref() && own == own.clone());
                first.cancel();
                yield_now().await;
                // Into the slot that has become free; the order is that of creation all the same.
                callsoon::create_task(pending::<()>()).detach();
                assert_eq!(names(), ["Task-3", "Task-4", "Task-5"]);
            })
            .unwrap();
        assert_eq!(event_loop.all_tasks().len(), 2);
    });
}

#[test]
fn free_functions_need_a_running_loop_and_say_so() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let missing = "no running event loop: this call belongs inside a task or callback of one";
        assert_eq!(panic_text(|| callsoon::create_task(async {})), missing);
        assert_eq!(panic_text(callsoon::task_builder), missing);
        assert_eq!(panic_text(callsoon::current_task), missing);
        assert_eq!(panic_text(callsoon::all_tasks), missing);
        assert_eq!(panic_text(callsoon::get_running_loop), missing);
        assert!(callsoon::try_get_running_loop().is_none());
        // A loop's own methods do not.
        let task = event_loop.create_task(async { 1 });
        assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 1);
    });
}

// What follows is cancellation as far as it goes without scopes.
