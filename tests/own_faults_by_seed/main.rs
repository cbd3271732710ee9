//! A process of its own, because it is compiled with `--cfg callsoon_faults`: system calls of the crate fail by seed, while
//! servers and clients of all kinds are at work. Without the cfg nothing is compiled.
//!
//! An even seed is gentle: its calls are delayed, interrupted and cut short, and everything has to succeed. An odd one
//! also makes calls fail: then a transfer is complete, or one of its sides has an error, and what has come so far
//! is what was sent. Nothing hangs, panics or is left over. A seed that fails prints the line that repeats it.

#![cfg(callsoon_faults)]

mod children;
mod datagrams;
mod named;
mod pipes;
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "../it/support/mod.rs"]
mod support;
mod transfers;
mod world;

use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use callsoon::testing::SystemFaults;

use callsoon::{Clock, EventLoop};

use support::audited;
use world::{Reports, World};

/// How many seeds are tried: `CALLSOON_FAULT_SEEDS=n` sets another number.
const SEEDS: u64 = 200;

/// No seed needs more turns by far: a loop that has more spins.
const MOST_TURNS: u64 = 200_000;

/// How long a seed may take before it counts as one that hangs.
const LIMIT: Duration = Duration::from_secs(20);

type Log = Arc<Mutex<Vec<String>>>;

/// Says of a seed that has not come to its end how to repeat it, and what was done to calls.
fn complain(seed: u64, why: &str, log: &Log) {
    let mut text = format!("\n{why}. To repeat it:\n");
    let _ = writeln!(
        text,
        "CALLSOON_FAULT_SEED={seed} RUSTFLAGS='--cfg callsoon_faults' cargo test --target-dir target/faults \
         --test own_faults_by_seed by_seed"
    );
    let _ = writeln!(text, "at work: {:?}", world::at_work());
    for line in log.lock().unwrap().iter() {
        let _ = writeln!(text, "  {line}");
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Ends the process, loudly, if a seed takes too long.
struct Limit {
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Limit {
    fn new(seed: u64, log: Log) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (flag, begun) = (Arc::clone(&done), Instant::now());
        let thread = thread::spawn(move || {
            while !flag.load(Ordering::Acquire) {
                if begun.elapsed() > LIMIT {
                    complain(seed, "The seed hangs", &log);
                    std::process::abort();
                }
                thread::park_timeout(Duration::from_secs(1));
            }
        });
        Self {
            done,
            thread: Some(thread),
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Prints how to repeat a seed whose test panics.
struct Repeat<'a>(u64, &'a SystemFaults);

impl Drop for Repeat<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            complain(self.0, "The seed fails", &self.1.log());
        }
    }
}

/// Prints the seed after whose end something is left.
struct LeftOver(u64);

impl Drop for LeftOver {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("CALLSOON_FAULT_SEED={} fails", self.0);
        }
    }
}

/// Returns the plan of a seed, and whether it is gentle.
fn plan(seed: u64) -> (SystemFaults, bool) {
    let one_in = [3, 8, 24, 96][(seed / 2 % 4) as usize];
    match seed % 2 == 0 {
        true => (SystemFaults::gentle(seed, one_in), true),
        false => (SystemFaults::harsh(seed, one_in), false),
    }
}

/// Everything at once, on one loop. Returns how many calls were changed.
fn one_seed(seed: u64) -> usize {
    let (faults, gentle) = plan(seed);
    let _limit = Limit::new(seed, faults.log());
    let repeat = Repeat(seed, &faults);
    let reports = Reports::default();
    let mut attempts = 0;
    let event_loop = loop {
        match EventLoop::builder().clock(Clock::Virtual).build() {
            Ok(event_loop) => break event_loop,
            Err(error) => assert!(!gentle && attempts < 100, "{error}"),
        }
        attempts += 1;
    };
    let told = Rc::clone(&reports);
    event_loop.set_exception_handler(move |_, context| {
        told.borrow_mut().push(format!("{context}"));
    });
    let world = World::new(seed, gentle, &reports);
    let ended = event_loop.run_until_complete(world.run());
    ended.unwrap_or_else(|error| panic!("the run failed: {error}"));
    let turns = event_loop.metrics().turns;
    assert!(turns < MOST_TURNS, "{turns} turns");
    event_loop.close().unwrap();
    let reports = reports.take();
    let panicked = |line: &&String| line.contains("xception in") || line.contains("panicked");
    assert_eq!(reports.iter().find(panicked), None);
    if gentle {
        assert_eq!(
            reports, [""; 0],
            "a gentle seed is no reason to report anything"
        );
    }
    drop(event_loop);
    drop(repeat);
    let log = faults.log();
    log.lock().unwrap().len()
}

#[test]
fn whatever_fails_by_seed_ends_whole_or_with_an_error_of_the_side_concerned() {
    let number = |name| {
        let text: Option<String> = std::env::var(name).ok();
        text.map(|text| text.parse().unwrap())
    };
    let seeds = match number("CALLSOON_FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("CALLSOON_FAULT_FIRST").unwrap_or(0);
            first..first + number("CALLSOON_FAULT_SEEDS").unwrap_or(SEEDS)
        }
    };
    let changed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let changed = Arc::clone(&changed);
        let left_over = LeftOver(seed);
        audited(move || {
            changed.fetch_add(one_seed(seed), Ordering::Relaxed);
        });
        drop(left_over);
    }
    let changed = changed.load(Ordering::Relaxed);
    println!("{count} seeds, {changed} calls changed");
    assert!(changed > 0, "no call has passed the plan");
}
