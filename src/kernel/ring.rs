//! A FIFO in one buffer, whose ends are counts. An element's number is the count of elements that came before it, so
//! that a number finds its element for as long as the element is there, and never another. Its place is the number
//! modulo the size of the buffer, a power of two.
//!
//! Elements are written and emptied in their places, which costs fewer copies than to move them in and out whole: a
//! place holds `T::default()` while it has no element.
//!
//! Memory of a burst is given back, with hysteresis: see [`Ring::trim`].

use std::collections::TryReserveError;

/// For how many elements a ring keeps its memory at all times.
const KEPT: usize = 1024;

/// The size of the first buffer.
const FIRST: usize = 32;

/// The most calls of `trim` that an oversized buffer outlasts. Then a load that comes in bursts grows the buffer in one
/// of 256 bursts at most.
const LONGEST_WAIT: u32 = 255;

pub(crate) struct Ring<T> {
    /// Empty, or as many as a power of two.
    places: Box<[T]>,
    /// The number of the front element.
    head: u64,
    /// The number of the next element.
    tail: u64,
    /// How many elements are [hidden](Ring::hide).
    hidden: u64,
    /// How large a buffer is always kept.
    kept: usize,
    /// How many calls of `trim` the present buffer still outlasts.
    wait: u32,
    /// How many it outlasts once it has grown again.
    next_wait: u32,
}

impl<T: Default> Ring<T> {
    pub(crate) fn new() -> Self {
        Self {
            places: Box::default(),
            head: 0,
            tail: 0,
            hidden: 0,
            kept: KEPT,
            wait: 0,
            next_wait: 0,
        }
    }

    /// Makes room for so many elements at once, which is then kept.
    ///
    /// # Errors
    /// There is not enough memory.
    pub(crate) fn make_room(&mut self, elements: usize) -> Result<(), TryReserveError> {
        let mut places = Vec::new();
        // A size beyond the largest power of two fails as any other that is too large.
        let size = elements.checked_next_power_of_two().unwrap_or(elements);
        if elements > self.places.len() {
            places.try_reserve_exact(size)?;
            self.move_to(places, size);
        }
        self.kept = self.kept.max(size);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        (self.tail - self.head) as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Returns the number of the front element: how many were popped and not put back.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Returns the number of the next element.
    #[inline]
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// Appends an element. The caller writes it to the place that is returned.
    #[inline]
    pub(crate) fn push(&mut self) -> &mut T {
        if self.is_full() {
            self.grow();
        }
        let number = self.tail;
        self.tail += 1;
        self.at(number)
    }

    /// Returns whether the next element makes the buffer grow. There are never more elements than places; that this is
    /// written as a possibility tells the compiler that a buffer which is not full has places.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.places.len()
    }

