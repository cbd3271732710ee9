//! The settings that a builder gives to a loop. They do not change afterwards; what a program may change later has a
//! field of its own in `loop_state`.

use std::time::Duration;

use crate::kernel::clock::Clock;

/// The settings of the builder.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) clock: Clock,
    pub(crate) debug: bool,
    /// The most entries between two readings of the clock; 1 polls for events in every turn.
    pub(crate) event_interval: u32,
    /// How far apart deadlines that share a wake-up may be.
    pub(crate) timer_slack: Duration,
    /// How long to poll busily before sleeping.
    pub(crate) spin: Duration,
    /// For how many tasks, timers and sources room is made at once.
    pub(crate) capacity: usize,
    /// Whether histograms are recorded.
    pub(crate) metrics: bool,
    /// Whether there are spans of turns, calls and tasks.
    pub(crate) spans: bool,
    pub(crate) slow_callback_duration: Duration,
    /// The program has set that duration, so that it counts without debug mode too.
    pub(crate) slow_counts: bool,
    /// Notes are kept of what each task does and waits for.
    pub(crate) inspect: bool,
    /// Where the counts of tasks, timers, scopes, turns and callbacks begin: 0, except in tests.
    pub(crate) counts: u64,
    /// By which seed the order of what is ready is permuted.
    pub(crate) shuffle: Option<u64>,
}
