//! What locks, semaphores, queues and events cost between the tasks of one thread.
//!
//! Rows are generic functions over `Primitives`, the same code for each peer; each measurement is a process of its own,
//! and figures are processor time. callsoon's primitives belong to one thread, which is the point; tokio's and smol's
//! (async-lock, async-channel, event-listener) are thread-safe, and are what their users have on a single thread too.
//!
//! - `lock_uncontended`, `semaphore_uncontended`: acquire and release by one task, nobody else there; ns a pair.
//! - `lock_handover`: two tasks that hold the lock across a yield, so that each acquire waits in line and each release
//!   hands over; ns an acquire. The yields are in it: `yield` in `scheduler` says what they cost.
//! - `semaphore`: the same with two permits and four tasks.
//! - `queue_put_get`: a producer task and a consumer task; ns an item. Both run until they must wait, so `bounded_1`
//!   switches tasks for every item and `bounded_16` for every sixteenth. `unbounded` has a producer that yields after
//!   every 100 items.
//! - `event_set`: 100 tasks wait, one sets; ns a task woken, its way back into the line included.

#![allow(unsafe_code)] // clock_gettime, alarm and affinity, in support

mod support;

use std::future::Future;
use std::hint::black_box;
use std::process::ExitCode;
use std::rc::Rc;

use support::cpu::measure;
use support::options::Options;
use support::peers::callsoon_peer::Callsoon;
use support::peers::smol_peer::Smol;
use support::peers::tokio_peer::Tokio;
use support::peers::{self, Peer};
use support::rounds::{Bench, Failure, in_child};
use support::table::Figure;

/// A peer's primitives, in its users' own words.
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
    /// Wakes all who wait now.
    fn pulse(event: &Self::Event);
    fn wait(event: &Self::Event) -> impl Future<Output = ()>;
}

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
        ],
    }
    .main(Options::from_env(), child, in_child)
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
