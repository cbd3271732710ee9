//! What locks, semaphores, queues and events cost between the tasks of one thread, and what it costs to hold tasks
//! together and to limit their time.
//!
//! Rows are generic functions over `Primitives`, the same code for each peer; each measurement is a process of its own,
//! and figures are processor time. callsoon's primitives belong to one thread, which is the point; tokio's and smol's
//! (async-lock, async-channel, event-listener) are thread-safe, and are what their users have on a single thread too.
//!
//! - `lock_uncontended`, `semaphore_uncontended`: acquire and release by one task, nobody else there; ns a pair.
//! - `lock_handover`: two tasks that hold the lock across a yield, so that each acquire has to wait and each release
//!   hands over; ns an acquire. The yields are in it: `yield` in `scheduler` says what they cost.
//! - `semaphore`: the same with two permits and four tasks.
//! - `queue_put_get`: a producer task and a consumer task; ns an item. Both run until they must wait, so `bounded_1`
//!   switches tasks for every item and `bounded_16` for every sixteenth. `unbounded` has a producer that yields after
//!   every 100 items.
//! - `event_set`: 100 tasks wait, one sets; ns a task woken, its next wait included.
//! - `waiters_leave`: 100,000 futures wait for a lock that stays held, and are dropped in random order; ns each, its box,
//!   its one poll and its drop together.
//! - `gather_1000`: a thousand tasks that yield once, their values in a list in order; ns a task. `gather` here; elsewhere
//!   the tasks are spawned, then awaited one after another.
//! - `task_group_1000`: the same without values: `task_group`; tokio's `JoinSet`; smol has nothing of the kind, so spawned
//!   and awaited.
//! - `timeout_ready`, `timeout_yield`: a limit of a second around a future that is ready at once, and around one that
//!   yields once; ns each. smol's is its users' race against a timer, `futures_lite::future::or`.

#![allow(unsafe_code)] // clock_gettime, alarm and affinity, in support

mod support;

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use support::cpu::measure;
use support::options::Options;
use support::peers::callsoon_peer::Callsoon;
use support::peers::smol_peer::Smol;
use support::peers::tokio_peer::Tokio;
use support::peers::{self, Peer};
use support::rounds::{Bench, Failure, in_child};
use support::table::Figure;

/// A peer's primitives, as its users write them.
trait Primitives: Peer {
    type Lock: 'static;
    type Semaphore: 'static;
    /// `None` is unbounded.
    type Queue: Clone + 'static;
    type Event: 'static;

    fn lock() -> Self::Lock;
    fn acquire(lock: &Self::Lock) -> impl Future<Output = impl Sized>;

    fn semaphore(permits: usize) -> Self::Semaphore;
    fn permit(semaphore: &Self::Semaphore) -> impl Future<Output = impl Sized>;

    fn queue(capacity: Option<usize>) -> (Self::Queue, impl Consumer);
    fn put(queue: &Self::Queue, item: u64) -> impl Future<Output = ()>;

    fn event() -> Self::Event;
    /// Wakes all current waiters.
    fn pulse(event: &Self::Event);
    fn wait(event: &Self::Event) -> impl Future<Output = ()>;

    /// Runs futures as tasks and gives their values in order.
    async fn gather<F>(&self, futures: impl Iterator<Item = F>) -> Vec<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        let tasks: Vec<_> = futures.map(|future| self.spawn(future)).collect();
        let mut values = Vec::with_capacity(tasks.len());
        for task in tasks {
            values.push(Self::joined(task.await));
        }
        values
    }

    /// Runs futures as tasks of one group.
    async fn group(&self, futures: impl Iterator<Item = impl Future<Output = ()> + 'static>) {
        for () in self.gather(futures).await {}
    }

    /// Runs a future for a second at most.
    fn limited<T>(future: impl Future<Output = T>) -> impl Future<Output = Option<T>>;
}

/// A limit that no row reaches.
const LIMIT: Duration = Duration::from_secs(1);

/// A queue's other end.
trait Consumer: 'static {
    fn get(&mut self) -> impl Future<Output = u64>;
}

impl Primitives for Callsoon {
    type Lock = callsoon::sync::Lock<u64>;
    type Semaphore = callsoon::sync::Semaphore;
    type Queue = Rc<callsoon::Queue<u64>>;
    type Event = callsoon::sync::Event;

    fn lock() -> Self::Lock {
        callsoon::sync::Lock::new(0)
    }

    fn acquire(lock: &Self::Lock) -> impl Future<Output = impl Sized> {
        lock.acquire()
    }

    fn semaphore(permits: usize) -> Self::Semaphore {
        callsoon::sync::Semaphore::new(permits)
    }

    fn permit(semaphore: &Self::Semaphore) -> impl Future<Output = impl Sized> {
        semaphore.acquire()
    }

