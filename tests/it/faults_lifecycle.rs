//! Faults B5, K1 and K2: runs inside runs, and loops that end with everything still pending.

use std::cell::Cell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use callsoon::net::{TcpListener, TcpStream};
use callsoon::{EventLoop, FutureError, RunError, TaskError, get_running_loop, sleep};
use futures_lite::future::{block_on, poll_once};

use crate::support::{
    PENDING, Trace, audited, counted_fds, on_virtual_time, one_turn, virtual_loop, watched,
};

const HOUR: Duration = Duration::from_secs(3600);

/// What each way of running `event_loop`, or a new one, says.
fn every_run(event_loop: &EventLoop) -> Vec<String> {
    fn outcome<T>(result: Result<T, RunError>) -> String {
        match result {
            Ok(_) => "Ok".to_owned(),
            Err(RunError::Nested) => "Nested".to_owned(),
            Err(error) => error.to_string(),
        }
    }
    vec![
        outcome(event_loop.run_until_complete(async {})),
        outcome(event_loop.turn(Some(Duration::ZERO))),
        outcome({
            event_loop.stop();
            event_loop.run_forever()
        }),
        outcome(callsoon::run(async {})),
    ]
}

#[test]
fn b5_a_run_inside_a_run_is_an_error_and_no_deadlock() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = Rc::new(virtual_loop(&trace));
        let (own, t) = (Rc::clone(&event_loop), trace.clone());
        // In a callback of the same loop; the stop that `every_run` asks for is its own.
        event_loop.call_soon(move || t.push(format!("{:?}", every_run(&own))));
        event_loop.run_forever().unwrap();
        trace.expect([r#"["Nested", "Nested", "Nested", "Nested"]"#]);
        assert!(!event_loop.is_running());
    }));
}

