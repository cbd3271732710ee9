//! Wakers and tasks under abuse: used too late, elsewhere, too often, or by code that bites back.

#![allow(
    clippy::waker_clone_wake,
    clippy::async_yields_async,
    reason = "what a clone does is tested too, and some futures are made inside the loop and polled outside"
)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use callsoon::net::TcpStream;
use callsoon::{EventLoop, ExceptionContext, LoopHandle, LoopLocal, TaskError, TaskRef};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{
    EvilWaker, Touch, Trace, audited, complete, one_turn, real_loop, stream_and_peer, virtual_loop,
    watched,
};

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
            let evil = WakesAll(wakers.clone());
            event_loop
                .create_task(async move {
                    let _evil = evil;
                    pending::<()>().await;
                })
                .detach();
            let evil = WakesAll(wakers.clone());
            event_loop.call_soon(move || drop(evil));
            let evil = WakesAll(wakers);
            event_loop.call_later(Duration::from_secs(1), move || drop(evil));
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
            assert_eq!(polls.get(), 1 + round, "a key of the former tenant");
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
        // Once round all generations, with another task beside it that ends with nobody awaiting it.
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
fn a2_a_waker_used_on_eight_threads_polls_and_drops_its_future_at_home_only() {
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
        event_loop.call_soon(trace.note("next in line"));
        one_turn(&event_loop);
        trace.expect(["poll 1", "poll returns", "next in line"]);
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
                // The other thread wakes us at once: before this poll returns, while the loop looks, or in its sleep.
                to_waker.send(context.waker().clone()).unwrap();
                Poll::Pending
            }),
        );
        // A wake may come before its poll has returned, so that there may be more of them than waits, never fewer.
        assert_eq!(woken.join().unwrap(), ROUNDS);
    }));
}

/// What evil code gets its hands on.
struct Reach {
    owner: Weak<EventLoop>,
    handle: LoopHandle,
    future: callsoon::Future<u8>,
    task: TaskRef,
    stream: RefCell<Weak<TcpStream>>,
    trace: Trace,
    /// Ends the loop too, where that is allowed.
    closes: Cell<bool>,
}

static COUNTER: LoopLocal<Cell<u32>> = LoopLocal::new(|| Cell::new(0));

fn poll_quietly(future: impl IntoFuture) {
    let _ = pin!(future.into_future()).poll(&mut Context::from_waker(Waker::noop()));
}

impl Reach {
    /// Calls everything that is public and does not end what the test is about.
    fn use_everything(&self) {
        let closed = self.handle.is_closed();
        if !closed {
            self.use_loop();
        }
        self.use_owner();
        self.use_primitives();
        let handle = &self.handle;
        COUNTER.with(handle, |counter| counter.set(counter.get() + 1));
        handle.stop();
        let _ = (handle.time(), handle.metrics(), handle.has_ready());
        let _ = (handle.all_tasks(), handle.current_task(), handle.debug());
        let _ = (callsoon::try_get_running_loop(), format!("{handle:?}"));
        if !handle.is_closed() {
            let trace = self.trace.clone();
            handle.set_exception_handler(move |_, context| trace.push(context));
            handle.call_exception_handler(&ExceptionContext::new("told by evil code"));
        }
        let posted = handle.remote().call_soon_threadsafe(|| ());
        assert_eq!(posted.is_err(), handle.is_closed());
        if let Ok(posted) = posted {
            posted.cancel();
        }
    }

    fn use_loop(&self) {
        let handle = &self.handle;
        handle.call_soon(|| ());
        handle.call_soon(|| ()).cancel();
        handle.call_at(handle.time(), || ());
        handle.call_later(Duration::from_secs(9), || ()).cancel();
        handle.create_task(async {}).detach();
        let mut task = handle.task_builder().name("evil").spawn(async {});
        task.add_done_callback(|task| assert!(task.done()));
        poll_quietly(&mut task);
        task.cancel();
        let future = handle.create_future::<u8>();
        poll_quietly(&future);
        future.set_result(1).unwrap();
        if callsoon::try_get_running_loop().is_some() {
            poll_quietly(callsoon::sleep(Duration::from_secs(9)));
            poll_quietly(callsoon::yield_now());
        }
    }

