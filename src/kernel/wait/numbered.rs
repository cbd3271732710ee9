//! A FIFO queue of numbered entries that may be removed in any order.
//!
//! Numbers only grow, so the queue is sorted by them. Until an entry is removed from the middle, the distance of two
//! numbers is the distance of their places; after that binary search finds a number. A removed entry leaves a hole,
//! which keeps its number:
//!
//! ```text
//! place     0   1   2   3   4   5
//! number    4   5   6   9  10  11     7 and 8 were holes, and went when the holes were closed
//! value     a   ·   ·   b   ·   c     b has position 1: the holes before it do not count
//! ```
//! The holes are closed once they are as many as the values. A removal so costs a constant number of moves on average,
//! and the queue is never more than twice as long as it has to be.
//!
//! Only few users ask for positions. [`HoleCounts`] is made when one is asked for while there are holes.

use std::collections::VecDeque;

/// Spare room for this many entries is kept. A queue with more gives it back when it is hardly used.
const KEPT: usize = 128;

pub(super) struct Numbered<T> {
    /// Sorted by number. `None` is a hole; the first entry is never one.
    entries: VecDeque<(u64, Option<T>)>,
    holes: usize,
    counts: Option<HoleCounts>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            holes: 0,
            counts: None,
        }
    }
}

