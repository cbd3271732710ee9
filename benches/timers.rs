//! What a timer costs to arm and take away, to fire, and how late it is.
//!
//! The same shape as `scheduler`: rows are generic functions over `support::peers`, each measurement is a process of
//! its own, everything runs inside a spawned task, figures are processor time of the whole process unless they are
//! lateness.
//!
//! - `armed_0`, `armed_100k`, `armed_1m`: a timer registered and taken away again while that many others are
//!   outstanding, 60 to 120 s away. ns a pair, the loop not entered in between. Deadlines are 90 to 91 s away, random,
//!   made beforehand; so with others there it is never the earliest, and with none it always is, for which tokio writes
//!   to its eventfd. `_at`: the deadline is given (callsoon: `call_at` of a closure that owns one `Rc`, then `cancel`;
//!   tokio and smol: `sleep_until` / `Timer::at`, polled once and dropped). `_later`: the delay is given, so that
//!   everyone reads the clock too. `_sleep`: callsoon's `sleep_until` future polled once and dropped; for the others
//!   the same as `_at`, measured again. tokio runs this under `unconstrained`: its budget would make most polls return
//!   without arming anything. The 1 M row is left out of `--quick`.
//! - `fire`: 100 k timers (20 k under `--quick`), one a µs, registered in random order; CPU ns each from when all are
//!   registered and the loop is quiet until the last has fired. `fire_call_at`: callsoon's `call_at` callbacks; the
//!   others have none, so each is a task that sleeps and then runs the callback. `fire_task`: such tasks for everyone.
//!   tokio keeps time in milliseconds and so wakes once for a thousand of these; the others wake as often as they fall
//!   behind. 1000 ns means that a core was busy all the time.
//! - `late_alone`: sleeps of 0.2 to 2 ms, one after another. `_p50` and `_p99`: µs from the deadline, taken from the
//!   clock before the sleep was made, to the first instruction after it. `_early`: how many woke before it, in the
//!   worst round (callsoon's run fails if there is one). `_cpu`: µs of processor time a sleep.
//! - `late_crowd`: the same by 200 tasks at once.
//! - `slack`: both again by callsoon alone, under `Builder::timer_slack` of 0, 10, 25, 50, 75 and 150 µs: how late, and
//!   at what cost. The table in the documentation of `timer_slack` is this row, measured on an idle machine.

#![allow(unsafe_code)] // clock_gettime and alarm, in support

mod support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use callsoon::EventLoop;

use support::cpu::{Stopwatch, measure, process_cpu};
use support::gate::Gate;
use support::options::Options;
use support::peers::callsoon_peer::Callsoon;
use support::peers::smol_peer::Smol;
use support::peers::tokio_peer::Tokio;
use support::peers::{self, Peer};
use support::random::Random;
use support::rounds::{Bench, Failure, in_child};
use support::table::{Figure, percentile};

fn main() -> ExitCode {
    let options = Options::from_env(&[]);
    let mut rows = vec![
        "armed_0_{at,later,sleep}",
        "armed_100k_{at,later,sleep}",
        "armed_1m_{at,later,sleep}",
        "fire_{call_at,task}",
        "late_alone_{p50,p99,early,cpu}",
        "late_crowd_{p50,p99,early,cpu}",
        "slack_{0,10,25,50,75,150}_{alone,crowd}_{p50,p99,early,cpu}",
    ];
    // Filling smol's tree alone takes a second, which a quick run spends for those who name the row.
    let leave_out = options.as_ref().is_ok_and(|options| {
        let named = options.only().is_some_and(|only| only.contains("armed_1m"));
        options.quick && !options.help && !named
    });
    rows.retain(|row| !leave_out || !row.starts_with("armed_1m"));
    Bench {
        name: "timers",
        peers: peers::NAMES,
        rows,
    }
    .main(options, child, |row, peer, options| match (row, peer) {
        ("slack", "tokio" | "smol") => Ok(Vec::new()),
        _ => in_child(row, peer, options),
    })
}

/// `--child ROW PEER`.
fn child(order: &[String], options: &Options) -> Result<(), Failure> {
    let [row, peer] = order else {
        return Err("a child wants ROW PEER".into());
    };
    let figures = match peer.as_str() {
        "callsoon" => row_of::<Callsoon>(row, options)?,
        "tokio" => row_of::<Tokio>(row, options)?,
        "smol" => row_of::<Smol>(row, options)?,
        peer => return Err(format!("no peer {peer}").into()),
    };
    figures.iter().for_each(|figure| println!("{figure}"));
    let early = figures
        .iter()
        .any(|figure| figure.is_count() && figure.value() > 0.0);
    if early && peer == "callsoon" {
        Err(format!("{row}: a sleep ended early").into())
    } else {
        Ok(())
    }
}

