//! What a run of `latency` gave: for the terminal, as JSON lines, and for a saved run.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::machine::Machine;
use super::super::saves::Saved;
use super::super::table::{Series, Table};
use super::cells::{Cell, RUNTIMES};
use super::distribution::{Distribution, PERCENTILES};
use super::names::{LOADS, PATHS};

/// The bench's name.
pub(crate) const NAME: &str = "latency";

/// How many points of a curve a factor of ten of `1 / (1 - p)` has.
pub(crate) const CURVE_STEPS: usize = 20;

/// All rounds of one cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) cell: Cell,
    /// From the intended time, one a round.
    pub(crate) rounds: Vec<Distribution>,
    /// From the intended time, all rounds.
    pub(crate) intended: Distribution,
    /// From the call, all rounds.
    pub(crate) called: Distribution,
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// When it was measured.
    pub(crate) date: String,
    pub(crate) quick: bool,
    /// In the order of the tables.
    pub(crate) cells: Vec<Measured>,
    /// What could not be measured, and why.
    pub(crate) failed: Vec<(Cell, String)>,
}

impl Report {
    pub(crate) fn new(machine: Machine, date: String, quick: bool) -> Self {
        Self {
            machine,
            date,
            quick,
            cells: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Takes one round of a cell in: from the intended time, and from the call.
    pub(crate) fn add(&mut self, cell: Cell, intended: Distribution, called: &Distribution) {
        let place = self.cells.partition_point(|known| known.cell < cell);
        if self.cells.get(place).is_none_or(|known| known.cell != cell) {
            let measured = Measured {
                cell,
                rounds: Vec::new(),
                intended: Distribution::default(),
                called: Distribution::default(),
            };
            self.cells.insert(place, measured);
        }
        let known = &mut self.cells[place];
        known.intended.merge(&intended);
        known.called.merge(called);
        known.rounds.push(intended);
    }

    /// The cells of one path.
    pub(crate) fn of_path(&self, path: usize) -> impl Iterator<Item = &Measured> {
        self.cells
            .iter()
            .filter(move |measured| measured.cell.path == path)
    }

    /// The most rounds that a cell has.
    pub(crate) fn rounds(&self) -> usize {
        let rounds = self.cells.iter().map(|measured| measured.rounds.len());
        rounds.max().unwrap_or(0)
    }

    /// The percentiles of each cell, by the terminal's width of 80.
    pub(crate) fn table(&self) -> String {
        let mut text = self.machine.heading(NAME, &self.date);
        let _ = writeln!(
            text,
            "latency from the intended time, all of {} rounds",
            self.rounds()
        );
        for (path, named) in PATHS.iter().enumerate() {
            if self.of_path(path).next().is_none() {
                continue;
            }
            let heads = PERCENTILES.map(|(_, head, _)| format!("{head:>9}"));
            let _ = writeln!(text, "\n{:<32} {}", named.title, heads.concat());
            let mut load = usize::MAX;
            for measured in self.of_path(path) {
                if load != measured.cell.load {
                    load = measured.cell.load;
                    let _ = writeln!(text, "  {}", LOADS[load].title);
                }
                let figures = measured
                    .intended
                    .row()
                    .map(|nanos| format!("{:>9}", time(nanos)));
                let title = RUNTIMES[measured.cell.runtime].title;
                let _ = writeln!(text, "    {title:<28} {}", figures.concat());
            }
        }
        text
    }

    /// The medians of the rounds' percentiles in Markdown, with their quartiles.
    pub(crate) fn markdown(&self) -> String {
        let series = self.cells.iter().flat_map(series).collect();
        let mut rows: Vec<_> = self.cells.iter().map(|cell| cell.cell.row()).collect();
        rows.dedup();
        let rows: Vec<_> = rows.iter().map(String::as_str).collect();
        let has = |id: &str| self.cells.iter().any(|cell| cell.cell.peer() == id);
        let peers = RUNTIMES.iter().map(|runtime| runtime.id);
        let peers = peers.filter(|id| has(id)).collect();
        let heading = self.machine.heading(NAME, &self.date);
        format!(
            "Medians of {} rounds, quartiles in brackets; {heading}\n{}",
            self.rounds(),
            Table::of(NAME, peers, series).markdown(&rows)
        )
    }

    /// One JSON object a line and cell. The first line says what it was measured on, and when.
    pub(crate) fn json_lines(&self) -> String {
        let line = |measured: &Measured| {
            let cell = measured.cell;
            let percentiles = |distribution: &Distribution| {
                let pairs = PERCENTILES
                    .map(|(id, _, percent)| (id.to_owned(), json!(distribution.at(percent))));
                Value::Object(pairs.into_iter().collect())
            };
            let line = json!({
                "bench": NAME,
                "path": PATHS[cell.path].id,
                "load": LOADS[cell.load].id,
                "peer": cell.peer(),
                "unit": "ns",
                "samples": measured.intended.len(),
                "rounds": measured.rounds.len(),
                "intended": percentiles(&measured.intended),
                "called": percentiles(&measured.called),
                "curve": measured.intended.curve(CURVE_STEPS),
            });
            format!("{line}\n")
        };
        let lines: String = self.cells.iter().map(line).collect();
        format!("{}\n{lines}", self.machine.json_line(NAME, &self.date))
    }

    /// The run as a file keeps it: the percentiles of each round as figures, and every distribution.
    pub(crate) fn to_saved(&self) -> Saved {
        let list = |distributions: &[Distribution]| {
            let list = distributions.iter().map(Distribution::to_json);
            list.collect::<Vec<_>>()
        };
        let cells = self.cells.iter().map(|measured| {
            json!({
                "cell": measured.cell.name(),
                "rounds": list(&measured.rounds),
                "called": measured.called.to_json(),
            })
        });
        let failed = self.failed.iter();
        let failed = failed.map(|(cell, why)| json!([cell.name(), why]));
        Saved {
            bench: NAME.to_owned(),
            quick: self.quick,
            date: self.date.clone(),
            machine: self.machine.clone(),
            series: self.cells.iter().flat_map(series).collect(),
            more: json!({
                "cells": cells.collect::<Vec<_>>(),
                "failed": failed.collect::<Vec<_>>(),
            }),
        }
    }

    /// The reverse of [`to_saved`](Self::to_saved).
    pub(crate) fn from_saved(saved: &Saved) -> Result<Self, Failure> {
        let named = |name: &Value| {
            let cell = name.as_str().and_then(Cell::named);
            cell.ok_or_else(|| format!("there is no cell {name}"))
        };
        let list = |name: &str| {
            let list = saved.more[name].as_array();
            list.ok_or_else(|| format!("it has no {name}"))
        };
        let mut report = Self::new(saved.machine.clone(), saved.date.clone(), saved.quick);
        for value in list("cells")? {
            let cell = named(&value["cell"])?;
            let rounds = value["rounds"].as_array().ok_or("a cell has no rounds")?;
            // What the calls took is kept as a whole: it goes in with the first round.
            let mut called = Distribution::from_json(&value["called"])?;
            for round in rounds {
                report.add(cell, Distribution::from_json(round)?, &called);
                called = Distribution::default();
            }
        }
        for value in list("failed")? {
            let why = value[1].as_str().unwrap_or("it failed").to_owned();
            report.failed.push((named(&value[0])?, why));
        }
        Ok(report)
    }
}

/// A cell's percentiles as figures, whose noise is that of the rounds.
fn series(measured: &Measured) -> Vec<Series> {
    let of = |(id, _, percent): (&str, &str, f64)| Series {
        row: measured.cell.row(),
        metric: format!("{}/{id}", measured.cell.row()),
        unit: "ns".to_owned(),
        peer: measured.cell.peer().to_owned(),
        values: measured
            .rounds
            .iter()
            .map(|round| round.at(percent) as f64)
            .collect(),
    };
    PERCENTILES.map(of).to_vec()
}

/// A time in three digits: `312 ns`, `4.21 µs`, `10.2 ms`.
pub(crate) fn time(nanos: u64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    // A value that three digits would round up to the next unit belongs to that one.
    let unit = units
        .iter()
        .find(|(size, _)| nanos as f64 >= size * 0.9995)
        .unwrap_or(&units[3]);
    let value = nanos as f64 / unit.0;
    let digits = match value {
        value if unit.0 == 1.0 || value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {}", unit.1)
}