#[test]
fn b5_a_run_inside_another_loops_callback_or_task_is_an_error_and_both_go_on() {
    audited(watched(|| {
        let trace = Trace::new();
        let (outer, inner) = (virtual_loop(&trace), Rc::new(virtual_loop(&trace)));
        let (other, t) = (Rc::clone(&inner), trace.clone());
        outer.call_soon(move || t.push(format!("{:?}", every_run(&other))));
        let (other, t) = (Rc::clone(&inner), trace.clone());
        let result = outer.run_until_complete(async {
            t.push(format!("{:?}", every_run(&other)));
            // Nor through another executor in between.
            t.push(format!("{:?}", block_on(async { every_run(&other) })));
            sleep(HOUR).await;
        });
        result.unwrap();
        trace.expect([r#"["Nested", "Nested", "Nested", "Nested"]"#; 3]);
        // Refused runs changed nothing; the inner loop still has the stop that was asked for.
        assert_eq!(every_run(&inner), ["Ok"; 4]);
    }));
}

#[test]
fn b5_a_loop_runs_inside_another_executor_and_on_another_thread() {
    on_virtual_time(|_, event_loop| {
        let value = block_on(async {
            event_loop.run_until_complete(async {
                let elsewhere = std::thread::spawn(|| callsoon::run(async { 1 }).unwrap());
                elsewhere.join().unwrap() + 1
            })
        });
        assert_eq!(value.unwrap(), 2);
    });
}

#[test]
fn b5_a_run_inside_a_destructor_during_close_is_an_error() {
    audited(|| {
        struct RunsInDrop(Trace, Rc<EventLoop>);
        impl Drop for RunsInDrop {
            fn drop(&mut self) {
                let runs = every_run(&self.1);
                self.0
                    .push(format!("{runs:?} {:?}", self.1.close().is_ok()));
            }
        }
        let trace = Trace::new();
        let (closing, other) = (virtual_loop(&trace), Rc::new(virtual_loop(&trace)));
        let runs = RunsInDrop(trace.clone(), Rc::clone(&other));
        closing.call_soon(move || drop(runs));
        // Its stop goes to a loop that is then closed from there, which is allowed: it is not running.
        drop(closing);
        trace.expect([r#"["Nested", "Nested", "Nested", "Nested"] true"#]);
        assert!(other.is_closed());
    });
}

#[test]
fn k2_running_and_closing_at_the_wrong_time_are_errors() {
    on_virtual_time(|_, event_loop| {
        // A stop before: one turn each, and the unfinished future is an error.
        event_loop.stop();
        event_loop.run_forever().unwrap();
        event_loop.stop();
        let stopped = event_loop.run_until_complete(pending::<()>());
        assert!(matches!(stopped, Err(RunError::Stopped)));
        assert_eq!(event_loop.metrics().turns, 2);
        // Closed, twice, and run afterwards.
        event_loop.close().unwrap();
        event_loop.close().unwrap();
        let closed = "Err(the event loop is closed)";
        assert_eq!(format!("{:?}", event_loop.run_forever()), closed);
        assert_eq!(format!("{:?}", event_loop.turn(None)), closed);
        assert_eq!(
            format!("{:?}", event_loop.run_until_complete(async {})),
            closed
        );
    });
}

#[test]
fn k2_what_belongs_to_another_loop_is_an_error_and_stays_unharmed() {
    audited(|| {
        let trace = Trace::new();
        let (home, other) = (virtual_loop(&trace), virtual_loop(&trace));
        let mut task = home.create_task(async { 1 });
        let result = other.run_until_complete(&mut task).unwrap();
        assert!(matches!(result, Err(TaskError::OtherLoop)));
        assert_eq!(home.run_until_complete(task).unwrap().unwrap(), 1);
        let future = home.create_future::<u32>();
        let result = other.run_until_complete(future.clone()).unwrap();
        assert!(matches!(result, Err(FutureError::OtherLoop)));
        future.set_result(2).unwrap();
        assert_eq!(home.run_until_complete(future).unwrap().unwrap(), 2);
    });
}

#[test]
fn k2_two_loops_of_a_thread_take_turns_and_keep_apart() {
    audited(|| {
        let trace = Trace::new();
        let (one, two) = (virtual_loop(&trace), virtual_loop(&trace));
        for (event_loop, name) in [(&one, "one"), (&two, "two")] {
            let t = trace.clone();
            event_loop.call_soon(move || {
                // The free functions mean the loop that runs them.
                let (first, second) = (t.note(format!("{name}: task")), t.note(name));
                callsoon::create_task(async move { first() }).detach();
                get_running_loop().call_soon(second);
            });
        }
        one_turn(&one);
        one_turn(&two);
        trace.expect([]);
        one_turn(&two);
        trace.expect(["two: task", "two"]);
        one_turn(&one);
        trace.expect(["one: task", "one"]);
        // A task of one that wakes a task of the other, which is not running.
        let future = two.create_future::<()>();
        let awaiting = future.clone();
        let woken = two.create_task(async move { awaiting.await.unwrap() });
        one_turn(&two);
        let setting = one.run_until_complete(async { future.set_result(()) });
        assert!(setting.unwrap().is_ok() && !woken.done());
        drop(one);
        assert!(two.run_until_complete(woken).unwrap().is_ok());
    });
}

/// Counts its drops and insists on their thread.
struct Counted {
    drops: Arc<AtomicUsize>,
    home: ThreadId,
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert_eq!(std::thread::current().id(), self.home);
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

const EACH: usize = 10_000;
const SOCKETS: usize = 100;

/// How many `Counted` `fill` leaves in a loop.
const COUNTED: usize = 6 * EACH + SOCKETS;

/// Leaves a loop with ten thousand of everything that can be pending.
fn fill(event_loop: &EventLoop, drops: &Arc<AtomicUsize>) {
    let counted = || Counted {
        drops: Arc::clone(drops),
        home: std::thread::current().id(),
    };
    for n in 0..EACH {
        let (sleeping, awaiting) = (counted(), counted());
        let future = event_loop.create_future::<Rc<Counted>>();
        event_loop
            .create_task(async move {
                let _counted = sleeping;
                sleep(HOUR).await;
            })
            .detach();
        event_loop
            .create_task(async move {
                // Awaits what only it could set: a cycle that close has to break.
                let _counted = awaiting;
                let _result = future.clone().await;
                drop(future);
            })
            .detach();
        if n == EACH / 2 {
            // Half of the tasks have had their first step.
            one_turn(event_loop);
        }
    }
    for n in 0..EACH {
        let (soon, later, posted, local) = (counted(), counted(), counted(), counted());
        event_loop.call_soon(move || drop(soon));
        let delay = Duration::from_nanos(1 << (n % 60));
        event_loop.call_later(delay, move || drop(later));
        // A timer that never fires, and holds a handle of its own loop.
        let handle = event_loop.handle();
        event_loop.call_later(Duration::MAX, move || drop((local, handle)));
        let post = move || drop(posted);
        event_loop.remote().call_soon_threadsafe(post).unwrap();
    }
}

/// Leaves sockets of which each has a task that waits for it. What they connect to goes away with the caller.
fn fill_sockets(event_loop: &EventLoop, drops: &Arc<AtomicUsize>) {
    let listening = TcpListener::bind("127.0.0.1:0");
    let listener = event_loop.run_until_complete(listening).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..SOCKETS {
        let counted = Counted {
            drops: Arc::clone(drops),
            home: std::thread::current().id(),
        };
        let connecting = TcpStream::connect(address);
        let stream = event_loop.run_until_complete(connecting).unwrap().unwrap();
        event_loop
            .create_task(async move {
                let _counted = counted;
                let _received = stream.read(&mut [0; 16]).await;
            })
            .detach();
    }
    let accepting = async move {
        let mut clients = Vec::new();
        loop {
            clients.push(listener.accept().await);
        }
    };
    event_loop.create_task(accepting).detach();
    for _ in 0..SOCKETS {
        one_turn(event_loop);
    }
    assert_eq!(event_loop.metrics().sources, 2 * SOCKETS + 1);
}

#[test]
fn k1_every_way_to_end_a_full_loop_drops_everything_once_on_its_thread() {
    audited(|| {
        // How it ends, and whether that is while a panic unwinds, when the tasks that are left are no news.
        let ways: [(fn(EventLoop), bool); 3] = [
            (drop, false),
            (
                |event_loop| {
                    event_loop.close().unwrap();
                    let metrics = event_loop.metrics();
                    assert_eq!(metrics.ready + metrics.timers + metrics.tasks, 0);
                    assert_eq!(metrics.sources, 0);
                },
                false,
            ),
            (
                |event_loop| {
                    let unwound = catch_unwind(AssertUnwindSafe(move || {
                        let _unwinding = event_loop;
                        resume_unwind(Box::new("on purpose"));
                    }));
                    assert!(unwound.is_err());
                },
                true,
            ),
        ];
        for (end, unwinds) in ways {
            let (before, trace) = (counted_fds(), Trace::new());
            let drops = Arc::new(AtomicUsize::new(0));
            let event_loop = virtual_loop(&trace);
            fill_sockets(&event_loop, &drops);
            fill(&event_loop, &drops);
            assert_eq!(drops.load(Ordering::Relaxed), 0);
            let metrics = event_loop.metrics();
            assert_eq!(
                (metrics.tasks, metrics.sources),
                (2 * EACH + SOCKETS + 1, 2 * SOCKETS + 1)
            );
            end(event_loop);
            assert_eq!(drops.load(Ordering::Relaxed), COUNTED);
            assert_eq!(Arc::strong_count(&drops), 1);
            assert_eq!(counted_fds(), before);
            let named = trace.take();
            let is_pending = |line: &String| *line == PENDING;
            assert!(named.iter().all(is_pending), "{named:?}");
            assert_eq!(named.len(), if unwinds { 0 } else { metrics.tasks });
        }
    });
}

#[test]
fn k1_what_outlives_its_loop_is_harmless() {
    on_virtual_time(|trace, event_loop| {
        let handle = event_loop.handle();
        let (soon, later) = (
            event_loop.call_soon(|| ()),
            event_loop.call_later(HOUR, || ()),
        );
        let remote = event_loop.remote();
        let posted = remote.call_soon_threadsafe(|| ()).unwrap();
        let future = event_loop.create_future::<u32>();
        let task = event_loop.create_task(sleep(HOUR));
        let mut sleeping = Box::pin(sleep(HOUR));
        let polled = event_loop.run_until_complete(poll_once(&mut sleeping));
        assert!(polled.unwrap().is_none());
        drop(event_loop);

        soon.cancel();
        later.cancel();
        assert!(!posted.cancel());
        assert!(task.cancelled() && !task.cancel());
        future.set_result(1).unwrap();
        assert_eq!(future.result().unwrap().unwrap(), 1);
        assert!(handle.is_closed() && remote.is_closed());
        drop((handle, task, future, sleeping));
        trace.expect([PENDING]);
    });
}

#[test]
fn k1_a_sleep_whose_loop_has_closed_does_not_end_early() {
    on_virtual_time(|_, event_loop| {
        let mut sleeping = Box::pin(sleep(HOUR));
        let polled = event_loop.run_until_complete(poll_once(&mut sleeping));
        assert!(polled.unwrap().is_none());
        drop(event_loop);
        let polled = block_on(poll_once(&mut sleeping));
        assert!(polled.is_none(), "an hour has not passed");
    });
}

#[test]
fn k1_a_task_that_spawns_while_it_is_dropped_ends_the_close_all_the_same() {
    audited(|| {
        struct Respawning(callsoon::LoopHandle, Rc<Cell<u32>>);
        impl Drop for Respawning {
            fn drop(&mut self) {
                self.1.set(self.1.get() + 1);
                // Refused and dropped at once. Were it accepted, it would be left over, or close would never end.
                let (handle, counter) = (self.0.clone(), Rc::clone(&self.1));
                let task = handle.create_task(async move { drop(counter) });
                assert!(task.cancelled());
            }
        }
        let event_loop = virtual_loop(&Trace::new());
        let drops = Rc::new(Cell::new(0));
        for _ in 0..1_000 {
            let respawning = Respawning(event_loop.handle(), Rc::clone(&drops));
            let task = async move {
                let _respawning = respawning;
                pending::<()>().await;
            };
            event_loop.create_task(task).detach();
        }
        drop(event_loop);
        assert_eq!((drops.get(), Rc::strong_count(&drops)), (1_000, 1));
    });
}
