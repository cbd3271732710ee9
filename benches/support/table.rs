//! Figures, their medians over the rounds, and the two ways to print them.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::rounds::Failure;

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
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            _ if self.unit == COUNT => sorted[sorted.len() - 1],
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        }
    }

    /// Half the range of the middle half of the rounds, in per cent of the median.
    fn noise(&self) -> f64 {
        let mut values = self.values.clone();
        let half = percentile(&mut values, 75) - percentile(&mut values, 25);
        50.0 * half / self.value()
    }
}

/// Everything measured so far, and how to print it.
pub(crate) struct Table {
    bench: &'static str,
    peers: &'static [&'static str],
    series: Vec<Series>,
}

/// Width of a peer's column: a figure and a ratio, `123456 (12.34×)`.
const COLUMN: usize = 18;

impl Table {
    pub(crate) fn new(bench: &'static str, peers: &'static [&'static str]) -> Self {
        Self {
            bench,
            peers,
            series: Vec::new(),
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

    fn find(&self, metric: &str, peer: &str) -> Option<&Series> {
        self.series
            .iter()
            .find(|series| series.metric == metric && series.peer == peer)
    }

    /// The peer to which a metric's ratios refer: the first one that has it.
    fn base(&self, metric: &str) -> Option<&Series> {
        self.peers.iter().find_map(|peer| self.find(metric, peer))
    }

    /// One line a metric: the first peer's figure, then each other peer's with its ratio to the first that has one.
    pub(crate) fn print(&self, rows: &[&str], rounds: usize) {
        println!(
            "{}: medians of {rounds} rounds; (n×) is a peer's figure divided by that of {}, or of the first that has one",
            self.bench, self.peers[0]
        );
        let title = format!("{:<24} {:>6}", "", "unit");
        let names: String = self
            .peers
            .iter()
            .map(|peer| format!("{peer:>COLUMN$}"))
            .collect();
        println!("{title}{names}{:>8}", "noise");
        for (metric, unit) in self.metrics(rows) {
            if metric.contains('.') {
                continue;
            }
            let base = self.base(metric);
            let cells: String = self
                .peers
                .iter()
                .map(|peer| self.cell(metric, peer, base))
                .collect();
            let all = self.peers.iter().filter_map(|peer| self.find(metric, peer));
            let noise = all
                .map(Series::noise)
                .filter(|noise| noise.is_finite())
                .fold(0.0, f64::max);
            println!("{metric:<24} {unit:>6}{cells}{noise:>7.0}%");
        }
        println!("noise: half the middle half's range of the rounds, the widest of the peers'");
    }

    fn cell(&self, metric: &str, peer: &str, base: Option<&Series>) -> String {
        let Some(series) = self.find(metric, peer) else {
            return format!("{:>COLUMN$}", "–");
        };
        let value = series.value();
        let ratio = base
            .filter(|base| base.peer != peer && base.value() > 0.0 && series.unit != COUNT)
            .map(|base| format!(" ({:.2}×)", value / base.value()));
        format!(
            "{:>COLUMN$}",
            format!("{}{}", digits(value), ratio.unwrap_or_default())
        )
    }

    /// One JSON object a line and figure, details too. No string here needs escaping.
    pub(crate) fn print_json(&self, rows: &[&str]) {
        for (metric, unit) in self.metrics(rows) {
            for series in self.peers.iter().filter_map(|peer| self.find(metric, peer)) {
                println!(
                    r#"{{"bench":"{}","peer":"{}","metric":"{metric}","value":{:.4},"unit":"{unit}"}}"#,
                    self.bench,
                    series.peer,
                    series.value(),
                );
            }
        }
    }
}

/// Three digits that mean something.
pub(crate) fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