fn row_of<P: Peer>(row: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    let pairs = options.pick(300_000, 100_000);
    let fires = options.pick(100_000, 20_000);
    let row = row.to_owned();
    match row.as_str() {
        "armed_0" => Ok(P::run(|peer| armed(peer, row, 0, pairs))),
        "armed_100k" => Ok(P::run(|peer| armed(peer, row, 100_000, pairs))),
        "armed_1m" => Ok(P::run(|peer| armed(peer, row, 1_000_000, pairs))),
        "fire" => {
            let mut figures = P::run(|peer| fire(peer, "fire_call_at", fires, call_at::<P>))?;
            figures.extend(P::run(|peer| {
                fire(peer, "fire_task", fires, sleeping_task::<P>)
            })?);
            Ok(figures)
        }
        "late_alone" => Ok(P::run(|peer| lateness(peer, Sleeps::alone(row, options)))),
        "late_crowd" => Ok(P::run(|peer| lateness(peer, Sleeps::crowd(row, options)))),
        "slack" => slacks(options),
        _ => Err(format!("no row {row}").into()),
    }
}

/// How far away the deadlines of the measured pairs are: in the middle of the others, as a request's timeout is.
const NEAR: Duration = Duration::from_secs(90);
/// The others lie between this and twice this: nothing fires while a child measures.
const OTHERS: Duration = Duration::from_secs(60);
/// After the others are registered the loop sleeps this long once, so that it knows the earliest of them.
const SETTLE: Duration = Duration::from_millis(2);
/// Deadlines made beforehand, used round and round.
const DEADLINES: usize = 1 << 12;

async fn armed<P: Peer>(peer: P, row: String, others: u64, pairs: u64) -> Vec<Figure> {
    let held = hold(&peer, others).await;
    let mut random = Random::new(1);
    let delays: Vec<_> = (0..DEADLINES)
        .map(|_| NEAR + Duration::from_nanos(random.below(1_000_000_000)))
        .collect();
    let base = Instant::now();
    let deadlines: Vec<_> = delays.iter().map(|delay| base + *delay).collect();
    let mut figures = Vec::new();
    figures.extend(
        paired::<P, _>(&format!("{row}_at"), pairs, &deadlines, |deadline, cx| {
            peer.cancel_at(deadline, cx)
        })
        .await,
    );
    figures.extend(
        paired::<P, _>(&format!("{row}_later"), pairs, &delays, |delay, cx| {
            peer.cancel_later(delay, cx)
        })
        .await,
    );
    figures
        .extend(paired::<P, _>(&format!("{row}_sleep"), pairs, &deadlines, P::sleep_dropped).await);
    drop(held);
    figures
}

/// Registers `others` timers in random order and lets the loop sleep once.
async fn hold<P: Peer>(peer: &P, others: u64) -> Vec<P::Held> {
    let mut random = Random::new(2);
    let base = Instant::now() + OTHERS;
    let all = P::without_budget(poll_fn(|context| {
        let deadlines = (0..others)
            .map(|_| base + Duration::from_nanos(random.below(OTHERS.as_nanos() as u64)));
        Poll::Ready(
            deadlines
                .map(|deadline| peer.hold(deadline, context))
                .collect(),
        )
    }));
    let held = all.await;
    P::sleep(SETTLE).await;
    held
}

