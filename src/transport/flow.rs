//! High and low water: when a protocol is asked to stop writing, and when to go on.

use std::error::Error;
use std::fmt;

/// asyncio's: 64 KiB is what a socket buffer takes at a time, so a connection that keeps this much waiting is full.
const HIGH: usize = 64 * 1024;

/// Two limits for one buffer, and whether its owner was asked to pause.
pub(crate) struct WaterMarks {
    high: usize,
    low: usize,
    paused: bool,
    /// More than this may not be buffered at all.
    pub(crate) cap: usize,
}

impl Default for WaterMarks {
    fn default() -> Self {
        Self {
            high: HIGH,
            low: HIGH / 4,
            paused: false,
            cap: usize::MAX,
        }
    }
}

impl WaterMarks {
    /// `(low, high)`, in asyncio's order.
    pub(crate) fn limits(&self) -> (usize, usize) {
        (self.low, self.high)
    }

    /// Sets the limits; one that is not given follows from the other.
    pub(crate) fn set(
        &mut self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> Result<(), InvalidLimits> {
        let high = high.unwrap_or_else(|| low.map_or(HIGH, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4);
        if low > high {
            return Err(InvalidLimits { high, low });
        }
        (self.high, self.low) = (high, low);
        Ok(())
    }

    /// Pauses the owner whatever the size. Says whether it has to be asked to, now.
    pub(crate) fn pause(&mut self) -> bool {
        !std::mem::replace(&mut self.paused, true)
    }

    /// Whether the owner of a buffer of this size has to be asked to pause now.
    #[inline]
    pub(crate) fn must_pause(&mut self, size: usize) -> bool {
        size > self.high && self.pause()
    }

    /// Whether the owner of a buffer of this size may be asked to go on now.
    #[inline]
    pub(crate) fn may_resume(&mut self, size: usize) -> bool {
        size <= self.low && std::mem::replace(&mut self.paused, false)
    }
}

/// The low-water mark would lie above the high-water mark. Nothing was changed.
///
/// ```
/// let error = callsoon::run(async {
///     use callsoon::transport::Protocol;
///     struct Idle;
///     impl Protocol for Idle {}
///     let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
///     let event_loop = callsoon::get_running_loop();
///     let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await.unwrap();
///     transport.set_write_buffer_limits(Some(10), Some(20)).unwrap_err()
/// }).unwrap();
/// assert_eq!(error.to_string(), "the high-water mark, 10, lies below the low-water mark, 20");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidLimits {
    high: usize,
    low: usize,
}

impl fmt::Display for InvalidLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { high, low } = self;
        write!(
            f,
            "the high-water mark, {high}, lies below the low-water mark, {low}"
        )
    }
}

impl Error for InvalidLimits {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_not_given_follows_from_the_other() {
        let mut marks = WaterMarks::default();
        assert_eq!(marks.limits(), (16 * 1024, 64 * 1024));
        for (high, low, expected) in [
            (Some(100), None, (25, 100)),
            (None, Some(100), (100, 400)),
            (None, None, (16 * 1024, 64 * 1024)),
            (Some(0), None, (0, 0)),
            (None, Some(usize::MAX), (usize::MAX, usize::MAX)),
        ] {
            marks.set(high, low).unwrap();
            assert_eq!(marks.limits(), expected);
        }
        assert!(marks.set(Some(1), Some(2)).is_err());
        assert_eq!(marks.limits(), (usize::MAX, usize::MAX));
    }

    #[test]
    fn pausing_takes_more_than_high_and_resuming_at_most_low() {
        let mut marks = WaterMarks::default();
        marks.set(Some(10), Some(3)).unwrap();
        assert!(!marks.must_pause(10));
        assert!(marks.must_pause(11));
        assert!(!marks.must_pause(12), "once");
        assert!(!marks.may_resume(4));
        assert!(marks.may_resume(3));
        assert!(!marks.may_resume(0), "once");
    }
}
