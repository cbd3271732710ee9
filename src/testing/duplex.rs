//! `duplex`: two ends of a byte stream in memory, with a bounded buffer and scripted faults.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::kernel::proceed::poll_within_budget;
use crate::poll_io::{PollBufRead, PollRead, PollWrite};
use crate::testing::byte_queue::ByteQueue;
use crate::testing::faults::{End, Faults, Script};
use crate::time::sleep::{Sleep, sleep};

/// Makes two ends of a byte stream in memory: what one writes, the other reads, without a socket.
///
/// Each direction holds at most `capacity` bytes, 0 meaning 1; a writer that finds no room waits until the other end has
/// read. An end is a byte stream like a socket: [`copy`](crate::copy()), [`lines`](crate::lines()) and the traits of other
/// crates work on it. [`set_faults`](DuplexStream::set_faults) lets things go wrong.
///
/// Code that takes a [`StreamReader`](crate::stream::StreamReader) is tested by
/// [`StreamReader::unconnected`](crate::stream::StreamReader::unconnected) instead. A
/// [`StreamWriter`](crate::stream::StreamWriter) belongs to a transport, which needs a socket.
///
/// ```
/// use callsoon::testing;
///
/// testing::run(async {
///     let (mut near, mut far) = testing::duplex(4);
///     let writing = callsoon::create_task(async move { near.write_all(b"hello").await });
///     let mut received = Vec::new();
///     far.read_to_end(&mut received).await.unwrap();
///     assert_eq!(received, b"hello");
///     writing.await.unwrap().unwrap();
/// });
/// ```
pub fn duplex(capacity: usize) -> (DuplexStream, DuplexStream) {
    let [one, other] = [(); 2].map(|()| ByteQueue::new(capacity));
    let near = DuplexStream::new(Rc::clone(&one), Rc::clone(&other));
    (near, DuplexStream::new(other, one))
}

/// One end of an in-memory stream: made by [`duplex`].
///
/// Dropping it ends what the other end reads, and lets its writes fail with `BrokenPipe`.
///
/// # Cancellation
/// A read or a write that is dropped has moved nothing. A delay that has begun goes on, and the next call waits for the
/// rest of it.
///
/// ```
/// use callsoon::{PollBufRead, testing};
/// use std::future::poll_fn;
/// testing::run(async {
///     let (mut near, mut far) = testing::duplex(16);
///     far.write_all(b"looked at").await.unwrap();
///     assert_eq!(poll_fn(|context| near.poll_fill_buf(context).map_ok(<[u8]>::len)).await.unwrap(), 9);
///     near.consume(7);
///     assert_eq!(near.read(&mut [0; 16]).await.unwrap(), 2);
/// });
/// ```
pub struct DuplexStream {
    incoming: Rc<ByteQueue>,
    outgoing: Rc<ByteQueue>,
    /// What `poll_fill_buf` has lent, and how many of its bytes were taken.
    filled: Vec<u8>,
    taken: usize,
    reads: Side,
    writes: Side,
}

/// One direction of one end.
#[derive(Default)]
struct Side {
    script: Script,
    /// How many bytes it has moved.
    done: u64,
    /// The delay of the next transfer, once it has begun.
    delay: Option<Sleep>,
}

impl Side {
    /// Polls how many of `count` bytes the next transfer moves, when its delay has passed.
    fn poll_size(&mut self, context: &mut Context<'_>, count: usize) -> Poll<usize> {
        if !self.script.delay.is_zero() {
            let delay = self.script.delay;
            let delay = self.delay.get_or_insert_with(|| sleep(delay));
            ready!(Pin::new(delay).poll(context));
            self.delay = None;
        }
        let size = self.script.size(count, self.done);
        self.done += size as u64;
        Poll::Ready(size)
    }
}

impl DuplexStream {
    fn new(incoming: Rc<ByteQueue>, outgoing: Rc<ByteQueue>) -> Self {
        Self {
            incoming,
            outgoing,
            filled: Vec::new(),
            taken: 0,
            reads: Side::default(),
            writes: Side::default(),
        }
    }

    /// Sets what goes wrong on this end from now on, in place of what was set before.
    ///
    /// ```
    /// use callsoon::testing::{self, Faults};
    /// testing::run(async {
    ///     let (mut near, mut far) = testing::duplex(16);
    ///     near.set_faults(Faults::new().short_writes(3));
    ///     assert_eq!(near.write(b"hello").await.unwrap(), 3);
    ///     assert_eq!(far.read(&mut [0; 16]).await.unwrap(), 3);
    /// });
    /// ```
    pub fn set_faults(&mut self, faults: Faults) {
        self.reads.script = faults.reads;
        self.writes.script = faults.writes;
    }

    /// Resets the connection: both ends fail with `ConnectionReset`, and what is on its way is lost.
    ///
    /// ```
    /// # use callsoon::testing;
    /// # use std::io::ErrorKind;
    /// testing::run(async {
    ///     let (near, mut far) = testing::duplex(16);
    ///     near.reset();
    ///     let error = far.read(&mut [0; 16]).await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    /// });
    /// ```
    pub fn reset(&self) {
        self.incoming.reset();
        self.outgoing.reset();
    }

