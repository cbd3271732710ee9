//! The rows: what both the binaries and the driver know of them.

/// What a row's figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Time, and instructions that are the same in every run: the gate holds callsoon's to their limit.
    Counted,
    /// Time, and instructions that depend on when threads and packets come: shown, not limited.
    Shown,
    /// Time alone: the work depends on the clock, which is a different one under valgrind.
    Timed,
    /// Resident bytes, no time.
    Bytes,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// As on the command line.
    pub name: &'static str,
    /// In the README's table.
    pub title: &'static str,
    pub kind: Kind,
    /// Under callgrind: the difference of these two runs is what `counted.1 - counted.0` operations need.
    pub counted: (u64, u64),
    /// Operations of a timed run; and of a quick one.
    pub timed: (u64, u64),
}

const fn row(
    name: &'static str,
    title: &'static str,
    kind: Kind,
    counted: (u64, u64),
    timed: (u64, u64),
) -> Row {
    Row {
        name,
        title,
        kind,
        counted,
        timed,
    }
}

use Kind::{Bytes, Counted, Shown, Timed};

/// Operations of most counted rows.
const FEW: (u64, u64) = (10_000, 60_000);
/// Operations of rows with many timers under callgrind.
const TIMERS: (u64, u64) = (2_000, 12_000);
/// Operations of rows over the network under callgrind.
const TRIPS: (u64, u64) = (500, 2_500);
/// Operations of most timed rows.
pub const MANY: (u64, u64) = (1_000_000, 20_000);
/// The same of rows with timers and waiters.
const CROWD: (u64, u64) = (100_000, 5_000);
/// The same over the network.
const REQUESTS: (u64, u64) = (20_000, 500);
/// Never counted.
const NONE: (u64, u64) = (0, 0);

/// All of them, in the order of the tables.
pub const ROWS: &[Row] = &[
    row(
        "callback_chain",
        "a callback that queues the next one",
        Counted,
        FEW,
        MANY,
    ),
    row(
        "callback_batch",
        "10,000 callbacks queued, then run",
        Counted,
        (20_000, 120_000),
        MANY,
    ),
    row(
        "spawn_join",
        "spawn a task and await it",
        Counted,
        FEW,
        MANY,
    ),
    row(
        "spawn_join_1000",
        "1,000 tasks spawned, then awaited, each",
        Counted,
        FEW,
        MANY,
    ),
    row(
        "detached",
        "spawn a task that nobody awaits",
        Counted,
        FEW,
        MANY,
    ),
    row("yield", "a task yields alone", Counted, FEW, MANY),
    row("yield_100", "100 tasks yield in turn", Counted, FEW, MANY),
    row(
        "ping_pong",
        "two tasks in turn, a round trip",
        Counted,
        FEW,
        MANY,
    ),
    row(
        "gather_1000",
        "1,000 tasks gathered, each",
        Counted,
        FEW,
        MANY,
    ),
    row(
        "group_1000",
        "1,000 tasks in a group, each",
        Counted,
        FEW,
        MANY,
    ),
    row(
        "timer_pair",
        "a timer armed and cancelled among 1,000",
        Counted,
        FEW,
        MANY,
    ),
    row(
        "burst_task",
        "100,000 overdue timers that wake tasks, each",
        Counted,
        TIMERS,
        CROWD,
    ),
    row(
        "burst_callback",
        "100,000 overdue timers with callbacks, each",
        Counted,
        TIMERS,
        CROWD,
    ),
    row(
        "fire_task",
        "timers that wake tasks, one a µs: CPU each",
        Timed,
        NONE,
        CROWD,
    ),
    row(
        "fire_callback",
        "timers with callbacks, one a µs: CPU each",
        Timed,
        NONE,
        CROWD,
    ),
    row(
        "waiters_leave",
        "100,000 waiters leave in random order, each",
        Counted,
        (2_000, 8_000),
        CROWD,
    ),
    row(
        "callbacks_leave",
        "100,000 done callbacks removed in random order, each",
        Counted,
        (2_000, 8_000),
        CROWD,
    ),
    row(
        "posts_1",
        "a boxed closure posted by another thread",
        Shown,
        FEW,
        MANY,
    ),
    row("posts_4", "the same by four threads", Shown, FEW, MANY),
    row(
        "echo_protocol",
        "TCP echo by `Protocol`, a request: CPU",
        Shown,
        TRIPS,
        REQUESTS,
    ),
    row(
        "echo_net",
        "TCP echo by a task, a request: CPU",
        Shown,
        TRIPS,
        REQUESTS,
    ),
    row(
        "echo_streams",
        "TCP echo by streams, a request: CPU",
        Shown,
        TRIPS,
        REQUESTS,
    ),
    row(
        "idle_task",
        "an idle task with 104 bytes of state",
        Bytes,
        NONE,
        (100_000, 20_000),
    ),
    row(
        "idle_protocol",
        "an idle connection by `Protocol`",
        Bytes,
        NONE,
        (5_000, 500),
    ),
    row(
        "idle_net",
        "an idle connection with its task and 128 bytes of buffer",
        Bytes,
        NONE,
        (5_000, 500),
    ),
    row(
        "idle_streams",
        "the same by streams",
        Bytes,
        NONE,
        (5_000, 500),
    ),
    row(
        "after_net",
        "a connection after 256 KiB came and went back",
        Bytes,
        NONE,
        (200, 20),
    ),
    row(
        "after_streams",
        "the same by streams",
        Bytes,
        NONE,
        (200, 20),
    ),
    row(
        "burst_memory",
        "kept after 100,000 sleeping tasks ended, each",
        Bytes,
        NONE,
        (100_000, 20_000),
    ),
];

impl Row {
    /// Its figures, as the benches write them: its time or memory, and its instructions, where they are counted.
    pub fn figures(&self) -> String {
        let counted = if self.counted.1 > 0 {
            "{,/instructions}"
        } else {
            ""
        };
        format!("{}{counted}", self.name)
    }
}

/// Whether there is such a row.
pub fn is_row(name: &str) -> bool {
    ROWS.iter().any(|row| row.name == name)
}

/// A row whose time is the processor's, since most of its wall time is a client's or is waited.
pub fn is_cpu(name: &str) -> bool {
    name.starts_with("echo_") || name.starts_with("fire_")
}
