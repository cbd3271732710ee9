//! How long a request waits until its code runs, as distributions: six paths, four loads, four runtimes.
//!
//! Each path × load × runtime is measured in a process of its own, in rounds as in the other benches; the loop's thread
//! and the other thread that makes requests have a core each, where there are two. The table in the terminal has
//! percentiles over all rounds, and `target/latency/index.html` the whole curves.
//!
//! Requests follow a schedule that is made beforehand: about 10,000 a second, at gaps of 50 to 150 µs that are the same
//! for every runtime. **The intended time counts**: a request that cannot be made or noticed while the loop is busy is
//! late from the moment at which it was meant to happen, so that a blocked loop delays many requests and not one. The
//! latency from the call itself is in the JSON and in the page's tables, as `called`.
//!
//! Paths:
//! - `call_soon`: a callback is scheduled on the loop's own thread, until it runs. `spawn`: a task, until its first poll. tokio
//!   and smol have no callbacks, so both are the same for them.
//! - `wake`: a waiting task is woken on the loop's own thread, until it is polled.
//! - `post`: another thread posts a closure, until it runs. callsoon: `call_soon_threadsafe`. tokio: `Handle::spawn`.
//!   smol: an unbounded channel to a task that runs what arrives, since a `LocalExecutor` cannot be reached.
//! - `timer`: from a deadline until the callback runs; all timers are armed beforehand. tokio's timers count whole
//!   milliseconds, which is its choice and shows.
//! - `socket`: another thread writes a byte to a TCP connection, until the loop's code has read it. callsoon:
//!   `add_reader`. tokio and smol: a task that reads.
//!
//! The requests of `call_soon`, `wake` and `spawn` are made by a task that yields in each turn, since only what the loop
//! runs can make them: the loop does not sleep there. It does in the other three, under the loads `idle` and `hog`.
//!
//! Loads: `idle`; `tasks`, 10,000 tasks that yield for ever; `sockets`, 50 connections with one request of 64 bytes under
//! way each; `hog`, a task that holds the thread for 1 ms, every 4 ms.
//!
//! `--peers` adds monoio and compio, measured by the same code in the binaries of `benches/peers`. monoio has no way in from
//! another thread. A task of it that wakes itself is polled again before all others, so what yields here waits there for
//! an empty task that is queued behind the others; that task is in its figures. compio's posts go through a channel, as
//! smol's do. Among tasks that are always ready monoio's timers do not fire at all: `timer/tasks` is a
//! failure there, and its hog, which sleeps in between, does not run beside `call_soon`, `wake` and `spawn`.
//!
//! With one core the other thread competes with the loop, and what it makes shows that.

#![allow(unsafe_code)] // clock_gettime, alarm and affinity, in support

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use support::child::{self, Child};
use support::date;
use support::failure::Usage;
use support::keep::Keep;
use support::latency::cells::{self, Cell, RUNTIMES};
use support::latency::distribution::Distribution;
use support::latency::names::{LOADS, PATHS};
use support::latency::others::Others;
use support::latency::page::page;
use support::latency::report::{NAME, Report};
use support::machine::{self, Machine};
use support::options::{self, Flag, Options};
use support::pin::pin;
use support::progress::Progress;
use support::rounds::{Failure, finish};
use support::saves::{self, Saved};

/// Where the loop runs.
const LOOP_CORE: usize = 0;

/// How long the schedule of one round of a cell is, in milliseconds: in full, and quick.
const MILLIS: [u64; 2] = [500, 45];

/// How long one round of one cell may take: far longer than its schedule, for a loop that is far behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `--help` prints beside the flags of every bench.
const MORE: &[Flag] = &[Flag::new(
    "--peers",
    "monoio and compio too, from benches/peers, which is built for it",
)];
const NOTES: &str = "\nThe page is target/latency/index.html; --compare A,B makes it of B.
A row is PATH/LOAD/RUNTIME, of which --only may name any part, or any title in the table.
";

fn main() -> ExitCode {
    finish(
        NAME,
        Options::from_env(MORE).and_then(|options| obey(&options)),
    )
}

