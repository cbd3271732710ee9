//! What it costs to leave the loop's thread and to come back: jobs on other threads, and posts from them.
//!
//! Rows are generic functions over `Blocking`, `Children` and `Inbox`, the same code for each peer; each measurement is
//! a process of its own. Other threads are what is measured here, so figures are wall time, and a busy machine shows in
//! them.
//!
//! - `to_thread`: one job after the other that does nothing, awaited each time; µs a round trip, median and 99th
//!   percentile. Both the worker and the loop sleep meanwhile, so two wakes by the kernel are in it. Peers: tokio's
//!   `spawn_blocking`, smol's `unblock`.
//! - `to_thread_burst`: 1,000 tasks with one job each, then all joined; ns a job. The pools differ in how many threads they start.
//! - `posts_1`, `posts_4`: a million closures of 8 bytes from one thread, and from four; ns a post, from the first until
//!   the last has run.
//! - `wake_idle`: from a post until its closure runs on a loop that has had 200 µs to fall asleep; µs, the median. The two
//!   threads are pinned to different cores.
//! - `wake_spin`: the same with `Builder::spin`, which the peers do not have.
//! - `wake_busy`: the same on a loop that never sleeps, since one of its tasks yields for ever.
//! - `spawn_wait`: one child after the other, `/bin/true`, started and awaited; µs each, median and 99th percentile. The kernel's
//!   part, to make a process and to end it, is nearly all of it. Peers: `tokio::process`, async-process.
//! - `spawn_wait_20`: twenty of them at once; µs a child.
//!
//! tokio and smol have two ways to post each: to spawn a task from outside (`Handle::spawn`; the thread-safe
//! `Executor`), and a channel of boxed closures with a task that runs them (`mpsc`; async-channel). The faster one is
//! the peer's figure, the JSON has both.

#![allow(unsafe_code)] // clock_gettime, alarm and affinity, in support

mod support;

use std::future::Future;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use support::cross_thread::{post_nanos, wake_micros};
use support::gate::Gate;
use support::options::Options;
use support::peers::callsoon_peer::{Callsoon, CallsoonInbox, SpinningInbox};
use support::peers::smol_peer::{Smol, SmolChannel, SmolSpawn};
use support::peers::tokio_peer::{Tokio, TokioChannel, TokioSpawn};
use support::peers::{self, Inbox, Peer};
use support::pin::pin as pin_to_core;
use support::rounds::{Bench, Failure, in_child};
use support::table::{Figure, percentile};

/// Where the loop of a row with posts runs; the poster has the next core.
const LOOP_CPU: usize = 0;

/// A peer's way to run a job on another thread.
trait Blocking: Peer {
    fn to_thread<T: Send + 'static>(
        f: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + 'static;
}

impl Blocking for Callsoon {
    async fn to_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
        callsoon::to_thread(f)
            .await
            .expect("the job does not panic")
    }
}

impl Blocking for Tokio {
    async fn to_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
        let job = tokio::task::spawn_blocking(f);
        job.await.expect("the job does not panic")
    }
}

impl Blocking for Smol {
    fn to_thread<T: Send + 'static>(
        f: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + 'static {
        blocking::unblock(f)
    }
}

/// A peer's way to start a child and wait for its end.
trait Children: Peer {
    fn child_succeeds() -> impl Future<Output = bool> + 'static;
}

/// What the children do: nothing.
const TRUE: &str = "/bin/true";

impl Children for Callsoon {
    async fn child_succeeds() -> bool {
        let child = callsoon::process::Command::new(TRUE).spawn();
        let status = child.expect("the child starts").wait().await;
        status.expect("it ends").success()
    }
}

impl Children for Tokio {
    async fn child_succeeds() -> bool {
        let child = tokio::process::Command::new(TRUE).spawn();
        let status = child.expect("the child starts").wait().await;
        status.expect("it ends").success()
    }
}

impl Children for Smol {
    async fn child_succeeds() -> bool {
        let child = async_process::Command::new(TRUE).spawn();
        let status = child.expect("the child starts").status().await;
        status.expect("it ends").success()
    }
}

