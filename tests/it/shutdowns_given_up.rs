//! Shutdowns whose future is dropped before they have ended: the next shutdown waits for the same work.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use callsoon::{
    Clock, ContextVar, EventLoop, RunError, Runner, ThreadPoolExecutor, catch_cancelled,
    create_task, defer_async_drop, get_running_loop, run_in_executor, sleep, timeout, to_thread,
    yield_now,
};

use crate::support::{
    DropProbe, Trace, audited, complete, on_real_time, on_virtual_time, panic_text, poll_once,
    record_reports,
};

const SECOND: Duration = Duration::from_secs(1);

static USER: ContextVar<&str> = ContextVar::new("user");

/// A runner on virtual time whose loop reports into the trace.
fn virtual_runner(trace: &Trace) -> Runner {
    let mut runner = Runner::with_builder(EventLoop::builder().clock(Clock::Virtual));
    record_reports(runner.event_loop().unwrap(), trace);
    runner
}

#[test]
fn a_second_shutdown_of_the_default_executor_waits_for_the_jobs_that_the_first_has_given_up() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let (release, gate) = mpsc::channel::<()>();
            let job = run_in_executor(None, move || gate.recv());
            let event_loop = get_running_loop();
            let mut first = Box::pin(event_loop.shutdown_default_executor(60 * SECOND));
            assert!(poll_once(&mut first).await.is_none());
            drop(first);
            let mut second = Box::pin(event_loop.shutdown_default_executor(60 * SECOND));
            assert!(poll_once(&mut second).await.is_none(), "the job runs");
            release.send(()).unwrap();
            assert_eq!(second.await, Ok(()));
            assert_eq!(job.await.unwrap(), Ok(()));
            assert!(to_thread(|| ()).await.is_err());
        });
    });
}

#[test]
fn a_pool_that_is_set_after_the_shutdown_does_not_take_the_place_of_one_whose_jobs_run() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let (release, gate) = mpsc::channel::<()>();
            let job = run_in_executor(None, move || gate.recv());
            let event_loop = get_running_loop();
            let mut first = Box::pin(event_loop.shutdown_default_executor(60 * SECOND));
            assert!(poll_once(&mut first).await.is_none());
            drop(first);
            event_loop.set_default_executor(ThreadPoolExecutor::new());
            let mut second = Box::pin(event_loop.shutdown_default_executor(60 * SECOND));
            assert!(poll_once(&mut second).await.is_none(), "the job runs");
            release.send(()).unwrap();
            assert_eq!(second.await, Ok(()));
            assert_eq!(job.await.unwrap(), Ok(()));
        });
    });
}

#[test]
fn the_end_of_a_program_waits_for_jobs_whose_shutdown_was_given_up() {
    for clock in [Clock::Monotonic, Clock::Virtual] {
        audited(move || {
            let ended = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&ended);
            let mut runner = Runner::with_builder(EventLoop::builder().clock(clock));
            let kept = Rc::new(RefCell::new(None));
            let keep = Rc::clone(&kept);
            let main = async move {
                let (release, gate) = mpsc::channel::<()>();
                let (begin, begun) = mpsc::channel::<()>();
                let job = run_in_executor(None, move || {
                    begin.send(()).unwrap();
                    gate.recv().unwrap();
                    std::thread::yield_now();
                    ended.store(true, SeqCst);
                });
                begun.recv().unwrap();
                create_task(job).detach();
                // The program's end runs this before it waits for jobs.
                let clean_up = defer_async_drop(async move { release.send(()).unwrap() });
                *keep.borrow_mut() = Some(clean_up);
                let shutdown = get_running_loop().shutdown_default_executor(60 * SECOND);
                assert!(poll_once(&mut Box::pin(shutdown)).await.is_none());
            };
            runner.run(main).unwrap();
            runner.close().unwrap();
            assert!(seen.load(SeqCst));
            drop(kept);
        });
    }
}

