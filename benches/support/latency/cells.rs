//! Path × load × runtime: the names of each, and the code that a child runs for one of them.

use std::time::Duration;

use super::arrivals::Samples;
use super::loads::Load;
use super::on_callsoon::Callsoon;
use super::on_smol::Smol;
use super::on_tokio::{InLocalRuntime, InLocalSet};
use super::paths::{self, Path};
use super::runtime::Runtime;

/// A path or a load: as on the command line, in words, and what it is.
pub(crate) struct Named<T: 'static> {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) what: &'static str,
    pub(crate) value: T,
}

pub(crate) const PATHS: &[Named<Path>] = &[
    Named {
        id: "call_soon",
        title: "call_soon → run",
        what: "A callback is scheduled from the loop's own thread, until it runs. tokio and smol have no callbacks: there it is a spawned task whose body is the callback.",
        value: Path::CallSoon,
    },
    Named {
        id: "wake",
        title: "wake → poll",
        what: "A waiting task is woken on the loop's own thread, until it is polled.",
        value: Path::Wake,
    },
    Named {
        id: "post",
        title: "other thread → run",
        what: "Another thread posts a closure, until the loop runs it.",
        value: Path::Post,
    },
    Named {
        id: "timer",
        title: "timer lateness",
        what: "How long after its deadline the callback of a timer runs. All timers are armed before the first one fires.",
        value: Path::Timer,
    },
    Named {
        id: "socket",
        title: "socket readable → callback",
        what: "Another thread writes a byte to a TCP connection over loopback, until the loop's code has read it.",
        value: Path::Socket,
    },
    Named {
        id: "spawn",
        title: "spawn → first poll",
        what: "A task is spawned on the loop's own thread, until it is first polled.",
        value: Path::Spawn,
    },
];

pub(crate) const LOADS: &[Named<Load>] = &[
    Named {
        id: "idle",
        title: "idle",
        what: "nothing else to do",
        value: Load::Idle,
    },
    Named {
        id: "tasks",
        title: "10,000 busy tasks",
        what: "10,000 tasks that yield for ever",
        value: Load::Tasks,
    },
    Named {
        id: "sockets",
        title: "socket load",
        what: "50 connections with one request of 64 bytes under way each",
        value: Load::Sockets,
    },
    Named {
        id: "hog",
        title: "a task that hogs 1 ms",
        what: "one task holds the thread for 1 ms, every 4 ms",
        value: Load::Hog,
    },
];

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
