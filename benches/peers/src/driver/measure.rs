//! Rows × runtimes × rounds.
//!
//! The round is the outermost loop: what disturbs the machine for some seconds then touches one round of many rows,
//! which medians forget. Every round starts with another runtime, so that none always runs after the same neighbour.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use peers::row::{Kind, MANY, Row, is_cpu};
use peers::{Missing, URING};
use serde_json::Value;

use crate::options::Options;
use crate::run::{Bins, is_there};
use crate::shared::date;
use crate::shared::machine::{self, Machine};
use crate::shared::progress::Progress;
use crate::shared::saves::Saved;
use crate::shared::table::{Figure, Series, Table};
use crate::{NAME, OURS, RUNTIMES};

/// How often rows are counted whose instructions differ between runs.
const COUNTS: usize = 5;
/// About how long a timed run takes at the most: a runtime that enters the kernel for each operation would need half a
/// minute for a million, and its figure would be the same.
const LONGEST_NANOS: f64 = 2e9;

/// All figures so far.
pub struct Measured<'a> {
    bins: &'a Bins,
    pub options: &'a Options,
    pub machine: Machine,
    /// When it began.
    pub date: String,
    pub rows: Vec<Row>,
    pub runtimes: Vec<&'static str>,
    /// Instructions.
    counts: BTreeMap<(&'static str, &'static str), Vec<f64>>,
    /// Nanoseconds, or bytes.
    pub times: Table,
    /// Of what goes on.
    progress: Progress,
    /// How many operations a timed run has where a runtime is too slow for as many as the row says.
    shorter: BTreeMap<(&'static str, &'static str), u64>,
    /// What is not asked again.
    missing: Vec<(&'static str, &'static str)>,
    failed: bool,
}

/// The runtimes that start here; says why others do not, and which have fallen back from io_uring.
pub fn startable(bins: &Bins) -> Vec<&'static str> {
    let starts = |runtime: &&str| match bins.figures(runtime, "timer_pair", 10) {
        Ok(_) | Err(Missing::Row) => {
            say_driver(bins, runtime);
            true
        }
        Err(Missing::Failed(why)) => {
            eprintln!("{runtime} is skipped: {why}");
            false
        }
    };
    RUNTIMES.iter().copied().filter(starts).collect()
}

/// Says what a runtime waits with that has a choice.
fn say_driver(bins: &Bins, runtime: &str) {
    if let Ok(figures) = bins.figures(runtime, URING, 0) {
        let by_uring = figures.iter().any(|(_, value)| *value > 0.0);
        let driver = if by_uring { "io_uring" } else { "readiness" };
        eprintln!("{runtime} waits by {driver}");
    }
}

impl<'a> Measured<'a> {
    pub fn new(
        bins: &'a Bins,
        options: &'a Options,
        rows: Vec<Row>,
        runtimes: Vec<&'static str>,
    ) -> Self {
        Self {
            bins,
            options,
            machine: machine(&runtimes),
            date: date::now(),
            rows,
            times: Table::new(NAME, &runtimes),
            progress: Progress::new(NAME, 0),
            runtimes,
            counts: BTreeMap::new(),
            shorter: BTreeMap::new(),
            missing: Vec::new(),
            failed: false,
        }
    }

    /// Says so where valgrind is missing.
    pub fn can_count(&self) -> bool {
        let there = is_there("valgrind");
        if !there {
            eprintln!("valgrind is not there: no instructions are counted");
        }
        there
    }

    /// A row's instructions in a runtime, measured once more.
    pub fn count(&mut self, row: Row, runtime: &'static str) -> Option<f64> {
        if self.missing.contains(&(row.name, runtime)) || row.counted.1 == 0 {
            return None;
        }
        let counted = self.bins.instructions(runtime, row.name, row.counted);
        let counted = self.noted(row, runtime, counted)?;
        self.counts
            .entry((row.name, runtime))
            .or_default()
            .push(counted);
        Some(counted)
    }

    pub fn count_all(&mut self) {
        let counts = |row: &Row| match row.kind {
            Kind::Counted => 1,
            Kind::Shown if self.options.common.quick => 1,
            Kind::Shown => COUNTS,
            Kind::Timed | Kind::Bytes => 0,
        };
        let rows: Vec<_> = self.rows.iter().map(|row| (*row, counts(row))).collect();
        let all: usize = rows.iter().map(|(_, counts)| counts).sum();
        self.progress = Progress::new(NAME, all * self.runtimes.len());
        for (row, counts) in rows {
            for runtime in self.runtimes.clone() {
                for count in 1..=counts {
                    let name = row.name;
                    let what = format!("instructions, {count} of {counts}, {name}, {runtime}");
                    self.progress.begin(&what);
                    self.count(row, runtime);
                    self.progress.end();
                }
            }
        }
        self.progress.clear();
    }

    pub fn time_all(&mut self) {
        let rounds = self.options.rounds;
        let steps = rounds * self.rows.len() * self.runtimes.len();
        self.progress = Progress::new(NAME, steps);
        for round in 0..rounds {
            for row in self.rows.clone() {
                for turn in 0..self.runtimes.len() {
                    let runtime = self.runtimes[(round + turn) % self.runtimes.len()];
                    let (round, name) = (round + 1, row.name);
                    self.progress
                        .begin(&format!("round {round} of {rounds}, {name}, {runtime}"));
                    self.time(row, runtime);
                    self.progress.end();
                }
            }
        }
        self.progress.clear();
    }

