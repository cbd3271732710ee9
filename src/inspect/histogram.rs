//! `Histogram`: how often durations of each size were seen, to one part in sixteen.
//!
//! It is log-linear: each power of two is cut into 16 equal parts, and durations below 32 ns have a part of their own
//! for each nanosecond. So the error of a value is at most a sixteenth, 6.25 %, and half of that on average, whatever
//! its size. The counts take 7.8 KB at most, and as much as the longest duration needs, 2.5 KB for a millisecond.
//! Recording finds the part by the number of leading zeros, and adds one.

use std::fmt;
use std::time::Duration;

/// Into how many bits of parts a power of two is cut.
const PART_BITS: u32 = 4;

/// How many parts a power of two has.
const PARTS: u64 = 1 << PART_BITS;

/// How often durations of each size were seen. Part of [`Latencies`](crate::Latencies).
///
/// ```
/// use std::time::Duration;
/// let mut histogram = callsoon::Histogram::new();
/// for millis in 1..=100 {
///     histogram.record(Duration::from_millis(millis));
/// }
/// assert_eq!((histogram.count(), histogram.max()), (100, Duration::from_millis(100)));
/// let median = histogram.percentile(50.0).as_secs_f64();
/// assert!((0.050..0.050 * 1.0625).contains(&median), "at most a sixteenth too long");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many durations each part has; parts behind the last one that has any may be missing.
    counts: Vec<u64>,
    /// The sum of all durations in nanoseconds; stays at its end, 584 years.
    sum: u64,
    /// The longest, exactly.
    max: u64,
}

/// Returns the part of a duration in nanoseconds.
#[inline]
fn part_of(nanos: u64) -> usize {
    // Below twice so many nanoseconds as there are parts, each nanosecond is a part.
    let shift = 63 - (nanos | PARTS).leading_zeros() - PART_BITS;
    (u64::from(shift) * PARTS + (nanos >> shift)) as usize
}

/// Returns the last duration of a part.
fn end_of(part: usize) -> u64 {
    let part = part as u64;
    let shift = (part / PARTS).saturating_sub(1) as u32;
    let first = part - u64::from(shift) * PARTS;
    // Of the last part of all that is 2⁶⁴ - 1.
    ((first + 1) << shift).wrapping_sub(1)
}

