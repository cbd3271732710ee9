//! `run` and `Runner`: the beginning and the end of programs.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use callsoon::{
    Cancelled, Clock, ContextVar, EventLoop, ExecutorError, RunError, Runner, TaskError,
    catch_cancelled, create_task, current_task, defer_async_drop, get_running_loop, run, sleep,
    to_thread, yield_now,
};

use crate::support::{DropProbe, Trace, audited, panic_text, thread_id, wait_until_asleep};

const SECOND: Duration = Duration::from_secs(1);

/// A runner on virtual time whose loop reports into the trace.
fn virtual_runner(trace: &Trace) -> Runner {
    let mut runner = Runner::with_builder(EventLoop::builder().clock(Clock::Virtual));
    let t = trace.clone();
    let event_loop = runner.event_loop().unwrap();
    event_loop.set_exception_handler(move |_, context| {
        let panic = context
            .panic
            .as_ref()
            .map(|panic| panic.message().to_owned());
        let task = context.task.clone().unwrap_or_default();
        t.push(format!(
            "report: {} {task} {}",
            context.message,
            panic.unwrap_or_default()
        ));
    });
    runner
}

/// Runs a program on virtual time to its end, and compares all that was said.
fn ends_with<const N: usize>(
    main: impl AsyncFnOnce(Trace) + Send + 'static,
    lines: [&'static str; N],
) {
    audited(move || {
        let trace = Trace::new();
        let mut runner = virtual_runner(&trace);
        runner.run(main(trace.clone())).unwrap();
        runner.close().unwrap();
        trace.expect(lines);
    });
}

/// Leaves a task behind that waits until it is cancelled, cleans up, and passes the cancellation on.
async fn left_behind(clean_up: impl AsyncFnOnce(&Cancelled) + 'static) {
    create_task(async move {
        let cancelled = catch_cancelled(sleep(9 * SECOND)).await.unwrap_err();
        clean_up(&cancelled).await;
        cancelled.resume().await
    })
    .detach();
    yield_now().await;
}

#[test]
fn what_main_leaves_behind_is_cancelled_and_awaited_with_its_clean_up() {
    let main = async |trace: Trace| {
        let probe = DropProbe::new(&trace, "the plain one");
        create_task(async move {
            let _probe = probe;
            sleep(9 * SECOND).await;
        })
        .detach();
        let t = trace.clone();
        left_behind(async move |cancelled| {
            t.push(format!("cleans up: {}", cancelled.message().unwrap()));
            sleep(SECOND).await;
            t.push("clean");
        })
        .await;
        trace.push("main ends");
    };
    ends_with(
        main,
        [
            "main ends",
            "drop the plain one",
            "cleans up: the main task has ended",
            "clean",
        ],
    );
}

#[test]
fn tasks_that_are_started_while_others_end_are_cancelled_and_awaited_too() {
    audited(|| {
        let trace = Trace::new();
        let mut runner = virtual_runner(&trace);
        let t = trace.clone();
        let main = left_behind(async move |_| {
            let t2 = t.clone();
            create_task(async move {
                t.push("a late child begins");
                let cancelled = catch_cancelled(sleep(9 * SECOND)).await.unwrap_err();
                t2.push("the late child ends");
                cancelled.resume().await
            })
            .detach();
            yield_now().await;
        });
        runner.run(main).unwrap();
        drop(runner);
        trace.expect(["a late child begins", "the late child ends"]);
    });
}

#[test]
fn a_task_that_refuses_to_end_is_named_and_dropped_at_the_deadline() {
    audited(|| {
        let trace = Trace::new();
        let mut runner = virtual_runner(&trace).shutdown_timeout(5 * SECOND);
        let t = trace.clone();
        runner
            .run(async move {
                let probe = DropProbe::new(&t, "the stubborn one");
                callsoon::task_builder()
                    .name("mule")
                    .spawn(async move {
                        let _probe = probe;
                        loop {
                            drop(catch_cancelled(sleep(3 * SECOND)).await);
                        }
                    })
                    .detach();
                yield_now().await;
            })
            .unwrap();
        let start = runner.event_loop().unwrap().time();
        let handle = runner.event_loop().unwrap().handle();
        runner.close().unwrap();
        assert_eq!(handle.time() - start, 5 * SECOND);
        trace.expect([
            "report: The program ends although tasks that were cancelled had not ended by its deadline: mule  ",
            "report: The program ends although tasks that were cancelled had not ended by its deadline: mule  ",
            "drop the stubborn one",
        ]);
    });
}

#[test]
fn a_task_that_panics_while_the_program_ends_is_reported_once() {
    audited(|| {
        let trace = Trace::new();
        let mut runner = virtual_runner(&trace);
        let kept = Rc::new(Cell::new(None));
        let keep = Rc::clone(&kept);
        runner
            .run(async move {
                keep.set(Some(create_task(async {
                    drop(catch_cancelled(sleep(SECOND)).await);
                    panic!("on purpose");
                })));
                yield_now().await;
            })
            .unwrap();
        runner.close().unwrap();
        drop(kept.take());
        trace.expect(["report: Unhandled exception during the end of run() Task-2 on purpose"]);
    });
}

#[test]
fn deposited_clean_ups_run_after_the_tasks_have_ended_and_are_not_cancelled() {
    audited(|| {
        let trace = Trace::new();
        let mut runner = virtual_runner(&trace);
        let t = trace.clone();
        let mut kept = None;
        runner
            .run(async {
                let say = |text: &'static str| {
                    let t = t.clone();
                    async move {
                        sleep(SECOND).await;
                        t.push(text);
                    }
                };
                kept = Some(defer_async_drop(say("kept by the caller")));
                let in_task = defer_async_drop(say("kept by a task"));
                let probe = DropProbe::new(&t, "a task");
                create_task(async move {
                    let _kept = (probe, in_task);
                    sleep(9 * SECOND).await;
                })
                .detach();
                defer_async_drop(async { unreachable!() }).dismiss();
                drop(defer_async_drop(say("due at once")));
                defer_async_drop(say("run in main")).run().await;
            })
            .unwrap();
        trace.expect(["run in main", "due at once"]);
        runner.close().unwrap();
        drop(kept);
        trace.expect(["drop a task", "kept by the caller", "kept by a task"]);
    });
}

