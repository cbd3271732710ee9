//! Code that calls the loop from destructors, wakers and handlers, panics there, or nests a million deep.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use callsoon::{
    EventLoop, Future, Handle, LoopClosed, LoopHandle, LoopLocal, RunError, Task, TimerHandle,
    yield_now,
};

use crate::support::{DropProbe, PENDING, Trace, audited, one_turn, virtual_loop, watched};

/// Calls a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

type End = (&'static str, fn(EventLoop));

/// The three ways in which a loop ends.
const ENDS: [End; 3] = [
    ("close", |event_loop| {
        event_loop.close().unwrap();
        drop(event_loop);
    }),
    ("drop", drop),
    ("unwind", |event_loop| {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _event_loop = event_loop;
            panic!("on purpose: unwinding through the owner");
        }));
        assert!(unwound.is_err());
    }),
];

#[test]
fn b2_destructors_that_panic_at_close_keep_no_other_from_being_dropped() {
    audited(|| {
        for (name, end) in ENDS {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            let dropped = Rc::new(Cell::new(0));
            let counts = |panics: bool| {
                let dropped = Rc::clone(&dropped);
                OnDrop(move || {
                    dropped.set(dropped.get() + 1);
                    assert!(!panics, "on purpose");
                })
            };
            // Each thing that a loop holds, a hundred of each kind, every seventh of them bad.
            for n in 0..100 {
                let held: [_; 4] = [0, 1, 2, 3].map(|kind| counts((n + kind) % 7 == 0));
                let [task, call, timer, callback] = held;
                let task = event_loop.create_task(async move {
                    let _task = task;
                    pending::<()>().await;
                });
                task.add_done_callback(move |_| drop(callback));
                task.detach();
                if n % 2 == 0 {
                    one_turn(&event_loop); // every second one has begun to run
                }
                event_loop.call_later(Duration::from_secs(1 + n), move || drop(timer));
                let _ = event_loop.metrics();
                event_loop.call_soon(move || drop(call));
            }
            trace.take();
            let before = dropped.get();
            end(event_loop);
            assert_eq!(dropped.get(), 400, "{name}, {before} before the end");
            let mut reports = trace.take();
            let all = reports.len();
            reports.retain(|line| line != PENDING);
            // While a panic unwinds, the tasks that are left are no news.
            let pending = if name == "unwind" { 0 } else { 100 };
            assert_eq!(all - reports.len(), pending, "{name}");
            assert!(!reports.is_empty());
            let of_close =
                |report: &String| report.starts_with("report: Exception in a destructor while");
            assert!(reports.iter().all(of_close), "{name}: {reports:?}");
        }
    });
}

#[test]
fn b3_destructors_that_start_new_work_at_close_are_refused_and_closing_ends() {
    audited(watched(|| {
        for (name, end) in ENDS {
            let trace = Trace::new();
            let event_loop = virtual_loop(&trace);
            let handle = event_loop.handle();
            let waker = Rc::new(RefCell::new(None::<std::task::Waker>));
            let nasty = |kind: usize| {
                let (handle, trace, waker) = (handle.clone(), trace.clone(), Rc::clone(&waker));
                OnDrop(move || nasty_drop(kind, &handle, &trace, &waker))
            };
            let kept = Rc::clone(&waker);
            event_loop
                .create_task(std::future::poll_fn(move |context| {
                    *kept.borrow_mut() = Some(context.waker().clone());
                    std::task::Poll::<()>::Pending
                }))
                .detach();
            for kind in 0..KINDS {
                let [task, call, timer, local] = [(); 4].map(|()| nasty(kind));
                event_loop
                    .create_task(async move {
                        let _task = task;
                        pending::<()>().await;
                    })
                    .detach();
                one_turn(&event_loop);
                event_loop.call_soon(move || drop(call));
                event_loop.call_later(Duration::from_secs(9), move || drop(timer));
                LOCALS.with(&event_loop, |locals| {
                    locals.borrow_mut().push(Box::new(local))
                });
            }
            // The calls have run in the turns above, all but the last: no close there, so nothing was refused.
            trace.take();
            end(event_loop);
            let mut lines = trace.take();
            let all = lines.len();
            lines.retain(|line| line != PENDING);
            let pending = if name == "unwind" { 0 } else { KINDS + 1 };
            assert_eq!(all - lines.len(), pending, "{name}");
            let refused = lines.iter().filter(|line| *line == "refused").count();
            assert_eq!(refused, lines.len(), "{name}: {lines:?}");
            // 5 kinds in 3 places each, and the one callback that has not run.
            assert_eq!(refused, KINDS * 3 + 1, "{name}");
            assert!(handle.is_closed() && handle.all_tasks().is_empty());
            let metrics = handle.metrics();
            assert_eq!((metrics.ready, metrics.timers, metrics.sources), (0, 0, 0));
        }
    }));
}