impl Histogram {
    /// Returns an empty histogram, which has no memory yet.
    ///
    /// ```
    /// assert_eq!(callsoon::Histogram::new().count(), 0);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a duration. One longer than 584 years counts as that.
    ///
    /// ```
    /// let mut histogram = callsoon::Histogram::new();
    /// histogram.record(std::time::Duration::MAX);
    /// assert_eq!(histogram.count(), 1);
    /// ```
    pub fn record(&mut self, duration: Duration) {
        self.record_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    #[inline]
    pub(crate) fn record_nanos(&mut self, nanos: u64) {
        let part = part_of(nanos);
        match self.counts.get_mut(part) {
            Some(count) => *count += 1,
            None => self.grow(part),
        }
        self.sum = self.sum.saturating_add(nanos);
        self.max = self.max.max(nanos);
    }

    #[cold]
    fn grow(&mut self, part: usize) {
        self.counts.resize(part + 1, 0);
        self.counts[part] = 1;
    }

    /// Returns how many durations were recorded.
    ///
    /// ```
    /// let mut histogram = callsoon::Histogram::new();
    /// histogram.record(std::time::Duration::ZERO);
    /// assert_eq!(histogram.count(), 1);
    /// ```
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all durations.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let mut histogram = callsoon::Histogram::new();
    /// histogram.record(Duration::from_millis(1));
    /// histogram.record(Duration::from_millis(2));
    /// assert_eq!(histogram.sum(), Duration::from_millis(3));
    /// ```
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Returns the mean of all durations; zero if there is none.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let mut histogram = callsoon::Histogram::new();
    /// assert_eq!(histogram.mean(), Duration::ZERO);
    /// histogram.record(Duration::from_millis(1));
    /// histogram.record(Duration::from_millis(3));
    /// assert_eq!(histogram.mean(), Duration::from_millis(2));
    /// ```
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.sum.checked_div(self.count()).unwrap_or(0))
    }

    /// Returns the longest duration, exactly; zero if there is none. After [`since`](Self::since) it is a sixteenth too
    /// long at most.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let mut histogram = callsoon::Histogram::new();
    /// histogram.record(Duration::from_nanos(12_345));
    /// assert_eq!(histogram.max().as_nanos(), 12_345);
    /// ```
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// Returns the duration that so many percent of all do not exceed, at most a sixteenth too long; zero if there is
    /// none. What is below 0 or above 100 counts as that.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let mut histogram = callsoon::Histogram::new();
    /// (1..=1000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
    /// let late = histogram.percentile(99.0).as_micros();
    /// assert!((990..990 * 17 / 16).contains(&late));
    /// assert_eq!(histogram.percentile(100.0), histogram.max());
    /// ```
    pub fn percentile(&self, percent: f64) -> Duration {
        let count = self.count();
        // A percentage such as 1.1 is no binary fraction, and rounding must not make its rank one higher.
        let exact = percent.clamp(0.0, 100.0) / 100.0 * count as f64;
        let rank = (exact * (1.0 - 1e-12)).ceil() as u64;
        // Not below the first, nor above the last.
        let rank = rank.clamp(1, count.max(1));
        let mut before = 0;
        for (part, &found) in self.counts.iter().enumerate() {
            before += found;
            if before >= rank {
                return Duration::from_nanos(end_of(part).min(self.max));
            }
        }
        Duration::ZERO
    }

    /// Returns how many durations are not longer than this one, as far as the parts tell them apart: those in the part
    /// of `duration` count. This is what a cumulative bucket holds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let mut histogram = callsoon::Histogram::new();
    /// (1..=100).for_each(|micros| histogram.record(Duration::from_micros(micros)));
    /// assert!((10..=11).contains(&histogram.count_within(Duration::from_micros(10))));
    /// assert_eq!(histogram.count_within(Duration::MAX), 100);
    /// ```
    pub fn count_within(&self, duration: Duration) -> u64 {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts.iter().take(part_of(nanos) + 1).sum()
    }

    /// Adds what another histogram holds, as that of another loop.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let (mut all, mut other) = (callsoon::Histogram::new(), callsoon::Histogram::new());
    /// all.record(Duration::from_millis(1));
    /// other.record(Duration::from_millis(5));
    /// all.merge(&other);
    /// assert_eq!((all.count(), all.max()), (2, Duration::from_millis(5)));
    /// ```
    pub fn merge(&mut self, other: &Self) {
        let parts = self.counts.len().max(other.counts.len());
        self.counts.resize(parts, 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// Returns what was recorded after `earlier`, which is a snapshot of the same histogram.
    ///
    /// ```
    /// # use std::time::Duration;
    /// let mut histogram = callsoon::Histogram::new();
    /// histogram.record(Duration::from_millis(9));
    /// let earlier = histogram.clone();
    /// histogram.record(Duration::from_millis(1));
    /// let newer = histogram.since(&earlier);
    /// assert_eq!((newer.count(), newer.sum()), (1, Duration::from_millis(1)));
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.counts.iter().copied().chain(std::iter::repeat(0));
        let both = self.counts.iter().zip(before);
        let counts: Vec<u64> = both
            .map(|(now, before)| now.saturating_sub(before))
            .collect();
        let last = counts.iter().rposition(|&count| count > 0);
        Self {
            sum: self.sum.saturating_sub(earlier.sum),
            max: last.map_or(0, |last| end_of(last).min(self.max)),
            counts,
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("mean", &self.mean())
            .field("median", &self.percentile(50.0))
            .field("p99", &self.percentile(99.0))
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Durations around every boundary.
    fn edges() -> impl Iterator<Item = u64> {
        (0..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [
                power - 1,
                power,
                power + 1,
                power | power >> 1,
                power | power >> 4,
            ]
        })
    }

    #[test]
    fn parts_follow_one_another_without_a_gap() {
        assert_eq!(end_of(part_of(u64::MAX)), u64::MAX);
        assert_eq!(part_of(u64::MAX), 975);
        for part in 0..975 {
            let end = end_of(part);
            assert_eq!((part_of(end), part_of(end + 1)), (part, part + 1));
        }
    }

    #[test]
    fn the_end_of_a_part_is_at_most_a_sixteenth_above_each_of_its_durations() {
        for nanos in edges() {
            let end = end_of(part_of(nanos));
            assert!(end >= nanos, "{nanos}");
            assert!(u128::from(end - nanos) * 16 <= u128::from(nanos), "{nanos}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_durations() {
        let mut random = 1_u64;
        let mut all: Vec<_> = (0..1000)
            .map(|_| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (random >> 40) >> (random & 15)
            })
            .collect();
        let mut histogram = Histogram::new();
        all.iter().for_each(|&nanos| histogram.record_nanos(nanos));
        all.sort_unstable();
        for tenths in 0..=1000 {
            let place = (tenths * all.len()).div_ceil(1000).max(1) - 1;
            let found = histogram.percentile(tenths as f64 / 10.0).as_nanos() as u64;
            let exact = all[place];
            assert!(
                exact <= found && (found - exact) * 16 <= exact,
                "{tenths}: {found} for {exact}"
            );
        }
        assert_eq!(histogram.sum, all.iter().sum::<u64>());
        assert_eq!(histogram.max().as_nanos() as u64, all[999]);
    }

    #[test]
    fn a_merge_and_its_difference_are_opposites() {
        let (mut one, mut other) = (Histogram::new(), Histogram::new());
        edges().for_each(|nanos| one.record_nanos(nanos));
        (0..100).for_each(|nanos| other.record_nanos(nanos));
        let mut both = other.clone();
        both.merge(&one);
        assert_eq!(both.count(), one.count() + other.count());
        let back = both.since(&one);
        assert_eq!((back.count(), back.max), (100, 99));
        assert_eq!(back.counts[..other.counts.len()], other.counts);
        assert_eq!(both.since(&both).max(), Duration::ZERO);
    }
}
