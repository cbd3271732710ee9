//! What has arrived and was not read yet.
//!
//! One block of initialised memory, of which a window is filled. Receiving appends to the window without clearing
//! anything first, reading moves its start. What is left moves to the front only if there is no room at the end, so
//! no byte moves more than a few times however little is read at once. The protocol frees the memory that a burst has
//! needed, since it knows whether more is to come: see [`spare`](Incoming::spare).

use std::collections::TryReserveError;
use std::ops::Range;

use crate::sys::memchr::memchr;

/// The least room that is made.
const LEAST: usize = 64;

/// Memory up to this size is kept when it is empty: enough for a message of the usual size, and little compared to
/// what a connection has anyway.
const MOST_KEPT: usize = 2 * 1024;

#[derive(Default)]
pub(crate) struct Incoming {
    memory: Vec<u8>,
    filled: Range<usize>,
}

impl Incoming {
    pub(crate) fn len(&self) -> usize {
        self.filled.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.filled.clone()]
    }

    /// Returns the room at the end, at least `count` bytes. A peer and the program decide how much is needed. If
    /// there is no memory for it, nothing is lost.
    pub(crate) fn room(&mut self, count: usize) -> Result<&mut [u8], TryReserveError> {
        if self.memory.len() - self.filled.end < count {
            let length = self.len();
            self.memory.copy_within(self.filled.clone(), 0);
            self.filled = 0..length;
            let needed = length + count;
            if self.memory.len() < needed {
                let size = needed.max(self.memory.len() * 2).max(LEAST);
                self.memory.try_reserve_exact(size - self.memory.len())?;
                self.memory.resize(size, 0);
            }
        }
        Ok(&mut self.memory[self.filled.end..])
    }

    /// Counts bytes of the room as filled.
    pub(crate) fn advance(&mut self, count: usize) {
        self.filled.end += count;
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TryReserveError> {
        self.room(bytes.len())?[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
        Ok(())
    }

    /// Takes bytes from the front, as many as fit, and returns how many.
    pub(crate) fn take_into(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.len());
        buffer[..count].copy_from_slice(&self.bytes()[..count]);
        self.consume(count);
        count
    }

    /// Takes so many bytes from the front, or none if there is no memory for them.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<u8>, TryReserveError> {
        let mut taken = Vec::new();
        taken.try_reserve_exact(count)?;
        taken.extend_from_slice(&self.bytes()[..count]);
        self.consume(count);
        Ok(taken)
    }

    /// Drops so many bytes from the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.filled.start += count;
        if self.filled.is_empty() {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0..0;
    }

    /// Returns whether there is more memory than an idle connection keeps.
    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        self.memory.len() > MOST_KEPT
    }

    /// Returns whether there is no memory at all, as at the beginning.
    pub(crate) fn has_no_memory(&self) -> bool {
        self.memory.is_empty()
    }

    /// Uses this memory from now on, of which nothing is filled.
    pub(crate) fn adopt(&mut self, memory: Vec<u8>) {
        debug_assert!(self.len() == 0);
        self.memory = memory;
        self.clear();
    }

    /// Returns memory that what is left does not need: all of it if nothing is left. If a small part is left, that is
    /// copied.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        if self.len() > self.memory.len() / 4 {
            return Vec::new();
        }
        let mut left = Vec::new();
        if left.try_reserve_exact(self.len()).is_err() {
            return Vec::new();
        }
        left.extend_from_slice(self.bytes());
        self.filled = 0..left.len();
        std::mem::replace(&mut self.memory, left)
    }
}

/// Finds the separator that ends earliest, from `start` on, and returns where it begins and ends.
pub(crate) fn find_first(bytes: &[u8], start: usize, separators: &[&[u8]]) -> Option<Range<usize>> {
    let found = separators
        .iter()
        .filter_map(|separator| find(bytes, start, separator));
    found.min_by_key(|range| range.end)
}

fn find(bytes: &[u8], start: usize, separator: &[u8]) -> Option<Range<usize>> {
    let (&first, rest) = separator.split_first()?;
    let mut from = start;
    loop {
        let at = from + memchr(first, bytes.get(from..)?)?;
        if bytes[at + 1..].starts_with(rest) {
            return Some(at..at + separator.len());
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_the_steps() {
        for (put, take) in [(1, 1), (3, 2), (7, 100), (1000, 1), (300, 299)] {
            let mut incoming = Incoming::default();
            let (mut written, mut read) = (0_usize, 0_usize);
            while read < 5000 {
                let bytes: Vec<_> = (written..written + put).map(|n| (n % 251) as u8).collect();
                incoming.push(&bytes).unwrap();
                written += put;
                let mut buffer = vec![0; take];
                let count = incoming.take_into(&mut buffer);
                for (offset, byte) in buffer[..count].iter().enumerate() {
                    assert_eq!(usize::from(*byte), (read + offset) % 251);
                }
                read += count;
                assert_eq!(incoming.len(), written - read);
            }
        }
    }

    #[test]
    fn spare_memory_goes_and_what_is_left_stays() {
        let mut incoming = Incoming::default();
        incoming.push(&[1; 100_000]).unwrap();
        assert!(incoming.spare().is_empty(), "most of it is needed");
        incoming.take(99_990).unwrap();
        assert_eq!(incoming.spare().len(), 100_000);
        assert_eq!(
            (incoming.bytes(), incoming.memory.len()),
            (&[1; 10][..], 10)
        );
        assert_eq!(incoming.take_into(&mut [0; 10]), 10);
        assert_eq!(incoming.spare().len(), 10);
        assert!(incoming.has_no_memory() && !incoming.is_large());
        incoming.push(b"again").unwrap();
        assert_eq!(incoming.bytes(), b"again");
    }

    #[test]
    fn the_separator_that_ends_first_is_found() {
        let text = b"one, two; three";
        assert_eq!(find_first(text, 0, &[b";", b", "]), Some(3..5));
        assert_eq!(find_first(text, 4, &[b";", b", "]), Some(8..9));
        assert_eq!(find_first(b"abcd", 0, &[b"abcd", b"c"]), Some(2..3));
        assert_eq!(find_first(b"aab", 0, &[b"ab"]), Some(1..3));
        assert_eq!(find_first(b"aa", 0, &[b"ab"]), None);
        assert_eq!(find_first(b"", 5, &[b"x"]), None);
    }
}
