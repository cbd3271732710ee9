//! Errors of programs: what children and handlers may return, what errors convert into, and an `Err` that is not read.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::rc::Rc;

use callsoon::stream::ClientResult;
use callsoon::transport::ServeError;
use callsoon::{
    EventLoop, FutureError, GroupError, Outcome, RunError, SignalError, ThreadFutureError,
    create_task, current_task, gather, run, task_builder, task_group, try_gather, yield_now,
};

use crate::support::{Trace, audited, on_virtual_time};

type Boxed = Box<dyn Error + Send + Sync>;

/// Writes down each report in full, but for the place.
fn traced(event_loop: &EventLoop, trace: &Trace) {
    let t = trace.clone();
    event_loop.set_exception_handler(move |_, context| {
        let task = context.task.as_deref().unwrap_or("none");
        let exception = context.exception.as_ref().map(ToString::to_string);
        assert!(context.location.unwrap().file().ends_with("errors.rs"));
        t.push(format!("{}; {task}; {exception:?}", context.message));
    });
}

#[test]
fn children_and_bodies_return_the_errors_of_anyhow_and_eyre_and_boxed_ones() {
    audited(|| {
        let error = run(task_group(async |group| {
            group.create_task(async { Err::<(), Boxed>("boxed".into()) });
            group.create_task(async { Err::<(), _>(anyhow::anyhow!("anyhow's")) });
            group.create_task(async { Err::<(), _>(eyre::eyre!("eyre's")) });
            anyhow::Result::<()>::Ok(())
        }));
        let error = error.unwrap().unwrap_err();
        let texts = error.failures().iter().map(ToString::to_string);
        assert_eq!(
            texts.collect::<Vec<_>>(),
            ["Task-2: boxed", "Task-3: anyhow's", "Task-4: eyre's"]
        );
        let body = run(task_group(async |_| Err::<(), _>(eyre::eyre!("no"))));
        assert_eq!(
            body.unwrap().unwrap_err().to_string(),
            "1 failure in a task group: the body: no"
        );
    });
}

#[test]
fn functions_of_servers_return_the_errors_of_anyhow_and_eyre_and_boxed_ones() {
    let text = |result: Option<Boxed>| result.unwrap().to_string();
    assert_eq!(text(Err::<(), Boxed>("boxed".into()).failure()), "boxed");
    assert_eq!(text(Err::<(), _>(anyhow::anyhow!("any")).failure()), "any");
    assert_eq!(text(Err::<(), _>(eyre::eyre!("how")).failure()), "how");
    assert!(Outcome::into_result(anyhow::Result::<u8>::Ok(7)).is_ok());
}

#[test]
fn errors_of_groups_and_futures_pass_a_question_mark_under_anyhow_and_eyre() {
    audited(|| {
        fn anyhows() -> anyhow::Result<()> {
            run(task_group(async |_| Err::<(), _>("broken")))??;
            Ok(())
        }
        fn eyres() -> eyre::Result<()> {
            Err(FutureError::Taken)?
        }
        assert_eq!(
            format!("{:#}", anyhows().unwrap_err()),
            "1 failure in a task group: the body: broken: the body: broken"
        );
        assert_eq!(
            eyres().unwrap_err().to_string(),
            "the future's value has been taken before"
        );
    });
}

#[test]
fn errors_that_hold_an_error_of_the_system_convert_into_it() {
    let refused = || io::Error::from_raw_os_error(libc::EMFILE);
    let errors: [io::Error; 3] = [
        ServeError::Io(refused()).into(),
        SignalError::Io(refused()).into(),
        RunError::Io(refused()).into(),
    ];
    assert!(
        errors
            .iter()
            .all(|error| error.raw_os_error() == Some(libc::EMFILE))
    );
    let rest: [io::Error; 5] = [
        ServeError::Closed.into(),
        SignalError::Closed.into(),
        SignalError::Unknown(99).into(),
        GroupError::Stopped.into(),
        ThreadFutureError::LoopClosed.into(),
    ];
    assert_eq!(
        rest.map(|error| format!("{:?}: {error}", error.kind())),
        [
            "Other: the server is closed",
            "NotConnected: the event loop is closed",
            "InvalidInput: there is no signal 99",
            "Other: the task group was stopped",
            "NotConnected: the event loop is closed",
        ]
    );
}

