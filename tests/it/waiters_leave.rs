//! Waiters and done callbacks leave in any order, and those that stay are woken in the order in which they came.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use callsoon::sync::{Barrier, Condition, Event, Lock, Semaphore};
use callsoon::{Queue, create_task, get_running_loop, task_group, yield_now};

use crate::support::{Trace, Waiting, audited, complete, on_virtual_time};

const COUNT: usize = 400;

/// How many of them leave.
const LEAVING: usize = 350;

/// The numbers below `count` in an order that looks random.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    let mut random = seed | 1;
    for last in (1..count).rev() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        numbers.swap(last, (random >> 33) as usize % (last + 1));
    }
    numbers
}

/// The lines of a trace in which these numbers come in order.
fn sorted(numbers: &[usize]) -> Vec<String> {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable();
    numbers.iter().map(usize::to_string).collect()
}

type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// Starts tasks that wait, cancels all or most of them in random order, and asserts that `release` lets the others go on
/// in the order in which they came.
async fn assert_order(trace: &Trace, wait: impl Fn() -> Wait, release: impl FnOnce()) {
    let start = |number| {
        let (wait, trace) = (wait(), trace.clone());
        create_task(async move {
            wait.await;
            trace.push(number);
        })
    };
    let mut release = Some(release);
    let order = shuffled(COUNT, 7);
    for leaving in [COUNT, LEAVING] {
        let tasks: Vec<_> = (0..COUNT).map(start).collect();
        yield_now().await;
        let (leaving, staying) = order.split_at(leaving);
        for &number in leaving {
            tasks[number].cancel();
        }
        yield_now().await;
        assert!(leaving.iter().all(|&number| tasks[number].cancelled()));
        if !staying.is_empty() {
            release.take().unwrap()();
        }
        for task in tasks {
            drop(task.await);
        }
        assert_eq!(trace.take(), sorted(staying));
    }
}

#[test]
fn locks_semaphores_events_and_conditions_wake_those_that_stay_in_their_order() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let lock = Rc::new(Lock::new(()));
            let held = lock.acquire().await;
            let shared = Rc::clone(&lock);
            let wait = move || -> Wait {
                let lock = Rc::clone(&shared);
                Box::pin(async move { drop(lock.acquire().await) })
            };
            assert_order(&trace, wait, || drop(held)).await;

            let semaphore = Rc::new(Semaphore::new(0));
            let shared = Rc::clone(&semaphore);
            let wait = move || -> Wait {
                let semaphore = Rc::clone(&shared);
                Box::pin(async move { drop(semaphore.acquire_many(2).await) })
            };
            assert_order(&trace, wait, || semaphore.add_permits(2).unwrap()).await;

            let event = Rc::new(Event::new());
            let shared = Rc::clone(&event);
            let wait = move || -> Wait {
                let event = Rc::clone(&shared);
                Box::pin(async move { event.wait().await })
            };
            assert_order(&trace, wait, || event.set()).await;

            let condition = Rc::new((Condition::new(), Lock::new(())));
            let shared = Rc::clone(&condition);
            let wait = move || -> Wait {
                let shared = Rc::clone(&shared);
                Box::pin(async move {
                    drop(shared.0.wait(shared.1.acquire().await).await);
                })
            };
            assert_order(&trace, wait, || condition.0.notify_all()).await;
        });
    });
}

#[test]
fn barriers_queues_groups_and_futures_wake_those_that_stay_in_their_order() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let barrier = Rc::new(Barrier::new(COUNT + 1));
            let shared = Rc::clone(&barrier);
            let wait = move || -> Wait {
                let barrier = Rc::clone(&shared);
                Box::pin(async move { assert!(barrier.wait().await.is_ok()) })
            };
            let fill = || {
                for _ in 0..=LEAVING {
                    let barrier = Rc::clone(&barrier);
                    create_task(async move { barrier.wait().await.unwrap() }).detach();
                }
            };
            assert_order(&trace, wait, fill).await;

            let queue = Rc::new(Queue::new(1));
            let shared = Rc::clone(&queue);
            let wait = move || -> Wait {
                let queue = Rc::clone(&shared);
                Box::pin(async move { assert!(queue.get().await.is_ok()) })
            };
            let fill = || {
                let queue = Rc::clone(&queue);
                let fill = async move {
                    for item in LEAVING..=COUNT {
                        queue.put(item).await.unwrap();
                    }
                };
                create_task(fill).detach();
            };
            assert_order(&trace, wait, fill).await;

            // It is full now: the same for those that put.
            let shared = Rc::clone(&queue);
            let wait = move || -> Wait {
                let queue = Rc::clone(&shared);
                Box::pin(async move { queue.put(0).await.unwrap() })
            };
            let empty = || {
                let queue = Rc::clone(&queue);
                let empty = async move {
                    for _ in LEAVING..COUNT {
                        queue.get().await.unwrap();
                    }
                };
                create_task(empty).detach();
            };
            assert_order(&trace, wait, empty).await;

            let future = get_running_loop().create_future();
            let shared = future.clone();
            let wait = move || -> Wait {
                let future = shared.clone();
                // Cancelling a task cancels the future that it awaits, unless it is shielded.
                Box::pin(async move { drop(callsoon::shield(future).await) })
            };
            assert_order(&trace, wait, || future.set_result(()).unwrap()).await;
        });
    });
}

