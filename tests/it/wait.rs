//! `wait`: for the first task, for the first failure, for all tasks, and with a limit of time. `Task::wait`: for one task,
//! whose result stays.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use callsoon::{
    EventLoop, LoopHandle, ReturnWhen, Task, TaskError, create_task, get_running_loop, sleep,
    sleep_with, wait, yield_now,
};

use crate::support::{
    CountingWaker, HostileWaker, Touch, Trace, Waiting, audited, on_virtual_time, one_turn,
    quiet_panics, virtual_loop,
};

const SECOND: Duration = Duration::from_secs(1);

const EVERY: [ReturnWhen; 3] = [
    ReturnWhen::FirstCompleted,
    ReturnWhen::FirstException,
    ReturnWhen::AllCompleted,
];

/// A task for each number of seconds, which is its name and its result.
fn lasting(event_loop: &LoopHandle, seconds: &[u64]) -> Vec<Task<u64>> {
    let tasks = seconds.iter().map(|&n| {
        let builder = event_loop.task_builder().name(format!("{n} s"));
        builder.spawn(async move { sleep_with(n as u32 * SECOND, n).await })
    });
    tasks.collect()
}

fn names<T: 'static>(tasks: &[Task<T>]) -> String {
    let names: Vec<_> = tasks.iter().map(Task::name).collect();
    format!("[{}]", names.join(", "))
}

/// Waits, and records when the wait ended, which tasks had ended and which had not.
async fn waited<T: 'static>(
    trace: &Trace,
    tasks: &mut Vec<Task<T>>,
    return_when: ReturnWhen,
    timeout: Option<Duration>,
) -> Vec<Task<T>> {
    let start = get_running_loop().time();
    let ended = wait(tasks, return_when, timeout).await;
    let took = get_running_loop().time() - start;
    trace.push(format!("{took:?}: {} {}", names(&ended), names(tasks)));
    ended
}

/// Ends the tasks that a test leaves waiting.
fn cancel_all(event_loop: &EventLoop) {
    for task in event_loop.all_tasks() {
        task.cancel();
    }
    one_turn(event_loop);
}

/// Counts the polls of a future.
struct Counted<F> {
    future: Pin<Box<F>>,
    polls: Rc<Cell<usize>>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.set(self.polls.get() + 1);
        self.future.as_mut().poll(context)
    }
}

#[test]
fn first_completed_takes_out_who_ended_and_the_others_run_on() {
    on_virtual_time(|trace, event_loop| {
        let mut tasks = lasting(&event_loop, &[3, 1, 2]);
        event_loop
            .run_until_complete(async {
                while !tasks.is_empty() {
                    for ended in waited(&trace, &mut tasks, ReturnWhen::FirstCompleted, None).await
                    {
                        trace.push(ended.await.unwrap());
                    }
                }
            })
            .unwrap();
        trace.expect([
            "1s: [1 s] [3 s, 2 s]",
            "1",
            "1s: [2 s] [3 s]",
            "2",
            "1s: [3 s] []",
            "3",
        ]);
    });
}

#[test]
fn all_completed_keeps_the_order_of_the_list_not_that_of_the_ends() {
    on_virtual_time(|trace, event_loop| {
        let mut tasks = lasting(&event_loop, &[3, 1, 2]);
        let all = ReturnWhen::AllCompleted;
        event_loop
            .run_until_complete(waited(&trace, &mut tasks, all, None))
            .unwrap();
        trace.expect(["3s: [3 s, 1 s, 2 s] []"]);
    });
}

#[test]
fn first_exception_waits_for_a_panic_and_not_for_values_cancellations_or_errs() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let task = |name: &str, seconds, end: fn() -> Result<(), &'static str>| {
            event_loop.task_builder().name(name).spawn(async move {
                sleep(seconds * SECOND).await;
                end()
            })
        };
        let mut tasks = vec![
            task("late", 5, || Ok(())),
            task("panics", 4, || panic!("on purpose")),
            task("value", 1, || Ok(())),
            task("cancelled", 9, || Ok(())),
            task("err", 3, || Err("a value to Rust")),
        ];
        let cancelled = tasks[3].as_ref();
        event_loop.call_later(2 * SECOND, move || {
            cancelled.cancel();
        });
        event_loop
            .run_until_complete(async {
                let mode = ReturnWhen::FirstException;
                let ended = waited(&trace, &mut tasks, mode, None).await;
                for task in ended {
                    trace.push(format!(
                        "{:?}",
                        task.await.map_err(|error| error.to_string())
                    ));
                }
                // Nobody panics any more: it waits for all.
                waited(&trace, &mut tasks, mode, None).await;
            })
            .unwrap();
        trace.expect([
            "4s: [panics, value, cancelled, err] [late]",
            r#"Err("the task panicked: on purpose")"#,
            "Ok(Ok(()))",
            r#"Err("the task was cancelled")"#,
            r#"Ok(Err("a value to Rust"))"#,
            "1s: [late] []",
        ]);
    });
}

