//! Path × load × runtime: the runtimes, and the code that a child runs for one of them.

use std::time::Duration;

use super::arrivals::Samples;
use super::distribution::PERCENTILES;
use super::loads::Load;
use super::names::{LOADS, PATHS};
use super::on_callsoon::Callsoon;
use super::on_smol::Smol;
use super::on_tokio::{InLocalRuntime, InLocalSet};
use super::paths::{self, Path};
use super::runtime::Runtime;

/// A runtime: as on the command line and in figures, and in words.
pub(crate) struct Peer {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
}

/// The first four are measured by this bench's own binary, the others by the package of other runtimes.
pub(crate) const RUNTIMES: &[Peer] = &[
    Peer {
        id: "callsoon",
        title: "callsoon",
    },
    Peer {
        id: "localset",
        title: "tokio LocalSet",
    },
    Peer {
        id: "localruntime",
        title: "tokio LocalRuntime",
    },
    Peer {
        id: "smol",
        title: "smol",
    },
    Peer {
        id: "monoio",
        title: "monoio",
    },
    Peer {
        id: "compio",
        title: "compio",
    },
];

/// How many of the runtimes are measured by this bench's own binary.
pub(crate) const OWN: usize = 4;

/// One thing to measure, as places in the three lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) path: usize,
    pub(crate) load: usize,
    pub(crate) runtime: usize,
}

impl Cell {
    /// All cells of the first `runtimes` runtimes, in the order of the tables.
    pub(crate) fn all(runtimes: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for path in 0..PATHS.len() {
            for load in 0..LOADS.len() {
                all.extend((0..runtimes).map(|runtime| Self {
                    path,
                    load,
                    runtime,
                }));
            }
        }
        all
    }

    /// The cell with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all(RUNTIMES.len())
            .into_iter()
            .find(|cell| cell.name() == name)
    }

    /// `wake/tasks`.
    pub(crate) fn row(self) -> String {
        format!("{}/{}", PATHS[self.path].id, LOADS[self.load].id)
    }

    /// The runtime, as in figures.
    pub(crate) fn peer(self) -> &'static str {
        RUNTIMES[self.runtime].id
    }

    /// `wake/tasks/smol`.
    pub(crate) fn name(self) -> String {
        format!("{}/{}", self.row(), self.peer())
    }

    /// Whether `text` is part of a name that is printed for it: of its own, of its figures, or of a title.
    pub(crate) fn answers_to(self, text: &str) -> bool {
        let titles = [
            PATHS[self.path].title,
            LOADS[self.load].title,
            RUNTIMES[self.runtime].title,
        ];
        let figures = PERCENTILES.map(|(id, ..)| format!("{}/{id}", self.row()));
        self.name().contains(text)
            || titles.iter().any(|title| title.contains(text))
            || figures.iter().any(|figure| figure.contains(text))
    }

    /// Whether the runtime has such a path: monoio has no way in from another thread.
    pub(crate) fn exists(self) -> bool {
        !(PATHS[self.path].value == Path::Post && self.peer() == "monoio")
    }

    /// Measures it on this thread.
    pub(crate) fn measure(self, length: Duration) -> Result<Samples, String> {
        let (path, load) = (PATHS[self.path].value, LOADS[self.load].value);
        match self.runtime {
            0 => on::<Callsoon>(path, load, length),
            1 => on::<InLocalSet>(path, load, length),
            2 => on::<InLocalRuntime>(path, load, length),
            3 => on::<Smol>(path, load, length),
            _ => Err("the package of other runtimes measures this".to_owned()),
        }
    }
}

/// Runs one path under one load on a runtime.
fn on<R: Runtime>(path: Path, load: Load, length: Duration) -> Result<Samples, String> {
    R::run(move |on| paths::measure(on, path, load, length))?
}
