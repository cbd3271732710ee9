//! Whether the loop spins for further posts of other threads before it sleeps.
//!
//! While a thread posts without a pause, a loop that sleeps as soon as it has run everything costs both threads a system
//! call for every few posts. So if many posts came at once, more are likely to come, and the loop spins until they do:
//! for [`LONGEST`] at most, and not beyond the next deadline. It does not take the first at once, but lets posts gather
//! for [`GATHER`], so that it and the sender do not take the lock from each other for each.
//!
//! After a single post the loop does not spin, nor while it is idle: it sleeps when it has spun in vain, and then twice as
//! many occasions pass as before until it spins again.

use std::cell::Cell;

use crate::kernel::clock::LoopClock;
use crate::kernel::inbox::Inbox;

/// So many posts at once are many.
const MANY: u32 = 8;

/// How long posts gather, in nanoseconds.
const GATHER: u64 = 5_000;

/// How long the loop spins at most, in nanoseconds.
const LONGEST: u64 = 10_000;

/// The most occasions that pass until the loop spins again.
const MOST_PASSED: u32 = 63;

#[derive(Default)]
pub(crate) struct PostSpin {
    /// How many posts came at once last; 0 once that was taken into account.
    came: Cell<u32>,
    /// How many occasions are still let pass.
    passing: Cell<u32>,
    /// Whether there are hooks around the sleep: a host then holds a lock while the loop is awake, which the threads that post
    /// may wait for.
    pub(crate) is_off: Cell<bool>,
    /// How many were let pass after the loop last spun in vain; 0 if it has found posts since.
    passed: Cell<u32>,
}

impl PostSpin {
    /// Notes how many posts came at once.
    pub(crate) fn note(&self, came: u32) {
        self.came.set(came);
    }

    /// Spins for posts until the deadline at most, if that is worth while. Returns whether there are some.
    pub(crate) fn spin(&self, inbox: &Inbox, clock: &LoopClock, deadline: u64) -> bool {
        if !self.is_worth_while() || clock.is_virtual() {
            return false;
        }
        let began = clock.now();
        let until = deadline.min(began + LONGEST);
        let mut now = began;
        while now < until {
            if now - began >= GATHER && inbox.has_posts() {
                self.end(true);
                return true;
            }
            std::hint::spin_loop();
            now = clock.now();
        }
        self.end(false);
        false
    }

    fn is_worth_while(&self) -> bool {
        if self.came.take() < MANY || self.is_off.get() {
            return false;
        }
        let passing = self.passing.get();
        self.passing.set(passing.saturating_sub(1));
        passing == 0
    }

    /// Notes whether spinning has found posts.
    fn end(&self, found: bool) {
        let passed = if found {
            0
        } else {
            (2 * self.passed.get() + 1).min(MOST_PASSED)
        };
        self.passed.set(passed);
        self.passing.set(passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the loop spins after so many posts have come at once.
    fn spins(state: &PostSpin, came: u32) -> bool {
        state.note(came);
        state.is_worth_while()
    }

    #[test]
    fn the_loop_spins_after_many_posts_at_once_and_only_once() {
        let state = PostSpin::default();
        assert!(!state.is_worth_while());
        for few in [0, 1, MANY - 1] {
            assert!(!spins(&state, few));
        }
        assert!(spins(&state, MANY));
        state.end(true);
        assert!(!state.is_worth_while(), "nothing has come since");
        assert!(spins(&state, u32::MAX));
    }

    #[test]
    fn spinning_in_vain_becomes_rare_until_posts_come() {
        let state = PostSpin::default();
        for passed in [0, 1, 3, 7, 15, 31, 63, 63, 63] {
            for _ in 0..passed {
                assert!(!spins(&state, MANY));
                assert!(!spins(&state, 1), "a lone post is no occasion");
            }
            assert!(spins(&state, MANY));
            state.end(false);
        }
        (0..MOST_PASSED).for_each(|_| assert!(!spins(&state, MANY)));
        assert!(spins(&state, MANY));
        state.end(true);
        assert!(spins(&state, MANY), "it has paid");
        state.end(false);
        assert!(!spins(&state, MANY));
        assert!(spins(&state, MANY));
    }
}
