//! What is being measured, how far it is, and how long it will take, on standard error.
//!
//! On a terminal that is one line, written again and again, and gone at the end. Elsewhere it is a plain line now and
//! then, so that a log shows that something happens and is not filled with it.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// How often a log gets a line.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// The progress of one run.
pub(crate) struct Progress {
    bench: &'static str,
    /// Steps in all, and those done.
    steps: usize,
    done: usize,
    began: Instant,
    /// When the last line was written into a log.
    logged: Instant,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(bench: &'static str, steps: usize) -> Self {
        let now = Instant::now();
        Self {
            bench,
            steps,
            done: 0,
            began: now,
            logged: now,
            terminal: stderr().is_terminal(),
        }
    }

    /// A step begins; `what` says which.
    pub(crate) fn begin(&mut self, what: &str) {
        let line = line(
            self.bench,
            self.done,
            self.steps,
            self.began.elapsed(),
            what,
        );
        if self.terminal {
            // Short enough for the narrowest terminals, where a line that wraps could not be written over.
            let line: String = line.chars().take(78).collect();
            let _ = write!(stderr(), "\r\x1b[K{line}");
        } else if self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            let _ = writeln!(stderr(), "{line}");
        }
    }

    /// The step that began last is over.
    pub(crate) fn end(&mut self) {
        self.done += 1;
    }

    /// Removes the line from a terminal, for another line or for good.
    pub(crate) fn clear(&self) {
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// `latency: 12 of 96, 13 %, 20 s left: wake under 10,000 tasks, smol`. The time left is known once a step is done.
pub(crate) fn line(bench: &str, done: usize, steps: usize, spent: Duration, what: &str) -> String {
    let percent = done * 100 / steps.max(1);
    let left = if done == 0 {
        String::new()
    } else {
        let left = spent.mul_f64((steps - done) as f64 / done as f64);
        format!(", {} left", time(left))
    };
    format!("{bench}: {done} of {steps}, {percent} %{left}: {what}")
}

/// Minutes and seconds, rounded up: a run that goes on has time left.
fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}