    fn queue(capacity: Option<usize>) -> (Self::Queue, impl Consumer) {
        let queue = Rc::new(callsoon::Queue::new(capacity.unwrap_or(0)));
        (Rc::clone(&queue), queue)
    }

    async fn put(queue: &Self::Queue, item: u64) {
        queue.put(item).await.expect("not shut down");
    }

    fn event() -> Self::Event {
        callsoon::sync::Event::new()
    }

    fn pulse(event: &Self::Event) {
        event.set();
        event.clear();
    }

    fn wait(event: &Self::Event) -> impl Future<Output = ()> {
        event.wait()
    }

    async fn gather<F>(&self, futures: impl Iterator<Item = F>) -> Vec<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        callsoon::gather(futures).await.expect("no task panics")
    }

    async fn group(&self, futures: impl Iterator<Item = impl Future<Output = ()> + 'static>) {
        let ended = callsoon::task_group(async |group| {
            for future in futures {
                group.create_task(future);
            }
        });
        ended.await.expect("no task panics");
    }

    async fn limited<T>(future: impl Future<Output = T>) -> Option<T> {
        callsoon::timeout(LIMIT, future).await.ok()
    }
}

impl Consumer for Rc<callsoon::Queue<u64>> {
    async fn get(&mut self) -> u64 {
        callsoon::Queue::get(self).await.expect("not shut down")
    }
}

/// Two types of channel, of which the row uses one.
#[derive(Clone)]
enum TokioSender {
    Bounded(tokio::sync::mpsc::Sender<u64>),
    Unbounded(tokio::sync::mpsc::UnboundedSender<u64>),
}

enum TokioReceiver {
    Bounded(tokio::sync::mpsc::Receiver<u64>),
    Unbounded(tokio::sync::mpsc::UnboundedReceiver<u64>),
}

impl Primitives for Tokio {
    type Lock = tokio::sync::Mutex<u64>;
    type Semaphore = tokio::sync::Semaphore;
    type Queue = TokioSender;
    type Event = tokio::sync::Notify;

    fn lock() -> Self::Lock {
        tokio::sync::Mutex::new(0)
    }

    fn acquire(lock: &Self::Lock) -> impl Future<Output = impl Sized> {
        lock.lock()
    }

    fn semaphore(permits: usize) -> Self::Semaphore {
        tokio::sync::Semaphore::new(permits)
    }

    fn permit(semaphore: &Self::Semaphore) -> impl Future<Output = impl Sized> {
        semaphore.acquire()
    }

    fn queue(capacity: Option<usize>) -> (Self::Queue, impl Consumer) {
        match capacity {
            Some(capacity) => {
                let (sender, receiver) = tokio::sync::mpsc::channel(capacity);
                (
                    TokioSender::Bounded(sender),
                    TokioReceiver::Bounded(receiver),
                )
            }
            None => {
                let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
                (
                    TokioSender::Unbounded(sender),
                    TokioReceiver::Unbounded(receiver),
                )
            }
        }
    }

    async fn put(queue: &Self::Queue, item: u64) {
        match queue {
            TokioSender::Bounded(sender) => sender.send(item).await.expect("not closed"),
            TokioSender::Unbounded(sender) => sender.send(item).expect("not closed"),
        }
    }

    fn event() -> Self::Event {
        tokio::sync::Notify::new()
    }

    fn pulse(event: &Self::Event) {
        event.notify_waiters();
    }

    fn wait(event: &Self::Event) -> impl Future<Output = ()> {
        event.notified()
    }

    async fn group(&self, futures: impl Iterator<Item = impl Future<Output = ()> + 'static>) {
        let mut set = tokio::task::JoinSet::new();
        for future in futures {
            set.spawn_local(future);
        }
        while let Some(joined) = set.join_next().await {
            Self::joined(joined);
        }
    }

    async fn limited<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(LIMIT, future).await.ok()
    }
}

impl Consumer for TokioReceiver {
    async fn get(&mut self) -> u64 {
        let item = match self {
            Self::Bounded(receiver) => receiver.recv().await,
            Self::Unbounded(receiver) => receiver.recv().await,
        };
        item.expect("not closed")
    }
}

impl Primitives for Smol {
    type Lock = async_lock::Mutex<u64>;
    type Semaphore = async_lock::Semaphore;
    type Queue = async_channel::Sender<u64>;
    type Event = event_listener::Event;

    fn lock() -> Self::Lock {
        async_lock::Mutex::new(0)
    }

    fn acquire(lock: &Self::Lock) -> impl Future<Output = impl Sized> {
        lock.lock()
    }

    fn semaphore(permits: usize) -> Self::Semaphore {
        async_lock::Semaphore::new(permits)
    }