    /// Runs the loop, where that is allowed.
    fn use_owner(&self) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        let nested = callsoon::try_get_running_loop().is_some();
        owner.stop();
        let ran = [
            owner.run_forever().is_ok(),
            owner.turn(Some(Duration::ZERO)).is_ok(),
            owner.run_until_complete(async {}).is_ok(),
        ];
        assert_eq!(ran, [!nested && !owner.is_closed(); 3]);
        if self.closes.get() {
            assert_eq!(owner.close().is_ok(), !nested);
        }
    }

    /// The same things that the test is about.
    fn use_primitives(&self) {
        let future = &self.future;
        let _ = (future.done(), future.cancelled(), format!("{future:?}"));
        let _ = (future.result(), future.exception());
        poll_quietly(future);
        poll_quietly(future.clone().take());
        if !self.handle.is_closed() {
            let id = future.add_done_callback(|_| ());
            future.remove_done_callback(id);
            let id = self.task.add_done_callback(|_| ());
            self.task.remove_done_callback(id);
        }
        let task = &self.task;
        let _ = (task.done(), task.cancelled(), task.id(), task.location());
        task.set_name(format!("{}'", task.name()));
        if let Some(stream) = self.stream.borrow().upgrade() {
            let _ = (stream.try_read(&mut []), stream.try_write(&[]));
            poll_quietly(stream.read(&mut [0]));
            let _ = (stream.peer_addr(), format!("{stream:?}"));
        }
    }
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Something that waits, and what ends the waiting.
struct Waiting {
    future: Option<Boxed>,
    complete: Option<Box<dyn FnOnce()>>,
}

/// A loop with everything that evil code can reach.
struct Zoo {
    event_loop: Rc<EventLoop>,
    reach: Rc<Reach>,
    /// Keeps the stream open.
    peer: RefCell<Option<std::net::TcpStream>>,
    stream: Rc<TcpStream>,
}

impl Zoo {
    fn new() -> Self {
        let trace = Trace::new();
        let event_loop = Rc::new(virtual_loop(&trace));
        let (stream, peer) = event_loop
            .run_until_complete(async { stream_and_peer() })
            .unwrap();
        let stream = Rc::new(stream);
        let reach = Reach {
            owner: Rc::downgrade(&event_loop),
            handle: event_loop.handle(),
            future: event_loop.create_future(),
            task: event_loop.create_task(pending::<()>()).as_ref(),
            stream: RefCell::new(Rc::downgrade(&stream)),
            trace,
            closes: Cell::new(false),
        };
        Self {
            event_loop,
            reach: Rc::new(reach),
            peer: RefCell::new(Some(peer)),
            stream,
        }
    }

    fn evil(&self) -> EvilWaker {
        let reach = Rc::downgrade(&self.reach);
        EvilWaker::new(move |_| {
            if let Some(reach) = reach.upgrade() {
                reach.use_everything();
            }
        })
    }

    /// One of the things that wait.
    fn waiting(&self, kind: Kind) -> Waiting {
        let event_loop = &self.event_loop;
        let setter = self.reach.future.clone();
        let set = move || setter.set_result(1).unwrap();
        let (future, complete): (Boxed, Box<dyn FnOnce()>) = match kind {
            Kind::Future => {
                let future = self.reach.future.clone();
                (Box::pin(async { drop(future.await) }), Box::new(set))
            }
            Kind::Take => {
                let future = self.reach.future.clone();
                (Box::pin(async { drop(future.take().await) }), Box::new(set))
            }
            Kind::Task => {
                let task = event_loop.create_task(self.reach.future.clone());
                one_turn(event_loop);
                (Box::pin(async { drop(task.await) }), Box::new(set))
            }
            Kind::Sleep => {
                let sleep = event_loop
                    .run_until_complete(async { callsoon::sleep(Duration::from_secs(1)) })
                    .unwrap();
                let owner = Rc::clone(event_loop);
                let complete = move || {
                    let mut later = owner.create_task(callsoon::sleep(Duration::from_secs(2)));
                    // Evil code stops the loop again and again.
                    while owner.run_until_complete(&mut later).is_err() {}
                };
                (Box::pin(sleep), Box::new(complete))
            }
            Kind::Read => {
                let (stream, mut peer) = (Rc::clone(&self.stream), self.peer.take().unwrap());
                let read = async move { drop(stream.read(&mut [0]).await) };
                let complete = move || peer.write_all(b"x").unwrap();
                (Box::pin(read), Box::new(complete))
            }
        };
        Waiting {
            future: Some(future),
            complete: Some(complete),
        }
    }