static LOCALS: LoopLocal<RefCell<Vec<Box<dyn std::any::Any>>>> =
    LoopLocal::new(|| RefCell::new(Vec::new()));

const KINDS: usize = 5;

/// Tries to start something, and says whether it was refused.
fn nasty_drop(
    kind: usize,
    handle: &LoopHandle,
    trace: &Trace,
    waker: &RefCell<Option<std::task::Waker>>,
) {
    let open = !handle.is_closed();
    let refused = match kind {
        // A hundred tasks, each of which would spawn the next one when it is dropped.
        0 => spawns_at_its_end(handle, 100),
        1 => {
            let at = handle.call_at(handle.time(), || ()).cancelled();
            at && handle.call_later(Duration::ZERO, || ()).cancelled()
        }
        2 => {
            if let Some(waker) = &*waker.borrow() {
                waker.wake_by_ref();
            }
            handle.call_soon(|| ()).cancelled()
        }
        3 => matches!(handle.remote().call_soon_threadsafe(|| ()), Err(LoopClosed)),
        _ => {
            let other = EventLoop::new().unwrap();
            let nested = matches!(other.run_forever(), Err(RunError::Nested));
            handle.stop();
            nested && handle.is_closed()
        }
    };
    assert!(open != refused, "kind {kind}");
    trace.push(if refused { "refused" } else { "taken" });
}

/// Whether the loop takes no task any more; what it refuses is dropped at once, and then tries again itself.
fn spawns_at_its_end(handle: &LoopHandle, depth: usize) -> bool {
    if depth == 0 {
        return true;
    }
    if !handle.is_closed() {
        handle.create_task(async {}).detach();
        return false;
    }
    let again = handle.clone();
    let refused = Rc::new(Cell::new(false));
    let seen = Rc::clone(&refused);
    let on_drop = OnDrop(move || seen.set(spawns_at_its_end(&again, depth - 1)));
    let task = handle.create_task(async move {
        let _on_drop = on_drop;
        pending::<()>().await;
    });
    task.cancelled() && task.done() && refused.get()
}

#[test]
fn b3_a_task_that_closes_its_own_loop_is_refused_while_it_runs_and_harmless_at_its_end() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = Rc::new(virtual_loop(&trace));
        let owner = Rc::downgrade(&event_loop);
        let t = trace.clone();
        let closes = move |place: &str| {
            if let Some(owner) = owner.upgrade() {
                t.push(format!("{place}: {:?}", owner.close().is_ok()));
            }
        };
        let at_end = closes.clone();
        event_loop
            .create_task(async move {
                let _on_drop = OnDrop(move || at_end("destructor"));
                closes("step");
                pending::<()>().await;
            })
            .detach();
        one_turn(&event_loop);
        event_loop.close().unwrap();
        trace.expect(["step: false", PENDING, "destructor: true"]); // a second close does nothing
    });
}

#[test]
fn b4_a_loop_local_whose_making_uses_the_loop_local_is_made_once() {
    static DEPTH: LoopLocal<Cell<u32>> = LoopLocal::new(|| Cell::new(0));
    static NESTED: LoopLocal<Cell<u32>> = LoopLocal::new(|| {
        let handle = callsoon::get_running_loop();
        let depth = DEPTH.with(&handle, |depth| depth.replace(depth.get() + 1));
        if depth == 0 {
            NESTED.with(&handle, |inner| inner.set(7));
        }
        Cell::new(0)
    });
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let seen = event_loop
            .run_until_complete(async {
                let handle = callsoon::get_running_loop();
                let first = NESTED.with(&handle, |value| {
                    value.set(value.get() + 1);
                    value.get()
                });
                (first, NESTED.with(&handle, Cell::get))
            })
            .unwrap();
        assert_eq!(seen.0, seen.1, "both looks see one value");
    });
}

#[test]
fn b4_a_callback_cancels_the_next_one_and_the_one_after_still_runs() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let next = Rc::new(RefCell::new(None::<Handle>));
        let (t, victim) = (trace.clone(), Rc::clone(&next));
        event_loop.call_soon(move || {
            victim.take().unwrap().cancel();
            t.push("cancelled the next");
        });
        let probe = DropProbe::new(&trace, "its captures");
        *next.borrow_mut() = Some(event_loop.call_soon(move || drop(probe)));
        event_loop.call_soon(trace.note("the one after"));
        one_turn(&event_loop);
        trace.expect(["drop its captures", "cancelled the next", "the one after"]);
    });
}

