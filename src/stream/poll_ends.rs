//! The two ends of a stream as byte streams that are polled: for connections, pipes and a child's standard streams.
//!
//! A reader that has to wait does so by the protocol, and not in the socket's own queue as
//! [`read_into`](StreamReader::read_into) does: whether a poll is repeated is not known, and a task that waits there must
//! come for what has arrived, since the connection is not told of it. What a poll finds in the socket it receives straight
//! into its caller's memory.
//!
//! A writer takes bytes until the high-water mark is reached, then waits as `drain` does. A flush asks the transport to
//! pause writing until everything is sent, so the event that ends it is the one that lets `drain` go on.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use crate::error::LoopClosed;
use crate::poll_io::{PollBufRead, PollRead, PollWrite};
use crate::stream::reader::StreamReader;
use crate::stream::waiting::Stream;
use crate::stream::writer::StreamWriter;
use crate::transport::connection::State;
use crate::transport::read::Fetched;

/// The most that one poll of a writer takes, so that a single large write does not fill the memory: the default
/// high-water mark, and about what a socket takes at a time.
const MOST_TAKEN: usize = 64 * 1024;

/// The most pieces that one poll of a writer takes: those of a message, and no more than the transport sends without an
/// allocation.
const FEW_PIECES: usize = 16;

/// Takes one from the budget for `operation`, and gives it back if that has to wait.
fn within_budget<R>(
    stream: &Stream,
    context: &Context<'_>,
    operation: impl FnOnce() -> Poll<R>,
) -> Poll<R> {
    let state = stream.protocol.state();
    ready!(state.poll_begin(context));
    let polled = operation();
    if polled.is_pending() {
        state.budget.give_back();
    }
    polled
}

/// What reading polls for.
impl Stream {
    /// Takes what is kept into `buffer`, or receives into it.
    fn poll_fetch(&self, context: &Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.protocol.is_readable() {
                let taken = self.protocol.take_into(buffer);
                self.after_taking();
                return Poll::Ready(taken);
            }
            self.transport.resume_for_reader();
            match self.transport.fetch(buffer, |_| ()) {
                Fetched::Bytes(count) => return Poll::Ready(Ok(count)),
                Fetched::Ended if self.protocol.eof.get() => continue,
                // A peer that sends much that says nothing must not keep the loop from others.
                Fetched::Progress => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Fetched::Ended | Fetched::Nothing => {}
            }
            ready!(self.poll_arrival(context))?;
        }
    }

    /// Waits until bytes are kept or nothing more arrives.
    fn poll_arrival(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.protocol.wait_to_read(context)?;
        // Cloning another runtime's waker is user code, so check again after it.
        if self.protocol.is_readable() {
            return Poll::Ready(Ok(()));
        }
        self.protocol.hold_clock_until_woken();
        Poll::Pending
    }
}

impl StreamReader {
    /// Puts what is shown, and was not consumed, back before what is kept.
    #[inline]
    pub(super) fn put_back_shown(&mut self) {
        if self.shown.is_some() {
            self.put_back();
        }
    }

    #[cold]
    fn put_back(&mut self) {
        let Some(shown) = self.shown.as_mut().filter(|shown| shown.len() > 0) else {
            return;
        };
        let mut incoming = self.stream.protocol.incoming.borrow_mut();
        let together = shown.push(incoming.bytes());
        std::mem::swap(&mut *incoming, &mut **shown);
        drop(incoming);
        shown.clear();
        if let Err(error) = together {
            // As where there is no memory for what arrives: what came before the failure is read first.
            self.stream.transport.fail(error.into());
        }
        self.free_shown();
    }

    /// Frees memory that has shown a burst.
    fn free_shown(&mut self) {
        if let Some(shown) = self.shown.as_mut().filter(|shown| shown.is_large()) {
            self.stream.transport.give_read_buffer(shown.spare());
        }
    }
}

/// A wait for a child's output holds a virtual clock, as the async reads do, until its task is woken or another read has
/// ended.
///
/// ```
/// use std::future::poll_fn;
///
/// use callsoon::PollRead;
/// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
/// std::io::Write::write_all(&mut &there, b"hello")?;
/// let mut buffer = [0; 100];
/// let count = poll_fn(|context| reader.poll_read(context, &mut buffer)).await?;
/// assert_eq!(&buffer[..count], b"hello");
/// # Ok(()) });
/// ```
impl PollRead for StreamReader {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.put_back_shown();
        let read = ready!(within_budget(&self.stream, context, || {
            self.stream.poll_fetch(context, buffer)
        }));
        self.stream.protocol.end_polled_wait();
        Poll::Ready(read)
    }
}

