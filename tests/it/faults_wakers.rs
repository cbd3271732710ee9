//! Wakers and tasks that are misused: too late, on other threads, too often, or by code that calls back.

#![allow(
    clippy::waker_clone_wake,
    clippy::async_yields_async,
    reason = "what a clone does is tested too, and some futures are made inside the loop and polled outside"
)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use callsoon::EventLoop;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Trace, audited, complete, one_turn, real_loop, virtual_loop, watched};

/// A future that keeps the newest waker it was polled with, and counts its polls.
struct Listener {
    waker: Rc<RefCell<Option<Waker>>>,
    polls: Rc<Cell<usize>>,
}

impl Listener {
    /// The future, where its waker will be, and how often it was polled.
    #[allow(
        clippy::type_complexity,
        reason = "two cells, named where they are used"
    )]
    fn new() -> (Self, Rc<RefCell<Option<Waker>>>, Rc<Cell<usize>>) {
        let (waker, polls) = (Rc::default(), Rc::default());
        let listener = Self {
            waker: Rc::clone(&waker),
            polls: Rc::clone(&polls),
        };
        (listener, waker, polls)
    }
}

impl Future for Listener {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.polls.set(self.polls.get() + 1);
        *self.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

/// The waker of a pending task of this loop, once it has been polled.
fn task_waker(event_loop: &EventLoop) -> Waker {
    let (listener, waker, _) = Listener::new();
    event_loop.create_task(listener).detach();
    one_turn(event_loop);
    waker.take().unwrap()
}

/// The waker of a main future that was stopped.
fn root_waker(event_loop: &EventLoop) -> Waker {
    let (listener, waker, _) = Listener::new();
    event_loop.stop();
    assert!(event_loop.run_until_complete(listener).is_err());
    waker.take().unwrap()
}

fn use_up(waker: Waker) {
    waker.wake_by_ref();
    let clone = waker.clone();
    assert!(clone.will_wake(&waker));
    clone.wake();
    drop(waker);
}

#[test]
fn a1_wakers_outlive_their_loop_on_this_thread_and_on_others() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let wakers = [task_waker(&event_loop), root_waker(&event_loop)];
        let elsewhere = wakers.clone();
        drop(event_loop);
        wakers.into_iter().for_each(use_up);
        thread::spawn(move || elsewhere.into_iter().for_each(use_up))
            .join()
            .unwrap();
    });
}

#[test]
fn a1_wakers_are_used_while_their_loop_is_dropped() {
    const ROUNDS: usize = 10_000;
    audited(watched(|| {
        let (give, take) = mpsc::channel::<Vec<Waker>>();
        let start = Arc::new(Barrier::new(2));
        let gate = Arc::clone(&start);
        let waking = thread::spawn(move || {
            let mut used = 0;
            for wakers in take {
                gate.wait();
                used += wakers.len();
                wakers.into_iter().for_each(use_up);
            }
            used
        });
        for _ in 0..ROUNDS {
            let event_loop = virtual_loop(&Trace::new());
            let wakers = vec![task_waker(&event_loop), root_waker(&event_loop)];
            give.send(wakers).unwrap();
            start.wait();
            drop(event_loop);
        }
        drop(give);
        assert_eq!(waking.join().unwrap(), 2 * ROUNDS);
    }));
}

#[test]
fn a1_wakers_are_used_inside_the_destructors_that_their_loop_runs_at_close() {
    struct WakesAll(Vec<Waker>);
    impl Drop for WakesAll {
        fn drop(&mut self) {
            self.0.drain(..).for_each(use_up);
        }
    }
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        for _ in 0..3 {
            let wakers: Vec<_> = (0..3).map(|_| task_waker(&event_loop)).collect();
            let hostile = WakesAll(wakers.clone());
            event_loop
                .create_task(async move {
                    let _hostile = hostile;
                    pending::<()>().await;
                })
                .detach();
            let hostile = WakesAll(wakers.clone());
            event_loop.call_soon(move || drop(hostile));
            let hostile = WakesAll(wakers);
            event_loop.call_later(Duration::from_secs(1), move || drop(hostile));
        }
        event_loop.close().unwrap();
        assert_eq!(
            (event_loop.metrics().tasks, event_loop.metrics().ready),
            (0, 0)
        );
    });
}

