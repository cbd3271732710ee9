//! The pauses between tries where no event tells when to try again.
//!
//! A Unix socket gives no event when there is room in its server's backlog, or in the queue of a datagram's receiver. The
//! sender itself stays writable, so a wait for an event would be a busy loop. Both are tried again by timer, with the same
//! pauses in `net` and in `transport`: soon at first, so that a busy server costs little time, and each pause twice as
//! long as the one before, so that a stuck server costs few turns.

use std::time::Duration;

/// The pauses between the tries of one operation: 1, 2, 4 … 64 ms, then 64 ms each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The first pause. A server that accepts as fast as it can has room again within a millisecond.
    const FIRST: Duration = Duration::from_millis(1);
    /// The longest pause: 16 tries a second, and no client waits noticeably longer than it must.
    const LONGEST: Duration = Duration::from_millis(64);

    /// Begins with the first pause.
    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// Returns the pause before the next try, and doubles the one after it.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_1_to_64_ms() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..9).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    }
}