/// ```
/// use std::future::poll_fn;
///
/// use callsoon::PollBufRead;
/// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
/// std::io::Write::write_all(&mut &there, b"hello\n")?;
/// let bytes = poll_fn(|context| reader.poll_fill_buf(context).map_ok(<[u8]>::to_vec)).await?;
/// assert_eq!(bytes, b"hello\n");
/// reader.consume(2);
/// assert_eq!(reader.readline().await?, b"llo\n");
/// # Ok(()) });
/// ```
impl PollBufRead for StreamReader {
    fn poll_fill_buf(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let shown = self.shown.get_or_insert_default();
        if shown.len() == 0 {
            let stream = &self.stream;
            let arrived = within_budget(stream, context, || {
                if stream.protocol.is_readable() {
                    return Poll::Ready(Ok(()));
                }
                stream.transport.resume_for_reader();
                stream.transport.requeue_if_readable();
                stream.poll_arrival(context)
            });
            ready!(arrived)?;
            stream.protocol.end_polled_wait();
            std::mem::swap(&mut *stream.protocol.incoming.borrow_mut(), &mut **shown);
            stream.after_taking();
            if shown.len() == 0 {
                // The end, or the failure, which one read returns.
                let end = stream.protocol.take_failure().map_or(Ok(&[][..]), Err);
                return Poll::Ready(end);
            }
        }
        Poll::Ready(Ok(shown.bytes()))
    }

    fn consume(&mut self, count: usize) {
        if let Some(shown) = &mut self.shown {
            shown.consume(count.min(shown.len()));
            if shown.len() == 0 {
                self.free_shown();
            }
        }
    }
}

/// What writing polls for.
impl Stream {
    /// Waits until the transport may be written to.
    fn poll_room(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let (protocol, connection) = (&self.protocol, &self.transport.connection);
        if protocol.may_write() && !connection.has_reached(State::Closing) {
            return Poll::Ready(match connection.write_ended.get() {
                true => Err(io::ErrorKind::BrokenPipe.into()),
                false => Ok(()),
            });
        }
        if connection.is(State::Closing) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_until(context, || !protocol.is_writing_paused()))?;
        if protocol.is_over() || connection.has_reached(State::Closing) {
            return Poll::Ready(Err(protocol.end_of_reader()));
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until everything is sent.
    fn poll_flushed(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let connection = &self.transport.connection;
        let is_sent = || connection.buffered() == 0 && !connection.has_unsent();
        if !connection.has_reached(State::Failing) {
            if is_sent() {
                return Poll::Ready(Ok(()));
            }
            self.transport.pause_until_sent();
        }
        self.poll_until(context, is_sent)
    }

    /// Waits until the connection is lost.
    fn poll_lost(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        self.poll_until(context, || self.protocol.is_lost())
    }

    /// Waits until `is_so`, or the connection is over. What a failing connection has received is delivered first, and
    /// then the error is known.
    fn poll_until(&self, context: &Context<'_>, is_so: impl Fn() -> bool) -> Poll<io::Result<()>> {
        let connection = &self.transport.connection;
        let waited = self.protocol.poll_to_write(context, |protocol| {
            match connection.has_reached(State::Failing) {
                true => protocol.is_lost(),
                false => is_so(),
            }
        });
        ready!(waited);
        match self.protocol.failure() {
            Some(error) => Poll::Ready(Err(error)),
            None if !self.protocol.is_lost() && connection.handle.is_closed() => {
                Poll::Ready(Err(LoopClosed.into()))
            }
            None => Poll::Ready(Ok(())),
        }
    }
}

/// `poll_write` takes at most 64 KiB at a time, while no more is buffered than the high-water mark allows.
/// `poll_flush` waits until the system has taken everything; other writers wait with it.
/// `poll_shutdown` then ends the writing side: a pipe is closed. A write after that is `BrokenPipe`.
///
/// ```
/// use std::future::poll_fn;
///
/// use callsoon::PollWrite;
/// # callsoon::doctest::with_stream(async |reader, mut writer, there| {
/// assert_eq!(poll_fn(|context| writer.poll_write(context, b"hello")).await?, 5);
/// poll_fn(|context| writer.poll_shutdown(context)).await?;
/// assert_eq!(std::io::read_to_string(&there)?, "hello");
/// # Ok(()) });
/// ```
impl PollWrite for StreamWriter {
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        within_budget(&self.stream, context, || {
            ready!(self.stream.poll_room(context))?;
            let taken = &bytes[..bytes.len().min(MOST_TAKEN)];
            self.stream.transport.write(taken);
            Poll::Ready(Ok(taken.len()))
        })
    }

    fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (mut few, mut count, mut total) = ([&[][..]; FEW_PIECES], 0, 0);
        let filled = pieces.iter().filter(|piece| !piece.is_empty());
        for (place, piece) in few.iter_mut().zip(filled) {
            *place = &piece[..piece.len().min(MOST_TAKEN - total)];
            total += place.len();
            count += 1;
        }
        if total == 0 {
            return Poll::Ready(Ok(0));
        }
        within_budget(&self.stream, context, || {
            ready!(self.stream.poll_room(context))?;
            self.stream.transport.writelines(&few[..count]);
            Poll::Ready(Ok(total))
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        within_budget(&self.stream, context, || self.stream.poll_flushed(context))
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(context))?;
        self.stream.transport.write_eof();
        match self.stream.transport.is_closing() {
            // A pipe closes in a turn of the loop, and its reader sees the end by that.
            true => self.stream.poll_lost(context),
            false => Poll::Ready(Ok(())),
        }
    }
}