fn obey(options: &Options) -> Result<(), Failure> {
    if let Some(order) = &options.child {
        child::limit_lifetime();
        return as_child(order, options);
    }
    if options.help {
        let call = options::call(NAME);
        print!("{}", options::help(&call, &[&names()], MORE, NOTES));
        return Ok(());
    }
    if !options.wanted {
        println!("{NAME}: nothing measured; run `cargo bench --bench {NAME}`");
        return Ok(());
    }
    let runtimes = if options.has("--peers") {
        RUNTIMES.len()
    } else {
        cells::OWN
    };
    let mut wanted = Cell::all(runtimes);
    wanted.retain(|cell| cell.exists() && options.only().is_none_or(|only| cell.answers_to(only)));
    if wanted.is_empty() {
        let message = format!(
            "no row {:?}; there are {}",
            options.only().unwrap_or_default(),
            names()
        );
        return Err(Usage(message).into());
    }
    let keep = Keep::new(NAME, options)?;
    if let Some([old, new]) = keep.saved_pair() {
        keep.print_saved_pair();
        return write_page(&Report::from_saved(&new.1)?, Some(old));
    }
    let report = measure(&wanted, options)?;
    if options.json {
        print!("{}", report.json_lines());
    } else if options.readme {
        println!("{}", report.markdown());
    } else {
        print!("{}", report.table());
    }
    keep.keep(&report.to_saved())?;
    write_page(&report, keep.old())?;
    match report.failed.len() {
        0 => Ok(()),
        failed => Err(format!("{failed} measurements failed").into()),
    }
}

/// All rows, as the module `rows` writes names.
fn names() -> String {
    let list = |ids: Vec<&str>| format!("{{{}}}", ids.join(","));
    let paths = list(PATHS.iter().map(|path| path.id).collect());
    let loads = list(LOADS.iter().map(|load| load.id).collect());
    let runtimes = list(RUNTIMES.iter().map(|runtime| runtime.id).collect());
    format!("{paths}/{loads}/{runtimes}")
}

/// `--child PATH/LOAD/RUNTIME`: measures one cell and prints its samples.
fn as_child(order: &[String], options: &Options) -> Result<(), Failure> {
    let [name] = order else {
        return Err("a child wants PATH/LOAD/RUNTIME".into());
    };
    let cell = Cell::named(name).ok_or_else(|| format!("no cell {name}"))?;
    pin(LOOP_CORE);
    let samples = cell.measure(length(options))?;
    print!("{}", samples.to_lines());
    Ok(())
}

/// How long one round of one cell is.
fn length(options: &Options) -> Duration {
    let [full, quick] = MILLIS;
    Duration::from_millis(options.pick(full, quick))
}

/// All rounds of these cells. The round is the outermost loop, and every round begins with another runtime.
fn measure(wanted: &[Cell], options: &Options) -> Result<Report, Failure> {
    let others = wanted.iter().any(|cell| cell.runtime >= cells::OWN);
    let others = others.then(Others::build).transpose()?;
    let mut machine = Machine::this();
    if others.is_some() {
        let lock = include_str!("peers/Cargo.lock");
        let versions = machine::versions(lock, &["monoio", "compio"]);
        machine.versions.extend(versions);
    }
    let mut report = Report::new(machine, date::now(), options.quick);
    let rounds = options.rounds();
    let mut progress = Progress::new(NAME, rounds * wanted.len());
    for round in 0..rounds {
        for row in wanted.chunk_by(|a, b| a.row() == b.row()) {
            for turn in 0..row.len() {
                let cell = row[(round + turn) % row.len()];
                if report.failed.iter().any(|(failed, _)| *failed == cell) {
                    progress.end();
                    continue;
                }
                progress.begin(&format!("round {} of {rounds}, {}", round + 1, cell.name()));
                match one(cell, others.as_ref(), options) {
                    Ok((intended, called)) => report.add(cell, intended, &called),
                    Err(failure) => {
                        progress.clear();
                        eprintln!("{NAME}: {}: {failure}", cell.name());
                        report.failed.push((cell, failure.to_string()));
                    }
                }
                progress.end();
            }
        }
    }
    progress.clear();
    Ok(report)
}

/// One round of one cell, in a process of its own: from the intended time, and from the call.
fn one(
    cell: Cell,
    others: Option<&Others>,
    options: &Options,
) -> Result<(Distribution, Distribution), Failure> {
    let mut child = match others {
        Some(others) if cell.runtime >= cells::OWN => others.start(cell, length(options))?,
        _ => Child::start(&[&cell.name()], options.quick)?,
    };
    child.limit(PATIENCE);
    let intended = Distribution::of(&numbers(&child.expect("intended")?)?);
    let called = Distribution::of(&numbers(&child.expect("called")?)?);
    child.finish()?;
    if intended.len() == 0 {
        return Err("no samples".into());
    }
    Ok((intended, called))
}

fn numbers(text: &str) -> Result<Vec<u64>, Failure> {
    let numbers = text.split_whitespace().map(str::parse);
    Ok(numbers.collect::<Result<_, _>>()?)
}

/// Writes the page and says where it is.
fn write_page(report: &Report, old: Option<&(String, Saved)>) -> Result<(), Failure> {
    let folder: PathBuf = saves::target_folder()?.join("latency");
    let file = folder.join("index.html");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&file, page(report, old)))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    eprintln!("{NAME}: the page is {}", file.display());
    Ok(())
}
