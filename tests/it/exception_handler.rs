//! The exception handler: it receives the failures that reach no other code.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use callsoon::{EventLoop, ExceptionContext, yield_now};

use crate::support::{
    DropProbe, Trace, audited, on_virtual_time, one_turn, panic_text, virtual_loop, warnings_of,
    watched,
};

#[test]
fn call_exception_handler_tells_the_handler_that_is_set() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |event_loop, context| {
            t.push(format!("{context}, running {}", event_loop.is_running()));
        });
        event_loop.call_exception_handler(&ExceptionContext::new("between runs"));
        event_loop.call_soon(|| {
            callsoon::get_running_loop().call_exception_handler(&ExceptionContext::new("inside"));
        });
        one_turn(&event_loop);
        trace.expect(["between runs, running false", "inside, running true"]);
    });
}

#[test]
fn the_handler_receives_what_failed_where_and_in_which_task() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |_, context| {
            let place = context.location.unwrap();
            t.push(format!(
                "{}; panic {:?}; exception {:?}; task {:?}; line {}",
                context.message,
                context.panic.as_ref().map(|panic| panic.message()),
                context.exception.as_ref().map(|error| error.to_string()),
                context.task,
                place.line()
            ));
            assert_eq!(place.file(), file!());
        });
        let first = line!() + 1;
        event_loop.call_soon(|| panic!("on purpose: callback"));
        event_loop.call_later(Duration::ZERO, || panic!("on purpose: timer"));
        let task = event_loop.task_builder().name("the worker");
        task.spawn(async { panic!("on purpose: task") }).detach();
        let future = event_loop.create_future::<()>();
        future.set_exception("unseen").unwrap();
        drop(future);
        event_loop
            .run_until_complete(async {
                yield_now().await;
                yield_now().await;
            })
            .unwrap();
        let lines = trace.take();
        let expected = [
            (
                4,
                "Future exception was never retrieved; panic None; exception Some(\"unseen\"); task None",
            ),
            (
                0,
                "Exception in callback; panic Some(\"on purpose: callback\"); exception None; task None",
            ),
            (
                3,
                "Task exception was never retrieved; panic Some(\"on purpose: task\"); exception None; \
                 task Some(\"the worker\")",
            ),
            (
                1,
                "Exception in callback; panic Some(\"on purpose: timer\"); exception None; task None",
            ),
        ]
        .map(|(below, text)| format!("{text}; line {}", first + below));
        let mut sorted = (lines, Vec::from(expected));
        sorted.0.sort();
        sorted.1.sort();
        assert_eq!(sorted.0, sorted.1);
    });
}

#[test]
fn a_report_shows_itself_in_one_line() {
    on_virtual_time(|_, event_loop| {
        let shown = Rc::new(RefCell::new(String::new()));
        let text = Rc::clone(&shown);
        event_loop
            .set_exception_handler(move |_, context| *text.borrow_mut() = context.to_string());
        let task = event_loop.task_builder().name("t");
        let line = line!() + 1;
        task.spawn(async { panic!("on purpose") }).detach();
        one_turn(&event_loop);
        let place = format!("{}:{line}:14", file!());
        assert_eq!(
            *shown.borrow(),
            format!(
                "Task exception was never retrieved; task: t; created at {place}; panicked: on purpose"
            )
        );
    });
}

#[test]
fn without_a_handler_the_default_one_logs_an_error() {
    on_virtual_time(|trace, event_loop| {
        event_loop.reset_exception_handler();
        let lines = warnings_of(|| {
            event_loop.call_exception_handler(&ExceptionContext::new("nobody listens"));
            event_loop.call_soon(|| panic!("on purpose"));
            one_turn(&event_loop);
        });
        let line = line!() - 3;
        let place = format!("{}:{line}:24", file!());
        assert_eq!(
            lines,
            [
                "ERROR nobody listens".to_owned(),
                format!("ERROR Exception in callback; created at {place}; panicked: on purpose"),
            ]
        );
        trace.expect([]);
    });
}

#[test]
fn a_handler_may_call_the_default_one() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |event_loop, context| {
            t.push("mine");
            event_loop.default_exception_handler(context);
        });
        let lines = warnings_of(|| {
            event_loop.call_exception_handler(&ExceptionContext::new("both hear it"));
        });
        assert_eq!(lines, ["ERROR both hear it"]);
        trace.expect(["mine"]);
    });
}