#[test]
fn every_waiter_for_clean_ups_waits_for_the_same_ones() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let event_loop = get_running_loop();
            let start = event_loop.time();
            let say = move |what: &str| {
                let seconds = (get_running_loop().time() - start).as_secs();
                t.push(format!("{seconds}: {what}"));
            };
            let said = say.clone();
            drop(defer_async_drop(async move {
                sleep(5 * SECOND).await;
                said("goodbye");
            }));
            let late = timeout(SECOND, event_loop.shutdown_async_drops()).await;
            assert!(late.is_err());
            say("the first has given up");
            let (beside, said) = (event_loop.clone(), say.clone());
            let second = create_task(async move {
                beside.shutdown_async_drops().await;
                said("the second has waited");
            });
            event_loop.shutdown_async_drops().await;
            say("the third has waited");
            second.await.unwrap();
        });
        trace.expect([
            "1: the first has given up",
            "5: goodbye",
            "5: the third has waited",
            "5: the second has waited",
        ]);
    });
}

#[test]
fn the_end_of_a_program_waits_for_clean_ups_whose_waiter_has_given_up() {
    audited(|| {
        let trace = Trace::new();
        let mut runner = virtual_runner(&trace);
        let t = trace.clone();
        let main = async move {
            drop(defer_async_drop(async move {
                sleep(5 * SECOND).await;
                t.push("goodbye");
            }));
            let waiting = get_running_loop().shutdown_async_drops();
            assert!(timeout(SECOND, waiting).await.is_err());
        };
        runner.run(main).unwrap();
        runner.close().unwrap();
        trace.expect(["goodbye"]);
    });
}

#[test]
fn clean_ups_that_wait_for_clean_ups_do_not_wait_for_each_other() {
    on_virtual_time(|trace, event_loop| {
        let t = trace.clone();
        complete(&event_loop, async move {
            let event_loop = get_running_loop();
            for name in ["one", "other"] {
                let (t, within) = (t.clone(), event_loop.clone());
                drop(defer_async_drop(async move {
                    let inner = t.clone();
                    let inside = defer_async_drop(async move {
                        sleep(SECOND).await;
                        inner.push(format!("inside {name}"));
                    });
                    within.shutdown_async_drops().await;
                    drop(inside);
                    t.push(name);
                }));
            }
            event_loop.shutdown_async_drops().await;
        });
        // Each has started its own, and waits for that alone.
        trace.expect(["inside one", "inside other", "one", "other"]);
    });
}

#[test]
fn a_clean_up_s_task_is_created_where_the_clean_up_was_deposited() {
    on_virtual_time(|_, event_loop| {
        complete(&event_loop, async {
            let goodbye = defer_async_drop(pending());
            let line = line!() - 1;
            drop(goodbye);
            let tasks = get_running_loop().all_tasks();
            let task = tasks.iter().find(|task| task.name() == "async drop");
            let place = task.unwrap().location();
            assert_eq!((place.file(), place.line()), (file!(), line));
            for task in tasks {
                if task.name() == "async drop" {
                    task.cancel();
                }
            }
        });
    });
}

/// Runs `first` with a variable set, however it ends, and says what the next run finds.
fn next_run_finds(first: impl FnOnce(&mut Runner)) -> Option<&'static str> {
    let mut runner = Runner::with_builder(EventLoop::builder().clock(Clock::Virtual));
    let set = runner.run(async {
        USER.set("ann");
    });
    set.unwrap();
    first(&mut runner);
    runner.run(async { USER.get() }).unwrap()
}

