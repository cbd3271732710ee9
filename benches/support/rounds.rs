//! Rows × peers × rounds.
//!
//! The round is the outermost loop: what disturbs the machine for some seconds then touches one round of many rows,
//! which medians forget, and not all rounds of one row. Within a row the peers follow each other, and every round
//! starts with another one, so that none always runs after the same neighbour.

use std::process::ExitCode;

use serde_json::Value;

use super::child::{self, Child};
use super::keep::Keep;
use super::machine::Machine;
use super::options::{self, Options, Usage};
use super::progress::Progress;
use super::saves::Saved;
use super::table::{Figure, Table};

/// Why there is no figure.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a bench is, apart from its rows' code.
pub(crate) struct Bench {
    /// As in `cargo bench --bench NAME`.
    pub(crate) name: &'static str,
    /// The first one is what the ratios refer to.
    pub(crate) peers: &'static [&'static str],
    /// The rows, in the order of the table.
    pub(crate) rows: Vec<&'static str>,
}

impl Bench {
    /// Parent and child alike: parses the command line and does what it says.
    ///
    /// `as_child` does what `--child` orders. `measure` gives one row's figures of one peer, once.
    pub(crate) fn main(
        &self,
        options: Result<Options, Failure>,
        as_child: impl FnOnce(&[String], &Options) -> Result<(), Failure>,
        measure: impl FnMut(&str, &str, &Options) -> Result<Vec<Figure>, Failure>,
    ) -> ExitCode {
        finish(
            self.name,
            options.and_then(|options| match &options.child {
                Some(order) => {
                    child::limit_lifetime();
                    as_child(order, &options)
                }
                None if options.help => {
                    print!("{}", options::help(self.name, &self.rows, ""));
                    Ok(())
                }
                None if !options.wanted => {
                    println!(
                        "{}: nothing measured; run `cargo bench --bench {}`",
                        self.name, self.name
                    );
                    Ok(())
                }
                None => self.obey(&options, measure),
            }),
        )
    }

    /// Compares two saved runs, or measures and then saves and compares as the options say.
    fn obey(
        &self,
        options: &Options,
        measure: impl FnMut(&str, &str, &Options) -> Result<Vec<Figure>, Failure>,
    ) -> Result<(), Failure> {
        let rows = options.select(&self.rows)?;
        let keep = Keep::new(self.name, options)?;
        if keep.print_saved_pair() {
            return Ok(());
        }
        let (table, failed) = self.measure_all(&rows, options, measure);
        if options.json {
            table.print_json(&rows);
        } else {
            table.print(&rows, options.rounds());
        }
        keep.keep(&Saved {
            bench: self.name.to_owned(),
            quick: options.quick,
            machine: Machine::this(),
            series: table.series().to_vec(),
            more: Value::Null,
        })?;
        if failed == 0 {
            Ok(())
        } else {
            Err(format!("{failed} measurements failed").into())
        }
    }

    /// What was measured, and how many measurements failed.
    fn measure_all(
        &self,
        rows: &[&str],
        options: &Options,
        mut measure: impl FnMut(&str, &str, &Options) -> Result<Vec<Figure>, Failure>,
    ) -> (Table, usize) {
        let mut table = Table::new(self.name, self.peers);
        // A peer that failed at a row is not asked for that row again.
        let mut failed: Vec<(&str, &str)> = Vec::new();
        let steps = options.rounds() * rows.len() * self.peers.len();
        let mut progress = Progress::new(self.name, steps);
        for round in 0..options.rounds() {
            for &row in rows {
                for turn in 0..self.peers.len() {
                    let peer = self.peers[(round + turn) % self.peers.len()];
                    if failed.contains(&(row, peer)) {
                        progress.end();
                        continue;
                    }
                    progress.begin(&format!("round {}, {row}, {peer}", round + 1));
                    match measure(row, peer, options) {
                        Ok(figures) => table.add(row, peer, figures),
                        Err(failure) => {
                            progress.clear();
                            eprintln!("{}: {row}: {peer}: {failure}", self.name);
                            failed.push((row, peer));
                        }
                    }
                    progress.end();
                }
            }
        }
        progress.clear();
        (table, failed.len())
    }
}

/// The exit code of what a bench did, and its message: 2 for a command line that cannot be obeyed, 1 for other failures.
pub(crate) fn finish(bench: &str, done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{bench}: {failure}");
            ExitCode::from(if failure.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Measures in a fresh process: `--child ROW PEER` prints figures, one a line.
pub(crate) fn in_child(row: &str, peer: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    let mut child = Child::start(&[row, peer], options.quick)?;
    let mut figures = Vec::new();
    while let Some(line) = child.line()? {
        figures.push(line.parse()?);
    }
    child.finish()?;
    if figures.is_empty() {
        Err("no figure".into())
    } else {
        Ok(figures)
    }
}
