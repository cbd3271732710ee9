//! What has come and was not read yet.
//!
//! One stretch of initialised memory, of which a window is filled: receiving appends to it without clearing anything
//! first, reading moves its start. What is left moves to the front only where there is no room behind, so that no byte
//! moves more than a few times however little is read at once.

use std::collections::TryReserveError;
use std::ops::Range;

use crate::sys::memchr::memchr;

/// The least that is made room for.
const LEAST: usize = 256;

/// An emptied buffer that is larger than this is given back.
const MOST_KEPT: usize = 512 * 1024;

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

    /// Room behind what is there, at least `count` bytes. How much there is depends on a peer and on how much the program
    /// wants to have at once: so there may be no memory for it, which costs nothing that is there.
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

    /// So many bytes of the room have been filled.
    pub(crate) fn advance(&mut self, count: usize) {
        self.filled.end += count;
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TryReserveError> {
        self.room(bytes.len())?[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
        Ok(())
    }

    /// Takes bytes from the front: as many as fit, and says how many.
    pub(crate) fn take_into(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.len());
        buffer[..count].copy_from_slice(&self.bytes()[..count]);
        self.consume(count);
        count
    }

    /// Takes so many bytes from the front; none where there is no memory for them.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<u8>, TryReserveError> {
        let mut taken = Vec::new();
        taken.try_reserve_exact(count)?;
        taken.extend_from_slice(&self.bytes()[..count]);
        self.consume(count);
        Ok(taken)
    }

    fn consume(&mut self, count: usize) {
        self.filled.start += count;
        if self.filled.is_empty() {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0..0;
        if self.memory.len() > MOST_KEPT {
            self.memory = Vec::new();
        }
    }
}

/// Where the first separator ends that ends first, looking from `start` on, and where it begins.
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