    /// Removes the front element. The caller takes it out of the place that is returned.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<&mut T> {
        if self.is_empty() {
            return None;
        }
        let number = self.head;
        self.head += 1;
        Some(self.at(number))
    }

    /// Puts the element back that was popped last, whose place still holds it, and returns the place.
    pub(crate) fn unpop(&mut self) -> &mut T {
        self.head -= 1;
        self.at(self.head)
    }

    /// Puts an element before all others. The caller writes it to the place that is returned. Only for a ring whose
    /// numbers name nothing: all of them may move by the size of the buffer, which leaves every element in its place.
    pub(crate) fn push_front(&mut self) -> &mut T {
        if self.is_full() {
            self.grow();
        }
        if self.head == 0 {
            let size = self.places.len() as u64;
            (self.head, self.tail) = (size, self.tail + size);
        }
        self.unpop()
    }

    /// Makes the ring look empty until [`reveal`](Self::reveal). In between the caller pops, and does nothing else.
    pub(crate) fn hide(&mut self) {
        self.hidden += self.len() as u64;
        self.tail = self.head;
    }

    /// Brings the elements back that were hidden.
    pub(crate) fn reveal(&mut self) {
        debug_assert!(self.hidden == 0 || self.is_empty());
        self.tail += std::mem::take(&mut self.hidden);
    }

    /// Returns the place of the last element.
    pub(crate) fn last(&mut self) -> Option<&mut T> {
        self.get(self.tail.wrapping_sub(1))
    }

    /// Removes the last element, whose place the caller has emptied. The next one gets its number.
    pub(crate) fn retract(&mut self) {
        debug_assert!(!self.is_empty());
        self.tail -= 1;
    }

    /// Returns the place of the element with this number, if it is still there.
    pub(crate) fn get(&mut self, number: u64) -> Option<&mut T> {
        (self.head..self.tail)
            .contains(&number)
            .then(|| self.at(number))
    }

    /// Returns the place of the element in so many places from the front.
    pub(crate) fn in_front(&mut self, place: usize) -> Option<&mut T> {
        self.get(self.head + place as u64)
    }

    #[inline]
    fn at(&mut self, number: u64) -> &mut T {
        let mask = self.places.len().wrapping_sub(1);
        &mut self.places[number as usize & mask]
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let size = (2 * self.places.len()).max(FIRST);
        if self.places.len() <= self.kept && size > self.kept {
            self.wait = self.next_wait;
            self.next_wait = (2 * self.next_wait + 1).min(LONGEST_WAIT);
        }
        self.move_to(Vec::with_capacity(size), size);
    }

    /// Moves the elements to a buffer that has room for `size` of them.
    fn move_to(&mut self, mut places: Vec<T>, size: usize) {
        places.resize_with(size, T::default);
        let mask = size - 1;
        for number in self.head..self.tail {
            places[number as usize & mask] = std::mem::take(self.at(number));
        }
        self.places = places.into_boxed_slice();
    }

    /// Gives memory back if the buffer is far too large. Called each time the loop polls for events.
    ///
    /// The memory of the first burst is given back at once. Of each further one it is kept for twice as long, so that a
    /// load that comes in bursts does not pay for a new buffer each time.
    #[inline]
    pub(crate) fn trim(&mut self) {
        if self.places.len() > self.kept && self.len() <= self.places.len() / 8 {
            self.trim_oversized();
        }
    }

    #[cold]
    #[inline(never)]
    fn trim_oversized(&mut self) {
        if let Some(wait) = self.wait.checked_sub(1) {
            self.wait = wait;
            return;
        }
        let size = (2 * self.len()).next_power_of_two().max(self.kept);
        self.move_to(Vec::with_capacity(size), size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn push(ring: &mut Ring<u64>, value: u64) {
        *ring.push() = value;
    }

    fn pop(ring: &mut Ring<u64>) -> Option<u64> {
        ring.pop().map(std::mem::take)
    }

    /// Fills the ring to so many elements and empties it again.
    fn burst(ring: &mut Ring<u64>, elements: u64) {
        (0..elements).for_each(|value| push(ring, value));
        (0..elements).for_each(|value| assert_eq!(pop(ring), Some(value)));
    }

    #[test]
    fn it_does_what_a_deque_does() {
        let (mut ring, mut deque) = (Ring::new(), VecDeque::new());
        let mut random = 1_u64;
        for step in 1..100_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Stretches in which it grows and in which it shrinks.
            if random >> 60 < if step / 10_000 % 2 == 0 { 10 } else { 5 } {
                push(&mut ring, step);
                deque.push_back(step);
            } else {
                assert_eq!(pop(&mut ring), deque.pop_front());
            }
            if random >> 40 & 0xff == 0 {
                ring.trim();
            }
            assert_eq!(ring.len(), deque.len());
            assert_eq!(ring.last().copied(), deque.back().copied());
            assert_eq!(ring.is_empty(), deque.is_empty());
            let middle = deque.len() / 2;
            let number = ring.head + middle as u64;
            assert_eq!(ring.get(number).copied(), deque.get(middle).copied());
        }
    }

    #[test]
    fn a_number_finds_its_element_and_no_other() {
        let mut ring = Ring::new();
        assert_eq!(ring.get(0), None);
        assert_eq!(ring.get(u64::MAX), None);
        for round in 0..100_u64 {
            let number = ring.tail();
            assert_eq!(number, round);
            push(&mut ring, round + 1);
            assert_eq!(ring.get(number), Some(&mut (round + 1)));
            assert_eq!(ring.get(number + 1), None);
            assert_eq!(pop(&mut ring), Some(round + 1));
            assert_eq!(ring.get(number), None);
        }
    }

    #[test]
    fn what_is_retracted_leaves_its_number_to_the_next() {
        let mut ring = Ring::new();
        assert_eq!(ring.last(), None);
        push(&mut ring, 1);
        push(&mut ring, 2);
        *ring.last().unwrap() = 0;
        ring.retract();
        assert_eq!(ring.tail(), 1);
        push(&mut ring, 3);
        assert_eq!(
            (pop(&mut ring), pop(&mut ring), pop(&mut ring)),
            (Some(1), Some(3), None)
        );
    }

    #[test]
    fn what_was_popped_last_is_put_back() {
        let mut ring = Ring::new();
        (1..=FIRST as u64).for_each(|value| push(&mut ring, value));
        assert_eq!(ring.pop(), Some(&mut 1));
        *ring.unpop() += 100;
        assert_eq!(ring.len(), FIRST);
        push(&mut ring, 0);
        assert_eq!((pop(&mut ring), pop(&mut ring)), (Some(101), Some(2)));
    }

    #[test]
    fn an_element_is_put_before_the_first_and_before_all_that_ever_was() {
        let mut ring = Ring::new();
        *ring.push_front() = 1;
        (2..=FIRST as u64).for_each(|value| push(&mut ring, value));
        *ring.push_front() = 0;
        assert_eq!(ring.len(), FIRST + 1);
        (0..=FIRST as u64).for_each(|value| assert_eq!(pop(&mut ring), Some(value)));
        assert_eq!(pop(&mut ring), None);
    }

    #[test]
    fn hidden_elements_come_back_in_their_order() {
        let mut ring = Ring::new();
        (1..=3).for_each(|value| push(&mut ring, value));
        assert_eq!(pop(&mut ring), Some(1));
        ring.hide();
        assert_eq!((pop(&mut ring), ring.len()), (None, 0));
        ring.hide();
        ring.reveal();
        assert_eq!((pop(&mut ring), pop(&mut ring)), (Some(2), Some(3)));
        ring.reveal();
        assert_eq!(pop(&mut ring), None);
    }

    #[test]
    fn memory_of_a_burst_is_given_back_and_kept_for_longer_each_time() {
        let mut ring = Ring::new();
        for wait in [0, 1, 3, 7, 15, 31, 63, 127, 255, 255] {
            burst(&mut ring, 100 * KEPT as u64);
            for _ in 0..wait {
                ring.trim();
                assert_eq!(ring.places.len(), 128 * KEPT);
            }
            ring.trim();
            assert_eq!(ring.places.len(), KEPT);
            ring.trim();
            assert_eq!(ring.places.len(), KEPT);
        }
    }

    #[test]
    fn what_is_still_queued_survives_a_trim() {
        let mut ring = Ring::new();
        (0..100_000).for_each(|value| push(&mut ring, value));
        let size = ring.places.len();
        ring.trim();
        assert_eq!(ring.places.len(), size, "it is in use");
        (0..95_000).for_each(|value| assert_eq!(pop(&mut ring), Some(value)));
        (0..100).for_each(|_| ring.trim());
        assert_eq!(ring.places.len(), 16_384);
        assert_eq!(ring.get(99_999), Some(&mut 99_999));
        (95_000..100_000).for_each(|value| assert_eq!(pop(&mut ring), Some(value)));
        assert_eq!(pop(&mut ring), None);
    }

    #[test]
    fn room_that_was_made_is_kept() {
        let mut ring = Ring::<u64>::new();
        ring.make_room(3_000).unwrap();
        assert_eq!(ring.places.len(), 4_096);
        burst(&mut ring, 10_000);
        (0..1_000).for_each(|_| ring.trim());
        assert_eq!(ring.places.len(), 4_096);
        assert!(ring.make_room(usize::MAX).is_err());
        assert!(ring.make_room(usize::MAX / 2).is_err());
        push(&mut ring, 1);
        ring.make_room(10_000).unwrap();
        assert_eq!((ring.places.len(), pop(&mut ring)), (16_384, Some(1)));
    }
}
