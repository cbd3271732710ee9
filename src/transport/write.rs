//! Writing: straight to the socket while nothing is buffered, and to the end of the buffer otherwise.
//!
//! A write never waits and never fails. A program that writes too much is asked to pause, and what comes too late is
//! dropped, since nobody would read it. A write error loses the connection, after what the system had received by then.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::panic::Location;
use std::sync::Arc;

use crate::kernel::callee::Reported as _;
use crate::kernel::events::written_after_loss;
use crate::kernel::io::readiness::Direction;
use crate::kernel::report::ExceptionContext;
use crate::transport::any_layer::AnyLayer;
use crate::transport::buffer::MOST_PIECES;
use crate::transport::connection::{Close, Connection, FailWriting, Pause, State};
use crate::transport::layer::Layer;
use crate::transport::protocol::Transport;

/// How many writes to a lost connection are dropped without a warning, as in asyncio: a few are written before the program
/// hears of the end, more are a program that does not listen.
const QUIET_WRITES: u8 = 4;

/// Up to this many pieces are sent without an allocation.
const FEW_PIECES: usize = 16;

/// Why nothing can be written, although the connection is open.
///
/// ```
/// # callsoon::doctest::with_transport(async |transport, there| {
/// use callsoon::transport::CannotWrite;
/// transport.write_eof();
/// let error = transport.try_write(b"more").unwrap_err();
/// assert_eq!(error, CannotWrite::AfterEof);
/// assert_eq!(error.to_string(), "cannot write after write_eof()");
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CannotWrite {
    /// [`write_eof`](Transport::write_eof) was called.
    AfterEof,
    /// This is the reading end of a pipe.
    ReadingEnd,
}

impl fmt::Display for CannotWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AfterEof => "cannot write after write_eof()",
            Self::ReadingEnd => "cannot write to the reading end of a pipe",
        })
    }
}

impl Error for CannotWrite {}

/// What the program writes.
impl Transport {
    /// Does the work of [`write`](Self::write), which is compiled for each type of its argument.
    #[track_caller]
    pub(crate) fn write_bytes(&self, data: &[u8]) {
        if !self.accepts("write") || data.is_empty() {
            return;
        }
        let connection = &self.connection;
        if connection.sending_file.get() {
            return self.write_after_file(data);
        }
        if !connection.outgoing.borrow().is_empty() {
            return self.keep_rest(data);
        }
        match connection.with_layer(|layer| layer.send(data)) {
            Some(Ok(count)) if count == data.len() && connection.encrypted.get() => {
                self.after_buffering();
            }
            Some(Ok(count)) if count == data.len() => {}
            Some(Err(error)) => self.fail_writing(error),
            sent => self.keep_rest(&data[sent.and_then(Result::ok).unwrap_or(0)..]),
        }
    }

    /// Buffers what the system has not taken.
    #[inline(never)]
    fn keep_rest(&self, data: &[u8]) {
        let kept = self.connection.outgoing.borrow_mut().push(data);
        match kept {
            Ok(()) => self.after_buffering(),
            Err(error) => self.fail_writing(error.into()),
        }
    }

    /// Does the work of [`writelines`](Self::writelines).
    #[track_caller]
    pub(crate) fn write_pieces<B: AsRef<[u8]>>(&self, lines: &[B]) {
        if !self.accepts("writelines") {
            return;
        }
        if self.connection.sending_file.get() {
            return lines
                .iter()
                .for_each(|line| self.write_after_file(line.as_ref()));
        }
        let mut rest = lines;
        // `as_ref` is user code, so what it gives is asked for once.
        let mut few = [IoSlice::new(&[]); FEW_PIECES];
        let mut many = Vec::new();
        while !rest.is_empty() && self.connection.outgoing.borrow().is_empty() {
            let (now, later) = rest.split_at(rest.len().min(MOST_PIECES));
            rest = later;
            let pieces: &[IoSlice<'_>] = if now.len() <= FEW_PIECES {
                for (piece, line) in few.iter_mut().zip(now) {
                    *piece = IoSlice::new(line.as_ref());
                }
                &few[..now.len()]
            } else {
                many.clear();
                many.extend(now.iter().map(|line| IoSlice::new(line.as_ref())));
                &many
            };
            // `as_ref` may have ended the connection.
            if self.connection.has_reached(State::Failing) || !self.send_pieces(pieces) {
                return;
            }
        }
        for line in rest {
            let bytes = line.as_ref();
            if self.connection.has_reached(State::Failing) {
                return;
            }
            let kept = self.connection.outgoing.borrow_mut().push(bytes);
            if let Err(error) = kept {
                return self.fail_writing(error.into());
            }
        }
        self.after_buffering();
    }