/// Measures `pair` with each of `times` in turn, all in one poll of the task.
async fn paired<P: Peer, T: Copy>(
    metric: &str,
    pairs: u64,
    times: &[T],
    pair: impl Fn(T, &mut Context<'_>),
) -> Vec<Figure> {
    measure(metric, pairs, async || {
        let all = poll_fn(|context| {
            for time in times.iter().cycle().take(pairs as usize) {
                pair(*time, context);
            }
            Poll::Ready(())
        });
        P::without_budget(all).await;
    })
    .await
}

/// How long registering may take: `fire` begins to count when this is nearly over. smol takes 0.3 s for 100 k tasks.
const REGISTER: Duration = Duration::from_millis(600);
/// The same for the smaller number of `--quick`.
const REGISTER_QUICK: Duration = Duration::from_millis(200);
/// How long before the first deadline counting begins.
const QUIET: Duration = Duration::from_millis(10);

/// What the timers of a `fire` share.
struct Firing {
    left: Cell<u64>,
    done: Gate,
}

impl Firing {
    fn one(&self) {
        self.left.set(self.left.get() - 1);
        if self.left.get() == 0 {
            self.done.open();
        }
    }
}

/// The callsoon way: a callback.
fn call_at<P: Peer>(peer: &P, deadline: Instant, firing: Rc<Firing>) {
    peer.call_at(deadline, move || firing.one());
}

/// Everyone's way: a task.
fn sleeping_task<P: Peer>(peer: &P, deadline: Instant, firing: Rc<Firing>) {
    peer.detach(async move {
        P::sleep_until(deadline).await;
        firing.one();
    });
}

async fn fire<P: Peer>(
    peer: P,
    metric: &str,
    timers: u64,
    register: fn(&P, Instant, Rc<Firing>),
) -> Result<Vec<Figure>, Failure> {
    let mut micros: Vec<u64> = (0..timers).collect();
    Random::new(3).shuffle(&mut micros);
    let lead = if timers < 100_000 {
        REGISTER_QUICK
    } else {
        REGISTER
    };
    let base = Instant::now() + lead;
    let firing = Rc::new(Firing {
        left: Cell::new(timers),
        done: Gate::default(),
    });
    for micros in micros {
        register(
            &peer,
            base + Duration::from_micros(micros),
            Rc::clone(&firing),
        );
    }
    // Every task gets its first poll, which is what registers its timer.
    P::yield_now().await;
    P::yield_now().await;
    P::sleep_until(base - QUIET).await;
    if Instant::now() > base {
        return Err(format!("{metric}: registering took longer than {lead:?}").into());
    }
    let watch = Stopwatch::start();
    firing.done.pass().await;
    let spent = watch.stop();
    if Instant::now() < base + Duration::from_micros(timers - 1) {
        return Err(format!("{metric}: the last timer was early").into());
    }
    Ok(spent.per_op(metric, timers))
}

/// The sleeps of a lateness row.
struct Sleeps {
    name: String,
    tasks: u64,
    each: u64,
}

impl Sleeps {
    fn alone(name: String, options: &Options) -> Self {
        Self {
            name,
            tasks: 1,
            each: options.pick(500, 150),
        }
    }

    fn crowd(name: String, options: &Options) -> Self {
        Self {
            name,
            tasks: 200,
            each: options.pick(40, 15),
        }
    }
}

/// The row `slack`: each slack on a loop of its own.
fn slacks(options: &Options) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for micros in [0, 10, 25, 50, 75, 150] {
        for sleeps in [
            Sleeps::alone(format!("slack_{micros}_alone"), options),
            Sleeps::crowd(format!("slack_{micros}_crowd"), options),
        ] {
            let slack = Duration::from_micros(micros);
            let event_loop = EventLoop::builder().timer_slack(slack).build()?;
            figures.extend(Callsoon::run_on(event_loop, |peer| lateness(peer, sleeps)));
        }
    }
    Ok(figures)
}

async fn lateness<P: Peer>(peer: P, sleeps: Sleeps) -> Vec<Figure> {
    // In µs; negative is early.
    let late = Rc::new(RefCell::new(Vec::with_capacity(
        (sleeps.tasks * sleeps.each) as usize,
    )));
    let left = Rc::new(Cell::new(sleeps.tasks));
    let done = Gate::default();
    let before = process_cpu();
    for task in 0..sleeps.tasks {
        let (late, left, done) = (Rc::clone(&late), Rc::clone(&left), done.clone());
        peer.detach(async move {
            let mut random = Random::new(4 + task);
            for _ in 0..sleeps.each {
                let delay = Duration::from_nanos(200_000 + random.below(1_800_000));
                let deadline = Instant::now() + delay;
                P::sleep(delay).await;
                let now = Instant::now();
                let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
                late.borrow_mut().push(
                    micros(now.saturating_duration_since(deadline))
                        - micros(deadline.saturating_duration_since(now)),
                );
            }
            left.set(left.get() - 1);
            if left.get() == 0 {
                done.open();
            }
        });
    }
    done.pass().await;
    let cpu = process_cpu() - before;
    let mut late = late.borrow_mut();
    let name = &sleeps.name;
    vec![
        Figure::new(&format!("{name}_p50"), percentile(&mut late, 50), "us"),
        Figure::new(&format!("{name}_p99"), percentile(&mut late, 99), "us"),
        Figure::new(
            &format!("{name}_early"),
            late.iter().filter(|late| **late < 0.0).count() as f64,
            "count",
        ),
        Figure::new(
            &format!("{name}_cpu"),
            cpu.as_nanos() as f64 / 1e3 / late.len() as f64,
            "us",
        ),
    ]
}