    /// Runs the loop until it has nothing left to do at this moment, however often it is asked to stop.
    fn settle(&self) {
        for _ in 0..6 {
            one_turn(&self.event_loop);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Future,
    Take,
    Task,
    Sleep,
    Read,
}

const KINDS: [Kind; 5] = [
    Kind::Future,
    Kind::Take,
    Kind::Task,
    Kind::Sleep,
    Kind::Read,
];

/// Polls between runs, or inside a callback.
fn poll_at(zoo: &Zoo, inside: bool, waiting: &Rc<RefCell<Waiting>>, evil: &EvilWaker) -> bool {
    let (waiting, waker) = (Rc::clone(waiting), evil.waker());
    let ready = Rc::new(Cell::new(None));
    let result = Rc::clone(&ready);
    let poll = move || {
        // Nothing is left of one that has ended.
        let Some(mut future) = waiting.borrow_mut().future.take() else {
            return result.set(Some(true));
        };
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_pending() {
            waiting.borrow_mut().future = Some(future);
        }
        result.set(Some(polled.is_ready()));
    };
    if inside {
        zoo.event_loop.call_soon(poll);
        one_turn(&zoo.event_loop);
    } else {
        poll();
    }
    ready.get().expect("the poll itself panicked")
}

#[test]
fn a5_evil_wakers_find_nothing_borrowed_and_the_newest_wins() {
    audited(watched(|| {
        for (kind, inside) in KINDS
            .into_iter()
            .flat_map(|kind| [(kind, false), (kind, true)])
        {
            let zoo = Zoo::new();
            let waiting = Rc::new(RefCell::new(zoo.waiting(kind)));
            let [first, second, third] = [(); 3].map(|()| zoo.evil());
            assert!(!poll_at(&zoo, inside, &waiting, &first), "{kind:?}");
            assert!(!poll_at(&zoo, inside, &waiting, &first), "{kind:?}");
            assert!(!poll_at(&zoo, inside, &waiting, &second), "{kind:?}");
            let complete = waiting.borrow_mut().complete.take().unwrap();
            complete();
            zoo.settle();
            assert_eq!(second.wakes(), 1, "{kind:?}, inside {inside}");
            assert_eq!(first.wakes(), 0, "{kind:?}, inside {inside}");
            assert!(first.count(Touch::Clone) > 1 && first.count(Touch::Drop) > 1);
            assert!(poll_at(&zoo, inside, &waiting, &third), "{kind:?}");
            assert!(
                !zoo.reach
                    .trace
                    .take()
                    .iter()
                    .any(|line| line.contains("borrowed"))
            );
        }
    }));
}

#[test]
fn a5_evil_wakers_of_dropped_waits_and_closed_loops_find_nothing_borrowed() {
    audited(watched(|| {
        for kind in KINDS {
            // The wait is dropped.
            let zoo = Zoo::new();
            let waiting = Rc::new(RefCell::new(zoo.waiting(kind)));
            let [first, second] = [(); 2].map(|()| zoo.evil());
            assert!(!poll_at(&zoo, true, &waiting, &first));
            assert!(!poll_at(&zoo, false, &waiting, &second));
            let dropped = waiting.borrow_mut().future.take();
            drop(dropped);
            let complete = waiting.borrow_mut().complete.take().unwrap();
            complete();
            zoo.settle();
            if !matches!(kind, Kind::Task) {
                assert_eq!((first.wakes(), second.wakes()), (0, 0), "{kind:?}");
                assert!(second.count(Touch::Drop) > 0, "{kind:?}");
            }
            // The loop is closed under the wait, which is polled again.
            let zoo = Zoo::new();
            let waiting = Rc::new(RefCell::new(zoo.waiting(kind)));
            let [first, second] = [(); 2].map(|()| zoo.evil());
            assert!(!poll_at(&zoo, true, &waiting, &first));
            zoo.event_loop.close().unwrap();
            poll_at(&zoo, false, &waiting, &second);
            drop(waiting);
            let text = zoo.reach.trace.take().join("\n");
            assert!(!text.contains("borrowed"), "{kind:?}: {text}");
        }
    }));
}

#[test]
fn a5_an_evil_waker_may_close_the_loop_at_any_touch() {
    audited(watched(|| {
        for kind in KINDS {
            for at in [Touch::Clone, Touch::Wake, Touch::Drop] {
                let zoo = Zoo::new();
                let waiting = Rc::new(RefCell::new(zoo.waiting(kind)));
                let reach = Rc::downgrade(&zoo.reach);
                let evil = EvilWaker::new(move |touch| {
                    let Some(reach) = reach.upgrade() else { return };
                    reach.closes.set(touch == at);
                    reach.use_everything();
                });
                let plain = EvilWaker::new(|_| ());
                poll_at(&zoo, false, &waiting, &evil);
                poll_at(&zoo, false, &waiting, &evil);
                poll_at(&zoo, false, &waiting, &plain);
                if at != Touch::Wake {
                    assert!(zoo.event_loop.is_closed(), "{kind:?}, {at:?}");
                }
                drop(waiting);
                let text = zoo.reach.trace.take().join("\n");
                assert!(!text.contains("borrowed"), "{kind:?}, {at:?}: {text}");
            }
        }
    }));
}

#[test]
fn a5_a_sleep_that_has_fired_drops_the_waker_of_a_late_poll_with_nothing_borrowed() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let (handle, outcome) = (event_loop.handle(), Rc::new(Cell::new(0)));
        let counted = Rc::clone(&outcome);
        event_loop
            .run_until_complete(async move {
                let mut sleep = pin!(callsoon::sleep(Duration::from_secs(1)));
                assert!(crate::support::poll_once(&mut sleep).await.is_none());
                callsoon::sleep(Duration::from_secs(2)).await;
                let evil = EvilWaker::new(move |touch| {
                    if touch == Touch::Drop {
                        handle.call_later(Duration::ZERO, || ());
                        counted.set(counted.get() + 1);
                    }
                });
                let waker = evil.waker();
                assert!(sleep.poll(&mut Context::from_waker(&waker)).is_ready());
            })
            .unwrap();
        assert!(outcome.get() > 0, "the waker was dropped somewhere");
    });
}

