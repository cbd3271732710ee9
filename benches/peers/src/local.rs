//! Rows that stay on one thread and wait for nothing but one another.
//!
//! - `callback_chain`: a callback that schedules its successor. The state is one `Rc`.
//! - `callback_batch`: 10,000 callbacks scheduled by one task, then run.
//! - `spawn_join`: a task that returns a number, spawned and awaited, one after the other.
//! - `spawn_join_1000`: 1,000 such tasks spawned, then each awaited.
//! - `detached`: 1,000 tasks that nobody awaits, spawned by one task, then run.
//! - `yield`: one task that yields with nothing else ready. `yield_100`: 100 tasks that yield in turn.
//! - `ping_pong`: two tasks over `one_slot`, the same channel for every runtime: two wakes and two polls a round trip.
//! - `gather_1000`, `group_1000`: tasks that yield once, held together. Where a runtime has neither, they are spawned
//!   and awaited one by one.
//! - `waiters_leave`: futures that wait for one event are dropped in random order; ns each, the drops alone.
//! - `callbacks_leave`: done callbacks of one task are removed in random order.

use std::cell::Cell;
use std::future::poll_fn;
use std::hint::black_box;
use std::rc::Rc;
use std::task::Poll;

use crate::Missing;
use crate::gate::Gate;
use crate::meter::{Report, Stopwatch, measure};
use crate::one_slot::OneSlot;
use crate::random::Random;
use crate::runtime::Runtime;

/// What a chain's hops share.
struct Chain<R> {
    on: R,
    left: Cell<u64>,
    done: Gate,
}

/// One hop: schedules the next one, or opens the gate.
fn hop<R: Runtime>(chain: Rc<Chain<R>>) {
    match chain.left.get() {
        0 => chain.done.open(),
        left => {
            chain.left.set(left - 1);
            let next = Rc::clone(&chain);
            chain.on.call_soon(move || hop(next));
        }
    }
}

pub async fn callback_chain<R: Runtime>(on: R, hops: u64) -> Report {
    measure(hops, async |hops| {
        let done = Gate::default();
        hop(Rc::new(Chain {
            on: on.clone(),
            left: Cell::new(hops),
            done: done.clone(),
        }));
        done.pass().await;
    })
    .await
}

/// Callbacks in one batch.
const BATCH: u64 = 10_000;

/// What the callbacks of a batch share, or the detached tasks.
#[derive(Default)]
pub struct Batch {
    pub left: Cell<u64>,
    pub(crate) done: Gate,
}

impl Batch {
    /// One of them has run.
    pub fn one(&self) {
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.done.open();
        }
    }
}

pub async fn callback_batch<R: Runtime>(on: R, callbacks: u64) -> Report {
    measure(callbacks, async |callbacks| {
        let batch = Rc::new(Batch::default());
        let mut left = callbacks;
        while left > 0 {
            let size = left.min(BATCH);
            left -= size;
            batch.left.set(size);
            for _ in 0..size {
                let batch = Rc::clone(&batch);
                on.call_soon(move || batch.one());
            }
            batch.done.pass().await;
        }
    })
    .await
}

pub async fn spawn_join<R: Runtime>(on: R, tasks: u64) -> Report {
    measure(tasks, async |tasks| {
        for number in 0..tasks {
            let joined = on.spawn(async move { black_box(number) }).await;
            assert_eq!(joined, number);
        }
    })
    .await
}

/// Tasks that are spawned together, and awaited together.
const CHILDREN: u64 = 1_000;

pub async fn spawn_join_1000<R: Runtime>(on: R, tasks: u64) -> Report {
    measure(tasks, async |tasks| {
        for _ in 0..tasks / CHILDREN {
            let spawned: Vec<_> = (0..CHILDREN)
                .map(|number| on.spawn(async move { black_box(number) }))
                .collect();
            for (task, number) in spawned.into_iter().zip(0..) {
                assert_eq!(task.await, number);
            }
        }
    })
    .await
}

