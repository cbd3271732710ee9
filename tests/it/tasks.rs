//! Tasks: when they run, what they give, how they end. asyncio's `Task`, row by row; here a cancelled task is dropped at
//! its next step.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use callsoon::{TaskError, yield_now};

use crate::support::{
    CountingWaker, DropProbe, Trace, audited, one_turn, panic_text, virtual_loop,
};

#[test]
fn a_task_starts_in_the_next_turn_and_not_inside_create_task() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        event_loop.call_soon(move || {
            let inner = t.clone();
            callsoon::create_task(async move { inner.push("the task") }).detach();
            t.push("create_task has returned");
        });
        event_loop.call_soon(trace.note("same turn"));
        one_turn(&event_loop);
        trace.expect(["create_task has returned", "same turn"]);
        one_turn(&event_loop);
        trace.expect(["the task"]);
    });
}

#[test]
fn tasks_start_in_the_order_of_their_creation_among_callbacks() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        for n in 0..3 {
            let t = trace.clone();
            let task = async move { t.push(format!("task {n}")) };
            event_loop.create_task(task).detach();
            event_loop.call_soon(trace.note(format!("callback {n}")));
        }
        one_turn(&event_loop);
        trace.expect([
            "task 0",
            "callback 0",
            "task 1",
            "callback 1",
            "task 2",
            "callback 2",
        ]);
    });
}

#[test]
fn awaiting_a_future_directly_runs_it_inside_the_task_and_awaiting_tasks_costs_a_turn_each() {
    fn turn() -> u64 {
        callsoon::get_running_loop().metrics().turns
    }
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let start = event_loop.metrics().turns;
        let says = move |who: &str| t.push(format!("{who} in turn {}", turn() - start));
        let inline = says.clone();
        let inner = event_loop.create_task(async move {
            says("inner starts");
            yield_now().await;
            says("inner ends");
            says
        });
        let middle = event_loop.create_task(async move {
            let says = inner.await.unwrap();
            says("middle resumes");
            says
        });
        let outer = async move {
            async { inline("a plain block") }.await;
            let says = middle.await.unwrap();
            says("outer resumes");
        };
        event_loop.run_until_complete(outer).unwrap();
        trace.expect([
            "inner starts in turn 1",
            "a plain block in turn 1",
            "inner ends in turn 2",
            "middle resumes in turn 3",
            "outer resumes in turn 4",
        ]);
    });
}

#[test]
fn yield_now_gives_up_exactly_one_turn() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        for name in ["a", "b"] {
            let t = trace.clone();
            let task = async move {
                for step in 0..3 {
                    t.push(format!("{name}{step}"));
                    yield_now().await;
                }
            };
            event_loop.create_task(task).detach();
        }
        for expected in [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]] {
            one_turn(&event_loop);
            trace.expect(expected);
        }
        one_turn(&event_loop);
        assert!(event_loop.all_tasks().is_empty());
    });
}

/// Wakes its task and stays pending, `times` times: a future that is polled more often than it has progress to make.
async fn spurious(times: usize) {
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn spurious_polls_make_no_future_of_the_crate_finish_early() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let start = event_loop.time();
        let never = event_loop.create_future::<()>();
        let t = trace.clone();
        event_loop
            .run_until_complete(async move {
                let mut sleep = pin!(callsoon::sleep(Duration::from_secs(1)));
                let mut zero = pin!(callsoon::sleep(Duration::ZERO));
                let mut once = pin!(yield_now());
                let mut never = pin!(never);
                let mut task = pin!(callsoon::create_task(pending::<()>()));
                let turn = callsoon::get_running_loop().metrics().turns;
                poll_fn(|context| {
                    // Many polls in one step: none is a reason to be done.
                    for _ in 0..3 {
                        assert!(sleep.as_mut().poll(context).is_pending());
                        assert!(zero.as_mut().poll(context).is_pending());
                        assert!(once.as_mut().poll(context).is_pending());
                        assert!(never.as_mut().poll(context).is_pending());
                        assert!(task.as_mut().poll(context).is_pending());
                    }
                    Poll::Ready(())
                })
                .await;
                once.await;
                zero.await;
                assert_eq!(callsoon::get_running_loop().metrics().turns, turn + 1);
                // Many steps before the deadline.
                let polls = Cell::new(0);
                let counted = poll_fn(|context| {
                    polls.set(polls.get() + 1);
                    assert!(never.as_mut().poll(context).is_pending());
                    sleep.as_mut().poll(context)
                });
                futures_lite::future::zip(counted, spurious(10)).await;
                t.push(format!("{} polls", polls.get()));
                task.cancel();
            })
            .unwrap();
        assert_eq!(event_loop.time() - start, Duration::from_secs(1));
        trace.expect(["12 polls"]);
        one_turn(&event_loop);
        assert!(event_loop.all_tasks().is_empty());
    });
}

