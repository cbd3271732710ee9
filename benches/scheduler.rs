//! What a runtime itself costs on its own thread: scheduling, waking, joining. `threads` has the way in from other threads.
//!
//! No row does I/O or waits for time, so nothing but the runtime's own work is in the figures. Rows are generic
//! functions over `support::peers`, the same code for each peer; each measurement is a process of its own. All rows
//! run inside a spawned task and give processor time of the whole process (wall time is in the JSON, as
//! `metric.wall`). A run is one warm-up and three repeats, of which the middle one counts. The peers share one binary:
//! built with callsoon alone or tokio alone, chain, batch, spawn, yield and ping-pong differed by less than two runs of
//! the same binary do.
//!
//! - `callback_chain`: a callback that schedules its successor, 1 M hops; ns a hop. callsoon: `call_soon`. tokio and
//!   smol have no callbacks, so each hop is `spawn_local` of a block without awaits, never joined. The state is one
//!   `Rc`.
//! - `callback_batch`: 10 k callbacks (or such tasks) scheduled by one task, then run; ns each, scheduling included.
//! - `spawn_join`: a task that returns a number, spawned and awaited, one after the other; ns a pair.
//! - `yield`: one task that yields 1 M times with nothing else ready; ns a yield. tokio looks at its I/O driver each
//!   time when nothing else is ready, so it has the second row too. `yield_100`: 100 tasks that yield in turn, 1 M in
//!   all.
//!   `yield_100_metrics`, `yield_100_slow`, `yield_100_inspect` and `yield_100_spans`, of callsoon alone: the same with
//!   histograms, with a threshold for slow steps, with notes of what tasks wait for, and with spans that no subscriber
//!   takes; the difference to `yield_100` is what they cost a step.
//! - `ping_pong`: two spawned tasks over `support::one_slot`, the same channel for every peer; ns a round trip, which
//!   is two wakes and two polls.
//! - `idle_task`: memory for each of 100 k spawned tasks whose future is 100 bytes and which wait for ever; slabs and
//!   lists of the runtime included, spawned 1,000 at a time so that no queue grows to hold them all. `idle_task_bytes`
//!   counts what was asked of the allocator, `idle_task_rss` what the kernel had to back, rounding and alignment and
//!   all.

#![allow(unsafe_code)] // clock_gettime, alarm, affinity and the counting allocator, in support

mod support;

use std::cell::Cell;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use callsoon::EventLoop;

use support::cpu::measure;
use support::gate::Gate;
use support::live_bytes::{self, LiveBytes};
use support::one_slot::OneSlot;
use support::options::Options;
use support::peers::callsoon_peer::Callsoon;
use support::peers::smol_peer::Smol;
use support::peers::tokio_peer::Tokio;
use support::peers::{self, Peer};
use support::rounds::{Bench, Failure, in_child};
use support::table::Figure;

#[global_allocator]
static ALLOCATOR: LiveBytes = LiveBytes;

fn main() -> ExitCode {
    let rows = vec![
        "callback_chain",
        "callback_batch",
        "spawn_join",
        "yield",
        "yield_100{,_metrics,_slow,_inspect,_spans}",
        "ping_pong",
        "idle_task_{bytes,rss}",
    ];
    Bench {
        name: "scheduler",
        peers: peers::NAMES,
        rows,
    }
    .main(Options::from_env(&[]), child, in_child)
}

/// `--child ROW PEER`.
fn child(order: &[String], options: &Options) -> Result<(), Failure> {
    let [row, peer] = order else {
        return Err("a child wants ROW PEER".into());
    };
    let figures = match (row.as_str(), peer.as_str()) {
        ("yield_100", "callsoon") => {
            let mut figures = local::<Callsoon>(row, options)?;
            figures.extend(measured_yields(options)?);
            figures
        }
        (row, "callsoon") => local::<Callsoon>(row, options)?,
        (row, "tokio") => local::<Tokio>(row, options)?,
        (row, "smol") => local::<Smol>(row, options)?,
        (_, peer) => return Err(format!("no peer {peer}").into()),
    };
    figures.iter().for_each(|figure| println!("{figure}"));
    Ok(())
}

/// One row that stays on its thread.
fn local<P: Peer>(row: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    let ops = options.pick(1_000_000, 200_000);
    Ok(match row {
        "callback_chain" => P::run(|peer| callback_chain(peer, ops)),
        "callback_batch" => P::run(|peer| callback_batch(peer, ops)),
        "spawn_join" => P::run(|peer| spawn_join(peer, ops)),
        "yield" => P::run(|peer| yielding(peer, ops)),
        "yield_100" => P::run(|peer| yielding_100("yield_100", peer, ops)),
        "ping_pong" => P::run(|peer| ping_pong(peer, ops)),
        "idle_task" => P::run(idle_task)?,
        _ => return Err(format!("no row {row}").into()),
    })
}

/// What a chain's hops share.
struct Chain<P> {
    peer: P,
    left: Cell<u64>,
    done: Gate,
}

/// One hop: schedules the next one, or opens the gate.
fn hop<P: Peer>(chain: Rc<Chain<P>>) {
    match chain.left.get() {
        0 => chain.done.open(),
        left => {
            chain.left.set(left - 1);
            let next = Rc::clone(&chain);
            chain.peer.call_soon(move || hop(next));
        }
    }
}

