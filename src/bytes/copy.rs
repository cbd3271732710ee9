//! From one byte stream to another, until the first one ends.
//!
//! One buffer of a fixed size: bytes are read when all of those before are written, so a slow writer makes the reader's
//! other end wait. Before a copy waits for the reader it flushes, so that no answer stays in a writer that buffers.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::kernel::proceed::poll_within_budget;
use crate::poll_io::{PollRead, PollWrite, at_most};

/// How much a copy holds: copying so much costs more than the two system calls for it, so more would save little.
const BUFFER: usize = 32 * 1024;

/// Copies bytes from a reader to a writer until the reader ends, then flushes, and returns how many bytes that were. The
/// writer stays open: a copy does not end the writing side.
///
/// Reader and writer are given by value or by `&mut`. At most 32 KiB are held at a time. To copy a file to a socket,
/// [`sendfile`](crate::LoopHandle::sendfile) costs less.
///
/// # Errors
/// Those of the reader and of the writer. `WriteZero` if the writer takes nothing although it was given bytes, which
/// breaks its contract, and `InvalidData` if one of them has moved more bytes than it was given. [`Copying::copied`] and [`Copying::unwritten`] tell then, too, how far the copy came.
///
/// # Cancellation
/// Dropped before it is done it has read at most 32 KiB that are not written. To lose nothing, await it by `&mut`:
/// [`Copying::copied`] counts what the writer has taken, and [`Copying::unwritten`] returns the rest.
///
/// ```
/// # callsoon::doctest::run(async {
/// let mut limits = callsoon::fs::File::open("/proc/self/limits").await?;
/// let mut options = std::fs::OpenOptions::new();
/// let mut null = callsoon::fs::File::open_with("/dev/null", options.write(true).clone()).await?;
/// let copied = callsoon::copy(&mut limits, &mut null).await?;
/// assert_eq!(copied, limits.position());
/// # Ok(()) });
/// ```
pub fn copy<R: PollRead, W: PollWrite>(reader: R, writer: W) -> Copying<R, W> {
    Copying {
        reader,
        writer,
        transfer: Transfer::default(),
    }
}

/// The future of [`copy`].
///
/// ```
/// # callsoon::doctest::run(async {
/// use std::time::Duration;
/// # struct Slow;
/// # impl callsoon::PollRead for Slow {
/// #     fn poll_read(&mut self, _: &mut std::task::Context<'_>, _: &mut [u8])
/// #         -> std::task::Poll<std::io::Result<usize>> { std::task::Poll::Pending }
/// # }
/// # let mut options = std::fs::OpenOptions::new();
/// # let null = callsoon::fs::File::open_with("/dev/null", options.write(true).clone()).await?;
/// let mut copying = callsoon::copy(Slow, null);
/// if callsoon::timeout(Duration::from_millis(5), &mut copying).await.is_err() {
///     println!("{} bytes in 5 ms", copying.copied());
/// }
/// # Ok(()) });
/// ```
#[must_use = "futures do nothing unless they are awaited"]
pub struct Copying<R, W> {
    reader: R,
    writer: W,
    transfer: Transfer,
}

// Neither is ever pinned.
impl<R, W> Unpin for Copying<R, W> {}

impl<R, W> Copying<R, W> {
    /// Returns how many bytes the writer has taken.
    ///
    /// ```
    /// # let file = callsoon::fs::File::from_std(std::fs::File::open("/dev/null")?);
    /// # let other = callsoon::fs::File::from_std(std::fs::File::open("/dev/null")?);
    /// assert_eq!(callsoon::copy(file, other).copied(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn copied(&self) -> u64 {
        self.transfer.copied()
    }

    /// Returns the bytes that were read and that the writer has not taken.
    ///
    /// ```
    /// # let file = callsoon::fs::File::from_std(std::fs::File::open("/dev/null")?);
    /// # let other = callsoon::fs::File::from_std(std::fs::File::open("/dev/null")?);
    /// assert_eq!(callsoon::copy(file, other).unwritten(), b"");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unwritten(&self) -> &[u8] {
        self.transfer.unwritten()
    }
}

impl<R: PollRead, W: PollWrite> Future for Copying<R, W> {
    type Output = io::Result<u64>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let this = &mut *self;
        ready!(
            this.transfer
                .poll(context, &mut this.reader, &mut this.writer)
        )?;
        ready!(this.writer.poll_flush(context))?;
        Poll::Ready(Ok(this.transfer.copied()))
    }
}

impl<R, W> fmt::Debug for Copying<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copying")
            .field("copied", &self.copied())
            .finish_non_exhaustive()
    }
}

/// One direction: what was read and is to be written.
#[derive(Default)]
pub(crate) struct Transfer {
    /// Made by the first poll.
    buffer: Box<[u8]>,
    /// `buffer[written..read]` is to be written.
    written: usize,
    read: usize,
    copied: u64,
    /// The writer may hold bytes that it has taken.
    to_flush: bool,
    /// The reader has ended.
    ended: bool,
}

impl Transfer {
    pub(crate) fn copied(&self) -> u64 {
        self.copied
    }

    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.buffer[self.written..self.read]
    }

    /// Copies until the reader has ended and everything is written. The last bytes may not be flushed.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut impl PollRead,
        writer: &mut impl PollWrite,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER].into();
        }
        loop {
            // Before each call: streams of a program's own may always be ready, and go on by a byte at a time.
            ready!(poll_within_budget(context, |_| Poll::Ready(())));
            if self.written < self.read {
                ready!(self.poll_write(context, writer))?;
                continue;
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            (self.written, self.read) = (0, 0);
            match reader.poll_read(context, &mut self.buffer) {
                Poll::Ready(Ok(count)) => {
                    self.read = at_most(self.buffer.len(), count)?;
                    self.ended = count == 0;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.to_flush {
                        ready!(writer.poll_flush(context))?;
                        self.to_flush = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        writer: &mut impl PollWrite,
    ) -> Poll<io::Result<()>> {
        let bytes = &self.buffer[self.written..self.read];
        let count = at_most(bytes.len(), ready!(writer.poll_write(context, bytes))?)?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += count;
        self.copied += count as u64;
        self.to_flush = true;
        Poll::Ready(Ok(()))
    }
}