/// Detached tasks in one batch.
const AT_ONCE: u64 = 1_000;

pub async fn detached<R: Runtime>(on: R, tasks: u64) -> Report {
    measure(tasks, async |tasks| {
        let batch = Rc::new(Batch::default());
        let mut left = tasks;
        while left > 0 {
            let size = left.min(AT_ONCE);
            left -= size;
            batch.left.set(size);
            for _ in 0..size {
                let batch = Rc::clone(&batch);
                on.detach(async move { batch.one() });
            }
            batch.done.pass().await;
        }
    })
    .await
}

/// Tasks of `yield_100`.
const YIELDERS: u64 = 100;

pub async fn yield_100<R: Runtime>(on: R, yields: u64) -> Report {
    measure(yields, async |yields| {
        let task = || async move {
            for _ in 0..yields / YIELDERS {
                R::yield_now().await;
            }
        };
        let tasks: Vec<_> = (0..YIELDERS).map(|_| on.spawn(task())).collect();
        for task in tasks {
            task.await;
        }
    })
    .await
}

pub async fn yields<R: Runtime>(_on: R, yields: u64) -> Report {
    measure(yields, async |yields| {
        for _ in 0..yields {
            R::yield_now().await;
        }
    })
    .await
}

pub async fn ping_pong<R: Runtime>(on: R, trips: u64) -> Report {
    measure(trips, async |trips| {
        let (ball, back) = (OneSlot::new(), OneSlot::new());
        let (ball_there, back_there) = (ball.clone(), back.clone());
        let there = on.spawn(async move {
            for _ in 0..trips {
                let number: u64 = ball_there.receive().await;
                back_there.send(number + 1);
            }
        });
        let here = on.spawn(async move {
            let mut number = 0;
            for _ in 0..trips {
                ball.send(number);
                number = back.receive().await;
            }
            number
        });
        there.await;
        assert_eq!(here.await, trips);
    })
    .await
}

pub async fn gather<R: Runtime>(on: R, tasks: u64) -> Report {
    measure(tasks, async |tasks| {
        for _ in 0..tasks / CHILDREN {
            let children = (0..CHILDREN).map(|number| async move {
                R::yield_now().await;
                number
            });
            let values = on.gather(children).await;
            assert_eq!(values.iter().sum::<u64>(), CHILDREN * (CHILDREN - 1) / 2);
        }
    })
    .await
}

pub async fn group<R: Runtime>(on: R, tasks: u64) -> Report {
    measure(tasks, async |tasks| {
        for _ in 0..tasks / CHILDREN {
            on.group((0..CHILDREN).map(|_| R::yield_now())).await;
        }
    })
    .await
}

pub async fn waiters_leave<R: Runtime>(on: R, waiters: u64) -> Result<Report, Missing> {
    let waiter = on.waiters().ok_or(Missing::Row)?;
    let wait = poll_fn(|context| {
        let mut waiting: Vec<_> = (0..waiters).map(|_| waiter()).collect();
        for waiter in &mut waiting {
            assert!(waiter.as_mut().poll(context).is_pending());
        }
        Poll::Ready(waiting)
    });
    let mut waiting = R::without_budget(wait).await;
    Random::new(5).shuffle(&mut waiting);
    let watch = Stopwatch::new();
    drop(waiting);
    Ok(watch.stop(waiters))
}

pub async fn callbacks_leave<R: Runtime>(on: R, callbacks: u64) -> Result<Report, Missing> {
    let remove = on.done_callbacks(callbacks).ok_or(Missing::Row)?;
    let mut places: Vec<usize> = (0..callbacks as usize).collect();
    Random::new(5).shuffle(&mut places);
    let watch = Stopwatch::new();
    places.into_iter().for_each(remove);
    Ok(watch.stop(callbacks))
}
