//! Tasks, futures and handles say what they are, and reports have what has failed.

use std::cell::RefCell;
use std::future::pending;
use std::io::Write as _;
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::Udp;
use callsoon::stream::{StreamReader, StreamWriter, open_connection, start_server};
use callsoon::transport::Transport;
use callsoon::{
    Context, ContextVar, EventLoop, ExceptionContext, NoException, Task, TaskError, create_task,
    current_task, get_running_loop, task_builder, task_group, yield_now,
};

use crate::support::{
    PENDING, Recorder, Trace, complete, on_real_time, on_virtual_time, one_turn, recorded, until,
    warnings_of,
};

static USER: ContextVar<&str> = ContextVar::new("user");

fn failed(event_loop: &EventLoop) -> Task<()> {
    let task = event_loop.create_task(async { panic!("on purpose") });
    one_turn(event_loop);
    task
}

#[test]
fn a_task_s_exception_is_its_panic_or_none_or_why_neither_can_be_said() {
    on_virtual_time(|trace, event_loop| {
        let value = event_loop.create_task(async { Err::<(), _>("an error is a value") });
        let stopped = event_loop.create_task(pending::<()>());
        assert_eq!(value.exception().unwrap_err(), NoException::InvalidState);
        one_turn(&event_loop);
        assert!(value.exception().unwrap().is_none());
        stopped.cancel();
        one_turn(&event_loop);
        assert_eq!(stopped.exception().unwrap_err(), NoException::Cancelled);
        let mut task = failed(&event_loop);
        for _ in 0..2 {
            let panic = task.exception().unwrap().unwrap();
            assert_eq!(panic.message(), "on purpose");
        }
        let error = task.result().unwrap().unwrap_err();
        assert_eq!(error.panicked().unwrap().message(), "on purpose");
        assert_eq!(task.exception().unwrap_err(), NoException::Taken);
        trace.expect([]);
    });
}

#[test]
fn asking_for_the_exception_keeps_it_from_being_reported_as_reading_does() {
    on_virtual_time(|trace, event_loop| {
        let task = failed(&event_loop);
        assert!(task.panicked());
        drop(task);
        trace.expect(["report: Task exception was never retrieved (on purpose)"]);
        let task = failed(&event_loop);
        assert!(task.exception().unwrap().is_some());
        drop(task);
        trace.expect([]);
    });
}

#[test]
fn of_a_panic_s_clones_the_first_has_the_payload_and_the_others_its_text() {
    on_virtual_time(|_, event_loop| {
        let mut task = failed(&event_loop);
        let (first, second) = (task.exception().unwrap(), task.exception().unwrap());
        let payload = first.unwrap().into_payload();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
        let payload = second.unwrap().into_payload();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "on purpose");
        let read = task.result().unwrap().unwrap_err();
        assert_eq!(read.to_string(), "the task panicked: on purpose");
    });
}

#[test]
fn everything_that_belongs_to_a_loop_says_which() {
    on_virtual_time(|_, event_loop| {
        let other = EventLoop::new().unwrap();
        let task = event_loop.create_task(async {});
        let loops = [
            task.event_loop(),
            task.as_ref().event_loop(),
            event_loop.create_future::<()>().event_loop(),
            event_loop.call_soon(|| ()).event_loop(),
            event_loop.call_later(Duration::ZERO, || ()).event_loop(),
            task.shared().event_loop(),
        ];
        for one in loops {
            one.set_slow_callback_duration(Duration::from_secs(7));
            assert_eq!(event_loop.slow_callback_duration().as_secs(), 7);
            event_loop.set_slow_callback_duration(Duration::from_secs(1));
        }
        assert_ne!(other.slow_callback_duration().as_secs(), 7);
        one_turn(&event_loop);
    });
}

#[test]
fn a_task_can_be_renamed_by_its_handle() {
    on_virtual_time(|_, event_loop| {
        let task = event_loop.task_builder().name("first").spawn(async {});
        assert_eq!(task.name(), "first");
        task.set_name(format!("{} again", task.name()));
        assert_eq!(event_loop.all_tasks()[0].name(), "first again");
        one_turn(&event_loop);
        task.set_name("ended");
        assert_eq!(task.as_ref().name(), "ended");
    });
}

