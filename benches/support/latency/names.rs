//! The paths and the loads by name: for `latency`, and for the binaries of `benches/peers`.

use super::loads::Load;
use super::paths::Path;

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
        what: "50 connections, 40,000 requests of 64 bytes a second in all",
        value: Load::Sockets,
    },
    Named {
        id: "hog",
        title: "a task that hogs 1 ms",
        what: "one task holds the thread for 1 ms, every 4 ms",
        value: Load::Hog,
    },
];
