//! What one process has counted, and figures by their names as a line of text, in which one process sends them to the other.

use std::cell::Cell;
use std::collections::BTreeMap;

/// Everything that is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Connections,
    Refused,
    ResetsMade,
    ResetsSeen,
    HalfCloses,
    Cancelled,
    HeldBack,
    SlowReads,
    SlowWrites,
    Pings,
    BytesSent,
    BytesReceived,
    WrongBytes,
    SignalsSent,
    SignalsSeen,
    ChildrenStarted,
    ChildrenReaped,
    Unexpected,
}

/// Their names, in the order of the variants.
const NAMES: [&str; 18] = [
    "connections",
    "refused",
    "resets_made",
    "resets_seen",
    "half_closes",
    "cancelled",
    "held_back",
    "slow_reads",
    "slow_writes",
    "pings",
    "bytes_sent",
    "bytes_received",
    "wrong_bytes",
    "signals_sent",
    "signals_seen",
    "children_started",
    "children_reaped",
    "unexpected",
];

/// So many messages about what should not happen are printed; all of it is counted.
const MOST_MESSAGES: u64 = 20;

/// The counts of a process. They belong to its loop's thread.
#[derive(Debug, Default)]
pub(crate) struct Counts([Cell<u64>; NAMES.len()]);

impl Counts {
    pub(crate) fn add(&self, what: Count, count: u64) {
        let cell = &self.0[what as usize];
        cell.set(cell.get() + count);
    }

    pub(crate) fn one(&self, what: Count) {
        self.add(what, 1);
    }

    pub(crate) fn get(&self, what: Count) -> u64 {
        self.0[what as usize].get()
    }

    /// Counts something that should not happen.
    pub(crate) fn unexpected(&self, what: impl std::fmt::Display) {
        self.one(Count::Unexpected);
        if self.get(Count::Unexpected) <= MOST_MESSAGES {
            eprintln!("unexpected: {what}");
        }
    }

    /// Adds them to other figures.
    pub(crate) fn put_into(&self, figures: &mut Figures) {
        for (name, cell) in NAMES.iter().zip(&self.0) {
            figures.put(name, cell.get() as f64);
        }
    }
}

/// Figures by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(crate) fn put(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    /// Returns a figure; one that is missing is not a number, which no limit lets pass.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Writes them as one line.
    pub(crate) fn line(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(k, v)| format!("{k}={v}")).collect();
        words.join(" ")
    }

    /// Reads what `line` wrote.
    pub(crate) fn read(line: &str) -> Self {
        let pairs = line.split_whitespace().filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(pairs.collect())
    }
}
