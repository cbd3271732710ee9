//! What was written and not yet taken by the system, and when its owner is asked to pause.
//!
//! [`WriteBuffer`] is a FIFO of chunks, of which the first may be sent in part. It gathers small writes into chunks of
//! [`CHUNK`] bytes, so that ten thousand of them are a few system calls. A large write is a chunk of its own, so that it is
//! copied once. Taking from the front moves a number, never bytes. An empty buffer is one word: idle connections have
//! nothing else.
//!
//! [`WaterMarks`] says when a protocol is asked to pause writing, and when to resume.

use std::collections::{TryReserveError, VecDeque};
use std::error::Error;
use std::fmt;
use std::io::IoSlice;
use std::task::Waker;

/// Small writes are gathered up to this size: about what a socket takes in one call.
const CHUNK: usize = 16 * 1024;

/// The most pieces that one system call takes: the system's own limit, `IOV_MAX`.
pub(crate) const MOST_PIECES: usize = 1024;

/// Bytes that are to be sent.
#[derive(Default)]
pub(crate) struct WriteBuffer {
    chunks: Option<Box<Chunks>>,
}

#[derive(Default)]
struct Chunks {
    queue: VecDeque<Vec<u8>>,
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

    /// Copies bytes to the end. The program decides how many: where there is no memory for them, nothing has changed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TryReserveError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(chunks) = &mut self.chunks {
            if let Some(last) = chunks.queue.back_mut() {
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
        chunks.queue.push_back(chunk);
        chunks.size += bytes.len();
        Ok(())
    }

    /// Returns the first pieces, as many as one system call may take.
    pub(crate) fn front(&self) -> Vec<IoSlice<'_>> {
        let Some(chunks) = &self.chunks else {
            return Vec::new();
        };
        let mut skip = chunks.sent;
        let first = chunks.queue.iter().take(MOST_PIECES);
        first
            .map(|chunk| IoSlice::new(&chunk[std::mem::take(&mut skip)..]))
            .collect()
    }

    /// Returns what is left of the first chunk, if there is only one.
    pub(crate) fn only(&self) -> Option<&[u8]> {
        let chunks = self.chunks.as_ref()?;
        match chunks.queue.len() {
            1 => chunks.queue.front().map(|chunk| &chunk[chunks.sent..]),
            _ => None,
        }
    }

    /// Removes bytes from the front, since they are sent.
    pub(crate) fn consume(&mut self, count: usize) {
        let Some(chunks) = &mut self.chunks else {
            return;
        };
        chunks.size -= count;
        chunks.sent += count;
        while let Some(first) = chunks.queue.front() {
            if chunks.sent < first.len() {
                break;
            }
            chunks.sent -= first.len();
            chunks.queue.pop_front();
        }
        if chunks.size == 0 {
            self.chunks = None;
        }
    }

    /// Moves the content of another buffer to the end of this one.
    pub(crate) fn append(&mut self, other: Self) {
        let Some(more) = other.chunks else {
            return;
        };
        let Some(chunks) = &mut self.chunks else {
            self.chunks = Some(more);
            return;
        };
        let Chunks {
            mut queue,
            sent,
            size,
        } = *more;
        if let Some(first) = queue.front_mut() {
            first.drain(..sent);
        }
        chunks.size += size;
        chunks.queue.append(&mut queue);
    }

    pub(crate) fn clear(&mut self) {
        self.chunks = None;
    }
}

/// What has to wait while a file is sent.
#[derive(Default)]
pub(crate) struct FileInProgress {
    /// The task that sends it. It is woken when the socket takes more, or the connection is lost.
    pub(crate) sender: Option<Waker>,
    /// What was written since the file began. It is sent after the file.
    pub(crate) after: WriteBuffer,
}

/// asyncio's figure. 64 KiB is about what a socket buffer takes at a time, so a connection that has this much
/// buffered is full.
const HIGH: usize = 64 * 1024;

/// Two limits for one buffer, and whether its owner was asked to pause. Two words while nobody has changed the limits:
/// idle connections have one.
#[derive(Default)]
pub(crate) struct WaterMarks {
    limits: Option<Box<Limits>>,
    paused: bool,
    /// The owner may not be told to resume before the buffer is empty.
    until_empty: bool,
}

#[derive(Clone, Copy)]
struct Limits {
    high: usize,
    low: usize,
    /// The most that may be buffered at all.
    cap: usize,
}

const DEFAULT: Limits = Limits {
    high: HIGH,
    low: HIGH / 4,
    cap: usize::MAX,
};

impl WaterMarks {
    #[inline]
    fn get(&self) -> &Limits {
        self.limits.as_deref().unwrap_or(&DEFAULT)
    }

    /// Returns `(low, high)`, in asyncio's order.
    pub(crate) fn limits(&self) -> (usize, usize) {
        let &Limits { low, high, .. } = self.get();
        (low, high)
    }

