//! Rows × runtimes × rounds.
//!
//! The round is the outermost loop: what disturbs the machine for some seconds then touches one round of many rows,
//! which medians forget. Every round starts with another runtime, so that none always runs after the same neighbour.

use std::collections::BTreeMap;
use std::process::ExitCode;

use peers::row::{Kind, MANY, ROWS, Row, is_cpu};
use peers::{Missing, URING};

use crate::options::Options;
use crate::run::{Bins, is_there};
use crate::{Failure, OURS, RUNTIMES};

/// How often rows are counted whose instructions differ between runs.
const COUNTS: usize = 5;
/// About how long a timed run takes at the most: a runtime that enters the kernel for each operation would need half a
/// minute for a million, and its figure would be the same.
const LONGEST_NANOS: f64 = 2e9;

/// All figures so far.
pub struct Measured<'a> {
    bins: &'a Bins,
    options: &'a Options,
    pub rows: Vec<Row>,
    pub runtimes: Vec<&'static str>,
    /// Instructions.
    counts: BTreeMap<(&'static str, &'static str), Vec<f64>>,
    /// Nanoseconds, or bytes.
    times: BTreeMap<(&'static str, &'static str), Vec<f64>>,
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
    pub fn new(bins: &'a Bins, options: &'a Options, runtimes: Vec<&'static str>) -> Self {
        let rows = ROWS
            .iter()
            .copied()
            .filter(|row| options.wants(row.name))
            .collect();
        Self {
            bins,
            options,
            rows,
            runtimes,
            counts: BTreeMap::new(),
            times: BTreeMap::new(),
            shorter: BTreeMap::new(),
            missing: Vec::new(),
            failed: false,
        }
    }

    /// Says so where valgrind is missing.
    pub fn can_count(&self) -> bool {
        let there = is_there("valgrind");
        if !there {
            println!("valgrind is not there: no instructions are counted");
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

    pub fn count_all(&mut self) -> Result<(), Failure> {
        self.some_rows()?;
        for row in self.rows.clone() {
            let counts = match row.kind {
                Kind::Counted => 1,
                Kind::Shown if self.options.quick => 1,
                Kind::Shown => COUNTS,
                Kind::Timed | Kind::Bytes => 0,
            };
            for runtime in self.runtimes.clone() {
                for _ in 0..counts {
                    self.count(row, runtime);
                }
            }
        }
        Ok(())
    }

    pub fn time_all(&mut self) -> Result<(), Failure> {
        self.some_rows()?;
        for round in 0..self.options.rounds {
            for row in self.rows.clone() {
                for turn in 0..self.runtimes.len() {
                    let runtime = self.runtimes[(round + turn) % self.runtimes.len()];
                    self.time(row, runtime);
                }
            }
        }
        Ok(())
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
            self.times
                .entry((row.name, runtime))
                .or_default()
                .push(value);
        }
    }

    /// A row's operations: as many as it says, unless the runtime would need more than [`LONGEST_NANOS`] for them.
    fn operations(&mut self, row: Row, runtime: &'static str) -> u64 {
        let (many, few) = row.timed;
        if self.options.quick || row.timed != MANY {
            return if self.options.quick { few } else { many };
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
            eprintln!("{runtime}: {}: {why}", row.name);
            self.failed |= runtime == OURS;
        }
        None
    }

    fn some_rows(&self) -> Result<(), Failure> {
        if self.rows.is_empty() {
            let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
            return Err(format!("no such row; there are {}", names.join(", ")).into());
        }
        Ok(())
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
    pub fn median(&self, row: &str, runtime: &'static str) -> Option<f64> {
        let row = ROWS.iter().find(|known| known.name == row)?;
        median(self.times.get(&(row.name, runtime))?)
    }

    /// Half the range of the middle half of the rounds, in per cent of the median.
    pub fn noise(&self, row: &str, runtime: &'static str) -> Option<f64> {
        let row = ROWS.iter().find(|known| known.name == row)?;
        let mut times = self.times.get(&(row.name, runtime))?.clone();
        times.sort_by(f64::total_cmp);
        let quarter = times.len() / 4;
        let range = times[times.len() - 1 - quarter] - times[quarter];
        Some(range / 2.0 / median(&times)? * 100.0)
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