/// A waker of one branch of [`JoinTwo`].
struct Branch {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for Branch {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

/// Polls a branch only when that branch's own waker was woken, as `FuturesUnordered` does.
struct JoinTwo<A, B> {
    a: Pin<Box<A>>,
    b: Pin<Box<B>>,
    branches: Option<[Arc<Branch>; 2]>,
    done: [bool; 2],
    polls: Rc<Cell<usize>>,
}

impl<A: Future, B: Future> JoinTwo<A, B> {
    fn new(a: A, b: B, polls: &Rc<Cell<usize>>) -> Self {
        Self {
            a: Box::pin(a),
            b: Box::pin(b),
            branches: None,
            done: [false; 2],
            polls: Rc::clone(polls),
        }
    }
}

impl<A: Future, B: Future> Future for JoinTwo<A, B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let branches = this.branches.get_or_insert_with(|| {
            [(); 2].map(|()| {
                Arc::new(Branch {
                    woken: AtomicBool::new(true),
                    task: context.waker().clone(),
                })
            })
        });
        for (place, branch) in branches.iter().enumerate() {
            if this.done[place] || !branch.woken.swap(false, Ordering::Relaxed) {
                continue;
            }
            this.polls.set(this.polls.get() + 1);
            let waker = Waker::from(Arc::clone(branch));
            let mut context = Context::from_waker(&waker);
            this.done[place] = if place == 0 {
                this.a.as_mut().poll(&mut context).is_ready()
            } else {
                this.b.as_mut().poll(&mut context).is_ready()
            };
        }
        if this.done == [true; 2] {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

#[test]
fn every_future_of_the_crate_wakes_through_the_waker_of_a_combinator() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let start = event_loop.time();
        let future = event_loop.create_future::<()>();
        let setter = future.clone();
        event_loop.call_later(Duration::from_secs(2), move || {
            setter.set_result(()).unwrap();
        });
        let polls = Rc::new(Cell::new(0));
        let inner = Rc::clone(&polls);
        event_loop
            .run_until_complete(async move {
                let task = callsoon::create_task(callsoon::sleep(Duration::from_secs(3)));
                let waits = JoinTwo::new(future, task, &inner);
                let sleeps =
                    JoinTwo::new(callsoon::sleep(Duration::from_secs(1)), yield_now(), &inner);
                JoinTwo::new(waits, sleeps, &inner).await;
            })
            .unwrap();
        assert_eq!(event_loop.time() - start, Duration::from_secs(3));
        // Each of the four leaves twice; each of the two inner joins first, then once for each of its leaves.
        assert_eq!(polls.get(), 4 * 2 + 2 + 4);
    });
}

#[test]
fn combinators_of_other_crates_work_on_tasks_and_sleeps() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let start = event_loop.time();
        let value = event_loop
            .run_until_complete(async {
                let slow = callsoon::create_task(async {
                    callsoon::sleep(Duration::from_secs(60)).await;
                    "slow"
                });
                let fast = callsoon::create_task(async { "fast" });
                let raced = futures_lite::future::or(slow, fast).await.unwrap();
                let (a, b) = futures_lite::future::zip(
                    callsoon::sleep(Duration::from_secs(1)),
                    callsoon::create_task(async { 1 }),
                )
                .await;
                let ((), 1) = (a, b.unwrap()) else {
                    unreachable!()
                };
                raced
            })
            .unwrap();
        assert_eq!(value, "fast");
        assert_eq!(event_loop.time() - start, Duration::from_secs(1));
        // The loser was not cancelled by being dropped.
        assert_eq!(event_loop.all_tasks().len(), 1);
        event_loop
            .run_until_complete(callsoon::sleep(Duration::from_secs(60)))
            .unwrap();
        assert!(event_loop.all_tasks().is_empty());
    });
}

