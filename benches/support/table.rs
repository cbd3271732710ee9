//! Figures, their medians over the rounds, and the two ways to print them.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::failure::Failure;
use super::machine::Machine;
use super::markdown;

/// One measured value. As text, which is how a child hands it to its parent: `METRIC VALUE UNIT`.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// A name without spaces. One with a dot is a detail: in the JSON only.
    metric: String,
    value: f64,
    /// `ns`, `us`, `bytes`, `per_s`, `MB_per_s` or `count`.
    unit: String,
}

/// The unit of things that must not happen: of its rounds the worst counts, not the median.
const COUNT: &str = "count";

impl Figure {
    pub(crate) fn new(metric: &str, value: f64, unit: &str) -> Self {
        Self {
            metric: metric.to_owned(),
            value,
            unit: unit.to_owned(),
        }
    }

    pub(crate) fn value(&self) -> f64 {
        self.value
    }

    pub(crate) fn metric(&self) -> &str {
        &self.metric
    }

    /// Whether it counts things that must not happen.
    pub(crate) fn is_count(&self) -> bool {
        self.unit == COUNT
    }

    /// The same value as a detail: `metric.name`.
    pub(crate) fn detail(mut self, name: &str) -> Self {
        self.metric = format!("{}.{name}", self.metric);
        self
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.metric, self.value, self.unit)
    }
}

impl FromStr for Figure {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Self, Failure> {
        let mut words = line.split_whitespace();
        let figure = (|| {
            Some(Self::new(
                words.next()?,
                words.next()?.parse().ok()?,
                words.next()?,
            ))
        })();
        figure
            .filter(|_| words.next().is_none())
            .ok_or_else(|| format!("not a figure: {line:?}").into())
    }
}

/// The value that `percent` of all are at or below; `values` may come in any order.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// All rounds of one metric of one peer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    pub(crate) row: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) peer: String,
    /// One a round, in the order of the rounds.
    pub(crate) values: Vec<f64>,
}

impl Series {
    /// Whether it is in the JSON only.
    pub(crate) fn is_detail(&self) -> bool {
        self.metric.contains('.')
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "row": self.row,
            "metric": self.metric,
            "unit": self.unit,
            "peer": self.peer,
            "values": self.values,
        })
    }

    /// The reverse of [`to_json`](Self::to_json). A series without a round is refused: it has no figure.
    pub(crate) fn from_json(value: &Value) -> Result<Self, Failure> {
        let text = |name: &str| {
            let text = value[name].as_str().map(str::to_owned);
            text.ok_or_else(|| format!("a series has no {name}"))
        };
        let values = value["values"].as_array();
        let values: Option<Vec<f64>> =
            values.and_then(|values| values.iter().map(Value::as_f64).collect());
        Ok(Self {
            row: text("row")?,
            metric: text("metric")?,
            unit: text("unit")?,
            peer: text("peer")?,
            values: values
                .filter(|values| !values.is_empty())
                .ok_or("a series has no values")?,
        })
    }

    /// The figure to print: the median, or the worst of a `count`.
    pub(crate) fn value(&self) -> f64 {
        self.at(if self.unit == COUNT { 1.0 } else { 0.5 })
    }

    /// Between which the middle half of the rounds is. A `count` has none, nor has what was measured once.
    pub(crate) fn quartiles(&self) -> Option<(f64, f64)> {
        let spread = self.unit != COUNT && self.values.len() > 1;
        spread.then(|| (self.at(0.25), self.at(0.75)))
    }

    /// The value that this part of the rounds is below; between two rounds, in proportion.
    fn at(&self, part: f64) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let place = part * (sorted.len() - 1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * place.fract()
    }
}

/// Everything measured so far, and how to print it.
pub(crate) struct Table {
    bench: &'static str,
    /// The first one is what ratios refer to.
    peers: Vec<&'static str>,
    series: Vec<Series>,
}

