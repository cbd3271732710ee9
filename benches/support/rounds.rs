//! Rows × peers × rounds.
//!
//! The round is the outermost loop: what disturbs the machine for some seconds then touches one round of many rows,
//! which medians forget, and not all rounds of one row. Within a row the peers follow each other, and every round
//! starts with another one, so that none always runs after the same neighbour.

use std::process::ExitCode;

use serde_json::Value;

use super::child::{self, Child};
pub(crate) use super::failure::Failure;
use super::keep::Keep;
use super::machine::Machine;
use super::options::{self, Options};
use super::progress::Progress;
use super::saves::Saved;
use super::table::{Figure, Table};
use super::{date, failure, rows};

/// What a bench is, apart from its rows' code.
pub(crate) struct Bench {
    /// As in `cargo bench --bench NAME`.
    pub(crate) name: &'static str,
    /// The first one is what the ratios refer to.
    pub(crate) peers: &'static [&'static str],
    /// The rows, in the order of the table, as the module `rows` writes them.
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
                    let call = options::call(self.name);
                    print!("{}", options::help(&call, &self.rows, &[], ""));
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
        let (machine, date) = (Machine::this(), date::now());
        let (table, failed) = self.measure_all(&rows, options, measure);
        let shown = table.only(options.only());
        let rows: Vec<_> = rows.into_iter().map(rows::name).collect();
        let heading = machine.heading(self.name, &date);
        match options {
            Options { json: true, .. } => shown.print_json(&rows, &machine, &date),
            Options { readme: true, .. } => println!(
                "Medians of {} rounds, quartiles in brackets; {heading}\n{}",
                options.rounds(),
                shown.markdown(&rows)
            ),
            _ => print!("{heading}{}", shown.text(&rows, options.rounds())),
        }
        keep.keep(&Saved {
            bench: self.name.to_owned(),
            quick: options.quick,
            date,
            machine,
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
        let rounds = options.rounds();
        let steps = rounds * rows.len() * self.peers.len();
        let mut progress = Progress::new(self.name, steps);
        for round in 0..rounds {
            for &pattern in rows {
                let row = rows::name(pattern);
                for turn in 0..self.peers.len() {
                    let peer = self.peers[(round + turn) % self.peers.len()];
                    if failed.contains(&(row, peer)) {
                        progress.end();
                        continue;
                    }
                    progress.begin(&format!("round {} of {rounds}, {row}, {peer}", round + 1));
                    let measured = measure(row, peer, options);
                    match measured.and_then(|figures| listed(pattern, figures)) {
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

/// These figures, if the row says that it prints them: what is not in the list cannot be chosen by `--only`.
fn listed(row: &str, figures: Vec<Figure>) -> Result<Vec<Figure>, Failure> {
    let known = rows::figures(row);
    let unknown = figures.iter().find(|figure| {
        let metric = figure.metric();
        !metric.contains('.') && !known.iter().any(|known| known == metric)
    });
    match unknown {
        Some(figure) => Err(format!("{} is not in {row}", figure.metric()).into()),
        None => Ok(figures),
    }
}

/// The exit code of what a bench did, and its message: 2 for a command line that cannot be obeyed, 1 for other failures.
pub(crate) fn finish(bench: &str, done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{bench}: {failure}");
            ExitCode::from(failure::exit_code(&failure))
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
