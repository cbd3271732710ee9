//! Callbacks in a given context, and the context of a thread outside its loops.

use std::cell::RefCell;
use std::io::Write as _;
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{
    Clock, Context, ContextVar, EventLoop, Runner, copy_context, create_task, run_in_executor,
    to_thread, yield_now,
};

use crate::support::{
    DropProbe, Trace, audited, complete, on_real_time, on_virtual_time, one_turn, virtual_loop,
    watched,
};

static USER: ContextVar<&str> = ContextVar::new("user");

/// Returns a context with this user.
fn of(user: &'static str) -> Context {
    let context = Context::new();
    context.run(|| USER.set(user));
    context
}

/// Writes down the user, and sets another one.
fn note(trace: &Trace, what: &'static str) -> impl Fn() + 'static {
    let trace = trace.clone();
    move || {
        trace.push(format!("{what}: {:?}", USER.get()));
        USER.set(what);
    }
}

#[test]
fn every_kind_of_callback_runs_in_the_very_context_that_it_was_given() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            USER.set("caller");
            let event_loop = callsoon::get_running_loop();
            let contexts = [of("a"), of("b"), of("c"), of("d"), of("e"), of("f")];
            let future = event_loop.create_future::<()>();
            let task = create_task(async {});
            event_loop.call_soon_in(&contexts[0], note(&trace, "soon"));
            let second = Duration::from_secs(1);
            event_loop.call_later_in(&contexts[1], second, note(&trace, "later"));
            let when = event_loop.time() + 2 * second;
            event_loop.call_at_in(&contexts[2], when, note(&trace, "at"));
            let done = note(&trace, "future");
            future.add_done_callback_in(&contexts[3], move |_| done());
            let done = note(&trace, "task");
            task.add_done_callback_in(&contexts[4], move |_| done());
            let done = note(&trace, "reference");
            task.as_ref()
                .add_done_callback_in(&contexts[5], move |_| done());
            future.set_result(()).unwrap();
            callsoon::sleep(3 * second).await;
            assert_eq!(USER.get(), Some("caller"));
            let users = contexts.map(|context| context.run(|| USER.get()).unwrap());
            assert_eq!(
                users,
                ["soon", "later", "at", "future", "task", "reference"]
            );
            task.await.unwrap();
        });
        trace.expect([
            "soon: Some(\"a\")",
            "future: Some(\"d\")",
            "task: Some(\"e\")",
            "reference: Some(\"f\")",
            "later: Some(\"b\")",
            "at: Some(\"c\")",
        ]);
    });
}

#[test]
fn the_first_context_of_a_loop_may_be_one_that_a_callback_was_given() {
    on_virtual_time(|trace, event_loop| {
        let context = Context::new();
        event_loop.call_soon(note(&trace, "plain"));
        event_loop.call_soon_in(&context, note(&trace, "given"));
        event_loop.call_soon(note(&trace, "after"));
        one_turn(&event_loop);
        trace.expect(["plain: None", "given: None", "after: None"]);
        assert_eq!(context.run(|| USER.get()), Some("given"));
        assert_eq!(USER.get(), None);
    });
}

#[test]
fn done_callbacks_of_what_is_done_run_in_the_given_context_too() {
    on_virtual_time(|trace, event_loop| {
        let task = event_loop.create_task(async {});
        let future = event_loop.create_future();
        future.set_result(()).unwrap();
        one_turn(&event_loop);
        let done = note(&trace, "task");
        task.add_done_callback_in(&of("a"), move |_| done());
        let done = note(&trace, "future");
        future.add_done_callback_in(&of("b"), move |_| done());
        one_turn(&event_loop);
        trace.expect(["task: Some(\"a\")", "future: Some(\"b\")"]);
    });
}

#[test]
fn callbacks_of_descriptors_run_in_the_context_of_their_registration_or_a_given_one() {
    on_real_time(|trace, event_loop| {
        let (near, mut far) = StdStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        let given = of("given");
        complete(&event_loop, async {
            let event_loop = callsoon::get_running_loop();
            USER.set("registered");
            event_loop
                .add_reader(&near, note(&trace, "reader"))
                .unwrap();
            USER.set("later");
            event_loop
                .add_writer_in(&given, &near, note(&trace, "writer"))
                .unwrap();
            callsoon::sleep(Duration::from_millis(1)).await;
            assert!(event_loop.remove_reader(&near) && event_loop.remove_writer(&near));
            event_loop
                .add_reader_in(&given, &near, note(&trace, "reader"))
                .unwrap();
            callsoon::sleep(Duration::from_millis(1)).await;
            assert!(event_loop.remove_reader(&near));
        });
        let said = trace.take();
        assert_eq!(
            &said[..2],
            ["reader: Some(\"registered\")", "writer: Some(\"given\")"]
        );
        assert!(
            said.contains(&"reader: Some(\"writer\")".to_owned()),
            "{said:?}"
        );
        assert_eq!(given.run(|| USER.get()), Some("reader"));
    });
}

#[test]
fn a_panic_is_reported_in_the_context_that_the_callback_was_given() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |_, _| t.push(format!("{:?}", USER.get())));
        event_loop.call_soon_in(&of("ann"), || panic!("on purpose"));
        event_loop.call_later_in(&of("bob"), Duration::ZERO, || panic!("on purpose"));
        event_loop
            .run_until_complete(callsoon::sleep(Duration::from_secs(1)))
            .unwrap();
        trace.expect(["Some(\"ann\")", "Some(\"bob\")"]);
    });
}