impl Table {
    pub(crate) fn new(bench: &'static str, peers: &[&'static str]) -> Self {
        Self::of(bench, peers.to_vec(), Vec::new())
    }

    /// A table of what has been measured.
    pub(crate) fn of(bench: &'static str, peers: Vec<&'static str>, series: Vec<Series>) -> Self {
        Self {
            bench,
            peers,
            series,
        }
    }

    /// Takes one measurement's figures in.
    pub(crate) fn add(&mut self, row: &str, peer: &str, figures: Vec<Figure>) {
        for figure in figures {
            let known = self
                .series
                .iter_mut()
                .find(|series| series.metric == figure.metric && series.peer == peer);
            match known {
                Some(series) => series.values.push(figure.value),
                None => self.series.push(Series {
                    row: row.to_owned(),
                    metric: figure.metric,
                    unit: figure.unit,
                    peer: peer.to_owned(),
                    values: vec![figure.value],
                }),
            }
        }
    }

    /// What `--only` lets through: all figures of the rows that it names, else those figures that it names.
    pub(crate) fn only(&self, text: Option<&str>) -> Self {
        let mut series = self.series.clone();
        series.retain(|series| {
            text.is_none_or(|text| series.row.contains(text) || series.metric.contains(text))
        });
        Self::of(self.bench, self.peers.clone(), series)
    }

    /// All rounds of everything.
    pub(crate) fn series(&self) -> &[Series] {
        &self.series
    }

    /// The metrics in table order: by row, then as the first peer that has them reported them.
    fn metrics<'a>(&'a self, rows: &'a [&str]) -> Vec<(&'a str, &'a str)> {
        let mut metrics = Vec::new();
        for row in rows {
            for series in self.series.iter().filter(|series| series.row == *row) {
                let metric = (series.metric.as_str(), series.unit.as_str());
                if !metrics.contains(&metric) {
                    metrics.push(metric);
                }
            }
        }
        metrics
    }

    pub(crate) fn find(&self, metric: &str, peer: &str) -> Option<&Series> {
        self.series
            .iter()
            .find(|series| series.metric == metric && series.peer == peer)
    }

    /// The peer to which a metric's ratios refer: the first one that has it.
    fn base(&self, metric: &str) -> Option<&Series> {
        self.peers.iter().find_map(|peer| self.find(metric, peer))
    }

    /// The metrics to print, details aside.
    fn shown<'a>(&'a self, rows: &'a [&str]) -> Vec<(&'a str, &'a str)> {
        let mut metrics = self.metrics(rows);
        metrics.retain(|(metric, _)| !metric.contains('.'));
        metrics
    }

    /// Two lines a metric: each peer's median, with its ratio to the first that has one, and below it the quartiles.
    pub(crate) fn text(&self, rows: &[&str], rounds: usize) -> String {
        let mut lines = vec![[vec![String::new(), "unit".to_owned()], self.heads()].concat()];
        for (metric, unit) in self.shown(rows) {
            let base = self.base(metric);
            let all = self.peers.iter().map(|peer| self.find(metric, peer));
            let values = all.clone().map(|series| cell(series, base));
            let quartiles = all.map(|series| range(series?.quartiles()?));
            let quartiles: Vec<_> = quartiles.map(Option::unwrap_or_default).collect();
            let spread = quartiles.iter().any(|range| !range.is_empty());
            let names = vec![metric.to_owned(), unit.to_owned()];
            lines.push([names, values.collect()].concat());
            if spread {
                lines.push([vec![String::new(); 2], quartiles].concat());
            }
        }
        format!(
            "medians of {rounds} rounds, and below them the quartiles, between which the middle half of the rounds is;\n\
             (n×) is a peer's figure divided by that of {}, or of the first that has one; a count is its worst round's\n\n{}",
            self.peers[0],
            aligned(&lines)
        )
    }

    /// A table in Markdown: each peer's median with its quartiles, and its ratio to the first that has one.
    pub(crate) fn markdown(&self, rows: &[&str]) -> String {
        let mut text = format!("| row | {} |\n", self.heads().join(" | "));
        text += &format!("|---|{}\n", "---|".repeat(self.peers.len()));
        for (metric, _) in self.shown(rows) {
            let base = self.base(metric);
            let cells = self.peers.iter().map(|peer| {
                let Some(series) = self.find(metric, peer) else {
                    return String::new();
                };
                let ratio = ratio(series, base).map(|ratio| format!(", {ratio:.2} ×"));
                markdown::with_quartiles(series) + &ratio.unwrap_or_default()
            });
            let cells: Vec<_> = cells.collect();
            text += &format!("| `{metric}` | {} |\n", cells.join(" | "));
        }
        text
    }

    fn heads(&self) -> Vec<String> {
        self.peers.iter().map(|peer| (*peer).to_owned()).collect()
    }

    /// One JSON object a line and figure, details too. The first line says what it was measured on, and when.
    pub(crate) fn print_json(&self, rows: &[&str], machine: &Machine, date: &str) {
        println!("{}", machine.json_line(self.bench, date));
        for (metric, unit) in self.metrics(rows) {
            for series in self.peers.iter().filter_map(|peer| self.find(metric, peer)) {
                let line = json!({
                    "bench": self.bench,
                    "peer": series.peer,
                    "metric": metric,
                    "value": series.value(),
                    "quartiles": series.quartiles(),
                    "unit": unit,
                });
                println!("{line}");
            }
        }
    }
}

/// A peer's median, and its ratio to the base.
fn cell(series: Option<&Series>, base: Option<&Series>) -> String {
    let Some(series) = series else {
        return "–".to_owned();
    };
    let ratio = ratio(series, base).map(|ratio| format!(" ({ratio:.2}×)"));
    digits(series.value()) + &ratio.unwrap_or_default()
}

/// A figure divided by the base's. The base has none, nor have counts.
fn ratio(series: &Series, base: Option<&Series>) -> Option<f64> {
    let base = base.filter(|base| base.peer != series.peer && series.unit != COUNT)?;
    (base.value() > 0.0).then(|| series.value() / base.value())
}

/// `5.60–5.81`.
fn range((low, high): (f64, f64)) -> Option<String> {
    Some(format!("{}–{}", digits(low), digits(high)))
}

/// Columns as wide as their widest cell, the first to the left and the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let (first, rest) = line.split_first().expect("a line has a name");
        let mut row = format!("{first:<0$}", widths[0]);
        for (cell, width) in rest.iter().zip(&widths[1..]) {
            row += &format!("  {cell:>width$}");
        }
        text += row.trim_end();
        text.push('\n');
    }
    text
}

/// Three digits that mean something.
pub(crate) fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
