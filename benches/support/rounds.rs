//! Rows × peers × rounds.
//!
//! The round is the outermost loop: what disturbs the machine for some seconds then touches one round of many rows,
//! which medians forget, and not all rounds of one row. Within a row the peers follow each other, and every round
//! starts with another one, so that none always runs after the same neighbour.

use std::process::ExitCode;

use super::child::{self, Child};
use super::options::Options;
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
        let done = options.and_then(|options| match &options.child {
            Some(order) => {
                child::limit_lifetime();
                as_child(order, &options)
            }
            None if !options.wanted => {
                println!(
                    "{}: nothing measured; run `cargo bench --bench {}`",
                    self.name, self.name
                );
                Ok(())
            }
            None => self.measure_all(&options, measure),
        });
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{}: {failure}", self.name);
                ExitCode::FAILURE
            }
        }
    }

    fn measure_all(
        &self,
        options: &Options,
        mut measure: impl FnMut(&str, &str, &Options) -> Result<Vec<Figure>, Failure>,
    ) -> Result<(), Failure> {
        let rows: Vec<_> = self
            .rows
            .iter()
            .copied()
            .filter(|row| options.wants(row))
            .collect();
        if rows.is_empty() {
            return Err(format!("no such row; there are {}", self.rows.join(", ")).into());
        }
        let mut table = Table::new(self.name, self.peers);
        // A peer that failed at a row is not asked for that row again.
        let mut failed: Vec<(&str, &str)> = Vec::new();
        for round in 0..options.rounds() {
            for &row in &rows {
                for turn in 0..self.peers.len() {
                    let peer = self.peers[(round + turn) % self.peers.len()];
                    if failed.contains(&(row, peer)) {
                        continue;
                    }
                    match measure(row, peer, options) {
                        Ok(figures) => table.add(row, peer, figures),
                        Err(failure) => {
                            eprintln!("{}: {row}: {peer}: {failure}", self.name);
                            failed.push((row, peer));
                        }
                    }
                }
            }
        }
        if options.json {
            table.print_json(&rows);
        } else {
            table.print(&rows, options.rounds());
        }
        if failed.is_empty() {
            Ok(())
        } else {
            Err(format!("{} measurements failed", failed.len()).into())
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