#[test]
fn a5_a_sleep_passed_from_a_combinator_to_its_task_in_the_turn_it_fires_still_ends() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        let second = Duration::from_secs(1);
        let handle = event_loop.handle();
        // Far enough away to be told from all else, and there so that a lost wake is no hang.
        let guard = event_loop.call_later(100 * second, move || handle.stop());
        let ran = event_loop.run_until_complete(async move {
            let mut first = pin!(callsoon::sleep(second));
            let mut other = pin!(callsoon::sleep(second));
            poll_fn(|context| {
                if first.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                // The combinator's own waker, as in FuturesUnordered.
                let own = Waker::from(Arc::new(Relay(context.waker().clone())));
                other.as_mut().poll(&mut Context::from_waker(&own))
            })
            .await;
            other.await;
        });
        assert!(ran.is_ok(), "the second sleep was never woken");
        guard.cancel();
    });
}

/// A combinator's waker.
struct Relay(Waker);

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

#[test]
fn a5_a_read_that_becomes_ready_while_its_waker_is_cloned_is_not_lost() {
    audited(watched(|| {
        let zoo = Zoo::new();
        let mut waiting = zoo.waiting(Kind::Read);
        let mut future = waiting.future.take().unwrap();
        let complete = RefCell::new(waiting.complete.take());
        let owner = Rc::clone(&zoo.event_loop);
        // Its clone lets the peer write and the loop see it: nothing forbids that between runs.
        let evil = EvilWaker::new(move |touch| {
            if touch != Touch::Clone {
                return;
            }
            if let Some(complete) = complete.take() {
                complete();
                one_turn(&owner);
            }
        });
        let waker = evil.waker();
        let mut context = Context::from_waker(&waker);
        let first = future.as_mut().poll(&mut context).is_ready();
        zoo.settle();
        assert!(first || evil.wakes() > 0, "neither ready nor woken");
        assert!(first || future.as_mut().poll(&mut context).is_ready());
    }));
}