#[test]
fn a_panic_of_long_ago_is_seen_though_its_result_was_read() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let mut bad = event_loop.create_task(async { panic!("on purpose") });
        event_loop
            .run_until_complete(&mut bad)
            .unwrap()
            .unwrap_err();
        let mut tasks = vec![event_loop.create_task(pending::<()>()), bad];
        event_loop
            .run_until_complete(waited(&trace, &mut tasks, ReturnWhen::FirstException, None))
            .unwrap();
        trace.expect(["0ns: [Task-1] [Task-3]"]);
        cancel_all(&event_loop);
    });
}

#[test]
fn running_out_of_time_is_no_error_and_cancels_no_task() {
    on_virtual_time(|trace, event_loop| {
        let mut tasks = lasting(&event_loop, &[4, 1, 3]);
        event_loop
            .run_until_complete(async {
                let all = ReturnWhen::AllCompleted;
                waited(&trace, &mut tasks, all, Some(2 * SECOND)).await;
                waited(&trace, &mut tasks, all, Some(SECOND / 2)).await;
                waited(&trace, &mut tasks, all, Some(Duration::MAX)).await;
            })
            .unwrap();
        trace.expect([
            "2s: [1 s] [4 s, 3 s]",
            "500ms: [] [4 s, 3 s]",
            "1.5s: [4 s, 3 s] []",
        ]);
    });
}

#[test]
fn no_time_at_all_is_one_turn() {
    on_virtual_time(|trace, event_loop| {
        let builder = |name: &str| event_loop.task_builder().name(name);
        let mut tasks = vec![
            builder("at once").spawn(async {}),
            builder("two turns later").spawn(async {
                yield_now().await;
                yield_now().await;
            }),
        ];
        event_loop
            .run_until_complete(async {
                for _ in 0..2 {
                    let mode = ReturnWhen::AllCompleted;
                    waited(&trace, &mut tasks, mode, Some(Duration::ZERO)).await;
                }
            })
            .unwrap();
        trace.expect([
            "0ns: [at once] [two turns later]",
            "0ns: [two turns later] []",
        ]);
    });
}

#[test]
fn m2_a_wait_for_no_tasks_returns_at_once() {
    audited(|| {
        for mode in EVERY {
            for timeout in [None, Some(Duration::MAX)] {
                let mut tasks = Vec::<Task<()>>::new();
                let mut waiting = Waiting::new(wait(&mut tasks, mode, timeout));
                assert!(waiting.poll().is_some_and(|ended| ended.is_empty()));
            }
        }
    });
}

#[test]
fn what_has_happened_already_is_not_waited_for() {
    on_virtual_time(|_, event_loop| {
        for mode in EVERY {
            let mut tasks = lasting(&event_loop, &[0, 0]);
            event_loop.run_until_complete(sleep(SECOND)).unwrap();
            let mut waiting = Waiting::new(wait(&mut tasks, mode, None));
            assert_eq!(waiting.poll().unwrap().len(), 2);
        }
    });
}

#[test]
fn a_task_that_ends_between_the_wake_up_and_the_return_counts_too() {
    on_virtual_time(|trace, event_loop| {
        let gate = event_loop.create_future::<()>();
        let mut tasks: Vec<_> = (0..3)
            .map(|_| event_loop.create_task(gate.clone()))
            .collect();
        tasks.push(event_loop.create_task(pending()));
        event_loop.call_soon(move || gate.set_result(()).unwrap());
        event_loop
            .run_until_complete(waited(&trace, &mut tasks, ReturnWhen::FirstCompleted, None))
            .unwrap();
        trace.expect(["0ns: [Task-1, Task-2, Task-3] [Task-4]"]);
        cancel_all(&event_loop);
    });
}