    /// Sends what the system takes of some pieces and buffers the rest of them. Returns false where the connection failed.
    fn send_pieces(&self, pieces: &[IoSlice<'_>]) -> bool {
        let connection = &self.connection;
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if total == 0 {
            return true;
        }
        let sent = connection.with_layer(|layer| layer.send_vectored(pieces));
        let mut sent = match sent.unwrap_or(Ok(0)) {
            Ok(count) => count,
            Err(error) => {
                self.fail_writing(error);
                return false;
            }
        };
        if sent == total {
            return true;
        }
        let kept = pieces.iter().try_for_each(|piece| {
            let skip = sent.min(piece.len());
            sent -= skip;
            connection.outgoing.borrow_mut().push(&piece[skip..])
        });
        if let Err(error) = kept {
            self.fail_writing(error.into());
            return false;
        }
        true
    }

    /// Keeps what is written while a file is sent.
    #[cold]
    fn write_after_file(&self, data: &[u8]) {
        let Some(mut file) = self.connection.file.take() else {
            return;
        };
        let kept = file.after.push(data);
        self.connection.file.set(Some(file));
        if let Err(error) = kept {
            return self.fail_writing(error.into());
        }
        self.check_cap(self.connection.buffered());
    }

    /// Returns whether bytes may be written at all: the writing side was not ended, or the connection is closing.
    #[inline]
    pub(crate) fn may_write(&self) -> Result<(), CannotWrite> {
        let connection = &self.connection;
        if connection.write_ended.get()
            && !connection.has_reached(State::Failing)
            && !connection.is(State::Closing)
        {
            return Err(self.cannot_write());
        }
        Ok(())
    }

    #[cold]
    fn cannot_write(&self) -> CannotWrite {
        match self.connection.pipe_direction() {
            Some(_) => CannotWrite::ReadingEnd,
            None => CannotWrite::AfterEof,
        }
    }

    /// Returns whether bytes may be written now. If not, that was reported.
    #[inline]
    #[track_caller]
    fn accepts(&self, call: &str) -> bool {
        let connection = &self.connection;
        if connection.has_reached(State::Failing) {
            self.refuse(call);
            return false;
        }
        if connection.write_ended.get() && !connection.is(State::Closing) {
            self.report_mistake(call);
            return false;
        }
        true
    }

    /// Reports a write that cannot be sent. What it has written is lost, so it must not pass unnoticed; asyncio raises.
    #[cold]
    #[track_caller]
    fn report_mistake(&self, call: &str) {
        let error = self.cannot_write();
        self.connection.handle.state.report(ExceptionContext {
            message: format!("{call} on a connection that takes no more"),
            exception: Some(Arc::new(error)),
            location: Some(Location::caller()),
            about_transport: Some(self.reported()),
            ..ExceptionContext::default()
        });
    }

    /// Drops a write on a connection that is lost.
    #[cold]
    fn refuse(&self, call: &str) {
        let connection = &self.connection;
        let refused = connection.writes_refused.get();
        connection.writes_refused.set(refused.saturating_add(1));
        if refused >= QUIET_WRITES {
            written_after_loss(call, connection.location);
        }
    }

    /// Ends the writing side as soon as everything is sent.
    pub(crate) fn end_writing_soon(&self) {
        let connection = &self.connection;
        connection.write_ended.set(true);
        if !connection.has_unsent() && !connection.sending_file.get() {
            connection.with_layer(AnyLayer::end_writing);
        }
    }

    /// Ends the connection since nothing can be written any more. What the system has received for it is delivered first.
    #[cold]
    pub(crate) fn fail_writing(&self, error: io::Error) {
        // Nothing that comes in a handshake is for the protocol.
        if self.connection.pauses.has(Pause::ForHandshake) {
            return self.fail(error);
        }
        match self.connection.fail_writing(error) {
            FailWriting::Lose(error) => self.fail(error),
            FailWriting::DeliverRest(error) => {
                self.connection.wake_file_sender();
                self.deliver_rest_soon(error);
            }
            FailWriting::WaitForStart => self.connection.wake_file_sender(),
        }
    }
}

/// Flow control.
impl Transport {
    /// Something may have been buffered: has it sent upon an event, and asks the protocol to pause if it is too much.
    fn after_buffering(&self) {
        let connection = &self.connection;
        let size = connection.unsent();
        if size == 0 || self.check_cap(size) {
            return;
        }
        connection.queue_for_writing();
        self.pause_if_full(size);
    }

