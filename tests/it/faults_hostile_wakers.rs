//! A waker is user code: wakers that use, end and panic at everything whenever they are cloned, woken or dropped.

#![allow(
    clippy::waker_clone_wake,
    clippy::async_yields_async,
    reason = "what a clone does is tested too, and some futures are made inside the loop and polled outside"
)]

use std::cell::{Cell, RefCell};
use std::future::{Future, IntoFuture, pending, poll_fn};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use callsoon::net::TcpStream;
use callsoon::sync::{Lock, LockGuard};
use callsoon::{EventLoop, ExceptionContext, LoopHandle, LoopLocal, TaskRef};

use crate::support::{
    HostileWaker, Touch, Trace, audited, one_turn, stream_and_peer, virtual_loop, wait_until_ended,
    watched,
};

/// What hostile code gets its hands on.
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
            handle.call_exception_handler(&ExceptionContext::new("told by hostile code"));
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
        let mut task = handle.task_builder().name("hostile").spawn(async {});
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

/// A loop with everything that hostile code can reach.
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

    fn hostile(&self) -> HostileWaker {
        let reach = Rc::downgrade(&self.reach);
        HostileWaker::new(move |_| {
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
                    // Hostile code stops the loop again and again.
                    while owner.run_until_complete(&mut later).is_err() {}
                };
                (Box::pin(sleep), Box::new(complete))
            }
            Kind::Read => {
                let (stream, mut peer) = (Rc::clone(&self.stream), self.peer.take().unwrap());
                let read = async move { drop(stream.read(&mut [0]).await) };
                let near = Rc::clone(&self.stream);
                let complete = move || {
                    peer.write_all(b"x").unwrap();
                    // Hostile code reads too: a reader that does not get the byte gets the end.
                    drop(peer);
                    wait_until_ended(&*near);
                };
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
fn poll_at(
    zoo: &Zoo,
    inside: bool,
    waiting: &Rc<RefCell<Waiting>>,
    hostile: &HostileWaker,
) -> bool {
    let (waiting, waker) = (Rc::clone(waiting), hostile.waker());
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
fn a5_hostile_wakers_find_nothing_borrowed_and_the_newest_wins() {
    audited(watched(|| {
        for (kind, inside) in KINDS
            .into_iter()
            .flat_map(|kind| [(kind, false), (kind, true)])
        {
            let zoo = Zoo::new();
            let waiting = Rc::new(RefCell::new(zoo.waiting(kind)));
            let [first, second, third] = [(); 3].map(|()| zoo.hostile());
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
fn a5_hostile_wakers_of_dropped_waits_and_closed_loops_find_nothing_borrowed() {
    audited(watched(|| {
        for kind in KINDS {
            // The wait is dropped.
            let zoo = Zoo::new();
            let waiting = Rc::new(RefCell::new(zoo.waiting(kind)));
            let [first, second] = [(); 2].map(|()| zoo.hostile());
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
            let [first, second] = [(); 2].map(|()| zoo.hostile());
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
fn a5_a_hostile_waker_may_close_the_loop_at_any_touch() {
    audited(watched(|| {
        for kind in KINDS {
            for at in [Touch::Clone, Touch::Wake, Touch::Drop] {
                let zoo = Zoo::new();
                let waiting = Rc::new(RefCell::new(zoo.waiting(kind)));
                let reach = Rc::downgrade(&zoo.reach);
                let hostile = HostileWaker::new(move |touch| {
                    let Some(reach) = reach.upgrade() else { return };
                    reach.closes.set(touch == at);
                    reach.use_everything();
                });
                let plain = HostileWaker::new(|_| ());
                poll_at(&zoo, false, &waiting, &hostile);
                poll_at(&zoo, false, &waiting, &hostile);
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
                let hostile = HostileWaker::new(move |touch| {
                    if touch == Touch::Drop {
                        handle.call_later(Duration::ZERO, || ());
                        counted.set(counted.get() + 1);
                    }
                });
                let waker = hostile.waker();
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
        // Late enough to differ from all other times; it is there so that a lost wake is no hang.
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
        let hostile = HostileWaker::new(move |touch| {
            if touch != Touch::Clone {
                return;
            }
            if let Some(complete) = complete.take() {
                complete();
                one_turn(&owner);
            }
        });
        let waker = hostile.waker();
        let mut context = Context::from_waker(&waker);
        let first = future.as_mut().poll(&mut context).is_ready();
        zoo.settle();
        assert!(first || hostile.wakes() > 0, "neither ready nor woken");
        assert!(first || future.as_mut().poll(&mut context).is_ready());
    }));
}

#[test]
fn a5_a_waker_that_panics_harms_neither_the_loop_nor_the_others() {
    audited(watched(|| {
        for kind in KINDS {
            let zoo = Zoo::new();
            let waiting = Rc::new(RefCell::new(zoo.waiting(kind)));
            let hostile = HostileWaker::new(|touch| {
                if matches!(touch, Touch::Wake | Touch::WakeByRef) {
                    panic!("on purpose: {touch:?}");
                }
            });
            assert!(!poll_at(&zoo, true, &waiting, &hostile));
            // The waiters that are queued behind the hostile one.
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
            assert_eq!(hostile.wakes(), 1, "{kind:?}");
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
            let hostile = HostileWaker::new(|_| ());
            let waker = hostile.waker();
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
                assert_eq!(hostile.wakes(), 1);
                outer.cancel();
                one_turn(&event_loop);
            }
        }
    });
}

#[test]
fn what_a_wait_took_is_given_back_if_the_waker_panics_when_it_is_dropped() {
    audited(|| {
        let lock = Rc::new(Lock::new(()));
        let held = Rc::clone(&lock);
        let hostile = HostileWaker::new(move |touch| match touch {
            Touch::Clone => held.release().unwrap(),
            Touch::Drop => panic!("on purpose: a waker is dropped"),
            _ => {}
        });
        LockGuard::leak(lock.try_acquire().unwrap());
        let waker = std::mem::ManuallyDrop::new(hostile.waker());
        let mut wait = Box::pin(lock.acquire());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            wait.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        }));
        assert!(polled.is_err() && hostile.count(Touch::Clone) == 1);
        drop(wait);
        assert!(!lock.locked());
    });
}
