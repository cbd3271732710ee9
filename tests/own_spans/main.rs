//! A process of its own because `tracing` keeps for the whole process which spans a subscriber wants: spans of
//! `Builder::task_spans`, as a subscriber sees them, and the trace that the example `trace` makes of them.

#[path = "../../examples/trace/chrome.rs"]
mod chrome;
#[path = "../../examples/trace/echo.rs"]
mod echo;
#[path = "../../examples/trace/fields.rs"]
mod fields;
mod heard;
#[path = "../../examples/trace/stays.rs"]
mod stays;
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "../it/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::{
    Clock, EventLoop, LoopHandle, RunError, get_running_loop, sleep, task_builder, yield_now,
};
use serde_json::Value;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::chrome::Chrome;
use crate::heard::Heard;
use crate::support::{audited, one_turn, quiet_panics};

fn with_spans() -> EventLoop {
    let builder = EventLoop::builder().clock(Clock::Virtual);
    builder.debug(false).task_spans(true).build().unwrap()
}

/// What was told of tasks: neither turns nor polls.
fn of_tasks(lines: Vec<String>) -> Vec<String> {
    let is_of_loop = |line: &str| {
        let name = line[2..].split(' ').next();
        matches!(name, Some("turn" | "poll" | "wait"))
    };
    let lines = lines.into_iter().filter(|line| !is_of_loop(line));
    lines.collect()
}

#[test]
fn a_program_of_two_tasks_has_this_trace() {
    audited(|| {
        let event_loop = with_spans();
        let lines = Heard::lines_of(|| {
            let program = async {
                let child = task_builder().name("child").spawn(yield_now());
                child.await.unwrap();
            };
            event_loop.run_until_complete(program).unwrap();
        });
        assert_eq!(
            lines,
            [
                "+ turn number=1",
                "> turn",
                "+ runtime.spawn kind=\"block_on\" task.id=1 task.name=Task-1",
                // The first turn of a run polls.
                "+ poll",
                "> poll",
                "< poll",
                "- poll",
                "> Task-1",
                // The child is new where the step that spawned it ends.
                "+ runtime.spawn kind=\"task\" task.id=2 task.name=child",
                "< Task-1",
                "< turn",
                "- turn",
                "+ turn number=2",
                "> turn",
                "+ poll",
                "> poll",
                "< poll",
                "- poll",
                "> child",
                // It wakes itself, inside its own span.
                "! waker.wake_by_ref child",
                "< child",
                "< turn",
                "- turn",
                "+ turn number=3",
                "> turn",
                "> child",
                "< child",
                "- child",
                "< turn",
                "- turn",
                "+ turn number=4",
                "> turn",
                "! waker.wake_by_ref Task-1",
                "> Task-1",
                "< Task-1",
                "- Task-1",
                "< turn",
                "- turn",
            ]
        );
    });
}

#[test]
fn the_span_of_a_task_is_a_root_with_the_fields_of_tokio_and_the_place_of_the_spawn() {
    audited(|| {
        let heard = Heard::default();
        let line = line!() + 3;
        tracing::subscriber::with_default(heard.clone(), || {
            let event_loop = with_spans();
            event_loop.create_task(async {}).detach();
            one_turn(&event_loop);
        });
        let tasks = heard.made().into_iter();
        let tasks: Vec<_> = tasks.filter(|made| made.target == "tokio::task").collect();
        assert_eq!(tasks.len(), 1);
        assert!(tasks[0].is_root);
        let expected = [
            ("kind", "\"task\"".to_owned()),
            ("loc.col", "24".to_owned()),
            ("loc.file", format!("{:?}", file!())),
            ("loc.line", line.to_string()),
            ("task.id", "1".to_owned()),
            ("task.name", "Task-1".to_owned()),
        ];
        assert_eq!(tasks[0].fields.0, expected.into());
    });
}

#[test]
fn a_task_that_is_renamed_has_its_new_name_recorded_in_its_span() {
    audited(|| {
        let event_loop = with_spans();
        let lines = Heard::lines_of(|| {
            let task = event_loop.task_builder().name("first");
            let task = task.spawn(yield_now());
            // It has no span yet, which is made with this name.
            event_loop.all_tasks()[0].set_name("second");
            one_turn(&event_loop);
            event_loop.all_tasks()[0].set_name("third");
            one_turn(&event_loop);
            // The span is closed.
            task.as_ref().set_name("fourth");
        });
        let told = of_tasks(lines);
        let names = told.iter().filter(|line| line.contains("task.name"));
        let names: Vec<_> = names.filter(|line| !line.contains("block_on")).collect();
        assert_eq!(
            names,
            [
                "+ runtime.spawn kind=\"task\" task.id=1 task.name=second",
                "= second task.name=third",
            ]
        );
    });
}

