//! Samples as histograms: what a child prints, what the parent adds up, and what a saved run keeps.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::super::rounds::Failure;

/// Two digits more than can be seen in a plot on a log axis: no value is off by more than a thousandth.
const DIGITS: u8 = 3;

/// The percentiles of the tables: in figures, in words, and as a number.
pub(crate) const PERCENTILES: [(&str, &str, f64); 5] = [
    ("p50", "p50", 50.0),
    ("p90", "p90", 90.0),
    ("p99", "p99", 99.0),
    ("p999", "p99.9", 99.9),
    ("max", "max", 100.0),
];

/// A distribution of latencies in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distribution(Histogram<u64>);

impl Default for Distribution {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("three digits are few enough"))
    }
}

impl Distribution {
    pub(crate) fn of(samples: &[u64]) -> Self {
        let mut distribution = Self::default();
        for sample in samples {
            distribution.add(*sample, 1);
        }
        distribution
    }

    /// Counts a latency. 0 is counted as 1 ns, since a log axis has no 0.
    fn add(&mut self, nanos: u64, count: u64) {
        self.0
            .record_n(nanos.max(1), count)
            .expect("the histogram grows as it must");
    }

    /// Counts all of another one too.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// How many latencies it holds.
    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// The latency at or below which `percent` of all are.
    pub(crate) fn at(&self, percent: f64) -> u64 {
        self.0.value_at_percentile(percent)
    }

    /// The values of [`PERCENTILES`].
    pub(crate) fn row(&self) -> [u64; PERCENTILES.len()] {
        PERCENTILES.map(|(_, _, percent)| self.at(percent))
    }

    /// The whole curve: at each step of `1 / (1 - p)`, which is 1 at the lowest latency and the number of samples at the
    /// highest, the latency in nanoseconds. `steps` of them a factor of ten.
    pub(crate) fn curve(&self, steps: usize) -> Vec<(f64, u64)> {
        let end = self.len() as f64;
        let mut curve = Vec::new();
        let mut exponent = 0.0;
        while !self.0.is_empty() {
            let x = 10_f64.powf(exponent / steps as f64).min(end);
            // The last point is that of the highest sample, which is above 1 - 1 / end of all.
            let percent = if x < end { 100.0 - 100.0 / x } else { 100.0 };
            curve.push((x, self.at(percent)));
            if x >= end {
                break;
            }
            exponent += 1.0;
        }
        curve
    }

    /// Latencies and how often each occurred, in turn.
    pub(crate) fn to_json(&self) -> Value {
        let buckets = self.0.iter_recorded();
        let pairs = buckets.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()));
        json!(
            pairs
                .flat_map(|(value, count)| [value, count])
                .collect::<Vec<_>>()
        )
    }

    /// The reverse of [`to_json`](Self::to_json).
    pub(crate) fn from_json(value: &Value) -> Result<Self, Failure> {
        let numbers = value.as_array().ok_or("a distribution is no list")?;
        let numbers: Option<Vec<u64>> = numbers.iter().map(Value::as_u64).collect();
        let numbers = numbers.ok_or("a distribution holds something that is no count")?;
        let mut distribution = Self::default();
        for pair in numbers.chunks(2) {
            let [value, count] = *pair else {
                return Err("a distribution ends in the middle of a pair".into());
            };
            distribution
                .0
                .record_n(value, count)
                .map_err(|error| format!("a distribution holds {value}: {error}"))?;
        }
        Ok(distribution)
    }
}
