//! The monotonic clock in raw nanoseconds: the unit in which the timer wheel counts and the timer descriptor is armed.

#![allow(unsafe_code)]

/// Nanoseconds of the monotonic clock, on the scale that `timerfd` understands.
#[cfg(target_os = "linux")]
pub(crate) fn raw_now() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a live, writable timespec, the only memory that the call touches. CLOCK_MONOTONIC exists on
    // every Linux that Rust supports, so the call cannot fail; were it to, `now` stays the valid zero set above.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// Nanoseconds since the first call, one hour ahead so that instants of the recent past have a place.
#[cfg(not(target_os = "linux"))]
pub(crate) fn raw_now() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;

    const HEAD_START: u64 = 3_600_000_000_000;
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_nanos();
    HEAD_START.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
}