#[test]
fn calls_are_spans_inside_their_turn_and_sleep_is_one_inside_its_poll() {
    audited(|| {
        let event_loop = with_spans();
        let lines = Heard::lines_of(|| {
            event_loop.call_soon(|| tracing::info!("soon"));
            event_loop.call_later(Duration::from_secs(1), || {
                tracing::info!("later");
                get_running_loop().stop();
            });
            event_loop.run_forever().unwrap();
        });
        let call = |kind: &str, message: &str| {
            let made = format!("+ call kind=\"{kind}\" what=\"callback\"");
            [
                &made,
                "> call",
                &format!("! {message} in call"),
                "< call",
                "- call",
            ]
            .map(str::to_owned)
        };
        let calls = lines.iter().filter(|line| line.contains("call")).cloned();
        let expected = [call("callback", "soon"), call("timer", "later")].concat();
        assert_eq!(calls.collect::<Vec<_>>(), expected);
        let wait = ["+ wait", "> wait", "< wait", "- wait", "< poll", "- poll"];
        let place = lines.iter().position(|line| line == "+ wait").unwrap();
        assert_eq!(lines[place..place + 6], wait);
        // The timer fires in the turn whose poll has found it due.
        assert_eq!(lines.iter().filter(|line| *line == "> turn").count(), 2);
    });
}

#[test]
fn wakes_of_timers_futures_and_other_threads_are_told_and_user_events_are_inside_the_task() {
    audited(|| {
        let event_loop = with_spans();
        let lines = Heard::lines_of(|| {
            let program = async {
                sleep(Duration::from_secs(3600)).await;
                tracing::info!("an hour");
                let future = Rc::new(get_running_loop().create_future::<()>());
                let setter = Rc::clone(&future);
                get_running_loop().call_soon(move || setter.set_result(()).unwrap());
                (&*future).await.unwrap();
                tracing::info!("a future");
                // The thread ends after the task has begun to wait for it.
                let (go, gone) = std::sync::mpsc::channel();
                get_running_loop().call_soon(move || go.send(()).unwrap());
                let told = callsoon::to_thread(move || gone.recv());
                told.await.unwrap().unwrap();
                tracing::info!("a thread");
            };
            event_loop.run_until_complete(program).unwrap();
            event_loop.run_until_complete(end_executor()).unwrap();
        });
        let told = of_tasks(lines).into_iter();
        let told: Vec<_> = told.filter(|line| line.starts_with('!')).collect();
        let woken = "! waker.wake_by_ref Task-1";
        assert_eq!(
            told[..6],
            [
                woken,
                "! an hour in Task-1",
                woken,
                "! a future in Task-1",
                woken,
                "! a thread in Task-1"
            ]
        );
    });
}

#[test]
fn a_task_that_waits_has_one_waker_which_its_wake_takes() {
    audited(|| {
        let lines = Heard::lines_of(|| {
            let event_loop = with_spans();
            let main = async {
                let sleeper = task_builder().name("sleeper").spawn(async {
                    sleep(Duration::from_secs(1)).await;
                    yield_now().await;
                });
                sleeper.await.unwrap();
            };
            event_loop.run_until_complete(main).unwrap();
        });
        let of_sleeper = lines.iter().filter(|line| line.ends_with(" sleeper"));
        let expected = [
            "> sleeper",
            "! waker.clone sleeper",
            "< sleeper",
            "! waker.wake sleeper",
            "> sleeper",
            "! waker.wake_by_ref sleeper",
            "< sleeper",
            "> sleeper",
            "< sleeper",
            "- sleeper",
        ];
        assert_eq!(of_sleeper.collect::<Vec<_>>(), expected);
    });
}

/// Ends the threads of the default executor.
async fn end_executor() {
    let long = Duration::from_secs(60);
    let ended = get_running_loop().shutdown_default_executor(long);
    ended.await.unwrap();
}

