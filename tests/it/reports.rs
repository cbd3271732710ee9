//! Reports: they name the task, its context and the caller's place. Some failures are not reported.

use std::cell::RefCell;
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use callsoon::{
    Clock, ContextVar, EventLoop, GroupError, Runner, ThreadPoolExecutor, catch_cancelled,
    create_task, for_each_limit, gather, get_running_loop, run_in_executor, sleep, task_builder,
    task_group, try_gather, yield_now,
};

use crate::support::{
    Trace, audited, complete, on_real_time, on_virtual_time, one_turn, until, warnings_of,
};

const SECOND: Duration = Duration::from_secs(1);

static USER: ContextVar<&str> = ContextVar::new("user");

/// Writes down each report with its task, and with the user that its handler finds in the current context.
fn with_users(event_loop: &EventLoop, trace: &Trace) {
    let t = trace.clone();
    event_loop.set_exception_handler(move |_, context| {
        let task = context.task.as_deref().unwrap_or("none");
        t.push(format!(
            "{}; task {task}; {:?}",
            context.message,
            USER.get()
        ));
    });
}

#[test]
fn cancelling_a_future_that_has_failed_keeps_its_failure_from_being_reported() {
    on_virtual_time(|trace, event_loop| {
        let future = event_loop.create_future::<()>();
        future.set_exception("lost").unwrap();
        assert!(!future.cancel());
        drop(future);
        let future = event_loop.create_future::<()>();
        future.set_exception("lost").unwrap();
        assert!(!future.cancel_with("no more"));
        assert!(!future.cancelled());
        drop(future);
        trace.expect([]);
        let future = event_loop.create_future::<()>();
        future.set_exception("lost").unwrap();
        drop(future);
        trace.expect(["report: Future exception was never retrieved (lost)"]);
    });
}

#[test]
fn cancelling_a_task_that_has_failed_keeps_its_failure_unreported_and_readable() {
    on_virtual_time(|trace, event_loop| {
        let failed = || {
            let task = event_loop.create_task(async { panic!("on purpose") });
            one_turn(&event_loop);
            assert!(task.panicked());
            task
        };
        let task = failed();
        assert!(!task.cancel());
        drop(task);
        let mut task = failed();
        assert!(!task.as_ref().cancel_with("no more"));
        let error = task.result().unwrap().unwrap_err();
        assert_eq!(error.panicked().unwrap().message(), "on purpose");
        drop((task, error));
        trace.expect([]);
        drop(failed());
        drop(failed().cancel_on_drop());
        let unread = "report: Task exception was never retrieved (on purpose)";
        trace.expect([unread, unread]);
    });
}

#[test]
fn cancelling_a_task_before_it_fails_leaves_its_failure_reported() {
    on_virtual_time(|trace, event_loop| {
        let task = event_loop.create_task(async {
            let _cancelled = catch_cancelled(pending::<()>()).await;
            panic!("on purpose")
        });
        one_turn(&event_loop);
        assert!(task.cancel());
        one_turn(&event_loop);
        one_turn(&event_loop);
        assert!(task.panicked());
        drop(task);
        trace.expect(["report: Task exception was never retrieved (on purpose)"]);
    });
}

#[test]
fn cancelling_a_job_or_a_coroutine_that_has_failed_keeps_it_unreported() {
    on_real_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let pool = ThreadPoolExecutor::builder().max_workers(1).build();
            for cancels in [true, false] {
                let job = run_in_executor(Some(&pool), || panic!("on purpose: job"));
                until(|| job.done()).await;
                assert!(!cancels || !job.cancel());
                drop(job);
                let remote = get_running_loop().remote();
                let coroutine = remote
                    .run_coroutine_threadsafe(|| async { panic!("on purpose: coroutine") })
                    .unwrap();
                until(|| coroutine.done()).await;
                assert!(!cancels || !coroutine.cancel());
                drop(coroutine);
                if cancels {
                    t.expect([]);
                }
            }
            t.expect([
                "report: Exception of a job was never retrieved (on purpose: job)",
                "report: Exception of a coroutine was never retrieved (on purpose: coroutine)",
            ]);
            pool.shutdown();
            pool.join(60 * SECOND).unwrap();
        });
    });
}

