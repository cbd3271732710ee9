//! Tasks that wait for one another in a circle, or for a task that never ends, and are cancelled: they end, and do not
//! spin.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use callsoon::{
    EventLoop, Task, TaskError, TaskRef, current_task, gather, move_on_after, shield, sleep,
    task_group, timeout, try_gather, yield_now,
};

use crate::support::scenario::{SECOND, at, ending, in_scenario, said, say, take_lines};

/// A place for a handle that its task is to find.
type Place<T> = Rc<RefCell<Option<Task<T>>>>;

/// Runs the loop until these tasks have ended, which they do within a few turns.
#[track_caller]
fn end(event_loop: &EventLoop, tasks: &[TaskRef]) {
    end_within(event_loop, tasks, 100);
}

#[track_caller]
fn end_within(event_loop: &EventLoop, tasks: &[TaskRef], turns: u32) {
    for _ in 0..turns {
        if tasks.iter().all(TaskRef::done) {
            return;
        }
        event_loop.turn(Some(SECOND)).unwrap();
    }
    panic!(
        "still running after {turns} turns: {tasks:?}, {:?}",
        take_lines()
    );
}

/// Polls a task's handle once, as `now_or_never` does.
fn peek<T: 'static>(task: &mut Task<T>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(task).poll(&mut context).is_pending());
}

/// How a wait for a task came out, in short.
fn outcome<T>(result: Result<T, TaskError>) -> String {
    match result {
        Ok(_) => "a value".to_owned(),
        Err(TaskError::Cancelled(_)) => "cancelled".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_child_that_fails_ends_its_group_though_it_has_peeked_at_another_task() {
    in_scenario(|event_loop| {
        let kept: Place<()> = Rc::default();
        let place = kept.clone();
        let mut group = event_loop.create_task(task_group(async move |group| {
            group.create_task(async move {
                let mut other = callsoon::create_task(pending::<()>());
                peek(&mut other);
                *place.borrow_mut() = Some(other);
                Err::<(), _>("the child fails".to_owned())
            });
        }));
        end(event_loop, &[group.as_ref()]);
        let error = group.result().unwrap().unwrap().unwrap_err();
        assert!(error.to_string().contains("the child fails"), "{error}");
        let mut other = kept.take().unwrap();
        assert!(!other.done(), "nobody has cancelled it");
        other.cancel();
        end(event_loop, &[other.as_ref()]);
        assert!(other.result().unwrap().is_err());
    });
}

#[test]
fn a_task_that_is_always_ready_ends_when_it_is_cancelled_after_a_peek() {
    in_scenario(|event_loop| {
        for asks_itself in [false, true] {
            let mut other = event_loop.create_task(pending::<()>());
            let other_again = other.as_ref();
            let busy = event_loop.create_task(async move {
                peek(&mut other);
                loop {
                    if asks_itself {
                        current_task().unwrap().cancel();
                    }
                    yield_now().await;
                    std::hint::black_box(&other);
                }
            });
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            busy.cancel();
            // A collection of thousands of futures may take so many turns to poll the one that was asked.
            end_within(event_loop, &[busy.as_ref()], 1100);
            assert!(busy.cancelled() && !other_again.done());
            other_again.cancel();
            end(event_loop, &[other_again]);
        }
    });
}

/// A parent that waits in its own way for a child, which waits for the parent, with a limit or without. Says what the
/// child gets.
fn circle<F: Future<Output = ()> + 'static>(
    event_loop: &EventLoop,
    limit: Option<u64>,
    parent: impl FnOnce(Pin<Box<dyn Future<Output = ()>>>) -> F + 'static,
) -> TaskRef {
    let place: Place<()> = Rc::default();
    let theirs = place.clone();
    let child = Box::pin(async move {
        yield_now().await;
        let parent = theirs.take().unwrap();
        match limit {
            Some(seconds) => match move_on_after(SECOND * seconds as u32, parent).await {
                Some(result) => say(outcome(result)),
                None => say("too late"),
            },
            None => say(outcome(parent.await)),
        }
    });
    let task = event_loop.create_task(parent(child));
    let reference = task.as_ref();
    *place.borrow_mut() = Some(task);
    reference
}

/// All ways to wait for a child.
fn circles(event_loop: &EventLoop, limit: Option<u64>, then: impl Fn(&EventLoop, TaskRef)) {
    let gathered = circle(event_loop, limit, |child| async {
        drop(gather([child]).await);
    });
    then(event_loop, gathered);
    let tried = circle(event_loop, limit, |child| async {
        let child = async {
            child.await;
            Ok::<_, ()>(())
        };
        drop(try_gather([child]).await);
    });
    then(event_loop, tried);
    let grouped = circle(event_loop, limit, |child| async {
        let ended = task_group(async |group| drop(group.create_task(child))).await;
        drop(ended);
    });
    then(event_loop, grouped);
    let awaited = circle(event_loop, limit, |child| async {
        drop(callsoon::create_task(child).await);
    });
    then(event_loop, awaited);
    let nested = circle(event_loop, limit, |child| async {
        let ended = timeout(SECOND * 50, async {
            gather([async { drop(callsoon::create_task(child).cancel_on_drop().await) }]).await
        });
        drop(ended.await);
    });
    then(event_loop, nested);
}

#[test]
fn a_limit_that_cancels_the_circle_around_it_ends_all_of_it() {
    in_scenario(|event_loop| {
        circles(event_loop, Some(1), |event_loop, parent| {
            end(event_loop, &[parent]);
            let lines = take_lines();
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].ends_with(" the task awaits itself"), "{lines:?}");
            assert_eq!(event_loop.metrics().tasks, 0);
        });
    });
}