#[test]
fn a1_a_waker_of_a_loop_whose_id_has_come_round_is_at_worst_a_spurious_poll() {
    audited(|| {
        // One waker of each of the first slots, of a loop that is gone.
        let stale: Vec<Waker> = {
            let event_loop = virtual_loop(&Trace::new());
            (0..4)
                .map(|_| task_waker(&event_loop))
                .chain([root_waker(&event_loop)])
                .collect()
        };
        for _ in 0..200 {
            let event_loop = virtual_loop(&Trace::new());
            let (listener, _, polls) = Listener::new();
            event_loop.create_task(listener).detach();
            let finished = event_loop.create_task(async { 1 });
            let value = event_loop
                .run_until_complete(async {
                    for waker in &stale {
                        waker.wake_by_ref();
                        waker.clone().wake();
                    }
                    callsoon::yield_now().await;
                    callsoon::yield_now().await;
                    finished.await.unwrap()
                })
                .unwrap();
            assert_eq!(value, 1);
            // Its own first poll, and one for a key that fits by accident.
            assert!((1..=2).contains(&polls.get()));
            for waker in &stale {
                waker.wake_by_ref();
            }
            one_turn(&event_loop);
            assert_eq!(event_loop.all_tasks().len(), 1);
        }
    });
}

#[test]
fn a1_a_waker_of_a_finished_task_does_not_disturb_the_next_in_its_slot() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let (listener, waker, _) = Listener::new();
        let first = event_loop.create_task(listener);
        one_turn(&event_loop);
        first.cancel();
        one_turn(&event_loop);
        let (listener, own, polls) = Listener::new();
        event_loop.create_task(listener).detach();
        let stale = waker.take().unwrap();
        for round in 0..10 {
            stale.wake_by_ref();
            one_turn(&event_loop);
            assert_eq!(polls.get(), 1 + round, "a key of the former owner");
            // And it has not used up the wake of the present one.
            own.borrow().as_ref().unwrap().wake_by_ref();
            stale.wake_by_ref();
            one_turn(&event_loop);
            assert_eq!(polls.get(), 2 + round);
        }
    });
}

#[test]
fn a1_the_waker_of_a_task_in_use_always_leads_to_it_whatever_number_the_task_has() {
    audited(watched(|| {
        let event_loop = virtual_loop(&Trace::new());
        // Once round all generations, with another task beside it that ends and is not awaited.
        for _ in 0..=u16::MAX {
            let (listener, waker, polls) = Listener::new();
            let task = event_loop.create_task(listener);
            let others = [(); 2].map(|()| event_loop.create_task(async {}));
            one_turn(&event_loop);
            assert!(others.iter().all(callsoon::Task::done));
            one_turn(&event_loop); // a spurious poll would be now
            let polled = polls.get();
            let newest = waker.borrow().clone().unwrap();
            newest.wake();
            one_turn(&event_loop);
            assert_eq!(polls.get(), polled + 1, "the wake went astray");
            task.cancel();
            one_turn(&event_loop);
        }
    }));
}

#[test]
fn a1_a_sleep_whose_loop_is_closed_never_says_that_its_time_has_come() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let mut sleep = event_loop
            .run_until_complete(async { Box::pin(callsoon::sleep(Duration::from_secs(1))) })
            .unwrap();
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        drop(event_loop);
        for _ in 0..3 {
            assert!(sleep.as_mut().poll(&mut context).is_pending(), "early");
        }
    });
}

/// Asserts that it is polled and dropped on the thread that made it.
struct HomeBound {
    home: ThreadId,
    /// Makes it `!Send`, as the futures in question are.
    _local: Rc<()>,
    waker: Arc<Mutex<Option<Waker>>>,
    polls: Arc<AtomicUsize>,
    dropped: Arc<AtomicU32>,
}