#[test]
fn a_loop_that_closes_names_each_pending_task_in_that_task_s_context() {
    on_virtual_time(|trace, event_loop| {
        with_users(&event_loop, &trace);
        let task = event_loop.create_task(async {
            USER.set("ann");
            pending::<()>().await
        });
        let named = event_loop.task_builder().name("janitor");
        named.spawn(pending::<()>()).detach();
        let t = trace.clone();
        let ended = event_loop.create_task(async move { t.push("ends by itself") });
        one_turn(&event_loop);
        event_loop
            .create_task(async { unreachable!("never polled") })
            .detach();
        event_loop.close().unwrap();
        assert!(task.cancelled() && ended.done());
        trace.expect([
            "ends by itself",
            "Task was destroyed but it is pending!; task Task-1; Some(\"ann\")",
            "Task was destroyed but it is pending!; task janitor; None",
            "Task was destroyed but it is pending!; task Task-4; None",
        ]);
    });
}

#[test]
fn a_pending_task_is_named_with_the_place_where_it_was_created() {
    on_virtual_time(|_, event_loop| {
        let places = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&places);
        event_loop.set_exception_handler(move |event_loop, context| {
            assert!(event_loop.is_closed());
            seen.borrow_mut().push(context.location.unwrap());
        });
        let line = line!() + 1;
        event_loop.create_task(pending::<()>()).detach();
        drop(event_loop);
        let places = places.take();
        assert_eq!(places.len(), 1);
        assert_eq!((places[0].file(), places[0].line()), (file!(), line));
    });
}

#[test]
fn a_destructor_at_close_runs_in_its_task_s_context() {
    on_virtual_time(|trace, event_loop| {
        struct Says(Trace);
        impl Drop for Says {
            fn drop(&mut self) {
                self.0.push(format!("dropped for {:?}", USER.get()));
                panic!("on purpose");
            }
        }
        with_users(&event_loop, &trace);
        let says = Says(trace.clone());
        event_loop
            .create_task(async move {
                USER.set("ann");
                let _says = says;
                pending::<()>().await
            })
            .detach();
        one_turn(&event_loop);
        event_loop.close().unwrap();
        trace.expect([
            "Task was destroyed but it is pending!; task Task-1; Some(\"ann\")",
            "dropped for Some(\"ann\")",
            "Exception in a destructor while its task ended; task Task-1; Some(\"ann\")",
        ]);
    });
}

/// A runner on virtual time whose loop writes reports and users down.
fn runner_with_users(trace: &Trace) -> Runner {
    let mut runner = Runner::with_builder(EventLoop::builder().clock(Clock::Virtual));
    with_users(runner.event_loop().unwrap(), trace);
    runner
}

#[test]
fn tasks_that_the_end_of_a_program_cancels_in_order_are_not_named() {
    audited(|| {
        let trace = Trace::new();
        let mut runner = runner_with_users(&trace);
        let main = async {
            create_task(pending::<()>()).detach();
            create_task(async {
                let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                sleep(SECOND).await;
                cancelled.resume().await
            })
            .detach();
            yield_now().await;
            create_task(pending::<()>()).detach();
        };
        runner.run(main).unwrap();
        runner.close().unwrap();
        trace.expect([]);
    });
}

#[test]
fn a_task_that_does_not_end_with_its_program_is_named_once() {
    audited(|| {
        let trace = Trace::new();
        let mut runner = runner_with_users(&trace).shutdown_timeout(SECOND);
        let main = async {
            let stubborn = task_builder().name("stubborn");
            let task = stubborn.spawn(async {
                loop {
                    let _cancelled = catch_cancelled(pending::<()>()).await;
                }
            });
            task.detach();
            yield_now().await;
        };
        runner.run(main).unwrap();
        runner.close().unwrap();
        let reports = trace.take();
        let naming: Vec<_> = reports
            .iter()
            .filter(|line| line.contains("tasks that were cancelled had not ended"))
            .collect();
        assert!(!naming.is_empty(), "{reports:?}");
        assert!(
            naming
                .iter()
                .all(|line| line.contains("deadline: stubborn"))
        );
        assert_eq!(naming.len(), reports.len(), "{reports:?}");
    });
}