    /// Reads at least one byte, and returns how many; 0 at the end.
    ///
    /// # Errors
    /// `ConnectionReset` after a reset, and those of the [script](Faults).
    ///
    /// # Cancellation
    /// A read that is dropped has taken nothing.
    ///
    /// ```
    /// # callsoon::testing::run(async {
    /// let (mut near, far) = callsoon::testing::duplex(16);
    /// drop(far);
    /// assert_eq!(near.read(&mut [0; 16]).await.unwrap(), 0);
    /// # });
    /// ```
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(context, buffer)).await
    }

    /// Reads to the end, appends what comes, and returns how many bytes that were.
    ///
    /// # Errors
    /// Those of [`read`](Self::read). What came before is in `received`.
    ///
    /// # Cancellation
    /// What has come is in `received`.
    ///
    /// ```
    /// # callsoon::testing::run(async {
    /// let (mut near, mut far) = callsoon::testing::duplex(16);
    /// far.write_all(b"all").await.unwrap();
    /// far.shutdown().await.unwrap();
    /// let mut received = Vec::new();
    /// assert_eq!(near.read_to_end(&mut received).await.unwrap(), 3);
    /// # });
    /// ```
    pub async fn read_to_end(&mut self, received: &mut Vec<u8>) -> io::Result<usize> {
        let before = received.len();
        let mut buffer = [0; 1024];
        loop {
            match self.read(&mut buffer).await? {
                0 => return Ok(received.len() - before),
                count => received.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Writes at least one of the bytes, and returns how many.
    ///
    /// # Errors
    /// `BrokenPipe` after [`shutdown`](Self::shutdown) or if the other end was dropped, `ConnectionReset` after a reset, and
    /// those of the [script](Faults).
    ///
    /// # Cancellation
    /// A write that is dropped has written nothing.
    ///
    /// ```
    /// # callsoon::testing::run(async {
    /// let (mut near, _far) = callsoon::testing::duplex(3);
    /// assert_eq!(near.write(b"hello").await.unwrap(), 3);
    /// # });
    /// ```
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_write(context, bytes)).await
    }

    /// Writes all of the bytes.
    ///
    /// # Errors
    /// Those of [`write`](Self::write). Some of the bytes may have been written.
    ///
    /// # Cancellation
    /// Some of the bytes may have been written.
    ///
    /// ```
    /// # callsoon::testing::run(async {
    /// let (mut near, _far) = callsoon::testing::duplex(16);
    /// near.write_all(b"hello").await.unwrap();
    /// # });
    /// ```
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.write(bytes).await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Ends what the other end reads. It can still write.
    ///
    /// # Errors
    /// `ConnectionReset` after a reset.
    ///
    /// ```
    /// # callsoon::testing::run(async {
    /// let (mut near, mut far) = callsoon::testing::duplex(16);
    /// near.shutdown().await.unwrap();
    /// assert_eq!(far.read(&mut [0; 16]).await.unwrap(), 0);
    /// far.write_all(b"still").await.unwrap();
    /// # });
    /// ```
    pub async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_shutdown(context)).await
    }

    /// Polls how many bytes the next read moves, at most `room`; 0 at the end.
    fn poll_incoming(&mut self, context: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        match self.reads.script.end_at(self.reads.done) {
            Some(End::Eof) => return Poll::Ready(Ok(0)),
            Some(End::Error(kind)) => return Poll::Ready(Err(kind.into())),
            Some(End::Reset) => self.reset(),
            None => {}
        }
        let there = ready!(self.incoming.poll_readable(context))?;
        if there == 0 {
            return Poll::Ready(Ok(0));
        }
        self.reads.poll_size(context, there.min(room)).map(Ok)
    }

    fn poll_send(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(End::Error(kind)) = self.writes.script.end_at(self.writes.done) {
            return Poll::Ready(Err(kind.into()));
        }
        let room = ready!(self.outgoing.poll_writable(context))?;
        let size = ready!(self.writes.poll_size(context, room.min(bytes.len())));
        self.outgoing.push(&bytes[..size]);
        Poll::Ready(Ok(size))
    }

    fn ended(&self) -> Poll<io::Result<()>> {
        Poll::Ready(match self.outgoing.is_reset() {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        })
    }
}

impl PollRead for DuplexStream {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        poll_within_budget(context, |context| {
            if self.taken < self.filled.len() {
                let filled = &self.filled[self.taken..];
                let count = filled.len().min(buffer.len());
                buffer[..count].copy_from_slice(&filled[..count]);
                self.consume(count);
                return Poll::Ready(Ok(count));
            }
            let count = ready!(self.poll_incoming(context, buffer.len()))?;
            if count > 0 {
                self.incoming.take(&mut buffer[..count]);
            }
            Poll::Ready(Ok(count))
        })
    }
}

impl PollBufRead for DuplexStream {
    fn poll_fill_buf(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.taken == self.filled.len() {
            let count =
                poll_within_budget(context, |context| self.poll_incoming(context, usize::MAX));
            let count = ready!(count)?;
            self.taken = 0;
            self.filled.clear();
            self.filled.resize(count, 0);
            self.incoming.lend(&mut self.filled);
        }
        Poll::Ready(Ok(&self.filled[self.taken..]))
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.filled.len() - self.taken);
        self.taken += count;
        self.incoming.give_back(count);
    }
}

/// `poll_flush` has nothing to do: what was written is with the other end.
impl PollWrite for DuplexStream {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        poll_within_budget(context, |context| self.poll_send(context, bytes))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended()
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end();
        self.ended()
    }
}

impl Drop for DuplexStream {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.abandon();
    }
}

impl fmt::Debug for DuplexStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexStream")
            .field("read", &self.reads.done)
            .field("written", &self.writes.done)
            .finish_non_exhaustive()
    }
}
