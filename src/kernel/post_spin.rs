//! Whether the loop looks for further posts of other threads before it falls asleep.
//!
//! While a thread posts without a pause, a loop that sleeps as soon as it has run everything costs both threads a system
//! call for every few posts. So if many posts came at once, more are likely to come, and the loop waits for them awake:
//! for [`LOOK`] at most, and not beyond the next deadline. It does not take the first at once, but lets posts gather
//! for [`GATHER`], so that it and the sender do not take the lock from each other for each.
//!
//! A post that comes alone costs no look. Nor does an idle loop: a look that finds nothing is followed by sleep, and
//! doubles the number of occasions that pass before the next look.

use std::cell::Cell;

use crate::kernel::clock::LoopClock;
use crate::kernel::inbox::Inbox;

/// So many posts at once are many.
const MANY: u32 = 8;

/// How long posts gather, in nanoseconds.
const GATHER: u64 = 5_000;

/// How long the loop looks at most, in nanoseconds.
const LOOK: u64 = 10_000;

/// The most occasions that pass between two looks.
const MOST_PASSED: u32 = 63;

#[derive(Default)]
pub(crate) struct PostLooks {
    /// How many posts came at once last; 0 once a look was thought of.
    came: Cell<u32>,
    /// How many occasions are still let pass.
    passing: Cell<u32>,
    /// How many were let pass after the latest look that found nothing; 0 if one has found something since.
    passed: Cell<u32>,
}

impl PostLooks {
    /// Notes how many posts came at once.
    pub(crate) fn note(&self, came: u32) {
        self.came.set(came);
    }

    /// Looks for posts until the deadline at most, if that is worth while. Returns whether there are some.
    pub(crate) fn look(&self, inbox: &Inbox, clock: &LoopClock, deadline: u64) -> bool {
        if !self.is_worth_while() || clock.is_virtual() {
            return false;
        }
        let began = clock.now();
        let until = deadline.min(began + LOOK);
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
        if self.came.take() < MANY {
            return false;
        }
        let passing = self.passing.get();
        self.passing.set(passing.saturating_sub(1));
        passing == 0
    }

    /// Notes whether a look has found posts.
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

    /// Whether the loop looks after so many posts have come at once.
    fn looks(looks: &PostLooks, came: u32) -> bool {
        looks.note(came);
        looks.is_worth_while()
    }

    #[test]
    fn only_many_posts_at_once_are_worth_a_look_and_only_one() {
        let state = PostLooks::default();
        assert!(!state.is_worth_while());
        for few in [0, 1, MANY - 1] {
            assert!(!looks(&state, few));
        }
        assert!(looks(&state, MANY));
        state.end(true);
        assert!(!state.is_worth_while(), "nothing has come since");
        assert!(looks(&state, u32::MAX));
    }

    #[test]
    fn looks_that_find_nothing_become_rare_until_one_finds_something() {
        let state = PostLooks::default();
        for passed in [0, 1, 3, 7, 15, 31, 63, 63, 63] {
            for _ in 0..passed {
                assert!(!looks(&state, MANY));
                assert!(!looks(&state, 1), "a lone post is no occasion");
            }
            assert!(looks(&state, MANY));
            state.end(false);
        }
        (0..MOST_PASSED).for_each(|_| assert!(!looks(&state, MANY)));
        assert!(looks(&state, MANY));
        state.end(true);
        assert!(looks(&state, MANY), "it has paid");
        state.end(false);
        assert!(!looks(&state, MANY));
        assert!(looks(&state, MANY));
    }
}