async fn callback_chain<P: Peer>(peer: P, hops: u64) -> Vec<Figure> {
    measure("callback_chain", hops, async || {
        let done = Gate::default();
        hop(Rc::new(Chain {
            peer: peer.clone(),
            left: Cell::new(hops),
            done: done.clone(),
        }));
        done.pass().await;
    })
    .await
}

/// Callbacks in one batch.
const BATCH: u64 = 10_000;

/// What a batch's callbacks share.
struct Batch {
    ran: Cell<u64>,
    done: Gate,
}

async fn callback_batch<P: Peer>(peer: P, callbacks: u64) -> Vec<Figure> {
    measure("callback_batch", callbacks, async || {
        let batch = Rc::new(Batch {
            ran: Cell::new(0),
            done: Gate::default(),
        });
        for _ in 0..callbacks / BATCH {
            batch.ran.set(0);
            for _ in 0..BATCH {
                let batch = Rc::clone(&batch);
                peer.call_soon(move || {
                    batch.ran.set(batch.ran.get() + 1);
                    if batch.ran.get() == BATCH {
                        batch.done.open();
                    }
                });
            }
            batch.done.pass().await;
        }
    })
    .await
}

async fn spawn_join<P: Peer>(peer: P, tasks: u64) -> Vec<Figure> {
    measure("spawn_join", tasks, async || {
        for number in 0..tasks {
            let joined = P::joined(peer.spawn(async move { black_box(number) }).await);
            assert_eq!(joined, number);
        }
    })
    .await
}

/// Tasks of `yield_100`.
const YIELDERS: u64 = 100;

/// `yield_100` again, on loops that look at each step: what metrics, a threshold for slow steps, notes and spans cost.
fn measured_yields(options: &Options) -> Result<Vec<Figure>, Failure> {
    let ops = options.pick(1_000_000, 200_000);
    let hour = Duration::from_secs(3600);
    let mut figures = Vec::new();
    for (name, settings) in [
        ("yield_100_metrics", EventLoop::builder().metrics(true)),
        (
            "yield_100_slow",
            EventLoop::builder().slow_callback_duration(hour),
        ),
        ("yield_100_inspect", EventLoop::builder().inspect(true)),
        ("yield_100_spans", EventLoop::builder().task_spans(true)),
    ] {
        let event_loop = settings.build()?;
        let work = |peer| yielding_100(name, peer, ops);
        figures.extend(Callsoon::run_on(event_loop, work));
    }
    Ok(figures)
}

async fn yielding_100<P: Peer>(name: &'static str, peer: P, yields: u64) -> Vec<Figure> {
    measure(name, yields, async || {
        let tasks: Vec<_> = (0..YIELDERS)
            .map(|_| peer.spawn(yields_of::<P>(yields / YIELDERS)))
            .collect();
        for task in tasks {
            P::joined(task.await);
        }
    })
    .await
}

async fn yields_of<P: Peer>(yields: u64) {
    for _ in 0..yields {
        P::yield_now().await;
    }
}

async fn yielding<P: Peer>(_peer: P, yields: u64) -> Vec<Figure> {
    measure("yield", yields, async || yields_of::<P>(yields).await).await
}

async fn ping_pong<P: Peer>(peer: P, trips: u64) -> Vec<Figure> {
    measure("ping_pong", trips, async || {
        let (ball, back) = (OneSlot::new(), OneSlot::new());
        let (ball_there, back_there) = (ball.clone(), back.clone());
        let there = peer.spawn(async move {
            for _ in 0..trips {
                let number: u64 = ball_there.receive().await;
                back_there.send(number + 1);
            }
        });
        let here = peer.spawn(async move {
            let mut number = 0;
            for _ in 0..trips {
                ball.send(number);
                number = back.receive().await;
            }
            number
        });
        P::joined(there.await);
        assert_eq!(P::joined(here.await), trips);
    })
    .await
}

/// A future of 100 bytes that waits for ever.
struct Idle(#[expect(dead_code, reason = "it only takes room")] [u8; 100]);

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Idle tasks: not a power of two, so that no peer's doubling list happens to be exactly full.
const IDLE: u64 = 100_000;
/// Tasks spawned between two yields.
const AT_ONCE: u64 = 1_000;

async fn idle_task<P: Peer>(peer: P) -> Result<Vec<Figure>, Failure> {
    // The first tasks touch memory that the process has already; what comes after is new.
    spawn_idle(&peer, AT_ONCE).await;
    let resident = live_bytes::resident()?;
    live_bytes::start_counting();
    spawn_idle(&peer, IDLE).await;
    let live = live_bytes::live();
    let resident = live_bytes::resident()? - resident;
    let per_task = |bytes: i64| bytes as f64 / IDLE as f64;
    Ok(vec![
        Figure::new("idle_task_bytes", per_task(live), "bytes"),
        Figure::new("idle_task_rss", per_task(resident), "bytes"),
    ])
}

async fn spawn_idle<P: Peer>(peer: &P, tasks: u64) {
    for _ in 0..tasks / AT_ONCE {
        for _ in 0..AT_ONCE {
            peer.detach(Idle([0; 100]));
        }
        // Twice, for a peer that lets newly spawned tasks wait a turn.
        P::yield_now().await;
        P::yield_now().await;
    }
}