#[test]
fn a_panic_in_the_end_of_a_program_is_reported_in_its_task_s_context() {
    audited(|| {
        let trace = Trace::new();
        let mut runner = runner_with_users(&trace);
        let kept = Rc::new(RefCell::new(None));
        let keeps = Rc::clone(&kept);
        let main = async move {
            let task = create_task(async {
                USER.set("ann");
                let _cancelled = catch_cancelled(pending::<()>()).await;
                panic!("on purpose")
            });
            keeps.replace(Some(task));
            yield_now().await;
        };
        runner.run(main).unwrap();
        runner.close().unwrap();
        drop(kept.take());
        trace.expect(["Unhandled exception during the end of run(); task Task-2; Some(\"ann\")"]);
    });
}

#[test]
fn a_detached_task_s_panic_is_reported_in_the_task_s_context() {
    on_virtual_time(|trace, event_loop| {
        with_users(&event_loop, &trace);
        complete(&event_loop, async {
            USER.set("main");
            create_task(async {
                USER.set("ann");
                yield_now().await;
                panic!("on purpose")
            })
            .detach();
            create_task(async { panic!("on purpose") }).detach();
            for _ in 0..3 {
                yield_now().await;
            }
            assert_eq!(USER.get(), Some("main"));
        });
        trace.expect([
            "Task exception was never retrieved; task Task-3; Some(\"main\")",
            "Task exception was never retrieved; task Task-2; Some(\"ann\")",
        ]);
    });
}

#[test]
fn a_task_that_sets_the_loop_s_first_variable_and_panics_is_reported_in_its_context() {
    on_virtual_time(|trace, event_loop| {
        with_users(&event_loop, &trace);
        event_loop
            .create_task(async {
                USER.set("ann");
                panic!("on purpose")
            })
            .detach();
        one_turn(&event_loop);
        event_loop.call_soon(|| assert_eq!(USER.get(), None));
        one_turn(&event_loop);
        trace.expect(["Task exception was never retrieved; task Task-1; Some(\"ann\")"]);
    });
}

#[test]
fn a_panic_that_the_drop_of_its_handle_reports_is_reported_in_the_task_s_context() {
    on_virtual_time(|trace, event_loop| {
        with_users(&event_loop, &trace);
        complete(&event_loop, async {
            USER.set("main");
            let task = create_task(async {
                USER.set("ann");
                panic!("on purpose")
            });
            yield_now().await;
            drop(task);
            assert_eq!(USER.get(), Some("main"));
        });
        trace.expect(["Task exception was never retrieved; task Task-2; Some(\"ann\")"]);
    });
}

#[test]
fn destructors_at_a_task_s_end_are_reported_in_the_task_s_context() {
    on_virtual_time(|trace, event_loop| {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        with_users(&event_loop, &trace);
        complete(&event_loop, async {
            create_task(async {
                USER.set("result");
                Bad
            })
            .detach();
            let task = create_task(async {
                USER.set("future");
                let _bad = Bad;
                pending::<()>().await
            });
            yield_now().await;
            task.cancel();
            task.await.unwrap_err();
        });
        trace.expect([
            "Exception in the destructor of a result that nobody awaited; task Task-2; Some(\"result\")",
            "Exception in a destructor while its task ended; task Task-3; Some(\"future\")",
        ]);
    });
}

