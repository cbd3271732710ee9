//! Short time spans, for histograms and slow calls: the processor's time-stamp counter where the kernel says that it ticks at one rate
//! on all processors and in all states, which is three times as fast as the monotonic clock; elsewhere that clock.
//!
//! The counter's rate is measured once a process, in a millisecond. No order is promised between a reading and the
//! memory accesses around it: the spans that are measured are of whole calls.

#![allow(unsafe_code)]

use crate::sys::clock::raw_now;

/// How to read the time, and how to make nanoseconds of what was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    /// Nanoseconds a tick, times 2³²; 0 if the monotonic clock is read, whose ticks are nanoseconds.
    scale: u64,
}

impl Ticks {
    /// Returns the best way that there is here.
    pub(crate) fn new() -> Self {
        Self { scale: scale() }
    }

    /// Returns the time now. Two of them make a [`span`](Self::span).
    #[inline]
    pub(crate) fn now(self) -> u64 {
        if self.scale == 0 {
            raw_now()
        } else {
            counter()
        }
    }

    /// Returns the nanoseconds between two times; 0 if the second is earlier.
    #[inline]
    pub(crate) fn span(self, from: u64, to: u64) -> u64 {
        let ticks = to.saturating_sub(from);
        if self.scale == 0 {
            return ticks;
        }
        ((u128::from(ticks) * u128::from(self.scale)) >> 32) as u64
    }
}

/// Reads the time-stamp counter.
#[cfg(target_arch = "x86_64")]
#[inline]
fn counter() -> u64 {
    // SAFETY: every x86_64 processor has the instruction, which touches no memory. A kernel may forbid it to processes;
    // then it would not say in `/proc/cpuinfo` that the counter can be used.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    raw_now()
}

#[cfg(not(all(
    target_arch = "x86_64",
    any(target_os = "linux", target_os = "android")
)))]
fn scale() -> u64 {
    0
}

#[cfg(all(
    target_arch = "x86_64",
    any(target_os = "linux", target_os = "android")
))]
fn scale() -> u64 {
    use std::sync::OnceLock;

    static SCALE: OnceLock<u64> = OnceLock::new();
    *SCALE.get_or_init(|| {
        if is_invariant() {
            measure(raw_now, counter)
        } else {
            0
        }
    })
}

/// Returns whether the counter ticks at one rate, whatever the processor does.
#[cfg(all(
    target_arch = "x86_64",
    any(target_os = "linux", target_os = "android")
))]
fn is_invariant() -> bool {
    use std::io::Read as _;

    // The first processor's part, with its flags, is at the beginning of a file that has many megabytes on some systems.
    let mut text = Vec::new();
    let read = std::fs::File::open("/proc/cpuinfo")
        .and_then(|file| file.take(8 * 1024).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let flags = text.lines().find(|line| line.starts_with("flags"));
    let has = |flag| flags.is_some_and(|flags| flags.split_whitespace().any(|it| it == flag));
    read.is_ok() && has("constant_tsc") && has("nonstop_tsc")
}

/// Measures the rate. A reading of the clock takes 30 ns, so that a millisecond gives it to one part in 10,000.
#[cfg(all(
    target_arch = "x86_64",
    any(target_os = "linux", target_os = "android")
))]
fn measure(clock: impl Fn() -> u64, counter: impl Fn() -> u64) -> u64 {
    const MEASURED: u64 = 1_000_000;
    let (began, first) = read_both(&clock, &counter);
    loop {
        let (now, ticks) = read_both(&clock, &counter);
        let (passed, ticks) = (now.saturating_sub(began), ticks.saturating_sub(first));
        if passed >= MEASURED {
            let scale = (u128::from(passed) << 32) / u128::from(ticks.max(1));
            // A counter of less than a hundred ticks a millisecond is none.
            return u64::try_from(scale)
                .ok()
                .filter(|_| ticks > 100)
                .unwrap_or(0);
        }
    }
}

/// Reads the clock and the counter at one moment. The thread may be interrupted between the two for longer than the whole
/// measurement takes, and the process would keep a wrong rate for ever. So the best of a few pairs counts.
#[cfg(all(
    target_arch = "x86_64",
    any(target_os = "linux", target_os = "android")
))]
fn read_both(clock: impl Fn() -> u64, counter: impl Fn() -> u64) -> (u64, u64) {
    let pairs = (0..4).map(|_| {
        let (before, now, after) = (counter(), clock(), counter());
        let width = after.saturating_sub(before);
        (width, now, before.saturating_add(width / 2))
    });
    let best = pairs.min_by_key(|(width, ..)| *width);
    best.map_or((0, 0), |(_, now, ticks)| (now, ticks))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_span_is_as_long_as_the_clock_says() {
        let ticks = Ticks::new();
        let (outer, from) = (raw_now(), ticks.now());
        let inner = raw_now();
        while raw_now() < inner + 5_000_000 {}
        let inner = raw_now() - inner;
        let to = ticks.now();
        let (span, outer) = (ticks.span(from, to), raw_now() - outer);
        // The rate is measured to one part in 10,000, unless the thread is interrupted meanwhile.
        assert!(span + span / 100 >= inner, "{span} of {inner}");
        assert!(span <= outer + outer / 100, "{span} of {outer}");
    }

    #[test]
    fn a_span_that_ends_before_it_begins_is_empty_and_a_long_one_does_not_wrap() {
        for ticks in [Ticks { scale: 0 }, Ticks { scale: 1 << 31 }] {
            assert_eq!(ticks.span(7, 3), 0);
        }
        assert_eq!(Ticks { scale: 1 << 31 }.span(0, u64::MAX), u64::MAX / 2);
        assert_eq!(Ticks { scale: 0 }.span(0, u64::MAX), u64::MAX);
    }

    #[cfg(all(
        target_arch = "x86_64",
        any(target_os = "linux", target_os = "android")
    ))]
    #[test]
    fn an_interruption_while_the_rate_is_measured_does_not_change_it() {
        // Each reading takes a microsecond, but for one, which is interrupted for five milliseconds.
        for interrupted in 0..800 {
            let (time, readings) = (Cell::new(0), Cell::new(0));
            let read = || {
                let number = readings.replace(readings.get() + 1);
                let takes = if number == interrupted {
                    5_000_000
                } else {
                    1_000
                };
                time.replace(time.get() + takes)
            };
            let scale = measure(read, read);
            let one = 1_u64 << 32;
            assert!(scale.abs_diff(one) < one / 100, "{interrupted}: {scale}");
        }
    }
}
