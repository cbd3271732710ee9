//! What was written and not yet taken by the system.
//!
//! A FIFO of chunks, of which the first may be sent in part. Small writes are gathered into chunks of [`CHUNK`] bytes, so
//! that ten thousand of them are a few system calls; a large one is a chunk of its own, so that it is copied once. Taking
//! from the front moves a number, never bytes. An empty buffer is one word: idle connections have nothing else.

use std::collections::{TryReserveError, VecDeque};
use std::io::IoSlice;

/// Small writes are gathered up to this size: about what a socket takes at a time.
const CHUNK: usize = 16 * 1024;

/// How many pieces one system call may take: the system's own limit, `IOV_MAX`.
pub(crate) const MOST_PIECES: usize = 1024;

/// Bytes on their way out.
#[derive(Default)]
pub(crate) struct WriteBuffer {
    chunks: Option<Box<Chunks>>,
}

#[derive(Default)]
struct Chunks {
    line: VecDeque<Vec<u8>>,
    /// How much of the first chunk is sent.
    sent: usize,
    /// How many bytes are left.
    size: usize,
}

impl WriteBuffer {
    pub(crate) fn len(&self) -> usize {
        self.chunks.as_ref().map_or(0, |chunks| chunks.size)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_none()
    }

    /// Copies bytes to the end. How many there are is the program's affair: where there is no memory for them, nothing
    /// has changed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TryReserveError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(chunks) = &mut self.chunks {
            if let Some(last) = chunks.line.back_mut() {
                if last.len() + bytes.len() <= CHUNK {
                    last.extend_from_slice(bytes);
                    chunks.size += bytes.len();
                    return Ok(());
                }
            }
        }
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(bytes.len())?;
        chunk.extend_from_slice(bytes);
        let chunks = self.chunks.get_or_insert_default();
        chunks.line.push_back(chunk);
        chunks.size += bytes.len();
        Ok(())
    }

    /// The first pieces, as many as one system call may take.
    pub(crate) fn front(&self) -> Vec<IoSlice<'_>> {
        let Some(chunks) = &self.chunks else {
            return Vec::new();
        };
        let mut skip = chunks.sent;
        let line = chunks.line.iter().take(MOST_PIECES);
        line.map(|chunk| IoSlice::new(&chunk[std::mem::take(&mut skip)..]))
            .collect()
    }

    /// The first chunk's rest, where that is all there is.
    pub(crate) fn only(&self) -> Option<&[u8]> {
        let chunks = self.chunks.as_ref()?;
        match chunks.line.len() {
            1 => chunks.line.front().map(|chunk| &chunk[chunks.sent..]),
            _ => None,
        }
    }

    /// Takes so many bytes from the front: they are sent.
    pub(crate) fn consume(&mut self, count: usize) {
        let Some(chunks) = &mut self.chunks else {
            return;
        };
        chunks.size -= count;
        chunks.sent += count;
        while let Some(first) = chunks.line.front() {
            if chunks.sent < first.len() {
                break;
            }
            chunks.sent -= first.len();
            chunks.line.pop_front();
        }
        if chunks.size == 0 {
            self.chunks = None;
        }
    }

    /// Puts what is in the other one behind what is here.
    pub(crate) fn append(&mut self, other: Self) {
        let Some(more) = other.chunks else {
            return;
        };
        let Some(chunks) = &mut self.chunks else {
            self.chunks = Some(more);
            return;
        };
        let Chunks {
            mut line,
            sent,
            size,
        } = *more;
        if let Some(first) = line.front_mut() {
            first.drain(..sent);
        }
        chunks.size += size;
        chunks.line.append(&mut line);
    }

    pub(crate) fn clear(&mut self) {
        self.chunks = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(buffer: &WriteBuffer) -> Vec<u8> {
        let pieces = buffer.front();
        pieces.iter().flat_map(|piece| piece.to_vec()).collect()
    }

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_went_in_however_they_are_cut() {
        for step in [1, 7, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let mut buffer = WriteBuffer::default();
            let mut expected = Vec::new();
            for (number, size) in [1, 0, 5, CHUNK, 1, CHUNK + 1, 3].into_iter().enumerate() {
                let bytes = vec![number as u8; size];
                buffer.push(&bytes).unwrap();
                expected.extend(bytes);
            }
            while !expected.is_empty() {
                assert_eq!(buffer.len(), expected.len());
                assert_eq!(contents(&buffer), expected);
                let count = step.min(expected.len());
                buffer.consume(count);
                expected.drain(..count);
            }
            assert!(buffer.is_empty() && buffer.only().is_none());
        }
    }

    #[test]
    fn a_buffer_goes_behind_another_one_without_what_it_has_sent() {
        let filled = |bytes: &[u8], sent| {
            let mut buffer = WriteBuffer::default();
            buffer.push(bytes).unwrap();
            buffer.consume(sent);
            buffer
        };
        for (first, second) in [(0, 2), (3, 0), (3, 2), (1, 1)] {
            let mut buffer = filled(b"abc", 3 - first);
            buffer.append(filled(b"de", 2 - second));
            let mut expected = b"abc"[3 - first..].to_vec();
            expected.extend_from_slice(&b"de"[2 - second..]);
            assert_eq!(
                (contents(&buffer), buffer.len()),
                (expected, first + second)
            );
            buffer.consume(first + second);
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn small_writes_share_a_chunk_and_an_empty_buffer_is_a_word() {
        let mut buffer = WriteBuffer::default();
        for _ in 0..CHUNK {
            buffer.push(b"x").unwrap();
        }
        assert_eq!(buffer.only().map(<[u8]>::len), Some(CHUNK));
        buffer.push(b"y").unwrap();
        assert!(buffer.only().is_none());
        assert_eq!(size_of::<WriteBuffer>(), 8);
    }
}