impl Future for HomeBound {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        assert_eq!(thread::current().id(), self.home);
        self.polls.fetch_add(1, Ordering::Relaxed);
        *self.waker.lock().unwrap() = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for HomeBound {
    fn drop(&mut self) {
        // Counted apart: a failed assertion here would go to a report.
        let on = u32::from(thread::current().id() == self.home);
        self.dropped
            .fetch_add(if on == 1 { 1 } else { 1 << 16 }, Ordering::Relaxed);
    }
}

#[test]
fn a2_a_waker_used_on_eight_threads_polls_and_drops_its_future_on_the_loop_s_thread_only() {
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        let (polls, dropped) = (Arc::default(), Arc::default());
        let slot = Arc::default();
        let task = event_loop.create_task(HomeBound {
            home: thread::current().id(),
            _local: Rc::new(()),
            waker: Arc::clone(&slot),
            polls: Arc::clone(&polls),
            dropped: Arc::clone(&dropped),
        });
        one_turn(&event_loop);
        let remote = event_loop.remote();
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let waker = slot.lock().unwrap().clone().unwrap();
                let remote = remote.clone();
                thread::spawn(move || {
                    for _ in 0..1000 {
                        waker.clone().wake();
                        waker.wake_by_ref();
                        drop(waker.clone());
                    }
                    remote.call_soon_threadsafe(|| ()).unwrap();
                    waker.wake(); // the last of this thread's
                })
            })
            .collect();
        let joiner = thread::spawn(move || {
            for worker in workers {
                worker.join().unwrap();
            }
            remote
                .call_soon_threadsafe(|| callsoon::get_running_loop().stop())
                .unwrap();
        });
        event_loop.run_forever().unwrap();
        joiner.join().unwrap();
        assert!(polls.load(Ordering::Relaxed) > 1, "wakes arrived");
        task.cancel();
        one_turn(&event_loop);
        drop((task, event_loop));
        slot.lock().unwrap().take().unwrap().wake();
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    }));
}

#[test]
fn a3_a_self_wake_polls_again_in_the_next_turn_and_once() {
    audited(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let t = trace.clone();
        let mut polls = 0;
        let task = event_loop.create_task(poll_fn(move |context: &mut Context<'_>| {
            polls += 1;
            t.push(format!("poll {polls}"));
            for _ in 0..3 {
                context.waker().wake_by_ref();
                context.waker().clone().wake();
            }
            t.push("poll returns"); // never polled on the waker's stack
            Poll::<()>::Pending
        }));
        event_loop.call_soon(trace.note("next in the queue"));
        one_turn(&event_loop);
        trace.expect(["poll 1", "poll returns", "next in the queue"]);
        assert_eq!(event_loop.metrics().ready, 1);
        one_turn(&event_loop);
        trace.expect(["poll 2", "poll returns"]);
        task.cancel();
        one_turn(&event_loop);
    });
}