    fn permit(semaphore: &Self::Semaphore) -> impl Future<Output = impl Sized> {
        semaphore.acquire()
    }

    fn queue(capacity: Option<usize>) -> (Self::Queue, impl Consumer) {
        match capacity {
            Some(capacity) => async_channel::bounded(capacity),
            None => async_channel::unbounded(),
        }
    }

    async fn put(queue: &Self::Queue, item: u64) {
        queue.send(item).await.expect("not closed");
    }

    fn event() -> Self::Event {
        event_listener::Event::new()
    }

    fn pulse(event: &Self::Event) {
        event.notify(usize::MAX);
    }

    fn wait(event: &Self::Event) -> impl Future<Output = ()> {
        event.listen()
    }

    async fn limited<T>(future: impl Future<Output = T>) -> Option<T> {
        let late = async {
            async_io::Timer::after(LIMIT).await;
            None
        };
        futures_lite::future::or(async { Some(future.await) }, late).await
    }
}

impl Consumer for async_channel::Receiver<u64> {
    async fn get(&mut self) -> u64 {
        self.recv().await.expect("not closed")
    }
}

fn main() -> ExitCode {
    Bench {
        name: "sync",
        peers: peers::NAMES,
        rows: vec![
            "lock_uncontended",
            "lock_handover",
            "semaphore_uncontended",
            "semaphore",
            "queue_put_get_bounded_1",
            "queue_put_get_bounded_16",
            "queue_put_get_unbounded",
            "event_set",
            "waiters_leave",
            "gather_1000",
            "task_group_1000",
            "timeout_ready",
            "timeout_yield",
        ],
    }
    .main(Options::from_env(&[]), child, in_child)
}

/// `--child ROW PEER`.
fn child(order: &[String], options: &Options) -> Result<(), Failure> {
    let [row, peer] = order else {
        return Err("a child wants ROW PEER".into());
    };
    let figures = match peer.as_str() {
        "callsoon" => figures::<Callsoon>(row, options)?,
        "tokio" => figures::<Tokio>(row, options)?,
        "smol" => figures::<Smol>(row, options)?,
        _ => return Err(format!("no peer {peer}").into()),
    };
    figures.iter().for_each(|figure| println!("{figure}"));
    Ok(())
}

fn figures<P: Primitives>(row: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    let ops = options.pick(1_000_000, 200_000);
    Ok(match row {
        "lock_uncontended" => P::run(|peer| lock_uncontended(peer, ops)),
        "lock_handover" => P::run(|peer| lock_handover(peer, ops)),
        "semaphore_uncontended" => P::run(|peer| semaphore_uncontended(peer, ops)),
        "semaphore" => P::run(|peer| semaphore(peer, ops)),
        "queue_put_get_bounded_1" => P::run(|peer| queue(peer, ops, Some(1))),
        "queue_put_get_bounded_16" => P::run(|peer| queue(peer, ops, Some(16))),
        "queue_put_get_unbounded" => P::run(|peer| queue(peer, ops, None)),
        "event_set" => P::run(|peer| event_set(peer, ops)),
        "waiters_leave" => P::run(|peer| waiters_leave(peer, 100_000)),
        "gather_1000" => P::run(|peer| gather(peer, ops)),
        "task_group_1000" => P::run(|peer| group(peer, ops)),
        "timeout_ready" => P::run(|peer| timeout_ready(peer, ops)),
        "timeout_yield" => P::run(|peer| timeout_yield(peer, ops)),
        _ => return Err(format!("no row {row}").into()),
    })
}

async fn lock_uncontended<P: Primitives>(_peer: P, pairs: u64) -> Vec<Figure> {
    measure("lock_uncontended", pairs, async || {
        let lock = P::lock();
        for _ in 0..pairs {
            let guard = P::acquire(black_box(&lock)).await;
            black_box(&guard);
        }
    })
    .await
}

async fn semaphore_uncontended<P: Primitives>(_peer: P, pairs: u64) -> Vec<Figure> {
    measure("semaphore_uncontended", pairs, async || {
        let semaphore = P::semaphore(2);
        for _ in 0..pairs {
            let permit = P::permit(black_box(&semaphore)).await;
            black_box(&permit);
        }
    })
    .await
}

/// Has `tasks` tasks run `turn` so often in all, and waits for them.
async fn in_tasks<P: Peer, F: Future<Output = ()> + 'static>(
    peer: &P,
    tasks: u64,
    task: impl Fn() -> F,
) {
    let tasks: Vec<_> = (0..tasks).map(|_| peer.spawn(task())).collect();
    for task in tasks {
        P::joined(task.await);
    }
}