#[test]
fn children_of_a_limited_group_begin_in_their_order_when_others_leave_the_line() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let order = shuffled(COUNT, 3);
            let ended = task_group(async |group| {
                group.set_limit(1);
                let gate = Rc::new(Event::new());
                let waiting = Rc::clone(&gate);
                group.create_task(async move { waiting.wait().await });
                let start = |number| {
                    let trace = trace.clone();
                    group.create_task(async move { trace.push(number) })
                };
                let tasks: Vec<_> = (0..COUNT).map(start).collect();
                yield_now().await;
                for &number in &order[..LEAVING] {
                    tasks[number].cancel();
                }
                yield_now().await;
                gate.set();
            });
            ended.await.unwrap();
            assert_eq!(trace.take(), sorted(&order[LEAVING..]));
        });
    });
}

/// A getter with n others before it may take an item if there are more than n.
#[test]
fn a_queue_has_woken_as_many_getters_as_it_has_items_when_some_leave() {
    audited(|| {
        for seed in 0..6 {
            let queue = Queue::new(0);
            let mut waiting: Vec<_> = (0..COUNT)
                .map(|number| (number, Waiting::begun(queue.get())))
                .collect();
            for (step, random) in shuffled(COUNT, seed).into_iter().enumerate() {
                match random % 4 {
                    0 => queue.put_nowait(step).unwrap(),
                    1 if queue.qsize() > 0 => {
                        let (_, mut first) = waiting.remove(random % queue.qsize());
                        assert!(first.poll().is_some(), "an eligible one");
                    }
                    _ => drop(waiting.remove(random % waiting.len())),
                }
                let woken = waiting.iter().filter(|(_, getter)| getter.is_woken());
                let woken: Vec<_> = woken.map(|(number, _)| *number).collect();
                let eligible = waiting.iter().take(queue.qsize());
                let eligible: Vec<_> = eligible.map(|(number, _)| *number).collect();
                assert_eq!(woken, eligible, "step {step}");
                if waiting.len() <= queue.qsize() + 1 {
                    break;
                }
            }
        }
    });
}

#[test]
fn done_callbacks_that_were_not_removed_run_in_their_order() {
    on_virtual_time(|trace, event_loop| {
        complete(&event_loop, async {
            let order = shuffled(COUNT, 5);
            let expected = sorted(&order[LEAVING..]);

            let future = get_running_loop().create_future();
            let other = get_running_loop().create_future::<()>();
            let mut ids = Vec::new();
            for number in 0..COUNT {
                let note = trace.note(number);
                ids.push(future.add_done_callback(move |_| note()));
                // Other futures of the loop get callbacks and awaiters in between: their ids are not this one's.
                let of_other = other.add_done_callback(|_| ());
                assert!(
                    !future.remove_done_callback(of_other)
                        && !other.remove_done_callback(ids[number])
                );
            }
            let awaiter = create_task(future.clone());
            yield_now().await;
            for &number in &order[..LEAVING] {
                assert!(future.remove_done_callback(ids[number]));
                assert!(!future.remove_done_callback(ids[number]), "once");
            }
            let late = future.add_done_callback(|_| unreachable!("it is removed"));
            assert!(future.remove_done_callback(late));
            future.set_result(()).unwrap();
            awaiter.await.unwrap().unwrap();
            assert_eq!(trace.take(), expected);

            let gate = Rc::new(Event::new());
            let waiting = Rc::clone(&gate);
            let task = create_task(async move { waiting.wait().await });
            let add = |number| {
                let note = trace.note(number);
                task.add_done_callback(move |_| note())
            };
            let ids: Vec<_> = (0..COUNT).map(add).collect();
            for &number in &order[..LEAVING] {
                assert!(task.remove_done_callback(ids[number]));
                assert!(!task.remove_done_callback(ids[number]), "once");
            }
            gate.set();
            task.await.unwrap();
            yield_now().await;
            assert_eq!(trace.take(), expected);
        });
    });
}