#[test]
fn a3_a_hundred_thousand_wakes_are_one_entry_and_one_poll() {
    audited(watched(|| {
        let event_loop = virtual_loop(&Trace::new());
        let (listener, waker, polls) = Listener::new();
        event_loop.create_task(listener).detach();
        one_turn(&event_loop);
        let hot = waker.take().unwrap();
        let wakes = hot.clone();
        let handle = event_loop.handle();
        event_loop.call_soon(move || {
            for _ in 0..100_000 {
                wakes.wake_by_ref();
            }
            assert_eq!(handle.metrics().ready, 1, "at home");
        });
        one_turn(&event_loop);
        one_turn(&event_loop);
        assert_eq!(polls.get(), 2);
        // From two threads at once, so that no two wakes in a row need be the same.
        let other = {
            let (listener, waker, _) = Listener::new();
            event_loop.create_task(listener).detach();
            one_turn(&event_loop);
            waker.take().unwrap()
        };
        let threads = [hot, other].map(|waker| {
            thread::spawn(move || {
                for _ in 0..50_000 {
                    waker.wake_by_ref();
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let seen = Rc::new(Cell::new(0));
        let (handle, ready) = (event_loop.handle(), Rc::clone(&seen));
        event_loop.call_soon(move || ready.set(handle.metrics().ready));
        assert_eq!(
            event_loop.metrics().ready,
            3,
            "drained in front of the callback"
        );
        one_turn(&event_loop);
        assert_eq!((polls.get(), seen.get()), (3, 0));
    }));
}

/// What each step of each task wakes.
type Wakes = Vec<Vec<Vec<usize>>>;

/// The scheduler in twenty lines: one FIFO, a flag for each task, a turn is a snapshot.
fn reference(scripts: &Wakes) -> Vec<(usize, usize)> {
    let mut polls = Vec::new();
    let mut step = vec![0; scripts.len()];
    let mut queued = vec![true; scripts.len()];
    let mut queue: VecDeque<usize> = (0..scripts.len()).collect();
    let mut turn = 0;
    while !queue.is_empty() {
        for _ in 0..queue.len() {
            let task = queue.pop_front().unwrap();
            queued[task] = false;
            polls.push((turn, task));
            let wakes = scripts[task].get(step[task]);
            step[task] += 1;
            for &woken in wakes.into_iter().flatten() {
                if !std::mem::replace(&mut queued[woken], true) {
                    queue.push_back(woken);
                }
            }
        }
        turn += 1;
    }
    polls
}

fn scheduled(scripts: &Wakes) -> Vec<(usize, usize)> {
    let event_loop = virtual_loop(&Trace::new());
    let turn = Rc::new(Cell::new(0));
    let polls = Rc::new(RefCell::new(Vec::new()));
    let wakers: Rc<RefCell<Vec<Option<Waker>>>> = Rc::new(RefCell::new(vec![None; scripts.len()]));
    // A first poll that only stores the waker, so that each task can wake each other in the steps that count.
    for (number, script) in scripts.iter().cloned().enumerate() {
        let (turn, polls, wakers) = (Rc::clone(&turn), Rc::clone(&polls), Rc::clone(&wakers));
        let mut steps = script.into_iter();
        let task = poll_fn(move |context: &mut Context<'_>| {
            if wakers.borrow()[number].is_none() {
                wakers.borrow_mut()[number] = Some(context.waker().clone());
                return Poll::<()>::Pending;
            }
            polls.borrow_mut().push((turn.get(), number));
            for woken in steps.next().unwrap_or_default() {
                let waker = wakers.borrow()[woken].clone().unwrap();
                waker.wake();
            }
            Poll::Pending
        });
        event_loop.create_task(task).detach();
    }
    one_turn(&event_loop);
    for waker in wakers.borrow().iter().flatten() {
        waker.wake_by_ref();
    }
    while event_loop.has_ready() {
        one_turn(&event_loop);
        turn.set(turn.get() + 1);
    }
    polls.take()
}

#[test]
fn a3_tasks_are_polled_in_the_order_of_their_wakes_as_in_a_reference_scheduler() {
    audited(|| {
        let scripts = (1usize..5).prop_flat_map(|tasks| {
            let wakes = prop::collection::vec(0..tasks, 0..4);
            prop::collection::vec(prop::collection::vec(wakes, 0..6), tasks)
        });
        let config = Config {
            cases: 500,
            failure_persistence: None,
            ..Config::default()
        };
        TestRunner::new_with_rng(config, deterministic())
            .run(&scripts, |scripts| {
                prop_assert_eq!(scheduled(&scripts), reference(&scripts));
                Ok(())
            })
            .unwrap();
    });
}

fn deterministic() -> proptest::test_runner::TestRng {
    proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha)
}

#[test]
fn a4_a_wake_that_comes_while_the_loop_falls_asleep_is_not_lost() {
    const ROUNDS: usize = 20_000;
    audited(watched(|| {
        let event_loop = real_loop(&Trace::new());
        let (to_waker, wakers) = mpsc::channel::<Waker>();
        let woken = thread::spawn(move || wakers.into_iter().map(Waker::wake).count());
        let mut rounds = 0;
        complete(
            &event_loop,
            poll_fn(move |context| {
                if rounds == ROUNDS {
                    return Poll::Ready(());
                }
                rounds += 1;
                // The other thread wakes us at once: before this poll returns, while the loop polls for events, or in
                // its sleep.
                to_waker.send(context.waker().clone()).unwrap();
                Poll::Pending
            }),
        );
        // A wake may come before its poll has returned, so that there may be more of them than waits, never fewer.
        assert_eq!(woken.join().unwrap(), ROUNDS);
    }));
}