/// Checks that each span was entered and left equally often, and closed once.
fn assert_balanced(lines: &[String]) {
    let of = |sign: char| {
        let with_sign = lines.iter().filter(|line| line.starts_with(sign));
        let mut names: Vec<_> = with_sign.map(|line| &line[2..]).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(of('>'), of('<'));
    assert_eq!(of('+').len(), of('-').len());
}

#[test]
fn spans_are_closed_however_a_task_ends() {
    audited(|| {
        quiet_panics();
        let lines = Heard::lines_of(|| {
            let event_loop = with_spans();
            event_loop.set_exception_handler(|_, _| ());
            event_loop
                .create_task(async { panic!("on purpose") })
                .detach();
            event_loop.create_task(sleep(Duration::MAX)).detach();
            let cancelled = event_loop.create_task(sleep(Duration::MAX));
            event_loop.call_soon(|| get_running_loop().stop());
            // The root is dropped unfinished.
            let stopped = event_loop.run_until_complete(std::future::pending::<()>());
            assert!(matches!(stopped, Err(RunError::Stopped)));
            cancelled.cancel();
            event_loop
                .run_until_complete(async {
                    let eager = task_builder().eager(true).name("eager").spawn(yield_now());
                    eager.await.unwrap();
                })
                .unwrap();
        });
        assert_balanced(&lines);
        let closed = lines.iter().filter(|line| line.starts_with("- "));
        let closed: Vec<_> = closed.map(|line| &line[2..]).collect();
        let closed: Vec<_> = closed.into_iter().filter(|name| *name != "turn").collect();
        let tasks = closed
            .into_iter()
            .filter(|name| !matches!(*name, "poll" | "wait" | "call"));
        let tasks: Vec<_> = tasks.collect();
        assert_eq!(
            tasks,
            ["Task-1", "Task-4", "Task-3", "eager", "Task-5", "Task-2"]
        );
        // The eager step is inside the step that spawned it.
        let eager = lines.iter().position(|line| line == "> eager").unwrap();
        assert!(lines[eager - 1].starts_with("+ runtime.spawn kind=\"task\""));
        assert_eq!(lines[eager - 2], "> Task-5");
    });
}

#[test]
fn the_main_future_of_a_loop_that_shuffles_has_one_span() {
    audited(|| {
        let lines = Heard::lines_of(|| {
            let builder = EventLoop::builder().clock(Clock::Virtual).debug(false);
            let event_loop = builder.task_spans(true).shuffle(1).build().unwrap();
            event_loop
                .run_until_complete(async {
                    yield_now().await;
                    yield_now().await;
                })
                .unwrap();
        });
        assert_balanced(&lines);
        let of_root = of_tasks(lines);
        let made = "+ runtime.spawn kind=\"block_on\" task.id=1 task.name=Task-1";
        let wake = "! waker.wake_by_ref Task-1";
        let (enter, leave) = ("> Task-1", "< Task-1");
        let expected = [
            made, enter, wake, leave, enter, wake, leave, enter, leave, "- Task-1",
        ];
        assert_eq!(of_root, expected);
    });
}

#[test]
fn a_loop_that_closes_closes_the_spans_of_its_tasks_in_the_order_of_their_creation() {
    audited(|| {
        let lines = Heard::lines_of(|| {
            let event_loop = with_spans();
            event_loop.set_exception_handler(|_, _| ());
            for _ in 0..9 {
                event_loop.create_task(sleep(Duration::MAX)).detach();
            }
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        });
        let closed = lines.iter().filter(|line| line.starts_with("- Task-"));
        let names: Vec<_> = (1..=9).map(|number| format!("- Task-{number}")).collect();
        assert_eq!(closed.cloned().collect::<Vec<_>>(), names);
    });
}

#[test]
fn without_the_setting_there_are_no_spans() {
    audited(|| {
        let event_loop = EventLoop::builder().metrics(true).build().unwrap();
        let lines = Heard::lines_of(|| {
            event_loop.call_soon(|| tracing::info!("soon"));
            event_loop.run_until_complete(yield_now()).unwrap();
        });
        assert_eq!(lines, ["! soon in nothing"]);
    });
}

#[test]
fn a_loop_that_another_one_drives_has_its_spans_inside_the_other_ones() {
    audited(|| {
        let (outer, guest) = (with_spans(), with_spans());
        let lines = Heard::lines_of(|| {
            guest.create_task(yield_now()).detach();
            outer
                .run_until_complete(async {
                    yield_now().await;
                })
                .unwrap();
            for _ in 0..3 {
                guest.turn(Some(Duration::ZERO)).unwrap();
            }
        });
        assert_balanced(&lines);
        assert!(lines.contains(&"- Task-1".to_owned()));
    });
}

/// Panics in each call, or calls the loop in each.
struct Hostile(Option<&'static str>);

thread_local! {
    static HANDLE: std::cell::RefCell<Option<LoopHandle>> = const { std::cell::RefCell::new(None) };
}

impl Hostile {
    fn act(&self) {
        if let Some(message) = self.0 {
            panic!("{message}");
        }
        let handle = HANDLE.with_borrow(Clone::clone);
        if let Some(handle) = handle.filter(|handle| !handle.is_closed()) {
            handle.metrics();
            handle.call_soon(|| ()).cancel();
            handle.all_tasks();
        }
    }
}

impl Subscriber for Hostile {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        // One that never panics here has all others called.
        if self.0 != Some("on purpose: not here") {
            self.act();
        }
        Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        self.act();
    }

    fn enter(&self, _: &Id) {
        self.act();
    }

    fn exit(&self, _: &Id) {
        self.act();
    }

    fn try_close(&self, _: Id) -> bool {
        self.act();
        true
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
}

#[test]
fn a_subscriber_that_panics_or_calls_the_loop_changes_nothing() {
    audited(|| {
        quiet_panics();
        for subscriber in [
            Some("on purpose: everywhere"),
            Some("on purpose: not here"),
            None,
        ] {
            tracing::subscriber::with_default(Hostile(subscriber), || {
                let event_loop = with_spans();
                HANDLE.set(Some(event_loop.handle()));
                let program = async {
                    get_running_loop().call_soon(|| ());
                    let children = (1..4).map(|n| async move {
                        sleep(Duration::from_secs(n)).await;
                        n
                    });
                    callsoon::gather(children).await.unwrap()
                };
                assert_eq!(event_loop.run_until_complete(program).unwrap(), [1, 2, 3]);
                event_loop
                    .create_task(std::future::pending::<()>())
                    .detach();
                event_loop.set_exception_handler(|_, _| ());
                one_turn(&event_loop);
                drop(event_loop);
                HANDLE.set(None);
            });
        }
    });
}

/// An event of a trace that took time, in nanoseconds.
struct Stay {
    name: String,
    category: String,
    began: u64,
    ended: u64,
}

/// Reads a field that is required to be a number.
fn number(event: &Value, field: &str) -> f64 {
    let value = event[field].as_f64();
    value.unwrap_or_else(|| panic!("no {field}: {event}"))
}

/// Reads a trace by the rules of the Trace Event Format.
fn stays_of(trace: &str) -> Vec<Stay> {
    let trace: Value = serde_json::from_str(trace).unwrap();
    let mut stays = Vec::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let name = event["name"].as_str().unwrap().to_owned();
        assert!(event["pid"].is_u64() && event["tid"].is_u64());
        assert!(event["args"].is_object());
        let began = number(event, "ts");
        match event["ph"].as_str().unwrap() {
            "M" => {
                assert!(["process_name", "thread_name"].contains(&&*name));
                assert!(event["args"]["name"].is_string());
            }
            "X" => stays.push(Stay {
                name,
                category: event["cat"].as_str().unwrap().to_owned(),
                began: (began * 1000.0).round() as u64,
                ended: ((began + number(event, "dur")) * 1000.0).round() as u64,
            }),
            other => panic!("an event of the phase {other}"),
        }
    }
    stays
}

#[test]
fn the_trace_of_the_example_is_valid_and_has_turns_steps_calls_and_waits_inside_each_other() {
    audited(|| {
        let chrome = Chrome::default();
        let begun = Instant::now();
        tracing::subscriber::with_default(chrome.clone(), || {
            let event_loop = EventLoop::builder().task_spans(true).build().unwrap();
            event_loop
                .run_until_complete(echo::serve())
                .unwrap()
                .unwrap();
        });
        let took = begun.elapsed().as_nanos();
        let stays = stays_of(&chrome.trace("a test").to_string());
        let mut open: Vec<&Stay> = Vec::new();
        let mut inside = BTreeSet::new();
        let mut last = 0;
        for stay in &stays {
            assert!(
                last <= stay.began && stay.began <= stay.ended,
                "the order of time"
            );
            last = stay.began;
            while open
                .last()
                .is_some_and(|outer| outer.ended <= stay.began && outer.ended < stay.ended)
            {
                open.pop();
            }
            let outer = open.last();
            assert!(
                outer.is_none_or(|outer| stay.ended <= outer.ended),
                "one ends inside the other"
            );
            let outer = outer.map_or("nothing", |outer| &outer.category);
            inside.insert((stay.category.as_str(), outer));
            open.push(stay);
        }
        for expected in [
            ("turn", "nothing"),
            ("poll", "turn"),
            ("wait", "poll"),
            ("call", "turn"),
            ("runtime.spawn", "turn"),
        ] {
            assert!(inside.contains(&expected), "no {expected:?} in {inside:?}");
        }
        let steps = |name: &str| stays.iter().filter(|stay| stay.name == name).count();
        assert!((1..=3).all(|number| steps(&format!("client {number}")) >= 7));
        // The third client sleeps three times for three milliseconds, one after the other, however busy the machine is.
        let whole = stays.iter().map(|stay| stay.ended).max().unwrap() - stays[0].began;
        assert!(
            (9_000_000..=took).contains(&u128::from(whole)),
            "{whole} of {took}"
        );
    });
}