#[test]
fn a_callback_with_a_context_is_cancelled_and_dropped_like_any_other() {
    on_virtual_time(|trace, event_loop| {
        let context = of("ann");
        let probe = DropProbe::new(&trace, "soon");
        event_loop
            .call_soon_in(&context, move || drop(probe))
            .cancel();
        let probe = DropProbe::new(&trace, "timer");
        let timer = event_loop.call_later_in(&context, Duration::ZERO, move || drop(probe));
        timer.cancel();
        trace.expect(["drop soon", "drop timer"]);
        event_loop.close().unwrap();
        let refused = crate::support::panic_text(|| event_loop.call_soon_in(&context, || ()));
        assert_eq!(refused, "call_soon: the event loop is closed");
        let refused = crate::support::panic_text(|| {
            event_loop.call_later_in(&context, Duration::ZERO, || ())
        });
        assert_eq!(refused, "call_later_in: the event loop is closed");
    });
}

#[test]
fn a_variable_that_is_set_outside_a_loop_is_set_for_what_the_thread_begins() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        event_loop.call_soon(note(&trace, "before"));
        let before = USER.set("thread");
        assert_eq!((USER.get(), copy_context().len()), (Some("thread"), 1));
        event_loop.call_soon(note(&trace, "callback"));
        event_loop.call_later(Duration::from_secs(1), note(&trace, "timer"));
        let noted = note(&trace, "task");
        event_loop.create_task(async move { noted() }).detach();
        USER.set("thread, later");
        let noted = note(&trace, "main");
        event_loop
            .run_until_complete(async move {
                noted();
                yield_now().await;
                assert_eq!(USER.get(), Some("main"));
                callsoon::sleep(Duration::from_secs(2)).await;
            })
            .unwrap();
        assert_eq!(USER.get(), Some("thread, later"), "they had copies");
        trace.expect([
            "before: None",
            "callback: Some(\"thread\")",
            "task: Some(\"thread\")",
            "main: Some(\"thread, later\")",
            "timer: Some(\"thread\")",
        ]);
        let other = EventLoop::builder().clock(Clock::Virtual).build().unwrap();
        let noted = note(&trace, "a new loop's main");
        other.run_until_complete(async move { noted() }).unwrap();
        event_loop
            .run_until_complete(async { assert_eq!(USER.get(), Some("thread, later")) })
            .unwrap();
        trace.expect(["a new loop's main: Some(\"thread, later\")"]);
        USER.reset(before);
        assert_eq!((USER.get(), copy_context().len()), (None, 0));
        let user = event_loop.run_until_complete(async { USER.get() });
        assert_eq!(user.unwrap(), None);
    }));
}

#[test]
fn a_runner_s_futures_share_one_copy_of_the_thread_s_context() {
    audited(watched(|| {
        let before = USER.set("thread");
        let mut runner = Runner::new();
        let first = runner.run(async { USER.get().inspect(|_| drop(USER.set("first"))) });
        assert_eq!(first.unwrap(), Some("thread"));
        USER.set("thread, later");
        assert_eq!(runner.run(async { USER.get() }).unwrap(), Some("first"));
        drop(runner);
        USER.reset(before);
    }));
}

#[test]
fn a_context_is_entered_outside_a_loop_and_left_again_also_by_a_panic() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let context = Context::new();
        context.run(|| {
            USER.set("inside");
            event_loop.call_soon(note(&trace, "callback"));
            let inner = of("inner");
            assert_eq!(inner.run(|| USER.get()), Some("inner"));
            assert_eq!(USER.get(), Some("inside"));
        });
        let text = crate::support::panic_text(|| {
            context.run(|| {
                USER.set("panicking");
                panic!("on purpose")
            })
        });
        assert_eq!(text, "on purpose");
        assert_eq!((USER.get(), copy_context().len()), (None, 0));
        assert_eq!(context.run(|| USER.get()), Some("panicking"));
        one_turn(&event_loop);
        trace.expect(["callback: Some(\"inside\")"]);
    }));
}

#[test]
fn a_thread_s_context_is_its_own_and_ends_with_it() {
    static PROBE: ContextVar<Rc<RefCell<Vec<DropProbe>>>> = ContextVar::new("probe");
    audited(watched(|| {
        let before = USER.set("one thread");
        let seen = std::thread::spawn(|| {
            let seen = USER.get();
            USER.set("another thread");
            PROBE.set(Rc::default());
            (seen, USER.get())
        });
        assert_eq!(seen.join().unwrap(), (None, Some("another thread")));
        assert_eq!(USER.get(), Some("one thread"));
        USER.reset(before);
    }));
}

#[test]
fn what_a_job_sets_in_an_executor_s_thread_does_not_reach_to_thread_or_the_loop() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let first = run_in_executor(None, || {
                USER.set("job");
                USER.get()
            });
            assert_eq!(first.await.unwrap(), Some("job"));
            assert_eq!(to_thread(|| USER.get()).await.unwrap(), None);
            assert_eq!(USER.get(), None);
            let left = Duration::from_secs(10);
            callsoon::get_running_loop()
                .shutdown_default_executor(left)
                .await
                .unwrap();
        });
    });
}