#[test]
fn jobs_of_the_default_executor_are_waited_for() {
    audited(|| {
        let (begun, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (begin, end) = (Arc::clone(&begun), Arc::clone(&done));
        let (runner, (ends, ended)) = (thread_id(), mpsc::channel());
        run(async move {
            create_task(to_thread(move || {
                begin.store(true, SeqCst);
                // Until the main task has ended, and its runner waits for nothing but this job.
                ended.recv().unwrap();
                wait_until_asleep(runner);
                end.store(true, SeqCst);
            }))
            .detach();
            // A job that has not begun would be withdrawn.
            while !begun.load(SeqCst) {
                yield_now().await;
            }
            ends.send(()).unwrap();
        })
        .unwrap();
        assert!(done.load(SeqCst));
    });
}

#[test]
fn context_variables_of_one_run_are_there_in_the_next() {
    static STEP: ContextVar<u32> = ContextVar::new("step");
    audited(|| {
        let mut runner = Runner::new();
        assert_eq!(runner.run(async { STEP.get() }).unwrap(), None);
        for step in 1..4 {
            runner.run(async { STEP.set(step) }).unwrap();
            let seen = runner.run(async {
                yield_now().await;
                STEP.get()
            });
            assert_eq!(seen.unwrap(), Some(step));
        }
    });
}

#[test]
fn a_runner_refuses_to_run_inside_a_loop_and_after_its_end() {
    audited(|| {
        let mut runner = Runner::new();
        let nested = runner.run(async {
            let mut other = Runner::new();
            let run_inside = matches!(other.run(async {}), Err(RunError::Nested));
            run_inside && matches!(run(async {}), Err(RunError::Nested))
        });
        assert!(nested.unwrap());
        runner.close().unwrap();
        runner.close().unwrap();
        assert!(matches!(runner.run(async {}), Err(RunError::Closed)));
        assert!(matches!(runner.event_loop(), Err(RunError::Closed)));
    });
}

#[test]
fn everything_is_ended_also_when_main_panics() {
    audited(|| {
        let trace = Trace::new();
        let t = trace.clone();
        let text = panic_text(move || {
            let _ = run(async move {
                left_behind(async move |_| {
                    yield_now().await;
                    t.push("clean");
                })
                .await;
                panic!("on purpose");
            });
        });
        assert_eq!(text, "on purpose");
        trace.expect(["clean"]);
    });
}

#[test]
fn a_task_that_stops_the_loop_does_not_end_the_end() {
    let main = async |trace: Trace| {
        left_behind(async move |_| {
            get_running_loop().stop();
            sleep(SECOND).await;
            trace.push("clean");
        })
        .await;
    };
    ends_with(main, ["clean"]);
}

#[test]
fn a_main_that_cancels_itself_says_so() {
    audited(|| {
        let result = run(async {
            current_task().unwrap().cancel_with("by myself");
            sleep(SECOND).await;
        });
        let Err(RunError::Cancelled(cancellation)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(cancellation.message(), Some("by myself"));
    });
}

#[test]
fn errors_of_a_run_a_task_and_a_job_become_errors_of_io_and_those_of_the_system_stay_what_they_are()
{
    let refused = || io::Error::from_raw_os_error(libc::EMFILE);
    let errors = [
        io::Error::from(RunError::Io(refused())),
        io::Error::from(ExecutorError::Io(refused())),
        io::Error::from(RunError::Stopped),
        io::Error::from(ExecutorError::Cancelled),
        io::Error::from(TaskError::AwaitsItself),
    ];
    let seen = errors
        .each_ref()
        .map(|error| (error.raw_os_error(), error.kind()));
    let other = (None, io::ErrorKind::Other);
    let system = (Some(libc::EMFILE), refused().kind());
    assert_eq!(seen, [system, system, other, other, other]);
    for (error, text) in errors[2..].iter().zip([
        "the event loop was stopped before the future completed",
        "the job was cancelled before it began",
        "the task awaits itself",
    ]) {
        assert_eq!(error.to_string(), text);
    }
    assert!(errors[4].get_ref().unwrap().is::<TaskError>());
}
