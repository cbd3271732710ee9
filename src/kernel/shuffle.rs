//! The order of what is ready, permuted by a seed: for tests that look for code which depends on an order that nothing
//! promises.
//!
//! Two classes of entries are permuted, each among its own places in the queue: tasks, the main one included, and
//! descriptors that have become ready. In which order two woken tasks continue, and which of two sockets is heard first, is
//! up to the outside world in most programs. Callbacks, timers and posts of other threads keep their places, since their
//! order is promised, also to one another; so do the waiters of a primitive, which wait in a queue of their own.
//!
//! A loop that does not shuffle has no [`Shuffler`] and runs another function than one that does, so it pays nothing.

use std::cell::Cell;

use crate::kernel::ready::ReadyQueue;

/// A sequence of random numbers for one loop, or for the faults of a test. The same seed gives the same sequence.
#[derive(Debug)]
pub(crate) struct Shuffler {
    state: Cell<u64>,
}

impl Shuffler {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: Cell::new(seed),
        }
    }

    /// Permutes all entries of a queue.
    pub(crate) fn permute(&self, ready: &mut ReadyQueue) {
        ready.permute(|count| self.below(count));
    }

    /// Returns a number below `count`. That small numbers are a little more likely does not matter here.
    pub(crate) fn below(&self, count: usize) -> usize {
        // SplitMix64: each step adds a constant, and the bits of the sum are mixed.
        let sum = self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state.set(sum);
        let mixed = (sum ^ (sum >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % count.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_each_order_equally_often() {
        let shuffler = Shuffler::new(1);
        let mut seen = [0_u32; 6];
        for _ in 0..6_000 {
            let mut order = [0, 1, 2];
            for last in [2, 1] {
                order.swap(last, shuffler.below(last + 1));
            }
            seen[order[0] * 2 + usize::from(order[1] > order[2])] += 1;
        }
        assert!(
            seen.iter().all(|count| (900..1_100).contains(count)),
            "{seen:?}"
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let shuffler = Shuffler::new(seed);
            [(); 8].map(|()| shuffler.below(1_000))
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        assert_eq!(Shuffler::new(0).below(0), 0);
    }
}