fn main() -> ExitCode {
    Bench {
        name: "threads",
        peers: peers::NAMES,
        rows: vec![
            "to_thread{,_p99}",
            "to_thread_burst",
            "posts_1",
            "posts_4",
            "wake_idle",
            "wake_spin",
            "wake_busy",
            "spawn_wait{,_p99}",
            "spawn_wait_20",
        ],
    }
    .main(Options::from_env(&[]), child, measure)
}

/// A figure of each row in a process of its own. Only callsoon can spin.
fn measure(row: &str, peer: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    if row == "wake_spin" && peer != "callsoon" {
        return Ok(Vec::new());
    }
    in_child(row, peer, options)
}

/// `--child ROW PEER`.
fn child(order: &[String], options: &Options) -> Result<(), Failure> {
    let [row, peer] = order else {
        return Err("a child wants ROW PEER".into());
    };
    let children = row.starts_with("spawn_wait");
    let figures = match (children || row.starts_with("to_thread"), peer.as_str()) {
        (true, "callsoon") if children => spawns::<Callsoon>(row, options),
        (true, "tokio") if children => spawns::<Tokio>(row, options),
        (true, "smol") if children => spawns::<Smol>(row, options),
        (true, "callsoon") => jobs::<Callsoon>(row, options),
        (true, "tokio") => jobs::<Tokio>(row, options),
        (true, "smol") => jobs::<Smol>(row, options),
        (false, "callsoon") if row == "wake_spin" => vec![posting::<SpinningInbox>(row, options)?],
        (false, "callsoon") => vec![posting::<CallsoonInbox>(row, options)?],
        (false, "tokio") => faster(
            posting::<TokioSpawn>(row, options)?,
            posting::<TokioChannel>(row, options)?,
        ),
        (false, "smol") => faster(
            posting::<SmolSpawn>(row, options)?,
            posting::<SmolChannel>(row, options)?,
        ),
        (_, peer) => return Err(format!("no peer {peer}").into()),
    };
    figures.iter().for_each(|figure| println!("{figure}"));
    Ok(())
}

/// The lower figure is the peer's; both stay as details.
fn faster(spawn: Figure, channel: Figure) -> Vec<Figure> {
    let best = if spawn.value() <= channel.value() {
        spawn.clone()
    } else {
        channel.clone()
    };
    vec![best, spawn.detail("spawn"), channel.detail("channel")]
}

fn jobs<P: Blocking>(row: &str, options: &Options) -> Vec<Figure> {
    if row == "to_thread" {
        let trips = options.pick(20_000, 5_000);
        P::run(move |_peer| round_trips::<P>(trips))
    } else {
        let rounds = options.pick(50, 10);
        P::run(move |peer| bursts(peer, rounds))
    }
}

async fn round_trips<P: Blocking>(trips: usize) -> Vec<Figure> {
    let mut micros = Vec::with_capacity(trips);
    // The first tenth starts threads and warms up.
    for trip in 0..trips + trips / 10 {
        let began = Instant::now();
        let answer = P::to_thread(move || trip).await;
        if trip >= trips / 10 {
            micros.push(began.elapsed().as_nanos() as f64 / 1e3);
        }
        assert_eq!(answer, trip);
    }
    vec![
        Figure::new("to_thread", percentile(&mut micros, 50), "us"),
        Figure::new("to_thread_p99", percentile(&mut micros, 99), "us"),
    ]
}

/// How many jobs a burst has.
const BURST: u64 = 1_000;

async fn bursts<P: Blocking>(peer: P, rounds: usize) -> Vec<Figure> {
    let mut nanos = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        let tasks: Vec<_> = (0..BURST)
            .map(|job| peer.spawn(P::to_thread(move || job)))
            .collect();
        for (task, job) in tasks.into_iter().zip(0..) {
            assert_eq!(P::joined(task.await), job);
        }
        nanos.push(began.elapsed().as_nanos() as f64 / BURST as f64);
    }
    vec![Figure::new(
        "to_thread_burst",
        percentile(&mut nanos, 50),
        "ns",
    )]
}

fn spawns<P: Children>(row: &str, options: &Options) -> Vec<Figure> {
    let rounds = options.pick(1_000, 200);
    if row == "spawn_wait" {
        P::run(move |_peer| one_by_one::<P>(rounds))
    } else {
        P::run(move |peer| together(peer, rounds / 20))
    }
}