#[test]
fn a_circle_of_awaits_that_is_cancelled_from_outside_ends() {
    in_scenario(|event_loop| {
        circles(event_loop, None, |event_loop, parent| {
            for _ in 0..5 {
                event_loop.turn(Some(Duration::ZERO)).unwrap();
            }
            assert!(parent.cancel());
            end(event_loop, &[parent]);
            let lines = take_lines();
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].ends_with(" the task awaits itself"), "{lines:?}");
            assert_eq!(event_loop.metrics().tasks, 0);
        });
    });
}

/// Tasks each of which awaits the next, the last one the first.
fn ring(event_loop: &EventLoop, count: usize) -> Vec<TaskRef> {
    let places: Vec<Place<()>> = (0..count).map(|_| Rc::default()).collect();
    let members = (0..count).map(|n| {
        let next = places[(n + 1) % count].clone();
        let task = event_loop.create_task(async move {
            let next = next.take().unwrap();
            say(format!("{n}: {}", outcome(next.await)));
        });
        let reference = task.as_ref();
        *places[n].borrow_mut() = Some(task);
        reference
    });
    members.collect()
}

#[test]
fn in_a_ring_of_tasks_the_one_that_closes_it_gets_the_error_and_the_others_their_values() {
    in_scenario(|event_loop| {
        let members = ring(event_loop, 3);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        members[0].cancel();
        end(event_loop, &members);
        said([
            "0 2: the task awaits itself",
            "0 1: a value",
            "0 0: a value",
        ]);
    });
}

#[test]
fn a_ring_whose_members_are_all_cancelled_at_once_ends() {
    in_scenario(|event_loop| {
        for count in [2, 3, 1000] {
            let members = ring(event_loop, count);
            event_loop.turn(Some(Duration::ZERO)).unwrap();
            for member in &members {
                member.cancel();
            }
            end_within(event_loop, &members, 2 * count as u32 + 20);
            let lines = take_lines();
            let errors = lines.iter().filter(|line| line.ends_with("awaits itself"));
            assert_eq!((errors.count(), lines.len()), (1, count));
        }
    });
}

#[test]
fn tasks_that_await_each_other_in_a_row_and_are_cancelled_together_just_end() {
    in_scenario(|event_loop| {
        let count = 20_000;
        let mut members = Vec::new();
        let mut task = event_loop.create_task(pending::<()>());
        for _ in 0..count {
            let next = task;
            task = event_loop.create_task(async move {
                say(outcome(next.await));
            });
            members.push(task.as_ref());
        }
        for _ in 0..2 {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        event_loop.all_tasks().iter().for_each(|task| {
            task.cancel();
        });
        end_within(event_loop, &[task.as_ref()], count + 20);
        assert!(members.iter().all(TaskRef::cancelled));
        said([]);
    });
}

#[test]
fn a_shield_keeps_a_cancelled_circle_from_closing() {
    in_scenario(|event_loop| {
        let place: Place<()> = Rc::default();
        let theirs = place.clone();
        let parent = event_loop.create_task(async move {
            let child = async move {
                let parent = theirs.take().unwrap();
                say(outcome(shield(parent).await));
            };
            drop(gather([child]).await);
        });
        let reference = parent.as_ref();
        *place.borrow_mut() = Some(parent);
        for _ in 0..3 {
            event_loop.turn(Some(Duration::ZERO)).unwrap();
        }
        reference.cancel();
        end(event_loop, std::slice::from_ref(&reference));
        assert!(reference.cancelled());
        said([]);
    });
}

#[test]
fn a_circle_that_one_of_its_tasks_leaves_by_itself_is_no_error() {
    in_scenario(|event_loop| {
        let place: Place<&str> = Rc::default();
        let theirs = place.clone();
        let first = event_loop.create_task(async move {
            let second = callsoon::create_task(async move {
                let first: Task<&str> = theirs.take().unwrap();
                say(ending(&first.await));
            });
            // Another branch wins: the circle was none.
            let _second = second;
            sleep(SECOND).await;
            "in time"
        });
        let reference = first.as_ref();
        *place.borrow_mut() = Some(first);
        at(0.5, || say("they wait for each other"));
        end(event_loop, &[reference]);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        said(["0.5 they wait for each other", "1 ended: \"in time\""]);
    });
}