    fn time(&mut self, row: Row, runtime: &'static str) {
        if self.missing.contains(&(row.name, runtime)) {
            return;
        }
        let ops = self.operations(row, runtime);
        let figures = self.bins.figures(runtime, row.name, ops);
        let Some(figures) = self.noted(row, runtime, figures) else {
            return;
        };
        let wanted = match row.kind {
            Kind::Bytes => "bytes",
            _ if is_cpu(row.name) => "cpu",
            _ => "wall",
        };
        if let Some((_, value)) = figures.into_iter().find(|(name, _)| name == wanted) {
            let unit = if wanted == "bytes" { "bytes" } else { "ns" };
            let figure = Figure::new(row.name, value, unit);
            self.times.add(row.name, runtime, vec![figure]);
        }
    }

    /// A row's operations: as many as it says, unless the runtime would need more than [`LONGEST_NANOS`] for them.
    fn operations(&mut self, row: Row, runtime: &'static str) -> u64 {
        let (many, few) = row.timed;
        if self.options.common.quick || row.timed != MANY {
            return if self.options.common.quick { few } else { many };
        }
        if let Some(ops) = self.shorter.get(&(row.name, runtime)) {
            return *ops;
        }
        let probed = self.bins.figures(runtime, row.name, few);
        let wall = probed.ok().and_then(|figures| {
            let wall = figures.into_iter().find(|(name, _)| name == "wall")?;
            Some(wall.1)
        });
        let ops = match wall {
            Some(wall) if wall * many as f64 > LONGEST_NANOS => (LONGEST_NANOS / wall) as u64,
            _ => many,
        };
        // Whole batches: some rows spawn a thousand at once.
        let ops = ops.next_multiple_of(few).min(many);
        self.shorter.insert((row.name, runtime), ops);
        ops
    }

    pub fn syscalls(
        &mut self,
        row: Row,
        runtime: &'static str,
        ops: u64,
    ) -> Option<Vec<(String, u64)>> {
        let calls = self.bins.syscalls(runtime, row.name, ops);
        self.noted(row, runtime, calls)
    }

    /// Says why there is no figure, and remembers it. A failure of a peer is no failure of the run.
    fn noted<T>(
        &mut self,
        row: Row,
        runtime: &'static str,
        result: Result<T, Missing>,
    ) -> Option<T> {
        let failure = match result {
            Ok(value) => return Some(value),
            Err(Missing::Row) => None,
            Err(Missing::Failed(why)) => Some(why),
        };
        self.missing.push((row.name, runtime));
        if let Some(why) = failure {
            self.progress.clear();
            eprintln!("{runtime}: {}: {why}", row.name);
            self.failed |= runtime == OURS;
        }
        None
    }

    /// Instructions: the least where they are the same in every run, else the middle of the runs.
    pub fn instructions(&self, row: Row, runtime: &'static str) -> Option<f64> {
        let counts = self.counts.get(&(row.name, runtime))?;
        match row.kind {
            Kind::Counted => counts.iter().copied().reduce(f64::min),
            _ => median(counts),
        }
    }

    /// By how many per cent the runs' instructions differ.
    pub fn spread(&self, row: Row, runtime: &'static str) -> Option<f64> {
        let counts = self
            .counts
            .get(&(row.name, runtime))
            .filter(|counts| counts.len() > 1)?;
        let least = counts.iter().copied().reduce(f64::min)?;
        let most = counts.iter().copied().reduce(f64::max)?;
        Some((most / least - 1.0) * 100.0)
    }

    /// Nanoseconds, or bytes.
    pub fn series(&self, row: &str, runtime: &str) -> Option<&Series> {
        self.times.find(row, runtime)
    }

    /// All figures, as a run that is kept.
    pub fn to_saved(&self) -> Saved {
        Saved {
            bench: NAME.to_owned(),
            quick: self.options.common.quick,
            date: self.date.clone(),
            machine: self.machine.clone(),
            series: [self.times.series(), &self.counts()].concat(),
            more: Value::Null,
        }
    }

    /// The instructions as figures.
    pub fn counts(&self) -> Vec<Series> {
        let series = self.counts.iter().map(|((row, runtime), values)| Series {
            row: (*row).to_owned(),
            metric: format!("{row}/instructions"),
            unit: "instr".to_owned(),
            peer: (*runtime).to_owned(),
            values: values.clone(),
        });
        series.collect()
    }

    pub fn verdict(&self) -> ExitCode {
        if self.failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// This machine, with the versions of these runtimes.
fn machine(runtimes: &[&str]) -> Machine {
    let lock = include_str!("../../Cargo.lock");
    // What smol consists of, and what callsoon waits by.
    let mut crates = vec!["callsoon", "mio", "async-executor", "async-io", "polling"];
    let named = RUNTIMES.iter().filter(|known| runtimes.contains(known));
    crates.extend(named.filter(|runtime| **runtime != OURS));
    let mut machine = Machine::this();
    machine.versions = machine::versions(lock, &crates);
    if runtimes.contains(&"libuv") {
        let asked = Command::new("pkg-config")
            .args(["--modversion", "libuv"])
            .output();
        let version = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let version = version.unwrap_or_default();
        machine.versions.push(("libuv".to_owned(), version));
    }
    machine
}
