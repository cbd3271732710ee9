//! Clocks, resident memory, and what a binary prints of them.

use std::fmt;
use std::time::{Duration, Instant};

/// The figures of one run, all for one operation.
#[derive(Debug, Clone, Default)]
pub struct Report {
    figures: Vec<(&'static str, f64)>,
}

impl Report {
    /// Whether the runtime waits by io_uring.
    pub fn uring(by_uring: bool) -> Self {
        Self {
            figures: vec![(crate::URING, f64::from(u8::from(by_uring)))],
        }
    }

    /// Resident bytes.
    pub fn bytes(bytes: f64) -> Self {
        Self {
            figures: vec![("bytes", bytes)],
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.figures
            .iter()
            .try_for_each(|(name, value)| writeln!(formatter, "{name} {value:.3}"))
    }
}

/// Processor time, user and system, of all threads of this process so far.
fn process_cpu() -> Duration {
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
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    #[expect(clippy::new_without_default, reason = "it starts")]
    pub fn new() -> Self {
        Self {
            cpu: process_cpu(),
            wall: Instant::now(),
        }
    }

    /// What has passed since, for each of `ops`.
    pub fn stop(self, ops: u64) -> Report {
        let wall = self.wall.elapsed();
        let cpu = process_cpu() - self.cpu;
        let each = |time: Duration| time.as_nanos() as f64 / ops as f64;
        Report {
            figures: vec![("wall", each(wall)), ("cpu", each(cpu))],
        }
    }
}

/// Operations before the measured ones. So many whatever their number, so that a difference of two runs has none.
const WARM_UP: u64 = 2_000;

/// Runs `work` once to warm up and once for `ops` operations.
pub async fn measure(ops: u64, work: impl AsyncFn(u64)) -> Report {
    work(WARM_UP).await;
    let watch = Stopwatch::new();
    work(ops).await;
    watch.stop(ops)
}

/// Resident memory of a process (`self` or a number), in bytes.
pub fn resident(process: &str) -> std::io::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages = status
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<f64>().ok());
    // SAFETY: the call takes a number and has no other effect.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as f64;
    pages
        .map(|pages| pages * page)
        .ok_or_else(|| std::io::Error::other("/proc has no size"))
}