#[test]
fn errors_of_gathers_pass_a_question_mark_of_an_io_result() {
    /// Returns its argument, has the system's error, or is cancelled.
    async fn child(n: u8) -> io::Result<u8> {
        match n {
            0 => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            1 => {
                current_task().unwrap().cancel_with("no more");
                std::future::pending().await
            }
            _ => Ok(n),
        }
    }
    async fn gathered(numbers: [u8; 2]) -> io::Result<Vec<io::Result<u8>>> {
        Ok(gather(numbers.map(child)).await?)
    }
    async fn tried(numbers: [u8; 2]) -> io::Result<Vec<u8>> {
        Ok(try_gather(numbers.map(child)).await?)
    }
    let text = |error: io::Error| format!("{:?}: {error}", error.kind());
    audited(move || {
        let cancelled = run(gathered([0, 1])).unwrap().unwrap_err();
        assert_eq!(
            text(cancelled),
            "Other: gathered future 1: the task was cancelled: no more"
        );
        let cancelled = run(tried([1, 2])).unwrap().unwrap_err();
        assert_eq!(
            text(cancelled),
            "Other: gathered future 0: the task was cancelled: no more"
        );
        let refused = run(tried([2, 0])).unwrap().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
        assert_eq!(run(tried([2, 3])).unwrap().unwrap(), [2, 3]);
    });
}

#[test]
fn the_debug_of_a_run_error_is_its_sentence() {
    let io = RunError::Io(io::Error::other("no descriptors"));
    let all = [RunError::Closed, RunError::Interrupted, io];
    assert_eq!(
        all.map(|error| format!("{error:?}")),
        [
            "the event loop is closed",
            "interrupted by Ctrl-C",
            "the event loop cannot wait for events: no descriptors",
        ]
    );
}

#[test]
fn an_err_that_is_not_read_is_reported_when_the_handle_was_dropped_before_or_after_the_end() {
    on_virtual_time(|trace, event_loop| {
        traced(&event_loop, &trace);
        event_loop
            .run_until_complete(async {
                let lost = || async { Err::<(), _>("lost") };
                create_task(lost()).detach();
                create_task(lost()).report_errors().detach();
                let late = task_builder().name("late").spawn(lost()).report_errors();
                yield_now().await;
                yield_now().await;
                assert!(late.done());
                drop(late);
            })
            .unwrap();
        trace.expect([
            "Task exception was never retrieved; Task-3; Some(\"\\\"lost\\\"\")",
            "Task exception was never retrieved; late; Some(\"\\\"lost\\\"\")",
        ]);
    });
}

#[test]
fn an_err_that_was_read_and_an_ok_that_was_not_are_not_reported() {
    on_virtual_time(|trace, event_loop| {
        traced(&event_loop, &trace);
        event_loop
            .run_until_complete(async {
                let read = create_task(async { Err::<(), _>("read") }).report_errors();
                assert_eq!(read.await.unwrap(), Err("read"));
                let mut taken = create_task(async { Err::<(), _>("taken") }).report_errors();
                create_task(async { Ok::<_, String>(1) })
                    .report_errors()
                    .detach();
                let cancelled = create_task(std::future::pending::<Result<(), String>>());
                cancelled.cancel();
                drop(cancelled.report_errors());
                yield_now().await;
                yield_now().await;
                assert_eq!(taken.result().unwrap().unwrap(), Err("taken"));
            })
            .unwrap();
        trace.expect([]);
    });
}

#[test]
fn a_handle_that_was_polled_and_dropped_reports_and_no_cancellation_reaches_its_task() {
    on_virtual_time(|trace, event_loop| {
        traced(&event_loop, &trace);
        let open = event_loop.create_future::<()>();
        let gate = open.clone();
        event_loop
            .run_until_complete(async move {
                let inner = create_task(async move {
                    gate.await.unwrap();
                    Err::<(), _>("late")
                });
                let mut inner = inner.report_errors();
                let outer = create_task(async move {
                    let _ = futures_lite::future::poll_once(&mut inner).await;
                    drop(inner);
                    std::future::pending::<()>().await;
                });
                yield_now().await;
                yield_now().await;
                outer.cancel();
                assert!(outer.await.unwrap_err().cancelled().is_some());
                open.set_result(()).unwrap();
                for _ in 0..4 {
                    yield_now().await;
                }
            })
            .unwrap();
        trace.expect(["Task exception was never retrieved; Task-2; Some(\"\\\"late\\\"\")"]);
    });
}

#[test]
fn a_task_that_is_left_at_the_close_is_freed_with_its_handle() {
    audited(|| {
        let probe = Rc::new(RefCell::new(()));
        let event_loop = EventLoop::new().unwrap();
        let inside = Rc::clone(&probe);
        let task = event_loop.create_task(async move {
            std::future::pending::<()>().await;
            drop(inside);
            Err::<(), _>("never")
        });
        task.report_errors().detach();
        drop(event_loop);
        assert_eq!(Rc::strong_count(&probe), 1);
    });
}