#[test]
fn a_handler_that_panics_is_survived_and_the_default_one_receives_both_failures() {
    on_virtual_time(|trace, event_loop| {
        event_loop.set_exception_handler(|_, _| panic!("on purpose: handler"));
        let next = trace.note("the next in the queue");
        let lines = warnings_of(|| {
            event_loop.call_soon(|| panic!("on purpose: callback"));
            event_loop.call_soon(next);
            one_turn(&event_loop);
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let start = "ERROR Exception in the exception handler; panicked: on purpose: handler; \
                     it was told of: Exception in callback; created at ";
        assert!(lines[0].starts_with(start), "{lines:?}");
        assert!(lines[0].ends_with("panicked: on purpose: callback"));
        trace.expect(["the next in the queue"]);
    });
}

#[test]
fn setting_a_handler_drops_the_former_and_so_does_close() {
    on_virtual_time(|trace, event_loop| {
        let handler = |name: &str| {
            let probe = DropProbe::new(&trace, name);
            let handle = event_loop.handle(); // a cycle, which close breaks
            move |_: &callsoon::LoopHandle, _: &ExceptionContext| {
                let _ = (&probe, &handle);
            }
        };
        event_loop.set_exception_handler(handler("first"));
        event_loop.set_exception_handler(handler("second"));
        trace.expect(["drop first"]);
        event_loop.reset_exception_handler();
        trace.expect(["drop second"]);
        event_loop.set_exception_handler(handler("third"));
        event_loop.close().unwrap();
        trace.expect(["drop third"]);
        // What comes too late is not kept either: nothing would ever drop it.
        event_loop.set_exception_handler(handler("late"));
        trace.expect(["drop late"]);
    });
}

#[test]
fn a_handler_may_replace_itself_while_it_runs() {
    on_virtual_time(|trace, event_loop| {
        let (t, probe) = (trace.clone(), DropProbe::new(&trace, "first handler"));
        event_loop.set_exception_handler(move |event_loop, context| {
            let inner = t.clone();
            event_loop
                .set_exception_handler(move |_, context| inner.push(format!("second: {context}")));
            t.push(format!("first: {context}"));
            let _ = &probe;
        });
        event_loop.call_exception_handler(&ExceptionContext::new("one"));
        event_loop.call_exception_handler(&ExceptionContext::new("two"));
        trace.expect(["first: one", "drop first handler", "second: two"]);
    });
}

#[test]
fn a_handler_that_wraps_the_former_one_runs_first_and_the_former_can_be_put_back() {
    on_virtual_time(|trace, event_loop| {
        event_loop.reset_exception_handler();
        assert!(event_loop.exception_handler().is_none());
        let told = |text: &str| event_loop.call_exception_handler(&ExceptionContext::new(text));
        let (t, probe) = (trace.clone(), DropProbe::new(&trace, "innermost"));
        event_loop.set_exception_handler(move |event_loop, context| {
            let _ = &probe;
            t.push(format!("innermost: {context}, {}", event_loop.is_running()));
        });
        let former = event_loop.exception_handler().unwrap();
        let (t, inner) = (trace.clone(), former.clone());
        event_loop.set_exception_handler(move |event_loop, context| {
            t.push("wrapper");
            inner(event_loop, context);
        });
        told("one");
        trace.expect(["wrapper", "innermost: one, false"]);
        event_loop.restore_exception_handler(Some(former.clone()));
        told("two");
        trace.expect(["innermost: two, false"]);
        // The very same, however often it is put back.
        let found = event_loop.exception_handler().unwrap();
        assert!(Rc::ptr_eq(&found, &former));
        drop((found, former));
        event_loop.restore_exception_handler(None);
        trace.expect(["drop innermost"]);
        let lines = warnings_of(|| told("three"));
        assert_eq!(lines, ["ERROR three"]);
    });
}

#[test]
fn a_handler_may_be_given_to_another_loop_and_is_called_by_that_one() {
    audited(|| {
        let trace = Trace::new();
        let (one, other) = (virtual_loop(&trace), virtual_loop(&trace));
        let t = trace.clone();
        one.set_exception_handler(move |event_loop, context| {
            t.push(format!("{context}; closed: {}", event_loop.is_closed()));
        });
        other.restore_exception_handler(one.exception_handler());
        one.close().unwrap();
        assert!(one.exception_handler().is_none());
        other.call_soon(|| panic!("on purpose"));
        one_turn(&other);
        let lines = trace.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].ends_with("panicked: on purpose; closed: false"));
    });
}