impl<T> Numbered<T> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.holes
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry at the end. Its number is greater than all others.
    #[inline]
    pub(super) fn push(&mut self, number: u64, value: T) {
        self.entries.push_back((number, Some(value)));
    }

    /// Returns the entries in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let entries = self.entries.iter();
        entries.filter_map(|(number, value)| Some((*number, value.as_ref()?)))
    }

    /// Returns the values in order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries
            .iter_mut()
            .filter_map(|(_, value)| value.as_mut())
    }

    #[inline]
    pub(super) fn first(&self) -> Option<(u64, &T)> {
        let (number, value) = self.entries.front()?;
        Some((*number, value.as_ref()?))
    }

    #[inline]
    pub(super) fn contains(&self, number: u64) -> bool {
        let place = self.find(number);
        place.is_some_and(|place| self.entries[place].1.is_some())
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.find(number)?;
        self.entries[place].1.as_mut()
    }

    /// Returns how many values are before the one of this number.
    // Not inlined, so that its callers are: mostly it is the list's first waiter that they ask for.
    #[inline(never)]
    pub(super) fn position(&mut self, number: u64) -> Option<usize> {
        let place = self.find(number)?;
        self.entries[place].1.as_ref()?;
        Some(self.values_before(place))
    }

    /// Returns the value with `position` others before it.
    #[inline]
    pub(super) fn at_mut(&mut self, position: usize) -> Option<&mut T> {
        let place = match self.holes {
            0 => position,
            _ => self.place_of(position)?,
        };
        self.entries.get_mut(place)?.1.as_mut()
    }

    #[inline]
    pub(super) fn pop_first(&mut self) -> Option<T> {
        let (_, value) = self.entries.pop_front()?;
        if self.holes > 0 || self.entries.capacity() > KEPT {
            self.after_pop();
        }
        value
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        let place = self.find(number)?;
        if place == 0 {
            return self.pop_first();
        }
        let value = self.entries[place].1.take()?;
        if place + 1 == self.entries.len() {
            self.entries.pop_back();
        } else {
            self.holes += 1;
            if !self.counts.as_mut().is_none_or(|counts| counts.add(place)) {
                self.counts = None;
            }
        }
        self.tidy();
        Some(value)
    }

    /// Moves all values to `out`, in order.
    pub(super) fn take_all(&mut self, out: &mut Vec<T>) {
        out.extend(self.entries.drain(..).filter_map(|(_, value)| value));
        self.holes = 0;
        self.tidy();
    }

    /// Returns the place of this number, which may be a hole by now.
    #[inline]
    fn find(&self, number: u64) -> Option<usize> {
        let distance = number.checked_sub(self.entries.front()?.0)? as usize;
        match self.entries.get(distance) {
            Some((there, _)) if *there == number => Some(distance),
            _ => self.search(number),
        }
    }

    /// Does the rest of [`find`](Self::find): the number is not here, or others before it have gone.
    #[cold]
    fn search(&self, number: u64) -> Option<usize> {
        let searched = self
            .entries
            .binary_search_by_key(&number, |(there, _)| *there);
        searched.ok()
    }

    /// Handles an entry that was taken from the front: what follows it may be holes.
    #[inline(never)]
    fn after_pop(&mut self) {
        let mut popped = 1;
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
            self.holes -= 1;
            popped += 1;
        }
        if let Some(counts) = &mut self.counts {
            counts.popped += popped;
        }
        self.tidy();
    }

    /// Closes the holes if there are too many, and gives room back if there is too much.
    fn tidy(&mut self) {
        if self.holes * 2 > self.entries.len() {
            self.entries.retain(|(_, value)| value.is_some());
            self.holes = 0;
        }
        if self.holes == 0 {
            self.counts = None;
        }
        let len = self.entries.len();
        if self.entries.capacity() > KEPT && len < self.entries.capacity() / 8 {
            self.entries.shrink_to(KEPT.max(2 * len));
        }
    }

    /// Returns how many values are before this place.
    #[inline]
    fn values_before(&mut self, place: usize) -> usize {
        match self.holes {
            0 => place,
            _ => place - self.counts().before(place),
        }
    }

    /// Returns the place of the value with `position` others before it, where there are holes.
    #[cold]
    fn place_of(&mut self, position: usize) -> Option<usize> {
        if position >= self.len() {
            return None;
        }
        let (mut low, mut high) = (position, position + self.holes);
        while low < high {
            let middle = low.midpoint(high);
            if self.values_before(middle + 1) > position {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Some(low)
    }

    #[cold]
    fn counts(&mut self) -> &HoleCounts {
        let entries = &self.entries;
        self.counts.get_or_insert_with(|| HoleCounts::of(entries))
    }
}

/// How many holes there are before any place: a Fenwick tree, which answers and changes in logarithmic time.
struct HoleCounts {
    /// How many entries were popped from the front since this was made. The tree counts their places too.
    popped: usize,
    /// `sums[i]` is the number of holes in as many places up to and with `i` as the lowest set bit of `i + 1` says.
    sums: Vec<u32>,
}

impl HoleCounts {
    /// Counts the holes, with room for as many entries again.
    fn of<T>(entries: &VecDeque<(u64, Option<T>)>) -> Self {
        let mut counts = Self {
            popped: 0,
            sums: vec![0; 2 * entries.len()],
        };
        for (place, (_, value)) in entries.iter().enumerate() {
            if value.is_none() {
                counts.add(place);
            }
        }
        counts
    }

    /// Counts a new hole; `false` if the tree is too small.
    fn add(&mut self, place: usize) -> bool {
        let mut end = self.popped + place + 1;
        let fits = end <= self.sums.len();
        while let Some(sum) = self.sums.get_mut(end - 1) {
            *sum += 1;
            end += lowest_bit(end);
        }
        fits
    }

    /// Returns how many holes there are before a place.
    fn before(&self, place: usize) -> usize {
        self.up_to(self.popped + place) - self.up_to(self.popped)
    }

    fn up_to(&self, end: usize) -> usize {
        // Places that came after the tree was made have no holes: `add` would have failed.
        let mut end = end.min(self.sums.len());
        let mut holes = 0;
        while end > 0 {
            holes += self.sums[end - 1] as usize;
            end -= lowest_bit(end);
        }
        holes
    }
}

fn lowest_bit(number: usize) -> usize {
    number & number.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator of numbers that look random.
    fn random(seed: &mut u64) -> usize {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*seed >> 33) as usize
    }

    /// Everything that can be asked, compared with a plain list.
    fn compare(queue: &mut Numbered<u64>, model: &[u64]) {
        assert_eq!(
            (queue.len(), queue.is_empty()),
            (model.len(), model.is_empty())
        );
        assert_eq!(queue.first(), model.first().map(|first| (*first, first)));
        assert!(
            queue
                .iter()
                .map(|(number, _)| number)
                .eq(model.iter().copied())
        );
        assert!(
            queue
                .iter_mut()
                .map(|value| *value)
                .eq(model.iter().copied())
        );
        for (position, &number) in model.iter().enumerate() {
            assert_eq!(queue.position(number), Some(position));
            assert_eq!(queue.at_mut(position).copied(), Some(number));
            assert_eq!(queue.get_mut(number).copied(), Some(number));
        }
        assert_eq!(queue.at_mut(model.len()), None);
    }

    #[test]
    fn a_queue_agrees_with_a_plain_list_whatever_leaves_and_whenever_it_is_asked() {
        for seed in 1..40 {
            let seed = &mut (seed * 977);
            let (mut queue, mut model, mut next) = (Numbered::default(), Vec::new(), 0);
            let ask_every = 1 + random(seed) % 30;
            let grow = 1 + random(seed) % 3;
            for turn in 0..400 {
                match random(seed) % (grow + 2) {
                    0 => assert_eq!(
                        queue.pop_first(),
                        (!model.is_empty()).then(|| model.remove(0))
                    ),
                    1 if !model.is_empty() => {
                        let number = model.remove(random(seed) % model.len());
                        assert_eq!(queue.remove(number), Some(number));
                        assert_eq!(queue.remove(number), None);
                        assert_eq!(queue.get_mut(number), None);
                        assert_eq!(queue.position(number), None);
                    }
                    _ => {
                        next += 1 + (random(seed) % 8 / 7) as u64;
                        queue.push(next, next);
                        model.push(next);
                    }
                }
                if turn % ask_every == 0 {
                    compare(&mut queue, &model);
                }
            }
            let mut out = Vec::new();
            queue.take_all(&mut out);
            assert_eq!(out, model);
            compare(&mut queue, &[]);
        }
    }

    #[test]
    fn removal_in_random_order_moves_no_entry_more_than_twice_on_average_and_gives_the_room_back() {
        const COUNT: usize = 20_000;
        let mut queue = Numbered::default();
        (0..COUNT as u64).for_each(|number| queue.push(number, number));
        let mut left: Vec<u64> = (0..COUNT as u64).collect();
        let (seed, mut moved) = (&mut 5, 0);
        while !left.is_empty() {
            let before = queue.entries.len();
            let number = left.swap_remove(random(seed) % left.len());
            assert_eq!(queue.remove(number), Some(number));
            if before > queue.entries.len() + 1 && queue.holes == 0 {
                moved += before;
            }
            assert!(queue.entries.len() <= 2 * left.len());
        }
        assert!(moved <= 2 * COUNT, "{moved} moves");
        assert!(queue.entries.capacity() <= KEPT);
    }

    #[test]
    fn positions_between_removals_build_the_counts_as_often_as_the_queue_halves() {
        const COUNT: usize = 4_096;
        let mut queue = Numbered::default();
        (0..COUNT as u64).for_each(|number| queue.push(number, number));
        let mut left: Vec<u64> = (0..COUNT as u64).collect();
        let (seed, mut built) = (&mut 9, 0);
        while left.len() > 1 {
            let removed = queue.remove(left.remove(random(seed) % left.len()));
            assert!(removed.is_some());
            let had_counts = queue.counts.is_some();
            let middle = left.len() / 2;
            assert_eq!(queue.at_mut(middle).copied(), Some(left[middle]));
            built += usize::from(!had_counts && queue.counts.is_some());
        }
        assert!(built <= 40, "built {built} times");
    }
}