#[test]
fn a_task_s_context_is_that_very_context_before_during_and_between_its_steps() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let task = create_task(async {
                assert_eq!(USER.get(), Some("before the first step"));
                let own = current_task().unwrap().context();
                own.run(|| USER.set("by the task"));
                assert_eq!(USER.get(), Some("by the task"));
                Context::new().run(|| {
                    assert_eq!(USER.get(), None);
                    let own = current_task().unwrap().context();
                    assert_eq!(own.run(|| USER.get()), Some("by the task"));
                });
                yield_now().await;
                USER.get()
            });
            task.context().run(|| USER.set("before the first step"));
            yield_now().await;
            assert_eq!(task.context().run(|| USER.get()), Some("by the task"));
            task.as_ref().context().run(|| USER.set("between steps"));
            assert_eq!(USER.get(), None);
            let ended = task.as_ref();
            assert_eq!(task.await.unwrap(), Some("between steps"));
            assert!(ended.context().is_empty(), "an ended task has none");
            let given = Context::new();
            let task = task_builder().context(given.clone()).spawn(async {});
            task.context().run(|| USER.set("given"));
            assert_eq!(given.run(|| USER.get()), Some("given"));
            task.await.unwrap();
        });
    });
}

#[test]
fn a_task_that_starts_another_one_eagerly_is_still_asked_for_its_own_context() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            USER.set("main");
            let main = current_task().unwrap();
            let eager = task_builder().eager(true).spawn(async move {
                USER.set("eager");
                main.context().run(|| USER.get())
            });
            assert_eq!(eager.await.unwrap(), Some("main"));
        });
    });
}

/// The parts of each report that say what has failed.
fn with_parts(event_loop: &EventLoop, trace: &Trace) {
    let t = trace.clone();
    event_loop.set_exception_handler(move |_, context| t.push(parts(context)));
}

fn parts(context: &ExceptionContext) -> String {
    let task = context.task_ref().map(|task| task.name());
    let future = context.future.as_ref();
    let future = future.map(|future| (future.exception().to_string(), future.location().line()));
    let handle = context
        .handle
        .as_ref()
        .map(|handle| handle.location().line());
    format!(
        "{}; task {task:?}; future {future:?}; handle {handle:?}; transports {}{}{}",
        context.message,
        u8::from(context.transport().is_some()),
        u8::from(context.datagram_transport::<Udp>().is_some()),
        u8::from(context.subprocess_transport().is_some()),
    )
}

#[test]
fn a_report_has_the_callback_the_future_or_the_task_that_failed_and_nothing_else() {
    on_real_time(|trace, event_loop| {
        with_parts(&event_loop, &trace);
        let (near, mut far) = StdStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        let handle = event_loop.handle();
        let line = line!();
        event_loop.call_soon(|| panic!("on purpose"));
        let future = event_loop.create_future::<()>();
        let task = event_loop.task_builder().name("worker");
        let named = task.spawn(async { panic!("on purpose") });
        event_loop
            .add_reader(&near.try_clone().unwrap(), move || {
                handle.remove_reader(&near);
                panic!("on purpose")
            })
            .unwrap();
        future.set_exception("no route").unwrap();
        drop(future);
        named.detach();
        one_turn(&event_loop);
        let none = "transports 000";
        let mut said = trace.take();
        said.sort();
        let mut expected = [
            format!(
                "Exception in callback; task None; future None; handle Some({}); {none}",
                line + 1
            ),
            format!(
                "Exception in callback; task None; future None; handle Some({}); {none}",
                line + 6
            ),
            format!(
                "Future exception was never retrieved; task None; \
                 future Some((\"no route\", {})); handle None; {none}",
                line + 2
            ),
            format!(
                "Task exception was never retrieved; task Some(\"worker\"); future None; \
                 handle None; {none}"
            ),
        ];
        expected.sort();
        assert_eq!(said, expected);
    });
}

#[test]
fn the_task_of_a_report_is_that_very_task_and_may_be_kept() {
    on_virtual_time(|trace, event_loop| {
        let kept = Rc::new(RefCell::new(Vec::new()));
        let keeper = Rc::clone(&kept);
        event_loop.set_exception_handler(move |_, context| {
            keeper.borrow_mut().push(context.task_ref().unwrap());
        });
        let task = event_loop.create_task(async { panic!("on purpose") });
        let failing = task.as_ref();
        task.detach();
        let pending = event_loop.create_task(pending::<()>());
        one_turn(&event_loop);
        event_loop.close().unwrap();
        let kept = kept.take();
        assert_eq!(kept, [failing, pending.as_ref()]);
        assert!(kept[0].panicked() && kept[1].cancelled());
        trace.expect([]);
    });
}

