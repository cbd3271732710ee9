//! `Faults`: what goes wrong on one end of an in-memory stream, and after how many bytes.

use std::io;
use std::time::Duration;

use crate::kernel::shuffle::Shuffler;

/// A script for one end of a [`duplex`](crate::testing::duplex()): short reads and writes, delays, errors, an early end, a
/// reset.
///
/// Places are counts of bytes that this end has read or written since it was made. What comes before the place of an error
/// arrives, and what was written before it reaches the other end.
///
/// ```
/// use callsoon::testing::{self, Faults};
/// use std::io::ErrorKind;
///
/// testing::run(async {
///     let (mut near, mut far) = testing::duplex(64);
///     near.set_faults(Faults::new().short_reads(2).fail_read_at(5, ErrorKind::TimedOut));
///     far.write_all(b"abcdefgh").await.unwrap();
///     let mut buffer = [0; 8];
///     let mut sizes = Vec::new();
///     let error = loop {
///         match near.read(&mut buffer).await {
///             Ok(count) => sizes.push(count),
///             Err(error) => break error,
///         }
///     };
///     assert_eq!(sizes, [2, 2, 1]);
///     assert_eq!(error.kind(), ErrorKind::TimedOut);
/// });
/// ```
#[derive(Debug, Default)]
#[must_use = "a script changes nothing until `set_faults`"]
pub struct Faults {
    pub(crate) reads: Script,
    pub(crate) writes: Script,
}

/// What happens in one direction.
#[derive(Debug, Default)]
pub(crate) struct Script {
    sizes: Sizes,
    pub(crate) delay: Duration,
    end: Option<(u64, End)>,
}

/// How many bytes one call may move.
#[derive(Debug, Default)]
enum Sizes {
    #[default]
    Any,
    /// One after the other, and then from the beginning.
    InTurn(Vec<usize>, usize),
    /// At random, up to this.
    Random(Shuffler, usize),
}

/// What happens at a place in place of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Eof,
    Error(io::ErrorKind),
    Reset,
}

impl Script {
    /// Returns what happens after `done` bytes, if that is the end.
    pub(crate) fn end_at(&self, done: u64) -> Option<End> {
        let (place, end) = self.end?;
        (place <= done).then_some(end)
    }

    /// Returns how many of `count` bytes the next transfer moves: one at least.
    pub(crate) fn size(&mut self, count: usize, done: u64) -> usize {
        let until_end = self
            .end
            .map_or(u64::MAX, |(place, _)| place.saturating_sub(done));
        let count = count.min(usize::try_from(until_end).unwrap_or(usize::MAX));
        let size = match &mut self.sizes {
            Sizes::Any => usize::MAX,
            Sizes::InTurn(sizes, next) => {
                let size = sizes.get(*next).copied().unwrap_or(usize::MAX);
                *next = (*next + 1) % sizes.len().max(1);
                size
            }
            Sizes::Random(random, most) => 1 + random.below(*most),
        };
        count.min(size.max(1))
    }
}

impl Faults {
    /// Returns a script in which nothing goes wrong.
    ///
    /// ```
    /// let faults = callsoon::testing::Faults::new();
    /// # drop(faults);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Each read gives at most so many bytes; 0 means 1.
    ///
    /// ```
    /// let byte_by_byte = callsoon::testing::Faults::new().short_reads(1);
    /// # drop(byte_by_byte);
    /// ```
    pub fn short_reads(self, most: usize) -> Self {
        self.read_sizes([most])
    }

    /// The reads give at most so many bytes, one size after the other, then from the beginning; 0 means 1.
    ///
    /// ```
    /// let uneven = callsoon::testing::Faults::new().read_sizes([1, 2, 100]);
    /// # drop(uneven);
    /// ```
    pub fn read_sizes(mut self, sizes: impl IntoIterator<Item = usize>) -> Self {
        self.reads.sizes = Sizes::InTurn(sizes.into_iter().collect(), 0);
        self
    }