#[test]
fn cancelling_the_waiting_task_leaves_the_tasks_alone() {
    on_virtual_time(|trace, event_loop| {
        let tasks = Rc::new(RefCell::new(lasting(&event_loop, &[2, 1])));
        let lent = Rc::clone(&tasks);
        #[allow(
            clippy::await_holding_refcell_ref,
            reason = "nobody else borrows meanwhile"
        )]
        let waiter = event_loop.create_task(async move {
            wait(&mut lent.borrow_mut(), ReturnWhen::FirstCompleted, None).await;
        });
        one_turn(&event_loop);
        waiter.cancel();
        assert!(event_loop.run_until_complete(waiter).unwrap().is_err());
        assert!(!tasks.borrow().iter().any(Task::done));
        let mut tasks = tasks.take();
        event_loop
            .run_until_complete(waited(&trace, &mut tasks, ReturnWhen::AllCompleted, None))
            .unwrap();
        trace.expect(["2s: [2 s, 1 s] []"]);
    });
}

#[test]
fn a_wait_that_is_dropped_wakes_no_task_and_changes_nothing() {
    on_virtual_time(|_, event_loop| {
        for mode in EVERY {
            let mut tasks = lasting(&event_loop, &[1, 2]);
            let (counter, waker) = CountingWaker::new();
            let mut waiting = Waiting::new(wait(&mut tasks, mode, None));
            assert!(waiting.poll_with(&waker).is_none());
            drop((waiting, waker));
            event_loop.run_until_complete(sleep(3 * SECOND)).unwrap();
            assert_eq!(counter.wakes(), 0, "{mode:?}");
            assert_eq!(names(&tasks), "[1 s, 2 s]");
        }
    });
}

#[test]
fn who_waits_for_all_is_woken_once_however_many_they_are() {
    on_virtual_time(|_, event_loop| {
        let seconds: Vec<_> = (1..=1000).collect();
        let mut tasks = lasting(&event_loop, &seconds);
        let polls = Rc::new(Cell::new(0));
        let counted = Counted {
            future: Box::pin(wait(&mut tasks, ReturnWhen::AllCompleted, None)),
            polls: Rc::clone(&polls),
        };
        assert_eq!(event_loop.run_until_complete(counted).unwrap().len(), 1000);
        assert_eq!(polls.get(), 2);
    });
}

#[test]
fn who_waits_for_all_is_woken_in_the_turn_of_the_last_end_as_by_awaiting() {
    on_virtual_time(|trace, event_loop| {
        let gate = event_loop.create_future::<()>();
        let waiter = |name: &'static str, by_wait: bool| {
            let (trace, gate) = (trace.clone(), gate.clone());
            event_loop.create_task(async move {
                let mut tasks = vec![create_task(gate)];
                if by_wait {
                    wait(&mut tasks, ReturnWhen::AllCompleted, None).await;
                } else {
                    (&mut tasks[0]).await.unwrap().unwrap();
                }
                trace.push(name);
            })
        };
        let waiters = [waiter("awaits", false), waiter("waits", true)];
        one_turn(&event_loop);
        one_turn(&event_loop);
        gate.set_result(()).unwrap();
        one_turn(&event_loop);
        trace.expect([]);
        one_turn(&event_loop);
        trace.expect(["awaits", "waits"]);
        drop(waiters);
    });
}

#[test]
fn c7_a_task_that_ends_at_the_deadline_is_ended_or_left_but_never_lost() {
    on_virtual_time(|trace, event_loop| {
        event_loop
            .run_until_complete(async {
                // The task's timer is the older one.
                let mut tasks = lasting(&get_running_loop(), &[1]);
                yield_now().await;
                waited(&trace, &mut tasks, ReturnWhen::AllCompleted, Some(SECOND)).await;
                // The deadline is the older one.
                let mut tasks = lasting(&get_running_loop(), &[1]);
                waited(&trace, &mut tasks, ReturnWhen::AllCompleted, Some(SECOND)).await;
                waited(&trace, &mut tasks, ReturnWhen::AllCompleted, None).await;
            })
            .unwrap();
        trace.expect(["1s: [1 s] []", "1s: [] [1 s]", "0ns: [1 s] []"]);
    });
}

#[test]
fn a_panic_is_reported_once_if_nobody_reads_it_from_the_returned_task() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let bad = |text: &'static str| event_loop.create_task(async move { panic!("{text}") });
        let mut tasks = vec![bad("on purpose, read"), bad("on purpose, not read")];
        event_loop
            .run_until_complete(async {
                let ended = wait(&mut tasks, ReturnWhen::AllCompleted, None).await;
                trace.push("returned");
                let mut ended = ended.into_iter();
                let read: Result<(), TaskError> = ended.next().unwrap().await;
                read.unwrap_err();
                drop(ended);
            })
            .unwrap();
        trace.expect([
            "returned",
            "report: Task exception was never retrieved (on purpose, not read)",
        ]);
    });
}

