//! Wall clock and processor time.
//!
//! Rows that never wait are given in processor time of the whole process: on a machine that does other things too, that
//! is what the work cost, while the wall clock also counts what others took. Helper threads of a runtime are in it.

use std::time::{Duration, Instant};

use super::table::Figure;

/// Processor time, user and system, of all threads of this process so far.
pub(crate) fn process_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable `timespec` for the duration of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(
        result, 0,
        "the process clock exists on every supported system"
    );
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Both clocks, running.
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

/// What a stopwatch showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Stopwatch {
    /// Starts both clocks.
    pub(crate) fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: process_cpu(),
        }
    }

    /// Reads both clocks.
    pub(crate) fn stop(self) -> Spent {
        Spent {
            cpu: process_cpu() - self.cpu,
            wall: self.wall.elapsed(),
        }
    }
}

impl Spent {
    /// Processor time an operation as the figure `metric`, wall time as `metric.wall`, which only the JSON shows.
    pub(crate) fn per_op(self, metric: &str, ops: u64) -> Vec<Figure> {
        let ns = |time: Duration| time.as_nanos() as f64 / ops as f64;
        vec![
            Figure::new(metric, ns(self.cpu), "ns"),
            Figure::new(&format!("{metric}.wall"), ns(self.wall), "ns"),
        ]
    }
}

/// How often a child repeats its work after warming up; its figure is the middle one.
const REPEATS: usize = 3;

/// Runs `work`, which does `ops` operations: once to warm up, then `REPEATS` times; gives the middle run.
pub(crate) async fn measure(metric: &str, ops: u64, work: impl AsyncFn()) -> Vec<Figure> {
    work().await;
    let mut runs = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        let watch = Stopwatch::start();
        work().await;
        runs.push(watch.stop());
    }
    runs.sort_by_key(|spent| spent.cpu);
    runs[REPEATS / 2].per_op(metric, ops)
}