#[test]
fn the_loop_owns_its_tasks_and_dropping_a_handle_lets_them_run_on() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let spawn = |name: &'static str| {
            let t = trace.clone();
            event_loop.create_task(async move {
                callsoon::sleep(Duration::from_secs(1)).await;
                t.push(name);
            })
        };
        drop(spawn("dropped before its first step"));
        spawn("detached").detach();
        let mut polled = spawn("dropped after it was awaited");
        event_loop
            .run_until_complete(futures_lite::future::or(
                async { drop((&mut polled).await) },
                callsoon::sleep(Duration::from_millis(1)),
            ))
            .unwrap();
        drop(polled);
        assert_eq!(event_loop.all_tasks().len(), 3);
        event_loop
            .run_until_complete(callsoon::sleep(Duration::from_secs(2)))
            .unwrap();
        trace.expect([
            "dropped before its first step",
            "detached",
            "dropped after it was awaited",
        ]);
    });
}

#[test]
fn an_output_that_nobody_awaits_is_dropped_when_the_task_ends() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let (future, output) = (
            DropProbe::new(&trace, "future"),
            DropProbe::new(&trace, "output"),
        );
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            let _future = future;
            t.push("last step");
            output
        });
        task.add_done_callback({
            let t = trace.clone();
            move |_| t.push("done callback")
        });
        task.detach();
        one_turn(&event_loop);
        // The done callback holds a reference to the task, and with it the output.
        trace.expect(["last step", "drop future"]);
        one_turn(&event_loop);
        trace.expect(["done callback", "drop output"]);
    });
}

#[test]
fn a_result_can_be_taken_once_by_awaiting_or_by_asking() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let mut task = event_loop.create_task(async { String::from("moved out") });
        assert!(task.result().is_err(), "not yet");
        assert_eq!(
            event_loop.run_until_complete(&mut task).unwrap().unwrap(),
            "moved out"
        );
        assert!(matches!(task.result(), Ok(Err(TaskError::Taken))));
        // Polled after Ready: an error, neither a panic nor a hang.
        let again = event_loop.run_until_complete(&mut task).unwrap();
        assert!(matches!(again, Err(TaskError::Taken)));
        assert!(task.done() && !task.cancelled());
    });
}

#[test]
fn done_callbacks_of_a_task_run_in_order_through_the_queue_and_the_awaiter_comes_first() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let task = event_loop.create_task(async move {
            yield_now().await;
            t.push("last step");
        });
        for n in 1..=2 {
            let t = trace.clone();
            task.add_done_callback(move |task| {
                t.push(format!(
                    "callback {n} of {}: done {}",
                    task.name(),
                    task.done()
                ));
            });
        }
        let removed = task.add_done_callback(|_| unreachable!());
        assert!(task.remove_done_callback(removed) && !task.remove_done_callback(removed));
        let reference = task.as_ref();
        let t = trace.clone();
        let awaiter = async move {
            task.await.unwrap();
            t.push("awaiter");
        };
        event_loop.run_until_complete(awaiter).unwrap();
        one_turn(&event_loop);
        let t = trace.clone();
        reference.add_done_callback(move |_| t.push("added after the end"));
        trace.push("not inline");
        one_turn(&event_loop);
        trace.expect([
            "last step",
            "awaiter",
            "callback 1 of Task-1: done true",
            "callback 2 of Task-1: done true",
            "not inline",
            "added after the end",
        ]);
    });
}

