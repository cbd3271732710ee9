//! The time of a loop.
//!
//! The kernel counts nanoseconds of the monotonic clock (`u64`, 584 years), and users have [`Instant`]. This module
//! maps one to the other. The raw clock is read *after* the `Instant` that it is paired with, so that the gap between
//! the two readings makes a mapped deadline late by nanoseconds, never early. Under [`Clock::Virtual`] the loop itself
//! moves the time: an idle loop jumps to its next deadline. Under [`Clock::Manual`] the program moves it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::sys::clock::raw_now;

/// The clock of a loop; given to [`Builder::clock`](crate::Builder::clock).
///
/// ```
/// use std::time::{Duration, Instant};
/// let event_loop = callsoon::EventLoop::builder().clock(callsoon::Clock::Virtual).build()?;
/// let real = Instant::now();
/// event_loop.run_until_complete(callsoon::sleep(Duration::from_secs(3600))).unwrap();
/// assert!(real.elapsed() < Duration::from_secs(60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The system's monotonic clock.
    #[default]
    Monotonic,
    /// A clock that stands still while work is ready and jumps to the next deadline when none is: for tests.
    Virtual,
    /// A clock that only the program moves, by a [`ClockHandle`](crate::ClockHandle): for a host that has a time of its
    /// own, and for tests that look at each step. An idle loop on it waits for real events, never for its timers.
    Manual,
}

/// Where a virtual clock starts, in raw nanoseconds: fixed, so that each run gives the same trace, and 13 days after
/// zero, so that deadlines of the past can be expressed.
const VIRTUAL_START: u64 = 1 << 50;

/// The deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// One loop's clock.
pub(crate) struct LoopClock {
    /// The `Instant` at which the loop was made.
    base: Instant,
    /// The raw time of `base`: the pair maps the two scales.
    base_raw: u64,
    /// The virtual time; `None` when the clock is the system's.
    moved: Option<Moved>,
}

/// A time that the loop or the program moves.
struct Moved {
    now: Cell<u64>,
    /// An idle loop jumps to its next deadline.
    jumps: Cell<bool>,
}

impl LoopClock {
    pub(crate) fn new(kind: Clock) -> Self {
        let base = Instant::now();
        let is_virtual = kind != Clock::Monotonic;
        Self {
            base,
            base_raw: if is_virtual { VIRTUAL_START } else { raw_now() },
            moved: is_virtual.then(|| Moved {
                now: Cell::new(VIRTUAL_START),
                jumps: Cell::new(kind == Clock::Virtual),
            }),
        }
    }

    /// Returns whether the loop or the program moves this clock, and not the system.
    pub(crate) fn is_virtual(&self) -> bool {
        self.moved.is_some()
    }

    /// Returns whether an idle loop moves this clock to its next deadline.
    pub(crate) fn jumps(&self) -> bool {
        self.moved.as_ref().is_some_and(|moved| moved.jumps.get())
    }

    /// Sets whether an idle loop moves this clock, if it is not the system's.
    pub(crate) fn set_jumps(&self, jumps: bool) {
        if let Some(moved) = &self.moved {
            moved.jumps.set(jumps);
        }
    }

    /// Returns the time now, in raw nanoseconds.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match &self.moved {
            None => raw_now(),
            Some(moved) => moved.now.get(),
        }
    }

    /// Moves a virtual clock forward to `now`; a real one moves by itself. It stops short of the end of the scale, so
    /// that the deadline that never comes is never due.
    pub(crate) fn advance_to(&self, now: u64) {
        if let Some(moved) = &self.moved {
            moved.now.set(moved.now.get().max(now).min(NEVER - 1));
        }
    }

    /// Returns the deadline `delay` after now; [`NEVER`] if that is past the end of the scale.
    #[inline]
    pub(crate) fn after(&self, delay: Duration) -> u64 {
        later(self.now(), delay)
    }

    /// Returns the raw nanoseconds of `instant`, saturated at both ends of the scale.
    #[inline]
    pub(crate) fn raw(&self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.base) {
            Some(elapsed) => later(self.base_raw, elapsed),
            None => self.raw_before(instant),
        }
    }

    #[cold]
    fn raw_before(&self, instant: Instant) -> u64 {
        let earlier = self.base.saturating_duration_since(instant);
        self.base_raw
            .saturating_sub(nanos(earlier).unwrap_or(u64::MAX))
    }

    /// Returns the instant of a raw time. One that `Instant` cannot hold becomes the base, which does not happen: 584
    /// years fit on every system that the crate supports.
    pub(crate) fn instant(&self, raw: u64) -> Instant {
        let mapped = match raw.checked_sub(self.base_raw) {
            Some(later) => self.base.checked_add(Duration::from_nanos(later)),
            None => self
                .base
                .checked_sub(Duration::from_nanos(self.base_raw - raw)),
        };
        mapped.unwrap_or(self.base)
    }
}

/// Returns the deadline `delay` after a time; [`NEVER`] if that is past the end of the scale.
#[inline]
pub(crate) fn later(time: u64, delay: Duration) -> u64 {
    match nanos(delay) {
        Some(nanos) => time.saturating_add(nanos),
        None => NEVER,
    }
}

/// Returns a duration in nanoseconds, if it fits: 584 years do.
#[inline]
fn nanos(duration: Duration) -> Option<u64> {
    duration
        .as_secs()
        .checked_mul(1_000_000_000)?
        .checked_add(u64::from(duration.subsec_nanos()))
}