async fn lock_handover<P: Primitives>(peer: P, acquires: u64) -> Vec<Figure> {
    measure("lock_handover", acquires, async || {
        let lock = Rc::new(P::lock());
        in_tasks(&peer, 2, || {
            let lock = Rc::clone(&lock);
            async move {
                for _ in 0..acquires / 2 {
                    let guard = P::acquire(&lock).await;
                    P::yield_now().await;
                    drop(guard);
                }
            }
        })
        .await;
    })
    .await
}

async fn semaphore<P: Primitives>(peer: P, acquires: u64) -> Vec<Figure> {
    measure("semaphore", acquires, async || {
        let semaphore = Rc::new(P::semaphore(2));
        in_tasks(&peer, 4, || {
            let semaphore = Rc::clone(&semaphore);
            async move {
                for _ in 0..acquires / 4 {
                    let permit = P::permit(&semaphore).await;
                    P::yield_now().await;
                    drop(permit);
                }
            }
        })
        .await;
    })
    .await
}

/// How many items the producer of an unbounded queue puts before it lets the consumer run.
const BURST: u64 = 100;

async fn queue<P: Primitives>(peer: P, items: u64, capacity: Option<usize>) -> Vec<Figure> {
    let name = match capacity {
        Some(capacity) => format!("queue_put_get_bounded_{capacity}"),
        None => "queue_put_get_unbounded".to_owned(),
    };
    measure(&name, items, async || {
        let (queue, mut consumer) = P::queue(capacity);
        let consumer = peer.spawn(async move {
            let mut sum = 0;
            for _ in 0..items {
                sum += consumer.get().await;
            }
            sum
        });
        let producer = peer.spawn(async move {
            for item in 0..items {
                P::put(&queue, item).await;
                if capacity.is_none() && item % BURST == BURST - 1 {
                    P::yield_now().await;
                }
            }
        });
        P::joined(producer.await);
        assert_eq!(P::joined(consumer.await), items * (items - 1) / 2);
    })
    .await
}

/// Tasks that wait for one event.
const WAITERS: u64 = 100;

async fn event_set<P: Primitives>(peer: P, wakes: u64) -> Vec<Figure> {
    measure("event_set", wakes, async || {
        let event = Rc::new(P::event());
        let waiters = {
            let event = Rc::clone(&event);
            in_tasks(&peer, WAITERS, move || {
                let event = Rc::clone(&event);
                async move {
                    for _ in 0..wakes / WAITERS {
                        P::wait(&event).await;
                    }
                }
            })
        };
        let setter = peer.spawn(async move {
            for _ in 0..wakes / WAITERS {
                // Twice, for a peer that lets newly woken tasks wait a turn.
                P::yield_now().await;
                P::yield_now().await;
                P::pulse(&event);
            }
        });
        waiters.await;
        P::joined(setter.await);
    })
    .await
}

async fn waiters_leave<P: Primitives>(_peer: P, waiters: u64) -> Vec<Figure> {
    let lock = P::lock();
    let held = P::acquire(&lock).await;
    let figures = measure("waiters_leave", waiters, async || {
        let mut waits: Vec<_> = (0..waiters).map(|_| Box::pin(P::acquire(&lock))).collect();
        for wait in &mut waits {
            let polled = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context).is_pending()));
            assert!(polled.await, "the lock is held");
        }
        let mut random = 1_u64;
        while !waits.is_empty() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            drop(waits.swap_remove((random >> 33) as usize % waits.len()));
        }
    })
    .await;
    drop(held);
    figures
}

/// Tasks that are held together.
const CHILDREN: u64 = 1000;

async fn gather<P: Primitives>(peer: P, tasks: u64) -> Vec<Figure> {
    measure("gather_1000", tasks, async || {
        for _ in 0..tasks / CHILDREN {
            let children = (0..CHILDREN).map(|n| async move {
                P::yield_now().await;
                n
            });
            let values = peer.gather(children).await;
            assert_eq!(values.iter().sum::<u64>(), CHILDREN * (CHILDREN - 1) / 2);
        }
    })
    .await
}

async fn group<P: Primitives>(peer: P, tasks: u64) -> Vec<Figure> {
    measure("task_group_1000", tasks, async || {
        for _ in 0..tasks / CHILDREN {
            peer.group((0..CHILDREN).map(|_| P::yield_now())).await;
        }
    })
    .await
}

async fn timeout_ready<P: Primitives>(_peer: P, limits: u64) -> Vec<Figure> {
    measure("timeout_ready", limits, async || {
        for n in 0..limits {
            let ended = P::limited(std::future::ready(black_box(n))).await;
            assert_eq!(black_box(ended), Some(n));
        }
    })
    .await
}

async fn timeout_yield<P: Primitives>(_peer: P, limits: u64) -> Vec<Figure> {
    measure("timeout_yield", limits, async || {
        for _ in 0..limits {
            let ended = P::limited(P::yield_now()).await;
            assert!(black_box(ended).is_some());
        }
    })
    .await
}
