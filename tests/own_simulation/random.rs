//! Random numbers from one seed. Each part of a simulation has a sequence of its own, so that a part which draws once more
//! changes nothing in the others.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A sequence of random numbers: SplitMix64.
pub(crate) struct Random {
    state: Cell<u64>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far apart.
        let state = Cell::new(seed.wrapping_mul(0xD134_2543_DE82_EF95));
        Self { state }
    }

    /// Returns a sequence of its own.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.next())
    }

    pub(crate) fn next(&self) -> u64 {
        let sum = self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state.set(sum);
        let mixed = (sum ^ (sum >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number of a range. That some are a little more likely does not matter here.
    pub(crate) fn within(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.next() % (range.end() - range.start() + 1)
    }

    pub(crate) fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// Returns true in so many cases of a hundred.
    pub(crate) fn percent(&self, cases: u64) -> bool {
        self.within(0..=99) < cases
    }

    pub(crate) fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.within(0..=of.len() as u64 - 1) as usize]
    }
}