#[test]
fn a5_a_waker_that_panics_harms_neither_the_loop_nor_the_others() {
    audited(watched(|| {
        for kind in KINDS {
            let zoo = Zoo::new();
            let waiting = Rc::new(RefCell::new(zoo.waiting(kind)));
            let evil = EvilWaker::new(|touch| {
                if matches!(touch, Touch::Wake | Touch::WakeByRef) {
                    panic!("on purpose: {touch:?}");
                }
            });
            assert!(!poll_at(&zoo, true, &waiting, &evil));
            // Whoever waits behind the bad one.
            let behind = Rc::clone(&zoo.stream);
            let others = [
                zoo.event_loop.create_task({
                    let future = zoo.reach.future.clone();
                    async { drop(future.await) }
                }),
                zoo.event_loop
                    .create_task(async move { drop(behind.read(&mut [0]).await) }),
            ];
            one_turn(&zoo.event_loop);
            let complete = waiting.borrow_mut().complete.take().unwrap();
            let survived = catch_unwind(AssertUnwindSafe(|| {
                complete();
                zoo.settle();
            }));
            assert!(survived.is_ok(), "{kind:?}: the panic came out of the loop");
            assert_eq!(evil.wakes(), 1, "{kind:?}");
            let reports = zoo.reach.trace.take();
            assert_eq!(
                reports,
                ["report: Exception in a waker (on purpose: Wake)"],
                "{kind:?}"
            );
            let woken = others.iter().filter(|task| task.done()).count();
            assert_eq!(woken, usize::from(!matches!(kind, Kind::Sleep)), "{kind:?}");
        }
    }));
}

#[test]
fn a5_a_task_whose_awaiters_waker_changes_kind_wakes_the_newest() {
    audited(|| {
        let event_loop = virtual_loop(&Trace::new());
        for native_last in [false, true] {
            let future = event_loop.create_future::<()>();
            let inner = event_loop.create_task(future.clone());
            let foreign = EvilWaker::new(|_| ());
            let waker = foreign.waker();
            let mut inner = Box::pin(inner);
            let outer = event_loop.create_task(poll_fn(move |context| {
                let own = context.waker().clone();
                let both = if native_last {
                    [&waker, &own]
                } else {
                    [&own, &waker]
                };
                let ready = both.map(|waker| {
                    let mut context = Context::from_waker(waker);
                    inner.as_mut().poll(&mut context).is_ready()
                });
                if ready[0] {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }));
            one_turn(&event_loop);
            future.set_result(()).unwrap();
            for _ in 0..3 {
                one_turn(&event_loop);
            }
            if native_last {
                assert!(outer.done());
            } else {
                assert_eq!(foreign.wakes(), 1);
                outer.cancel();
                one_turn(&event_loop);
            }
        }
    });
}

#[test]
fn a6_every_short_life_of_a_task_drops_its_output_and_its_future_once() {
    const LENGTH: u32 = 5;
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let ops = Op::ALL.len();
        for length in 0..=LENGTH {
            for number in 0..ops.pow(length) {
                let life: Vec<Op> = (0..length)
                    .map(|place| Op::ALL[number / ops.pow(place) % ops])
                    .collect();
                live(&event_loop, &trace, &life);
            }
        }
    }));
}