#[test]
fn a_handler_s_own_panic_is_reported_with_the_report_that_it_handled() {
    on_virtual_time(|trace, event_loop| {
        event_loop.set_exception_handler(|_, _| panic!("on purpose: the log is full"));
        let lines = warnings_of(|| {
            let failing = event_loop.task_builder().name("worker");
            failing.spawn(async { panic!("on purpose: work") }).detach();
            one_turn(&event_loop);
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let start = "ERROR Exception in the exception handler; panicked: on purpose: the log is full; \
                     it was told of: Task exception was never retrieved; task: worker; created at ";
        assert!(lines[0].starts_with(start), "{lines:?}");
        assert!(
            lines[0].ends_with("panicked: on purpose: work"),
            "{lines:?}"
        );
        trace.expect([]);
    });
}

#[test]
fn a_slow_step_is_reported_with_its_task_s_name() {
    audited(|| {
        let event_loop = EventLoop::builder().debug(true).build().unwrap();
        event_loop.set_slow_callback_duration(Duration::ZERO);
        let lines = warnings_of(|| {
            let worker = event_loop.task_builder().name("worker");
            worker.spawn(async {}).detach();
            event_loop.run_until_complete(yield_now()).unwrap();
        });
        let tasks: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("a slow step of a task"))
            .map(|line| line.rsplit("task=").next().unwrap())
            .collect();
        assert_eq!(tasks, ["\"worker\"", "\"Task-2\"", "\"Task-2\""]);
    });
}

/// The places that a group's error names.
fn places(ended: Result<(), GroupError>) -> Vec<(&'static str, u32)> {
    let Err(GroupError::Failed(failures)) = ended else {
        panic!("{ended:?}");
    };
    let place = |failure: &callsoon::Failure| failure.location().unwrap();
    let places = failures.iter().map(place);
    places.map(|place| (place.file(), place.line())).collect()
}

#[test]
fn failures_under_a_combinator_name_the_caller_s_place() {
    on_virtual_time(|_, event_loop| {
        let fails = async |_: u8| Err::<(), _>("on purpose");
        let each = complete(&event_loop, async { for_each_limit(0..1, 8, fails).await });
        let line = line!() - 1;
        assert_eq!(places(each), [(file!(), line)]);
        let grouped = complete(&event_loop, async {
            task_group(async |group| {
                group.create_task(fails(1));
            })
            .await
        });
        let line = line!() - 4;
        assert_eq!(places(grouped), [(file!(), line)]);
    });
}

#[test]
fn children_of_a_combinator_are_created_at_the_caller_s_place() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let says = |what: &'static str| {
                let t = t.clone();
                async move {
                    let place = callsoon::current_task().unwrap().location();
                    assert_eq!(place.file(), file!(), "{what}");
                    t.push(what);
                    Ok::<_, std::io::Error>(())
                }
            };
            for_each_limit(["for_each_limit"], 1, says).await.unwrap();
            let gathered = gather([says("gather")]).await;
            assert!(gathered.unwrap()[0].is_ok());
            try_gather([says("try_gather")]).await.unwrap();
            task_group(async |group| {
                group.create_task(says("create_task"));
                assert!(group.try_create_task(says("try_create_task")).is_ok());
                group.create_task_with(task_builder(), says("create_task_with"));
            })
            .await
            .unwrap();
        });
        trace.expect([
            "for_each_limit",
            "gather",
            "try_gather",
            "create_task",
            "try_create_task",
            "create_task_with",
        ]);
    });
}

/// Fails at once, and panics when it is dropped.
struct FailsAndPanics;

impl Future for FailsAndPanics {
    type Output = Result<(), &'static str>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Err("on purpose: failure"))
    }
}

impl Drop for FailsAndPanics {
    fn drop(&mut self) {
        panic!("on purpose: drop");
    }
}

#[test]
fn the_panic_of_a_failed_child_s_destructor_is_reported() {
    on_virtual_time(|trace, event_loop| {
        let ended = complete(&event_loop, async {
            task_group(async |group| {
                group.create_task(FailsAndPanics);
            })
            .await
        });
        assert_eq!(places(ended).len(), 1);
        trace.expect(["report: Exception in a destructor while its task ended (on purpose: drop)"]);
    });
}