    /// Returns the most that may be buffered at all.
    #[inline]
    pub(crate) fn cap(&self) -> usize {
        self.get().cap
    }

    pub(crate) fn set_cap(&mut self, cap: usize) {
        self.limits.get_or_insert_with(|| Box::new(DEFAULT)).cap = cap;
    }

    /// Sets the limits. One that is not given follows from the other.
    pub(crate) fn set(
        &mut self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> Result<(), InvalidLimits> {
        let high = high.unwrap_or_else(|| low.map_or(HIGH, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4);
        if low > high {
            return Err(InvalidLimits { high, low });
        }
        let cap = self.cap();
        self.limits = Some(Box::new(Limits { high, low, cap }));
        Ok(())
    }

    /// Raises the limits to those of an encrypted connection, unless the program has set some. asyncio's figures: records
    /// are encrypted in bulk.
    pub(crate) fn raise(&mut self) {
        const HIGH_OF_TLS: usize = 512 * 1024;
        let raised = || {
            Box::new(Limits {
                high: HIGH_OF_TLS,
                low: HIGH_OF_TLS / 4,
                ..DEFAULT
            })
        };
        self.limits.get_or_insert_with(raised);
    }

    /// Pauses the owner whatever the size. Returns whether it has to be told now.
    pub(crate) fn pause(&mut self) -> bool {
        !std::mem::replace(&mut self.paused, true)
    }

    /// Pauses the owner until nothing is buffered any more. Returns whether it has to be told now.
    pub(crate) fn pause_until_empty(&mut self) -> bool {
        self.until_empty = true;
        self.pause()
    }

    /// Returns whether the owner of a buffer of this size has to be told now to pause.
    #[inline]
    pub(crate) fn must_pause(&mut self, size: usize) -> bool {
        size > self.get().high && self.pause()
    }

    /// Returns whether the owner of a buffer of this size may be told now to resume.
    #[inline]
    pub(crate) fn may_resume(&mut self, size: usize) -> bool {
        if !self.paused || size > self.get().low || (self.until_empty && size > 0) {
            return false;
        }
        self.paused = false;
        self.until_empty = false;
        true
    }
}

/// The low-water mark would be above the high-water mark. Nothing was changed.
///
/// ```
/// let error = callsoon::run(async {
///     use callsoon::transport::Protocol;
///     struct Idle;
///     impl Protocol for Idle {}
///     let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
///     let event_loop = callsoon::get_running_loop();
///     let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await.unwrap();
///     transport.set_write_buffer_limits(Some(10), Some(20)).unwrap_err()
/// }).unwrap();
/// assert_eq!(error.to_string(), "the high-water mark, 10, lies below the low-water mark, 20");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidLimits {
    high: usize,
    low: usize,
}

impl fmt::Display for InvalidLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { high, low } = self;
        write!(
            f,
            "the high-water mark, {high}, lies below the low-water mark, {low}"
        )
    }
}

impl Error for InvalidLimits {}

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

    #[test]
    fn a_limit_that_is_not_given_follows_from_the_other() {
        let mut marks = WaterMarks::default();
        assert_eq!(marks.limits(), (16 * 1024, 64 * 1024));
        for (high, low, expected) in [
            (Some(100), None, (25, 100)),
            (None, Some(100), (100, 400)),
            (None, None, (16 * 1024, 64 * 1024)),
            (Some(0), None, (0, 0)),
            (None, Some(usize::MAX), (usize::MAX, usize::MAX)),
        ] {
            marks.set(high, low).unwrap();
            assert_eq!(marks.limits(), expected);
        }
        assert!(marks.set(Some(1), Some(2)).is_err());
        assert_eq!(marks.limits(), (usize::MAX, usize::MAX));
    }

    #[test]
    fn pausing_takes_more_than_high_and_resuming_at_most_low() {
        let mut marks = WaterMarks::default();
        marks.set(Some(10), Some(3)).unwrap();
        assert!(!marks.must_pause(10));
        assert!(marks.must_pause(11));
        assert!(!marks.must_pause(12), "once");
        assert!(!marks.may_resume(4));
        assert!(marks.may_resume(3));
        assert!(!marks.may_resume(0), "once");
    }

    #[test]
    fn a_pause_until_all_is_sent_ends_at_nothing_and_the_next_one_at_low() {
        let mut marks = WaterMarks::default();
        marks.set(Some(10), Some(3)).unwrap();
        assert!(marks.pause_until_empty());
        assert!(!marks.pause_until_empty() && !marks.must_pause(11), "once");
        assert!(!marks.may_resume(1));
        assert!(marks.may_resume(0));
        assert!(marks.must_pause(11));
        assert!(marks.may_resume(3));
    }
}