/// One event in the life of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    /// One turn of the loop.
    Turn,
    /// From outside, through the handle or else through `all_tasks`.
    Cancel,
    /// The task cancels itself at its next poll.
    CancelItself,
    /// The next poll gives a value.
    Complete,
    /// The next poll gives a value whose destructor panics.
    CompleteBadly,
    /// The next poll panics.
    Panic,
    /// The future's destructor will panic.
    DropPanics,
    DropHandle,
    Take,
}

impl Op {
    const ALL: [Self; 9] = [
        Self::Turn,
        Self::Cancel,
        Self::CancelItself,
        Self::Complete,
        Self::CompleteBadly,
        Self::Panic,
        Self::DropPanics,
        Self::DropHandle,
        Self::Take,
    ];
}

/// What the next poll does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Wait,
    Value,
    BadValue,
    Panic,
}

/// What test, future and output share.
struct Controls {
    next: Cell<Next>,
    cancels_itself: Cell<bool>,
    drop_panics: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    futures_dropped: Cell<u32>,
    outputs: Cell<(u32, u32)>,
}

struct Subject(Rc<Controls>);

struct Output(Rc<Controls>, bool);

impl Future for Subject {
    type Output = Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Output> {
        let controls = &self.0;
        *controls.waker.borrow_mut() = Some(context.waker().clone());
        if controls.cancels_itself.take() {
            assert!(callsoon::current_task().unwrap().cancel());
        }
        let bad = match controls.next.get() {
            Next::Wait => return Poll::Pending,
            Next::Value => false,
            Next::BadValue => true,
            Next::Panic => panic!("on purpose: poll"),
        };
        let (made, dropped) = controls.outputs.get();
        controls.outputs.set((made + 1, dropped));
        Poll::Ready(Output(Rc::clone(controls), bad))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.0.futures_dropped.set(self.0.futures_dropped.get() + 1);
        if self.0.drop_panics.get() {
            panic!("on purpose: drop of the future");
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let (made, dropped) = self.0.outputs.get();
        self.0.outputs.set((made, dropped + 1));
        if self.1 {
            panic!("on purpose: drop of the output");
        }
    }
}

/// How a task has ended, in the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Value,
    BadValue,
    Cancelled,
    Panicked,
    Taken,
}

/// What must happen, kept beside the real task.
struct Model {
    end: Option<End>,
    requested: bool,
    queued: bool,
    has_handle: bool,
    reports: Vec<&'static str>,
}

const IN_TASK: &str = "report: Exception in a destructor while its task ended";
const UNREAD: &str = "report: Task exception was never retrieved (on purpose: poll)";
const UNAWAITED: &str = "report: Exception in the destructor of a result that nobody awaited \
                         (on purpose: drop of the output)";

impl Model {
    fn turn(&mut self, controls: &Controls) {
        if !std::mem::take(&mut self.queued) || self.end.is_some() {
            return;
        }
        let mut overruled = false;
        if !self.requested {
            self.requested |= controls.cancels_itself.get();
            self.queued = self.requested;
            self.end = match controls.next.get() {
                Next::Wait => return,
                Next::Panic => Some(End::Panicked),
                Next::Value if !self.requested => Some(End::Value),
                Next::BadValue if !self.requested => Some(End::BadValue),
                Next::Value | Next::BadValue => Some(End::Cancelled),
            };
            overruled = self.end == Some(End::Cancelled);
        } else {
            self.end = Some(End::Cancelled);
        }
        // Of two destructors that panic the first is reported.
        if controls.drop_panics.get() {
            self.reports.push("future");
        } else if overruled && controls.next.get() == Next::BadValue {
            self.reports.push("output");
        }
        if !self.has_handle {
            self.abandoned(true);
        }
    }

    /// The result is nobody's: dropped by the loop, or by the handle's last owner.
    fn abandoned(&mut self, by_loop: bool) {
        match self.end {
            Some(End::Panicked) => self.reports.push(UNREAD),
            Some(End::BadValue) if by_loop => self.reports.push(UNAWAITED),
            _ => {}
        }
    }

