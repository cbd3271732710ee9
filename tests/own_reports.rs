//! Its own binary because it reads a process's standard error, environment and first `tracing` subscriber.

use std::process::{Command, Stdio, exit};

use callsoon::{EventLoop, ExceptionContext};

/// Set in the child, to the name of its scenario.
const CHILD: &str = "CALLSOON_OWN_REPORTS";

/// Runs `scenario` in a child process with this environment and gives the lines of ours on its standard error.
fn said(test: &str, environment: &[(&str, &str)], scenario: fn()) -> Vec<String> {
    if std::env::var_os(CHILD).is_some_and(|name| name == test) {
        std::panic::set_hook(Box::new(|_| ()));
        scenario();
        exit(0);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env_remove("CALLSOON_DEBUG")
        .env(CHILD, test)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}: {text}", output.status);
    let ours = text.lines().filter(|line| line.starts_with("callsoon: "));
    ours.map(str::to_owned).collect()
}

fn report(message: &str) {
    let event_loop = EventLoop::new().unwrap();
    event_loop.call_exception_handler(&ExceptionContext::new(message));
}

struct Idle;

impl callsoon::transport::Protocol for Idle {}

/// A subscriber that enables every event and prints none.
struct Silent;

impl tracing::Subscriber for Silent {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn without_handler_and_subscriber_reports_go_to_standard_error() {
    let lines = said(
        "without_handler_and_subscriber_reports_go_to_standard_error",
        &[],
        || {
            report("first");
            let event_loop = EventLoop::new().unwrap();
            event_loop.call_soon(|| panic!("oops"));
            event_loop.create_task(async { panic!("task") }).detach();
            event_loop.stop();
            event_loop.run_forever().unwrap();
        },
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], "callsoon: first");
    assert!(
        lines[1].starts_with("callsoon: Exception in callback; created at tests/own_reports.rs:")
    );
    assert!(lines[1].ends_with("; panicked: oops"));
    assert!(lines[2].starts_with("callsoon: Task exception was never retrieved; task: Task-1; "));
}

#[test]
fn with_a_subscriber_reports_are_its_business() {
    let lines = said("with_a_subscriber_reports_are_its_business", &[], || {
        tracing::subscriber::set_global_default(Silent).unwrap();
        report("heard");
    });
    assert_eq!(lines, [""; 0]);
}

#[test]
fn a_subscriber_of_one_thread_swallows_no_reports_of_others() {
    let lines = said(
        "a_subscriber_of_one_thread_swallows_no_reports_of_others",
        &[],
        || {
            tracing::subscriber::with_default(Silent, || report("heard"));
            // The subscriber is gone: this would be received by none.
            report("unheard");
        },
    );
    assert_eq!(lines, ["callsoon: unheard"]);
}

#[test]
fn a_subscriber_that_panics_does_not_stop_the_loop() {
    struct Panics;
    impl tracing::Subscriber for Panics {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == "callsoon"
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            panic!("the subscriber");
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
    let lines = said(
        "a_subscriber_that_panics_does_not_stop_the_loop",
        &[],
        || {
            tracing::subscriber::set_global_default(Panics).unwrap();
            let run = |event_loop: &EventLoop| {
                let reached = std::rc::Rc::new(std::cell::Cell::new(false));
                let last = std::rc::Rc::clone(&reached);
                event_loop.call_soon(|| panic!("the callback"));
                event_loop.create_task(async {}).detach();
                event_loop.call_soon(move || last.set(true));
                event_loop.stop();
                event_loop.run_forever().unwrap();
                assert!(reached.get());
            };
            let event_loop = EventLoop::new().unwrap();
            run(&event_loop);
            // A handler that panics is one more report.
            event_loop.set_exception_handler(|_, _| panic!("the handler"));
            run(&event_loop);
            // Debug mode warns of every callback and step, and at the drop of tasks that wait.
            event_loop.set_debug(true);
            event_loop.set_slow_callback_duration(std::time::Duration::ZERO);
            run(&event_loop);
            event_loop
                .create_task(std::future::pending::<()>())
                .detach();
            let handle = event_loop.handle();
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(event_loop)));
            assert!(handle.is_closed());
        },
    );
    let default = "callsoon: Exception in the default exception handler; panicked: the subscriber; it was told of: ";
    let failures = [
        "Exception in callback",
        "Exception in the exception handler",
        "Exception in the exception handler",
    ];
    let expected = failures.map(|failure| format!("{default}{failure}"));
    // At the close the handler that panics hears of the pending task.
    assert_eq!(lines[..3], expected);
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[test]
fn the_environment_switches_debug_mode_on() {
    const NAME: &str = "the_environment_switches_debug_mode_on";
    let check: fn() = || {
        let debug = EventLoop::new().unwrap().debug();
        report(&format!("debug {debug}"));
        // The builder has the last word.
        assert!(!EventLoop::builder().debug(false).build().unwrap().debug());
    };
    let values: [(&[(&str, &str)], &str); 4] = [
        (&[], "debug false"),
        (&[("CALLSOON_DEBUG", "1")], "debug true"),
        (&[("CALLSOON_DEBUG", "0")], "debug false"),
        (&[("CALLSOON_DEBUG", "")], "debug false"),
    ];
    for (environment, expected) in values {
        assert_eq!(
            said(NAME, environment, check),
            [format!("callsoon: {expected}")]
        );
    }
}