#[test]
fn a_panic_is_the_tasks_result_and_the_loop_goes_on() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let number = event_loop.metrics().turns;
        let task = event_loop.create_task(async move {
            yield_now().await;
            panic!("on purpose: {number}");
        });
        event_loop.call_soon(trace.note("unharmed"));
        let result: Result<(), TaskError> = event_loop.run_until_complete(task).unwrap();
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: on purpose: 0");
        let TaskError::Panicked(panicked) = error else {
            unreachable!()
        };
        assert_eq!(
            panicked.into_payload().downcast_ref::<String>().unwrap(),
            "on purpose: 0"
        );
        trace.expect(["unharmed"]); // somebody has read it: no report
    });
}

#[test]
fn a_panic_that_nobody_reads_is_reported_when_the_last_who_could_goes() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let spawn = || event_loop.create_task(async { panic!("on purpose") });
        spawn().detach();
        let (kept, read): (callsoon::Task<()>, callsoon::Task<()>) = (spawn(), spawn());
        one_turn(&event_loop);
        trace.expect(["report: Task exception was never retrieved (on purpose)"]);
        drop(kept);
        trace.expect(["report: Task exception was never retrieved (on purpose)"]);
        let mut read = read;
        assert!(read.result().unwrap().is_err());
        drop(read);
        trace.expect([]);
    });
}

#[test]
fn a_task_that_awaits_itself_gets_an_error() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let own = Rc::new(RefCell::new(None::<callsoon::Task<String>>));
        let handle = Rc::clone(&own);
        let task = event_loop.create_task(async move {
            let mut own = handle.take().unwrap();
            let plain = (&mut own).await.unwrap_err();
            assert!(matches!(plain, TaskError::AwaitsItself));
            // Through a combinator's waker, which says nothing of the task behind it.
            let polls = Rc::new(Cell::new(0));
            let inner = async { assert!(matches!(own.await, Err(TaskError::AwaitsItself))) };
            JoinTwo::new(inner, yield_now(), &polls).await;
            plain.to_string()
        });
        let seen = Rc::new(RefCell::new(String::new()));
        *own.borrow_mut() = Some(task);
        one_turn(&event_loop);
        one_turn(&event_loop);
        assert!(event_loop.all_tasks().is_empty());
        drop(seen);
    });
}

#[test]
fn a_task_of_another_loop_is_refused_until_it_has_ended() {
    audited(|| {
        let trace = Trace::new();
        let (home, abroad) = (virtual_loop(&trace), virtual_loop(&trace));
        // Were it to wait, that would be for ever.
        let handle = abroad.handle();
        abroad.call_later(Duration::from_secs(1), move || handle.stop());
        let mut task = home.create_task(async { 1 });
        let error = abroad.run_until_complete(&mut task).unwrap().unwrap_err();
        assert!(matches!(error, TaskError::OtherLoop));
        assert_eq!(
            error.to_string(),
            "the task is attached to a different loop"
        );
        one_turn(&home);
        assert_eq!(abroad.run_until_complete(task).unwrap().unwrap(), 1);
    });
}

#[test]
fn names_count_up_and_can_be_given_and_changed() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let plain = event_loop.create_task(async {});
        let named = event_loop.task_builder().name("worker").spawn(async {
            let own = callsoon::current_task().unwrap();
            own.set_name(format!("{} at work", own.name()));
        });
        let third = event_loop.create_task(async {});
        assert_eq!(
            [plain.name(), named.name(), third.name()],
            ["Task-1", "worker", "Task-3"]
        );
        let main = event_loop
            .run_until_complete(async { callsoon::current_task().unwrap().name() })
            .unwrap();
        assert_eq!(main, "Task-4");
        assert_eq!(named.name(), "worker at work");
        // Another loop counts for itself.
        assert_eq!(virtual_loop(&trace).create_task(async {}).name(), "Task-1");
    });
}