#[test]
fn b4_a_timer_cancels_itself_and_its_equal_while_they_fire() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let handles = Rc::new(RefCell::new(Vec::<TimerHandle>::new()));
        let (t, own) = (trace.clone(), Rc::clone(&handles));
        let second = Duration::from_secs(1);
        let first = event_loop.call_later(second, move || {
            for handle in own.borrow().iter() {
                handle.cancel();
            }
            t.push("cancelled both");
        });
        let peer = event_loop.call_later(second, || unreachable!());
        handles.borrow_mut().extend([first, peer]);
        event_loop.call_later(second, trace.note("the third"));
        event_loop
            .run_until_complete(callsoon::sleep(2 * second))
            .unwrap();
        trace.expect(["cancelled both", "the third"]);
    });
}

/// Deep enough to overflow any stack that a recursion would use.
const MILLION: usize = 1_000_000;

/// Runs a test on a stack of 256 KiB.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let name = thread::current().name().unwrap().to_owned();
    let small = thread::Builder::new()
        .name(name)
        .stack_size(256 << 10)
        .spawn(test);
    if let Err(panic) = small.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// A million tasks, each awaiting the next; the innermost awaits the future.
fn chain(event_loop: &EventLoop, future: &Future<()>) -> Task<()> {
    let innermost = future.clone();
    let mut task = event_loop.create_task(async move { innermost.await.unwrap() });
    for _ in 1..MILLION {
        task = event_loop.create_task(async move { task.await.unwrap() });
    }
    one_turn(event_loop);
    assert_eq!(event_loop.metrics().tasks, MILLION);
    task
}

#[test]
fn b6_a_million_tasks_that_await_each_other_complete_one_after_another() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let future = event_loop.create_future();
            let outermost = chain(&event_loop, &future);
            future.set_result(()).unwrap();
            let before = event_loop.metrics().turns;
            event_loop.run_until_complete(outermost).unwrap().unwrap();
            // One turn for each, and not one stack frame for each.
            assert!(event_loop.metrics().turns - before >= MILLION as u64);
            assert_eq!(event_loop.metrics().tasks, 0);
        });
    }));
}

#[test]
fn b6_a_million_tasks_that_await_each_other_are_cancelled_and_closed() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let future = event_loop.create_future();
            let outermost = chain(&event_loop, &future);
            for task in event_loop.all_tasks() {
                assert!(task.cancel());
            }
            one_turn(&event_loop);
            assert_eq!(event_loop.metrics().tasks, 0);
            assert!(outermost.cancelled());
            assert!(
                future.cancelled(),
                "a cancellation goes down to what is awaited"
            );
            drop(chain(&event_loop, &event_loop.create_future()));
        });
    }));
}

#[test]
fn b6_a_million_futures_whose_callbacks_set_the_next_end_one_after_another() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let last = event_loop.create_future::<()>();
            let mut first = last.clone();
            for _ in 1..MILLION {
                let (next, future) = (first, event_loop.create_future::<()>());
                future.add_done_callback(move |_| next.set_result(()).unwrap());
                first = future;
            }
            event_loop.call_soon(move || first.set_result(()).unwrap());
            event_loop.run_until_complete(last).unwrap().unwrap();
        });
    }));
}

#[test]
fn b6_a_million_awaiters_of_one_future_are_woken_in_order() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let future = event_loop.create_future::<()>();
            let next = Rc::new(Cell::new(0));
            for number in 0..MILLION {
                let (next, future) = (Rc::clone(&next), future.clone());
                let awaiter = async move {
                    future.await.unwrap();
                    assert_eq!(next.replace(number + 1), number);
                };
                event_loop.create_task(awaiter).detach();
            }
            one_turn(&event_loop);
            future.set_result(()).unwrap();
            one_turn(&event_loop);
            assert_eq!((next.get(), event_loop.metrics().tasks), (MILLION, 0));
        });
    }));
}

#[test]
fn b6_a_task_polls_a_million_yields_in_a_row_on_a_small_stack() {
    audited(watched(|| {
        on_a_small_stack(|| {
            let event_loop = virtual_loop(&Trace::new());
            let yields = async {
                for _ in 0..MILLION {
                    yield_now().await;
                }
            };
            event_loop.run_until_complete(yields).unwrap();
        });
    }));
}
