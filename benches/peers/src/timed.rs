//! Rows with timers.
//!
//! - `timer_pair`: a timer armed and taken away again, 90 to 91 s away, among 1,000 others; the loop is not entered in
//!   between. callsoon and the floor: a callback that owns one `Rc`; the others: a sleep polled once and dropped.
//! - `burst_task`, `burst_callback`: timers are registered in random order, then the thread is blocked until all are
//!   overdue. Time counts from then until the last has fired; instructions include registering.
//! - `fire_task`, `fire_callback`: timers in random order, one a µs; processor time each from when all are registered
//!   and the loop is quiet until the last has fired. 1,000 ns means that a core was busy all the time.
//!
//! Runtimes without callbacks have tasks in both rows. tokio keeps time in milliseconds.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::local::Batch;
use crate::meter::{Report, Stopwatch, measure};
use crate::random::Random;
use crate::runtime::Runtime;

/// The environment variable that says that the process runs under callgrind.
pub const SLOW: &str = "PEERS_SLOW";

/// Timers that are outstanding while pairs are measured.
const OTHERS: u64 = 1_000;
/// How far away they begin: nothing fires meanwhile.
const FAR: Duration = Duration::from_secs(60);
/// How far away the measured pairs are: in the middle of the others.
const NEAR: Duration = Duration::from_secs(90);
/// Deadlines made beforehand, used round and round.
const DEADLINES: usize = 1 << 12;

pub async fn pairs<R: Runtime>(on: R, pairs: u64) -> Report {
    let mut random = Random::new(1);
    let base = Instant::now();
    for _ in 0..OTHERS {
        let deadline = base + FAR + Duration::from_nanos(random.below(FAR.as_nanos() as u64));
        on.call_at(deadline, || {});
    }
    R::sleep_until(base + Duration::from_millis(2)).await;
    let base = Instant::now() + NEAR;
    let deadlines: Vec<_> = (0..DEADLINES)
        .map(|_| base + Duration::from_nanos(random.below(1_000_000_000)))
        .collect();
    measure(pairs, async |pairs| {
        let all = poll_fn(|context| {
            for deadline in deadlines.iter().cycle().take(pairs as usize) {
                on.cancel_at(*deadline, context);
            }
            Poll::Ready(())
        });
        R::without_budget(all).await;
    })
    .await
}

/// A way to register a timer.
type Register<R> = fn(&R, Instant, Rc<Batch>);

/// Everyone's way: a task that sleeps.
pub fn by_task<R: Runtime>(on: &R, deadline: Instant, firing: Rc<Batch>) {
    on.detach(async move {
        R::sleep_until(deadline).await;
        firing.one();
    });
}

/// A callback where there are callbacks.
pub fn by_callback<R: Runtime>(on: &R, deadline: Instant, firing: Rc<Batch>) {
    on.call_at(deadline, move || firing.one());
}

/// How long registering may take at first: nothing is due before.
const REGISTER: Duration = Duration::from_millis(600);
/// The same under callgrind.
const REGISTER_SLOWLY: Duration = Duration::from_secs(4);
/// Room for what keeps time in milliseconds.
const QUIET: Duration = Duration::from_millis(10);
/// How often a row is tried on a machine that is busy.
const ATTEMPTS: u32 = 5;

/// Registers timers in random order, one a µs from some time on, has `rest` pass the time until shortly before, and
/// gives the start. On a busy machine that may be late: then it begins again, with twice the time.
async fn registered<R: Runtime>(
    on: &R,
    timers: u64,
    register: Register<R>,
    rest: impl AsyncFn(Instant),
) -> (Rc<Batch>, Instant) {
    let mut micros: Vec<u64> = (0..timers).collect();
    Random::new(3).shuffle(&mut micros);
    let slow = std::env::var_os(SLOW).is_some();
    let mut lead = if slow { REGISTER_SLOWLY } else { REGISTER };
    for _ in 0..ATTEMPTS {
        let firing = Rc::new(Batch::default());
        firing.left.set(timers);
        let base = Instant::now() + lead;
        for micros in &micros {
            register(
                on,
                base + Duration::from_micros(*micros),
                Rc::clone(&firing),
            );
        }
        on.settle().await;
        rest(base).await;
        if Instant::now() < base {
            return (firing, base);
        }
        assert!(
            !slow,
            "registering under callgrind took longer than {lead:?}"
        );
        firing.done.pass().await;
        lead *= 2;
    }
    panic!("registering took longer than {lead:?}");
}

pub async fn burst<R: Runtime>(on: R, timers: u64, register: Register<R>) -> Report {
    let (firing, base) = registered(&on, timers, register, async |_| ()).await;
    let all_due = base + Duration::from_micros(timers) + QUIET;
    std::thread::sleep(all_due.saturating_duration_since(Instant::now()));
    let watch = Stopwatch::new();
    firing.done.pass().await;
    watch.stop(timers)
}

pub async fn spread<R: Runtime>(on: R, timers: u64, register: Register<R>) -> Report {
    let quiet = async |base| R::sleep_until(base - QUIET).await;
    let (firing, base) = registered(&on, timers, register, quiet).await;
    let watch = Stopwatch::new();
    firing.done.pass().await;
    let report = watch.stop(timers);
    assert!(
        Instant::now() > base + Duration::from_micros(timers - 1),
        "the last timer was early"
    );
    report
}