#[test]
fn a_task_shows_its_name_state_and_birthplace() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let spawn = |running: bool| {
            let t = trace.clone();
            event_loop.task_builder().name("t").spawn(async move {
                let own = callsoon::current_task().unwrap();
                t.push(format!("{own:?}"));
                if running {
                    pending().await
                }
            })
        };
        let line = line!() - 8;
        let (ends, stays) = (spawn(false), spawn(true));
        let place = ends.as_ref().location();
        assert_eq!((place.file(), place.line()), (file!(), line));
        let shown =
            |state: &str| format!("Task {{ name: \"t\", state: {state}, created_at: {place} }}");
        assert_eq!(format!("{ends:?}"), shown("pending"));
        one_turn(&event_loop);
        assert_eq!(trace.take(), [shown("running"), shown("running")]);
        assert_eq!(format!("{ends:?}"), shown("finished"));
        assert_eq!(format!("{stays:?}"), shown("pending"));
        stays.cancel();
        assert_eq!(format!("{stays:?}"), shown("cancelling"));
        one_turn(&event_loop);
        assert_eq!(format!("{stays:?}"), shown("cancelled"));
        assert_eq!(format!("{:?}", stays.as_ref()), shown("cancelled"));
    });
}

#[test]
fn the_current_task_is_the_one_whose_step_is_under_way() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let says = move |place: &str| {
            let name = callsoon::current_task().map(|task| task.name());
            t.push(format!("{place}: {name:?}"));
        };
        struct OnDrop<F: Fn(&str)>(F);
        impl<F: Fn(&str)> Drop for OnDrop<F> {
            fn drop(&mut self) {
                (self.0)("its destructor");
            }
        }
        let (inside, dropped, callback) = (says.clone(), says.clone(), says.clone());
        let task = event_loop.create_task(async move {
            let _on_drop = OnDrop(dropped);
            inside("a task");
            yield_now().await;
        });
        task.add_done_callback(move |_| callback("a done callback"));
        event_loop.call_soon(move || says("a callback"));
        event_loop.run_until_complete(task).unwrap().unwrap();
        one_turn(&event_loop);
        assert!(event_loop.current_task().is_none());
        trace.expect([
            "a task: Some(\"Task-1\")",
            "a callback: None",
            "its destructor: Some(\"Task-1\")",
            "a done callback: None",
        ]);
    });
}

#[test]
fn all_tasks_are_the_unfinished_ones_in_the_order_of_their_creation() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let names = || -> Vec<String> {
            let all = callsoon::get_running_loop().all_tasks();
            all.iter().map(|task| task.name()).collect()
        };
        let first = event_loop.create_task(pending::<()>());
        event_loop.create_task(async {}).detach();
        event_loop.create_task(pending::<()>()).detach();
        event_loop
            .run_until_complete(async move {
                assert_eq!(names(), ["Task-1", "Task-3", "Task-4"], "4 is this one");
                let own = callsoon::current_task().unwrap();
                assert!(callsoon::all_tasks().contains(&own));
                assert!(own != first.as_ref() && own == own.clone());
                first.cancel();
                yield_now().await;
                // Into the slot that has become free; the order is that of creation all the same.
                callsoon::create_task(pending::<()>()).detach();
                assert_eq!(names(), ["Task-3", "Task-4", "Task-5"]);
            })
            .unwrap();
        assert_eq!(event_loop.all_tasks().len(), 2);
    });
}

#[test]
fn free_functions_need_a_running_loop_and_say_so() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let missing = "no running event loop: this call belongs inside a task or callback of one";
        assert_eq!(panic_text(|| callsoon::create_task(async {})), missing);
        assert_eq!(panic_text(callsoon::task_builder), missing);
        assert_eq!(panic_text(callsoon::current_task), missing);
        assert_eq!(panic_text(callsoon::all_tasks), missing);
        assert_eq!(panic_text(callsoon::get_running_loop), missing);
        assert!(callsoon::try_get_running_loop().is_none());
        // A loop's own methods do not.
        let task = event_loop.create_task(async { 1 });
        assert_eq!(event_loop.run_until_complete(task).unwrap().unwrap(), 1);
    });
}

// What follows is cancellation as far as it goes without scopes.