    fn expected_reports(&self) -> Vec<String> {
        self.reports
            .iter()
            .map(|report| match *report {
                "future" => format!("{IN_TASK} (on purpose: drop of the future)"),
                "output" => format!("{IN_TASK} (on purpose: drop of the output)"),
                report => report.to_owned(),
            })
            .collect()
    }
}

/// Leads one life on a loop that is used for many.
fn live(event_loop: &EventLoop, trace: &Trace, life: &[Op]) {
    let controls = Rc::new(Controls {
        next: Cell::new(Next::Wait),
        cancels_itself: Cell::new(false),
        drop_panics: Cell::new(false),
        waker: RefCell::new(None),
        futures_dropped: Cell::new(0),
        outputs: Cell::new((0, 0)),
    });
    let mut handle = Some(event_loop.create_task(Subject(Rc::clone(&controls))));
    let mut model = Model {
        end: None,
        requested: false,
        queued: true,
        has_handle: true,
        reports: Vec::new(),
    };
    // Whatever the life was, it ends in good order.
    let last = [Op::Cancel, Op::Turn, Op::DropHandle];
    for &op in life.iter().chain(&last) {
        act(event_loop, op, &controls, &mut handle, &mut model);
        assert_eq!(
            u32::from(model.end.is_some()),
            controls.futures_dropped.get(),
            "{life:?}, {op:?}"
        );
    }
    let (made, dropped) = controls.outputs.get();
    assert_eq!(made, dropped, "{life:?}");
    assert_eq!(trace.take(), model.expected_reports(), "{life:?}");
    let metrics = event_loop.metrics();
    assert_eq!((metrics.tasks, metrics.ready), (0, 0), "{life:?}");
    if let Some(stale) = controls.waker.take() {
        stale.wake();
        assert_eq!(event_loop.metrics().ready, 0);
    }
}

fn act(
    event_loop: &EventLoop,
    op: Op,
    controls: &Controls,
    handle: &mut Option<callsoon::Task<Output>>,
    model: &mut Model,
) {
    let mut next = |next: Next| {
        controls.next.set(next);
        if let Some(waker) = &*controls.waker.borrow() {
            waker.wake_by_ref();
        }
        model.queued = true;
    };
    match op {
        Op::Turn => {
            model.turn(controls);
            one_turn(event_loop);
        }
        Op::Cancel => {
            let asked = match &handle {
                Some(handle) => handle.cancel(),
                None => event_loop
                    .all_tasks()
                    .pop()
                    .is_some_and(|task| task.cancel()),
            };
            assert_eq!(asked, model.end.is_none());
            model.requested |= asked;
            model.queued |= asked;
        }
        Op::CancelItself => {
            controls.cancels_itself.set(true);
            next(controls.next.get());
        }
        Op::Complete => next(Next::Value),
        Op::CompleteBadly => next(Next::BadValue),
        Op::Panic => next(Next::Panic),
        Op::DropPanics => controls.drop_panics.set(true),
        Op::DropHandle => {
            let bad = model.has_handle && model.end == Some(End::BadValue);
            if std::mem::take(&mut model.has_handle) {
                model.abandoned(false);
            }
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(handle.take())));
            assert_eq!(dropped.is_err(), bad, "the output's panic is its owner's");
        }
        Op::Take => {
            let Some(handle) = handle else { return };
            let taken = catch_unwind(AssertUnwindSafe(|| match handle.result() {
                Err(_) => None,
                Ok(Ok(output)) => {
                    drop(output);
                    Some(End::Value)
                }
                Ok(Err(TaskError::Cancelled(_))) => Some(End::Cancelled),
                Ok(Err(TaskError::Panicked(_))) => Some(End::Panicked),
                Ok(Err(TaskError::Taken)) => Some(End::Taken),
                Ok(Err(_)) => unreachable!(),
            }));
            // The test itself drops what it took.
            assert_eq!(taken.unwrap_or(Some(End::BadValue)), model.end);
            model.end = model.end.map(|_| End::Taken);
        }
    }
}