    /// Each read gives at most a random number of bytes, from 1 to `most`. The same seed gives the same sizes.
    ///
    /// ```
    /// let random = callsoon::testing::Faults::new().random_reads(7, 16);
    /// # drop(random);
    /// ```
    pub fn random_reads(mut self, seed: u64, most: usize) -> Self {
        self.reads.sizes = Sizes::Random(Shuffler::new(seed), most);
        self
    }

    /// Each write takes at most so many bytes; 0 means 1.
    ///
    /// ```
    /// let byte_by_byte = callsoon::testing::Faults::new().short_writes(1);
    /// # drop(byte_by_byte);
    /// ```
    pub fn short_writes(self, most: usize) -> Self {
        self.write_sizes([most])
    }

    /// The writes take at most so many bytes, one size after the other, then from the beginning; 0 means 1.
    ///
    /// ```
    /// let uneven = callsoon::testing::Faults::new().write_sizes([1, 2, 100]);
    /// # drop(uneven);
    /// ```
    pub fn write_sizes(mut self, sizes: impl IntoIterator<Item = usize>) -> Self {
        self.writes.sizes = Sizes::InTurn(sizes.into_iter().collect(), 0);
        self
    }

    /// Each write takes at most a random number of bytes, from 1 to `most`. The same seed gives the same sizes.
    ///
    /// ```
    /// let random = callsoon::testing::Faults::new().random_writes(7, 16);
    /// # drop(random);
    /// ```
    pub fn random_writes(mut self, seed: u64, most: usize) -> Self {
        self.writes.sizes = Sizes::Random(Shuffler::new(seed), most);
        self
    }

    /// Each read that has something to give waits for this time first, on the loop's clock.
    ///
    /// ```
    /// let slow = callsoon::testing::Faults::new().delay_reads(std::time::Duration::from_millis(80));
    /// # drop(slow);
    /// ```
    pub fn delay_reads(mut self, delay: Duration) -> Self {
        self.reads.delay = delay;
        self
    }

    /// Each write that finds room waits for this time first, on the loop's clock.
    ///
    /// ```
    /// let slow = callsoon::testing::Faults::new().delay_writes(std::time::Duration::from_millis(80));
    /// # drop(slow);
    /// ```
    pub fn delay_writes(mut self, delay: Duration) -> Self {
        self.writes.delay = delay;
        self
    }

    /// Reads fail once so many bytes were read. The last of this, [`eof_at`](Self::eof_at) and
    /// [`reset_at`](Self::reset_at) counts.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// let failing = callsoon::testing::Faults::new().fail_read_at(100, ErrorKind::TimedOut);
    /// # drop(failing);
    /// ```
    pub fn fail_read_at(mut self, byte: u64, error: io::ErrorKind) -> Self {
        self.reads.end = Some((byte, End::Error(error)));
        self
    }

    /// Writes fail once so many bytes were written.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// let failing = callsoon::testing::Faults::new().fail_write_at(100, ErrorKind::BrokenPipe);
    /// # drop(failing);
    /// ```
    pub fn fail_write_at(mut self, byte: u64, error: io::ErrorKind) -> Self {
        self.writes.end = Some((byte, End::Error(error)));
        self
    }

    /// Reads give no more bytes once so many were read, as if the other end had finished writing.
    ///
    /// ```
    /// let cut_off = callsoon::testing::Faults::new().eof_at(100);
    /// # drop(cut_off);
    /// ```
    pub fn eof_at(mut self, byte: u64) -> Self {
        self.reads.end = Some((byte, End::Eof));
        self
    }

    /// The connection is reset by the read after so many bytes: both ends fail with `ConnectionReset`, and what is on its
    /// way is lost.
    ///
    /// ```
    /// let reset = callsoon::testing::Faults::new().reset_at(100);
    /// # drop(reset);
    /// ```
    pub fn reset_at(mut self, byte: u64) -> Self {
        self.reads.end = Some((byte, End::Reset));
        self
    }
}