#[test]
fn a_handler_may_ask_for_itself_put_back_another_and_is_kept_by_who_has_it() {
    on_virtual_time(|trace, event_loop| {
        let (t, probe) = (trace.clone(), DropProbe::new(&trace, "handler"));
        event_loop.set_exception_handler(move |event_loop, context| {
            let _ = &probe;
            let own = event_loop.exception_handler().unwrap();
            event_loop.restore_exception_handler(None);
            t.push(context);
            event_loop.restore_exception_handler(Some(own));
        });
        event_loop.call_exception_handler(&ExceptionContext::new("one"));
        event_loop.call_exception_handler(&ExceptionContext::new("two"));
        trace.expect(["one", "two"]);
        let kept = event_loop.exception_handler();
        event_loop.close().unwrap();
        trace.expect([]);
        // Too late: the loop does not keep the handle, its owner does.
        event_loop.restore_exception_handler(kept.clone());
        assert!(event_loop.exception_handler().is_none());
        drop(kept);
        trace.expect(["drop handler"]);
    });
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

/// Ready at once; its destructor panics, which is after its task has a result.
struct BadEnd;

impl Future for BadEnd {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl Drop for BadEnd {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

/// What is reported, and what panics.
type Place = (&'static str, fn(&EventLoop));

/// Each place from which the loop enters user code, made to panic.
const PLACES: [Place; 11] = [
    ("Exception in callback", |event_loop| {
        event_loop.call_soon(|| panic!("on purpose"));
    }),
    ("Exception in callback", |event_loop| {
        let bomb = Bomb;
        event_loop.call_soon(move || drop(bomb));
    }),
    ("Exception in callback", |event_loop| {
        event_loop.call_at(event_loop.time(), || panic!("on purpose"));
    }),
    ("Exception in callback", |event_loop| {
        let remote = event_loop.remote();
        remote
            .call_soon_threadsafe(|| panic!("on purpose"))
            .unwrap();
    }),
    ("Exception in callback", |event_loop| {
        let future = event_loop.create_future::<()>();
        future.add_done_callback(|_| panic!("on purpose"));
        future.cancel();
    }),
    ("Exception in callback", |event_loop| {
        let task = event_loop.create_task(async {});
        task.add_done_callback(|_| panic!("on purpose"));
    }),
    ("Task exception was never retrieved", |event_loop| {
        event_loop
            .create_task(async { panic!("on purpose") })
            .detach();
    }),
    ("Task exception was never retrieved", |event_loop| {
        let bomb = Bomb;
        event_loop.create_task(async move { drop(bomb) }).detach();
    }),
    (
        "Exception in a destructor while its task ended",
        |event_loop| {
            event_loop.create_task(BadEnd).detach();
        },
    ),
    (
        "Exception in a destructor while its task ended",
        |event_loop| {
            event_loop.create_task(BadEnd).cancel();
        },
    ),
    (
        "Exception in the destructor of a result that nobody awaited",
        |event_loop| event_loop.create_task(async { Bomb }).detach(),
    ),
];

#[test]
fn b1_a_panic_anywhere_is_reported_once_and_the_next_event_is_served() {
    audited(|| {
        for (message, panics) in PLACES {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            panics(&event_loop);
            event_loop.call_soon(trace.note("the next event"));
            for _ in 0..3 {
                one_turn(&event_loop);
            }
            let mut lines = trace.take();
            lines.sort(); // a done callback runs after the next event
            let report = format!("report: {message} (on purpose)");
            assert_eq!(lines, [report.as_str(), "the next event"]);
            assert!(event_loop.all_tasks().is_empty());
        }
    });
}

#[test]
fn b1_a_panic_of_the_handler_too_goes_to_the_default_one_and_the_next_event_is_served() {
    audited(|| {
        for (message, panics) in PLACES {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            event_loop.set_exception_handler(|_, _| panic!("on purpose"));
            panics(&event_loop);
            event_loop.call_soon(trace.note("the next event"));
            let lines = warnings_of(|| {
                for _ in 0..3 {
                    one_turn(&event_loop);
                }
            });
            assert_eq!(lines.len(), 1, "{lines:?}");
            let start = format!(
                "ERROR Exception in the exception handler; panicked: on purpose; \
                 it was told of: {message}"
            );
            assert!(lines[0].starts_with(&start), "{lines:?}");
            trace.expect(["the next event"]);
        }
    });
}

#[test]
fn b1_a_panic_whose_payload_panics_when_dropped_is_survived() {
    let places: [fn(&EventLoop); 5] = [
        |event_loop| {
            event_loop.call_soon(|| resume_unwind(Box::new(Bomb)));
        },
        |event_loop| {
            event_loop.call_at(event_loop.time(), || resume_unwind(Box::new(Bomb)));
        },
        |event_loop| {
            let remote = event_loop.remote();
            remote
                .call_soon_threadsafe(|| resume_unwind(Box::new(Bomb)))
                .unwrap();
        },
        |event_loop| {
            event_loop
                .create_task(async { resume_unwind(Box::new(Bomb)) })
                .detach()
        },
        |event_loop| {
            event_loop.set_exception_handler(|_, _| resume_unwind(Box::new(Bomb)));
            event_loop.call_soon(|| panic!("on purpose"));
        },
    ];
    audited(move || {
        for (number, panics) in places.into_iter().enumerate() {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            panics(&event_loop);
            event_loop.call_soon(trace.note("the next event"));
            let ran = catch_unwind(AssertUnwindSafe(|| {
                warnings_of(|| {
                    for _ in 0..3 {
                        one_turn(&event_loop);
                    }
                })
            }));
            assert!(
                ran.is_ok(),
                "place {number}: the payload came out of the loop"
            );
            assert!(trace.take().contains(&"the next event".to_owned()));
        }
    });
}

#[test]
fn b1_a_handler_that_replaces_itself_and_panics_in_its_destructor_is_survived() {
    on_virtual_time(|trace, event_loop| {
        let (t, bomb) = (trace.clone(), Bomb);
        event_loop.set_exception_handler(move |event_loop, _| {
            let _ = &bomb;
            let t = t.clone();
            event_loop.set_exception_handler(move |_, context| t.push(&context.message));
        });
        event_loop.call_soon(|| panic!("on purpose"));
        event_loop.call_soon(trace.note("the next event"));
        let ran = catch_unwind(AssertUnwindSafe(|| one_turn(&event_loop)));
        assert!(ran.is_ok(), "the handler's destructor came out of the loop");
        assert_eq!(trace.take().last().unwrap(), "the next event");
    });
}

#[test]
fn b1_a_panic_of_the_main_future_comes_out_and_the_loop_can_be_run_again() {
    on_virtual_time(|trace, event_loop| {
        event_loop.call_soon(trace.note("queued before"));
        let main = async {
            callsoon::get_running_loop().call_soon(|| ());
            yield_now().await;
            panic!("on purpose: main");
        };
        let text = panic_text(|| event_loop.run_until_complete(main));
        assert_eq!(text, "on purpose: main");
        assert!(!event_loop.is_running() && callsoon::try_get_running_loop().is_none());
        assert!(event_loop.all_tasks().is_empty());
        assert_eq!(event_loop.run_until_complete(async { 1 }).unwrap(), 1);
        trace.expect(["queued before"]);
    });
}

#[test]
fn b1_a_panic_in_one_loop_leaves_others_alone() {
    audited(watched(|| {
        let other = thread::spawn(|| {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            for n in 0..100 {
                event_loop.call_soon(move || panic!("on purpose: {n}"));
            }
            one_turn(&event_loop);
            trace.take().len()
        });
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        event_loop
            .run_until_complete(callsoon::sleep(Duration::from_secs(1)))
            .unwrap();
        assert_eq!(other.join().unwrap(), 100);
        trace.expect([]);
    }));
}

#[test]
fn an_error_chain_reaches_the_handler_whole() {
    on_virtual_time(|_, event_loop| {
        let depth = Rc::new(Cell::new(0));
        let seen = Rc::clone(&depth);
        event_loop.set_exception_handler(move |_, context| {
            let exception = context.exception.as_deref();
            let mut error = exception.map(|error| error as &dyn std::error::Error);
            while let Some(source) = error {
                seen.set(seen.get() + 1);
                error = source.source();
            }
        });
        let inner = event_loop.create_future::<()>();
        inner.cancel();
        let cause = inner.exception().unwrap().unwrap();
        let future = event_loop.create_future::<()>();
        future.set_exception(cause).unwrap();
        drop(future);
        assert_eq!(depth.get(), 2, "the cancelled future, and its cancellation");
    });
}