#[test]
fn cancel_is_true_until_the_task_has_ended_and_takes_a_turn_to_act() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let probe = DropProbe::new(&trace, "future");
        let task = event_loop.create_task(async move {
            let _probe = probe;
            pending::<()>().await;
        });
        one_turn(&event_loop);
        assert!(task.cancel() && task.cancel());
        assert!(!task.done() && !task.cancelled());
        trace.expect([]);
        one_turn(&event_loop);
        trace.expect(["drop future"]);
        assert!(task.done() && task.cancelled());
        assert!(!task.cancel(), "it has ended");
    });
}

#[test]
fn a_task_cancelled_before_its_first_step_never_runs_and_keeps_the_message() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let (t, probe) = (trace.clone(), DropProbe::new(&trace, "future"));
        let task = event_loop.create_task(async move {
            let _probe = probe;
            t.push("never");
        });
        task.cancel_with("changed my mind");
        let line = line!() - 1;
        let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
        let cancelled = error.cancelled().unwrap();
        assert_eq!(cancelled.message(), Some("changed my mind"));
        let place = cancelled.location().unwrap();
        assert_eq!((place.file(), place.line()), (file!(), line));
        trace.expect(["drop future"]);
    });
}

#[test]
fn of_several_requests_the_newest_message_counts() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let task = event_loop.create_task(pending::<()>());
        task.cancel_with("first");
        task.cancel_with("second");
        let error = event_loop.run_until_complete(task).unwrap().unwrap_err();
        assert_eq!(error.to_string(), "the task was cancelled: second");
    });
}

#[test]
fn a_task_that_cancels_itself_ends_at_its_next_await_or_with_its_return() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let awaits = event_loop.create_task(async move {
            callsoon::current_task().unwrap().cancel();
            t.push("goes on to its await");
            yield_now().await;
            unreachable!("the request came first");
        });
        let value = DropProbe::new(&trace, "the discarded value");
        let returns = event_loop.create_task(async move {
            callsoon::current_task().unwrap().cancel();
            value
        });
        one_turn(&event_loop);
        trace.expect(["goes on to its await", "drop the discarded value"]);
        assert!(returns.cancelled() && !awaits.done());
        one_turn(&event_loop);
        assert!(awaits.cancelled());
    });
}

#[test]
fn cancelling_in_the_turn_in_which_the_awaited_thing_completes_cancels() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let future = event_loop.create_future();
        let task = event_loop.create_task(future.clone());
        one_turn(&event_loop);
        future.set_result(1).unwrap();
        task.cancel();
        one_turn(&event_loop);
        assert!(task.cancelled());
        assert_eq!(
            future.result().unwrap().unwrap(),
            1,
            "the result stays where it was"
        );
    });
}

#[test]
fn a_panic_wins_over_a_request_that_came_meanwhile() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let mut task = event_loop.create_task(async {
            callsoon::current_task().unwrap().cancel();
            panic!("on purpose: louder");
        });
        one_turn(&event_loop);
        let result: Result<(), TaskError> = task.result().unwrap();
        assert_eq!(
            result.unwrap_err().panicked().unwrap().message(),
            "on purpose: louder"
        );
        assert!(!task.cancelled());
    });
}

#[test]
fn a_cancelled_sleep_disarms_its_timer() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let start = event_loop.time();
        let task = event_loop.create_task(callsoon::sleep(Duration::from_secs(3600)));
        one_turn(&event_loop);
        assert_eq!(event_loop.metrics().timers, 1);
        task.cancel();
        assert!(event_loop.run_until_complete(task).unwrap().is_err());
        assert_eq!(event_loop.metrics().timers, 0);
        assert_eq!(event_loop.time(), start);
    });
}

#[test]
fn a_stored_waker_counts_as_one_wake_however_often_it_is_used() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let (counter, waker) = CountingWaker::new();
        let future = event_loop.create_future::<()>();
        let mut handle = future.clone();
        let mut context = Context::from_waker(&waker);
        for _ in 0..5 {
            assert!(Pin::new(&mut handle).poll(&mut context).is_pending());
        }
        future.set_result(()).unwrap();
        assert_eq!(counter.wakes(), 1, "one handle has one place in line");
    });
}