/// The lines of a scenario in debug mode, without times, places and numbers.
fn told_in_debug_mode(test: &str, scenario: fn()) -> Vec<String> {
    let lines = said(test, &[("CALLSOON_DEBUG", "1")], scenario);
    let shown = lines.iter().map(|line| {
        let parts = line.split("; ").filter(|part| {
            let hidden = ["took ", "created at ", "descriptor: "];
            !hidden.iter().any(|hidden| part.starts_with(hidden))
        });
        let line = parts.collect::<Vec<_>>().join("; ");
        line.trim_start_matches("callsoon: ").to_owned()
    });
    shown.collect()
}

#[test]
fn debug_mode_alone_is_heard_on_standard_error() {
    let lines = told_in_debug_mode("debug_mode_alone_is_heard_on_standard_error", || {
        let slow = std::time::Duration::from_millis(110);
        let event_loop = EventLoop::new().unwrap();
        event_loop.call_soon(move || std::thread::sleep(slow));
        let worker = event_loop.task_builder().name("worker");
        worker
            .spawn(async move { std::thread::sleep(slow) })
            .detach();
        event_loop
            .create_task(async { panic!("never retrieved") })
            .detach();
        event_loop
            .task_builder()
            .name("waits")
            .spawn(std::future::pending::<()>())
            .detach();
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let blocking = socket2::Socket::from(near);
        let handle = event_loop.handle();
        let main = async {
            handle.sock_recv(&blocking, 1).await.unwrap_err();
            let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
            let made = handle.connect_accepted_socket(|| Idle, near).await;
            drop(made.unwrap());
            far
        };
        let far = event_loop.run_until_complete(main).unwrap();
        drop(event_loop);
        drop(far);
    });
    assert_eq!(
        lines,
        [
            "a slow callback held up the loop",
            "a slow step of a task held up the loop; task: worker",
            "Task exception was never retrieved; task: Task-2; panicked: never retrieved",
            "a socket in blocking mode was passed to the loop",
            "Task was destroyed but it is pending!; task: waits",
            "a transport was not closed before its loop",
        ]
    );
}

#[test]
fn without_debug_mode_only_failures_are_heard() {
    const NAME: &str = "without_debug_mode_only_failures_are_heard";
    let lines = said(NAME, &[], || {
        let event_loop = EventLoop::new().unwrap();
        event_loop.call_soon(|| std::thread::sleep(std::time::Duration::from_millis(110)));
        event_loop.run_until_complete(async {}).unwrap();
        for _ in 0..100_000 {
            event_loop
                .create_task(std::future::pending::<()>())
                .detach();
        }
    });
    assert_eq!(lines.len(), 21, "{lines:?}");
    let further = "callsoon: 99980 further tasks were destroyed but they are pending";
    assert_eq!(lines[20], further);
}