#[test]
fn a_waiter_of_another_loop_is_woken_when_the_loop_of_the_tasks_closes() {
    on_virtual_time(|_, event_loop| {
        let mut tasks = lasting(&event_loop, &[1, 2]);
        let mut waiting = Waiting::begun(wait(&mut tasks, ReturnWhen::AllCompleted, None));
        event_loop.close().unwrap();
        assert!(waiting.is_woken());
        let ended = waiting.poll().unwrap();
        assert!(ended.iter().all(Task::cancelled) && ended.len() == 2);
    });
}

#[test]
fn a5_the_newest_waker_is_woken_and_wakers_may_do_anything() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = Rc::new(virtual_loop(&trace));
        for mode in EVERY {
            let mut tasks = lasting(&event_loop, &[1, 1]);
            let mut waiting = Waiting::begun(wait(&mut tasks, mode, None));
            let hostile = HostileWaker::new({
                let (event_loop, trace) = (event_loop.clone(), trace.clone());
                move |touch| {
                    if touch == Touch::Clone {
                        // The tasks end while their waiter's waker is being cloned.
                        let _ = event_loop.run_until_complete(sleep(2 * SECOND));
                    }
                    let mut own = vec![event_loop.create_task(async {})];
                    let mut inner = Waiting::begun(wait(&mut own, ReturnWhen::AllCompleted, None));
                    let _ = inner.poll();
                    trace.push(format!("{touch:?}"));
                }
            });
            let waker = hostile.waker();
            let ended = waiting.poll_with(&waker).expect("they ended meanwhile");
            assert_eq!(ended.len(), 2, "{mode:?}");
            drop(waker);
            trace.take();
        }
        one_turn(&event_loop);
    });
}

#[test]
fn a_task_that_was_waited_for_by_the_loop_has_its_result_and_one_that_was_awaited_has_not() {
    on_virtual_time(|trace, event_loop| {
        let mut task = event_loop.create_task(sleep_with(SECOND, 6 * 7));
        for _ in 0..2 {
            event_loop.run_until_complete(task.wait()).unwrap();
            trace.push(format!("done: {}", task.done()));
        }
        trace.push(task.result().unwrap().unwrap());
        let mut task = event_loop.create_task(sleep_with(SECOND, 6));
        let value = event_loop.run_until_complete(&mut task).unwrap().unwrap();
        trace.push(value);
        trace.push(task.result().unwrap().unwrap_err());
        trace.expect([
            "done: true",
            "done: true",
            "42",
            "6",
            "the task's result has been taken before: an await, run_until_complete or result() had it",
        ]);
    });
}

#[test]
fn several_tasks_wait_for_one_and_its_awaiter_still_gets_the_result() {
    on_virtual_time(|trace, event_loop| {
        let task = Rc::new(event_loop.create_task(sleep_with(SECOND, "saved")));
        let waiters = ["one", "two", "three"].map(|name| {
            let (task, trace) = (Rc::clone(&task), trace.clone());
            event_loop.create_task(async move {
                task.wait().await;
                trace.push(name);
            })
        });
        one_turn(&event_loop);
        // A waiter's cancellation and drop concern no one else.
        waiters[1].cancel();
        drop(Waiting::begun(task.wait()));
        event_loop.run_until_complete(sleep(2 * SECOND)).unwrap();
        assert!(waiters.iter().all(Task::done));
        let task = Rc::into_inner(task).unwrap();
        trace.push(event_loop.run_until_complete(task).unwrap().unwrap());
        trace.expect(["one", "three", "saved"]);
    });
}

#[test]
fn waiting_for_a_task_neither_reads_its_panic_nor_its_cancellation() {
    audited(|| {
        quiet_panics();
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let bad = event_loop.create_task(async { panic!("on purpose") });
        event_loop.run_until_complete(bad.wait()).unwrap();
        trace.push(format!("panicked: {}", bad.panicked()));
        drop(bad);
        let mut cancelled = event_loop.create_task(pending::<()>());
        cancelled.cancel_with("enough");
        event_loop.run_until_complete(cancelled.wait()).unwrap();
        trace.push(cancelled.result().unwrap().unwrap_err());
        event_loop.close().unwrap();
        trace.expect([
            "panicked: true",
            "report: Task exception was never retrieved (on purpose)",
            "the task was cancelled: enough",
        ]);
    });
}

#[test]
fn a_loop_that_closes_wakes_who_waits_for_one_of_its_tasks() {
    on_virtual_time(|_, event_loop| {
        let task = event_loop.create_task(pending::<()>());
        let mut waiting = Waiting::begun(task.wait());
        event_loop.close().unwrap();
        assert!(waiting.is_woken());
        assert!(waiting.poll().is_some());
        assert!(task.cancelled());
    });
}