    /// Ends a connection that has more than its cap buffered, and returns whether it has.
    pub(crate) fn check_cap(&self, size: usize) -> bool {
        let over = size > self.connection.marks.borrow().cap();
        if over {
            self.fail_over_cap();
        }
        over
    }

    #[cold]
    fn fail_over_cap(&self) {
        self.fail_writing(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "more was written than may be buffered",
        ));
    }

    /// Asks the protocol to pause writing if this much is too much.
    pub(crate) fn pause_if_full(&self, size: usize) {
        if self.connection.marks.borrow_mut().must_pause(size) {
            self.pause_writing();
        }
    }

    /// Tells the protocol to pause writing. Its panic is reported, and costs it this call only.
    pub(crate) fn pause_writing(&self) {
        let _ = self.enter("pause_writing", |protocol| protocol.pause_writing(self));
    }

    /// Asks the protocol to pause writing until everything is sent. A stream's task waits for that by this.
    pub(crate) fn pause_until_sent(&self) {
        if self.connection.marks.borrow_mut().pause_until_empty() {
            self.pause_writing();
        }
    }

    /// Tells the protocol to go on writing if so little is buffered. Its panic is reported, and costs it this call only.
    #[inline]
    pub(crate) fn resume_writing_if_low(&self, size: usize) {
        if self.connection.marks.borrow_mut().may_resume(size) {
            let _ = self.enter("resume_writing", |protocol| protocol.resume_writing(self));
        }
    }
}

/// What the loop does when the socket takes more.
impl Transport {
    /// Sends once after an event: asyncio's `_write_ready`.
    #[inline(always)]
    pub(crate) fn write_ready(&self) {
        let connection = &self.connection;
        if connection.has_reached(State::Failing) {
            return;
        }
        if connection.has_unsent() {
            return self.send_rest();
        }
        connection.wake_file_sender();
        // A receive may have sent what the layer kept. Then the protocol has not heard of it.
        if connection.encrypted.get() && !connection.sending_file.get() {
            self.after_flush();
        }
    }

    /// Sends what is buffered, as far as the socket takes it.
    #[inline(never)]
    fn send_rest(&self) {
        let connection = &self.connection;
        match connection.flush() {
            Err(error) => return self.fail_writing(error),
            Ok(false) => return,
            Ok(true) => {}
        }
        if connection.sending_file.get() {
            return match connection.has_unsent() {
                false => connection.wake_file_sender(),
                true => connection.queue_for_writing(),
            };
        }
        self.after_flush();
    }

    /// Goes on after something was sent: the protocol may write again, and what waits for the last byte is done after it.
    fn after_flush(&self) {
        let connection = &self.connection;
        let size = connection.unsent();
        self.resume_writing_if_low(size);
        // The protocol may well have written at once, or ended the connection.
        if connection.has_reached(State::Failing) {
            return;
        }
        if connection.has_unsent() {
            return connection.queue_for_writing();
        }
        connection.with_io(|io| io.set_writes(false));
        match connection.finish_close() {
            Close::Lose => self.lose(None),
            Close::Wait => {
                if connection.write_ended.get() && !connection.has_reached(State::Closing) {
                    connection.with_layer(AnyLayer::end_writing);
                }
            }
        }
    }
}

impl<P: ?Sized> Connection<P> {
    /// Makes one attempt to send what is buffered, and returns false where the system took
    /// nothing.
    fn flush(&self) -> io::Result<bool> {
        let mut outgoing = self.outgoing.borrow_mut();
        let send = |layer: &AnyLayer| -> io::Result<(usize, bool)> {
            let kept = layer.has_unsent();
            layer.flush()?;
            let sent = match outgoing.only() {
                Some(bytes) => layer.send(bytes)?,
                None => layer.send_vectored(&outgoing.front())?,
            };
            Ok((sent, kept))
        };
        let (sent, kept) = self.with_layer(send).unwrap_or(Ok((0, false)))?;
        outgoing.consume(sent);
        Ok(sent > 0 || kept)
    }

    /// Has the connection called when the socket takes more. If it takes more now, the connection is put at the end of the
    /// ready queue: what is left was more than one call's worth.
    pub(crate) fn queue_for_writing(&self) {
        self.with_io(|io| {
            io.set_writes(true);
            if io.readiness(|readiness| readiness.is_ready(Direction::Write)) == Ok(true) {
                io.queue();
            }
        });
    }
}