#[test]
fn a_runner_keeps_its_context_however_a_run_ends() {
    audited(|| {
        assert_eq!(next_run_finds(|_| ()), Some("ann"));
        let stopped = next_run_finds(|runner| {
            let stopped = runner.run(async {
                get_running_loop().stop();
                pending::<()>().await
            });
            assert!(matches!(stopped, Err(RunError::Stopped)));
        });
        assert_eq!(stopped, Some("ann"));
        let cancelled = next_run_finds(|runner| {
            let cancelled = runner.run(async {
                callsoon::current_task().unwrap().cancel();
                pending::<()>().await
            });
            assert!(matches!(cancelled, Err(RunError::Cancelled(_))));
        });
        assert_eq!(cancelled, Some("ann"));
        let panicked = next_run_finds(|runner| {
            let main = async { panic!("on purpose: main") };
            assert_eq!(panic_text(|| runner.run(main)), "on purpose: main");
        });
        assert_eq!(panicked, Some("ann"));
        let unmade = next_run_finds(|runner| {
            assert_eq!(panic_text(|| runner.run(Unmade)), "on purpose: unmade");
        });
        assert_eq!(unmade, Some("ann"));
        let nested = next_run_finds(|runner| {
            let nested = callsoon::run(async { runner.run(async {}) }).unwrap();
            assert!(matches!(nested, Err(RunError::Nested)));
        });
        assert_eq!(nested, Some("ann"));
    });
}

/// What panics when it is made into a future.
struct Unmade;

impl IntoFuture for Unmade {
    type Output = ();
    type IntoFuture = std::future::Ready<()>;

    fn into_future(self) -> Self::IntoFuture {
        panic!("on purpose: unmade")
    }
}

#[test]
fn what_a_stopped_or_panicked_run_has_set_is_there_for_the_next_also_what_its_destructors_set() {
    audited(|| {
        struct Sets;
        impl Drop for Sets {
            fn drop(&mut self) {
                assert_eq!(USER.get(), Some("bob"));
                USER.set("by a destructor");
            }
        }
        let stopped = next_run_finds(|runner| {
            let main = async {
                let _sets = Sets;
                USER.set("bob");
                get_running_loop().stop();
                pending::<()>().await
            };
            assert!(runner.run(main).is_err());
        });
        assert_eq!(stopped, Some("by a destructor"));
        let panicked = next_run_finds(|runner| {
            let main = async {
                USER.set("bob");
                panic!("on purpose: main")
            };
            assert!(catch_unwind(AssertUnwindSafe(|| runner.run(main))).is_err());
        });
        assert_eq!(panicked, Some("bob"));
    });
}

#[test]
fn the_loop_s_own_runs_between_those_of_a_runner_leave_its_context_alone() {
    audited(|| {
        let found = next_run_finds(|runner| {
            let event_loop = runner.event_loop().unwrap();
            let own = event_loop.run_until_complete(async { USER.set("not the runner's") });
            own.unwrap();
        });
        assert_eq!(found, Some("ann"));
    });
}

#[test]
fn a_runner_drops_its_context_when_it_is_closed() {
    audited(|| {
        static PROBE: ContextVar<Rc<DropProbe>> = ContextVar::new("probe");
        let trace = Trace::new();
        let mut runner = virtual_runner(&trace);
        let probe = Rc::new(DropProbe::new(&trace, "value"));
        let set = runner.run(async {
            PROBE.set(probe);
            get_running_loop().stop();
            pending::<()>().await
        });
        assert!(set.is_err());
        trace.expect([]);
        runner.close().unwrap();
        trace.expect(["drop value"]);
    });
}

#[test]
fn a_shutdown_timeout_beyond_the_clock_s_end_is_no_limit() {
    for limit in [
        Duration::from_secs(1_000_000),
        Duration::from_secs(u64::MAX / 1_000_000_000 + 1),
        Duration::MAX,
    ] {
        audited(move || {
            let trace = Trace::new();
            let mut runner = virtual_runner(&trace).shutdown_timeout(limit);
            let cleaned = Rc::new(Cell::new(false));
            let flag = Rc::clone(&cleaned);
            let main = async move {
                create_task(async move {
                    let cancelled = catch_cancelled(pending::<()>()).await.unwrap_err();
                    sleep(400 * SECOND).await;
                    flag.set(true);
                    cancelled.resume().await
                })
                .detach();
                yield_now().await;
            };
            runner.run(main).unwrap();
            runner.close().unwrap();
            assert!(cleaned.get(), "{limit:?}");
            trace.expect([]);
        });
    }
}
