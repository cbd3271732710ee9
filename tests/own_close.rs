//! Its own binary because what goes wrong here aborts the process: each scenario runs in a child whose exit status is
//! checked.

use std::cell::Cell;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::{Command, Stdio, exit};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use callsoon::{EventLoop, ExceptionContext, LoopHandle};

/// Set in the child, to the name of its scenario.
const CHILD: &str = "CALLSOON_OWN_CLOSE";

/// The exit code of a child that got to its end: not that of a failed test, nor that of a signal.
const SURVIVED: i32 = 42;

/// Runs `scenario` in a child process and asserts that it comes to its end.
fn survives(test: &str, scenario: fn()) {
    if std::env::var_os(CHILD).is_some_and(|name| name == test) {
        std::panic::set_hook(Box::new(|_| ()));
        let passed = catch_unwind(scenario);
        let _ = std::panic::take_hook();
        if let Err(panic) = passed {
            std::panic::resume_unwind(panic);
        }
        exit(SURVIVED);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CHILD, test)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(SURVIVED),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Counts itself when it is dropped, then panics if that is set.
struct Counted {
    drops: Rc<Cell<usize>>,
    panics: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        if self.panics {
            panic!("on purpose");
        }
    }
}

impl Future for Counted {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

const TASKS: usize = 1000;

/// How many reports there were about panics, and how many about tasks that were pending at close.
type Reports = Rc<Cell<(usize, usize)>>;

/// A loop with a thousand pending tasks, every tenth with a destructor that panics, and how many were dropped.
fn crowded() -> (EventLoop, Rc<Cell<usize>>, Reports) {
    let event_loop = EventLoop::new().unwrap();
    let reports = Reports::default();
    let counted = Rc::clone(&reports);
    event_loop.set_exception_handler(move |_, context| {
        let (panics, pending) = counted.get();
        counted.set(match context.panic {
            Some(_) => (panics + 1, pending),
            None => (panics, pending + 1),
        });
    });
    let drops = Rc::new(Cell::new(0));
    for n in 0..TASKS {
        let future = Counted {
            drops: Rc::clone(&drops),
            panics: n % 10 == 0,
        };
        event_loop.create_task(future).detach();
        if n == TASKS / 2 {
            event_loop.stop();
            event_loop.run_forever().unwrap();
        }
    }
    (event_loop, drops, reports)
}

#[test]
fn b2_close_drops_a_thousand_tasks_although_some_panic() {
    survives(
        "b2_close_drops_a_thousand_tasks_although_some_panic",
        || {
            let (event_loop, drops, reports) = crowded();
            event_loop.close().unwrap();
            assert_eq!((drops.get(), reports.get()), (TASKS, (TASKS / 10, TASKS)));
            drop(event_loop);
            assert_eq!(drops.get(), TASKS);
        },
    );
}

#[test]
fn b2_a_loop_that_is_dropped_by_unwinding_drops_a_thousand_tasks_although_some_panic() {
    survives(
        "b2_a_loop_that_is_dropped_by_unwinding_drops_a_thousand_tasks_although_some_panic",
        || {
            let (event_loop, drops, reports) = crowded();
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _event_loop = event_loop;
                panic!("on purpose: the owner");
            }));
            assert!(unwound.is_err());
            // While a panic unwinds, the tasks that are left are no news.
            assert_eq!((drops.get(), reports.get()), (TASKS, (TASKS / 10, 0)));
        },
    );
}

#[test]
fn b2_a_handler_that_panics_while_a_loop_is_dropped_by_unwinding_is_survived() {
    survives(
        "b2_a_handler_that_panics_while_a_loop_is_dropped_by_unwinding_is_survived",
        || {
            let (event_loop, drops, _) = crowded();
            event_loop.set_exception_handler(|_, _| panic!("on purpose: the handler"));
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _event_loop = event_loop;
                panic!("on purpose: the owner");
            }));
            assert!(unwound.is_err());
            assert_eq!(drops.get(), TASKS);
        },
    );
}

#[test]
fn b3_destructors_that_use_a_loop_while_the_thread_unwinds_are_refused_and_not_panicked_at() {
    struct UsesLoop(LoopHandle, Rc<Cell<usize>>);
    impl Drop for UsesLoop {
        fn drop(&mut self) {
            let refused = [
                self.0.call_soon(|| ()).cancelled(),
                self.0.call_later(Duration::ZERO, || ()).cancelled(),
                self.0.create_task(async {}).cancelled(),
                self.0.remote().call_soon_threadsafe(|| ()).is_err(),
            ];
            assert_eq!(refused, [self.0.is_closed(); 4]);
            self.1.set(self.1.get() + 1);
        }
    }
    survives(
        "b3_destructors_that_use_a_loop_while_the_thread_unwinds_are_refused_and_not_panicked_at",
        || {
            let used = Rc::new(Cell::new(0));
            let event_loop = EventLoop::new().unwrap();
            let held = UsesLoop(event_loop.handle(), Rc::clone(&used));
            event_loop
                .create_task(async move {
                    let _held = held;
                    pending::<()>().await;
                })
                .detach();
            // Dropped before the loop, after it, and by it.
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _after = UsesLoop(event_loop.handle(), Rc::clone(&used));
                let event_loop = event_loop;
                let _before = UsesLoop(event_loop.handle(), Rc::clone(&used));
                panic!("on purpose: the owner");
            }));
            assert!(unwound.is_err());
            assert_eq!(used.get(), 3);
        },
    );
}

#[test]
fn b3_work_that_a_closed_loop_refuses_may_panic_in_its_destructor() {
    survives(
        "b3_work_that_a_closed_loop_refuses_may_panic_in_its_destructor",
        || {
            let event_loop = EventLoop::new().unwrap();
            event_loop.close().unwrap();
            let drops = Rc::new(Cell::new(0));
            let bad = || Counted {
                drops: Rc::clone(&drops),
                panics: true,
            };
            // The call says that the loop is closed, by a panic; the destructor's would be the second at once.
            let (soon, later, task) = (bad(), bad(), bad());
            let refused = [
                catch_unwind(AssertUnwindSafe(|| {
                    drop(event_loop.call_soon(move || drop(soon)))
                })),
                catch_unwind(AssertUnwindSafe(|| {
                    drop(event_loop.call_later(Duration::ZERO, move || drop(later)));
                })),
                catch_unwind(AssertUnwindSafe(|| drop(event_loop.create_task(task)))),
            ];
            assert!(refused.iter().all(Result::is_err));
            assert_eq!(drops.get(), 3);
        },
    );
}

#[test]
fn b1_reports_during_unwinding_go_to_the_handler() {
    survives("b1_reports_during_unwinding_go_to_the_handler", || {
        let event_loop = EventLoop::new().unwrap();
        let reports = Rc::new(Cell::new(0));
        let counted = Rc::clone(&reports);
        event_loop.set_exception_handler(move |_, _: &ExceptionContext| {
            counted.set(counted.get() + 1);
            panic!("on purpose: the handler");
        });
        let task = event_loop.create_task(async { panic!("on purpose: the task") });
        event_loop.stop();
        event_loop.run_forever().unwrap();
        let future = event_loop.create_future::<()>();
        future.set_exception("unseen").unwrap();
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _both: (callsoon::Task<()>, callsoon::Future<()>) = (task, future);
            panic!("on purpose: their owner");
        }));
        assert!(unwound.is_err());
        assert_eq!(reports.get(), 2);
    });
}