#[test]
fn a_failure_of_a_group_has_the_task_of_the_child_and_none_for_the_body() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let mut child = None;
            let failed = task_group(async |group| {
                let task = group.create_task(async { Err::<(), _>("a child") });
                child = Some(task.as_ref());
                yield_now().await;
            });
            let error = failed.await.unwrap_err();
            let id = child.as_ref().map(|child| child.id());
            assert_eq!(error.failures()[0].task_id(), id);
            assert!(child.is_some_and(|child| child.done()));
            let error = task_group(async |_| Err::<(), _>("the body")).await;
            assert!(error.unwrap_err().failures()[0].task_id().is_none());
        });
        trace.expect([]);
    });
}

#[test]
fn the_report_of_a_client_s_failure_has_its_task_and_its_transport() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |_, context| {
            let task = context.task_ref().unwrap();
            assert_eq!(context.task, Some(task.name()));
            let transport = context.transport().unwrap();
            assert!(transport.is_closing() && transport.peername().is_some());
            t.push(format!(
                "{}: {:?}",
                context.message,
                current_task() == Some(task)
            ));
        });
        complete(&event_loop, async {
            let client = async |_: StreamReader, _: StreamWriter| -> () { panic!("on purpose") };
            let server = start_server(client, "127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap();
            let (mut reader, _writer) = open_connection(address).await.unwrap();
            assert_eq!(reader.read_to_end().await.unwrap(), b"");
            server.close();
            server.wait_closed().await;
        });
        trace.expect(["Unhandled exception in client_connected_cb: true"]);
    });
}

#[test]
fn the_transport_of_a_report_is_that_very_transport() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |_, context| {
            let transport = context.transport().unwrap();
            t.push(format!("{}: {}", context.message, transport.is_closing()));
            transport.write(b"sorry");
        });
        complete(&event_loop, async {
            let recorder = Recorder::new(&trace).on("data", |_| panic!("on purpose"));
            let (transport, recorder, mut peer) = recorded(recorder).await;
            peer.write_all(b"x").unwrap();
            until(|| recorder.lost.get()).await;
            assert!(transport.is_closing());
        });
        trace.expect([
            "made",
            "data x",
            "Exception in a protocol's data_received: false",
            "lost: Other",
        ]);
    });
}

#[test]
fn the_report_of_a_write_after_the_end_has_its_transport() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |_, context| {
            let wrote_eof = context.transport().map(Transport::wrote_eof);
            t.push(format!("{}: {wrote_eof:?}", context.message));
        });
        complete(&event_loop, async {
            let (transport, recorder, _peer) = recorded(Recorder::new(&trace)).await;
            transport.write_eof();
            transport.write(b"late");
            transport.abort();
            until(|| recorder.lost.get()).await;
        });
        trace.expect([
            "made",
            "write on a connection that takes no more: Some(true)",
            "lost",
        ]);
    });
}

#[test]
fn the_default_handler_hears_of_a_panic_of_the_handler_together_with_what_it_was_told_of() {
    on_virtual_time(|trace, event_loop| {
        event_loop.set_exception_handler(|_, _| panic!("on purpose: the log is full"));
        let mut first = ExceptionContext::new("the cache is cold");
        first.exception = Some(std::sync::Arc::from(Box::<
            dyn std::error::Error + Send + Sync,
        >::from("no disk")));
        let lines = warnings_of(|| event_loop.call_exception_handler(&first));
        assert_eq!(
            lines,
            [
                "ERROR Exception in the exception handler; panicked: on purpose: the log is full; \
                 it was told of: the cache is cold; exception: no disk"
            ]
        );
        trace.expect([]);
    });
}

#[test]
fn a_pending_task_s_report_has_the_task_before_it_ends() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        event_loop.set_exception_handler(move |_, context| {
            let task = context.task_ref().unwrap();
            t.push(format!("report: {} {}", context.message, task.done()));
        });
        let task = event_loop.create_task(pending::<()>());
        event_loop.close().unwrap();
        trace.expect([format!("{PENDING} false").as_str()]);
        let error = task.as_ref();
        assert!(error.cancelled());
        let ended = task.shared().result().unwrap();
        assert!(matches!(ended, Err(TaskError::Cancelled(_))));
    });
}

#[test]
fn the_running_loop_is_that_of_its_tasks() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let own = current_task().unwrap().event_loop();
            assert!(own.is_running());
            own.stop();
            assert!(get_running_loop().is_running(), "until the turn has ended");
        });
    });
}