async fn one_by_one<P: Children>(rounds: usize) -> Vec<Figure> {
    let mut micros = Vec::with_capacity(rounds);
    for round in 0..rounds + rounds / 10 {
        let began = Instant::now();
        assert!(P::child_succeeds().await);
        if round >= rounds / 10 {
            micros.push(began.elapsed().as_nanos() as f64 / 1e3);
        }
    }
    vec![
        Figure::new("spawn_wait", percentile(&mut micros, 50), "us"),
        Figure::new("spawn_wait_p99", percentile(&mut micros, 99), "us"),
    ]
}

/// How many children live at a time.
const LITTER: usize = 20;

async fn together<P: Children>(peer: P, rounds: usize) -> Vec<Figure> {
    let mut micros = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        let tasks: Vec<_> = (0..LITTER)
            .map(|_| peer.spawn(P::child_succeeds()))
            .collect();
        for task in tasks {
            assert!(P::joined(task.await));
        }
        micros.push(began.elapsed().as_nanos() as f64 / 1e3 / LITTER as f64);
    }
    vec![Figure::new(
        "spawn_wait_20",
        percentile(&mut micros, 50),
        "us",
    )]
}

fn posting<D: Inbox + Sync>(row: &str, options: &Options) -> Result<Figure, Failure> {
    pin_to_core(LOOP_CPU);
    let posts = options.pick(1_000_000, 200_000);
    let wakes = options.pick(1_000, 200);
    Ok(match row {
        "posts_1" => Figure::new(row, D::run(|inbox| post_nanos(inbox, posts)), "ns"),
        "posts_4" => Figure::new(row, D::run(|inbox| post_from_four(inbox, posts)), "ns"),
        "wake_idle" | "wake_spin" => {
            Figure::new(row, D::run(|inbox| wake_micros(inbox, wakes)), "us")
        }
        "wake_busy" => Figure::new(row, D::run(|inbox| busy(wake_micros(inbox, wakes))), "us"),
        _ => return Err(format!("no row {row}").into()),
    })
}

/// Keeps the loop from ever sleeping while `measured` goes on.
async fn busy<T>(measured: impl Future<Output = T>) -> T {
    let mut measured = pin!(measured);
    let mut polls = 0;
    std::future::poll_fn(|context| {
        polls += 1;
        if polls < 1000 {
            // The poster begins on this core, and has to get away from it.
            std::thread::yield_now();
        }
        context.waker().wake_by_ref();
        measured.as_mut().poll(context)
    })
    .await
}

/// How many threads post at once.
const POSTERS: u64 = 4;

/// Closures that have run.
static RAN: AtomicU64 = AtomicU64::new(0);

/// Once to warm up, then three times; the middle run's.
async fn post_from_four<D: Inbox + Sync>(inbox: D, posts: u64) -> f64 {
    let inbox = Arc::new(inbox);
    let mut runs = Vec::new();
    for run in 0..4 {
        let each = posts / POSTERS;
        RAN.store(0, Relaxed);
        let done = Gate::default();
        let began = Instant::now();
        let posters: Vec<_> = (0..POSTERS)
            .map(|_| {
                let (inbox, done) = (Arc::clone(&inbox), done.clone());
                std::thread::spawn(move || {
                    pin_to_core(LOOP_CPU + 1);
                    for _ in 1..each {
                        inbox.post(move || {
                            // Only the loop's thread writes it, so this need not be one indivisible step.
                            RAN.store(RAN.load(Relaxed) + u64::from(each > 0), Relaxed);
                        });
                    }
                    inbox.post(move || {
                        RAN.store(RAN.load(Relaxed) + 1, Relaxed);
                        if RAN.load(Relaxed) == each * POSTERS {
                            done.open();
                        }
                    });
                })
            })
            .collect();
        done.pass().await;
        if run > 0 {
            runs.push(began.elapsed().as_nanos() as f64 / (each * POSTERS) as f64);
        }
        for poster in posters {
            poster.join().expect("the poster does not panic");
        }
    }
    percentile(&mut runs, 50)
}
