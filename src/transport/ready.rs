//! What a connection does when its socket is ready: at most one read for its protocol, and one write of what is kept.
//!
//! One event is one `recv` at most: what is left puts the connection at the end of the line again. A protocol is called
//! with nothing borrowed, and may have closed or lost the connection when it returns.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::Waker;

use crate::kernel::io::readiness::Direction;
use crate::kernel::io::readiness::Observer;
use crate::kernel::io::source::Io;
use crate::kernel::local::LoopLocal;
use crate::kernel::report::ExceptionContext;
use crate::kernel::wait::waiters::WaiterId;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::hold::Hold;
use crate::transport::protocol::{BufferedProtocol, Connection, Transport};
use crate::transport::traffic::Received;

/// The most that one read takes: large enough that a system call is a small part of it, small enough to stay in a
/// processor's near cache until it is looked at, and a connection that floods us is served for some ten microseconds
/// before it is others' turn. asyncio's 256 KiB measure no better and wait longer.
const MOST_READ: usize = 64 * 1024;

/// What all connections of a loop read into. Taken out while a protocol looks at it, or while a stream in bulk keeps what it
/// has received there.
static READ_BUFFER: LoopLocal<Cell<Vec<u8>>> = LoopLocal::new(|| Cell::new(Vec::new()));

/// What a fetch came to.
pub(crate) enum Fetched {
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// Nothing is read now, or nothing more ever comes.
    Ended,
}

impl Transport {
    /// What one event is worth to the reader.
    fn read_ready(&self) {
        if !self.connection.may_read() {
            return;
        }
        let ready = |io: &Io<StreamSocket>| {
            io.readiness(|readiness| readiness.is_ready(Direction::Read)) == Ok(true)
        };
        if self.connection.with_io(ready) != Some(true) {
            return;
        }
        match self.receive_for_protocol() {
            None | Some(Received::Bytes(_)) => {}
            Some(other) => self.read_nothing(other),
        }
        self.look_again();
    }

    /// One read, whose bytes the protocol is given; `None` where the protocol panicked.
    #[inline]
    pub(crate) fn receive_for_protocol(&self) -> Option<Received> {
        let lent = self.enter_or_abort("get_buffer", |protocol| {
            let buffered = protocol.buffered()?;
            Some(self.receive_lent(buffered))
        });
        let Some(received) = lent? else {
            return self.receive_shared();
        };
        let (call, count) = match received {
            Received::Bytes(count) => ("buffer_updated", Some(count)),
            Received::NoBuffer => return Some(received),
            _ => ("buffer_unused", None),
        };
        self.enter_or_abort(call, |protocol| match (protocol.buffered(), count) {
            (Some(buffered), Some(count)) => buffered.buffer_updated(self, count),
            (Some(buffered), None) => buffered.buffer_unused(self),
            (None, _) => {}
        })?;
        Some(received)
    }

    fn receive_lent(&self, buffered: &dyn BufferedProtocol) -> Received {
        let mut received = Received::NoBuffer;
        buffered.get_buffer(self, MOST_READ, &mut |buffer| {
            if matches!(received, Received::NoBuffer) && !buffer.is_empty() {
                // It may have paused or ended the connection before it lends.
                let connection = &self.connection;
                received = match connection.may_read() || connection.delivers_rest.get() {
                    true => connection.receive(buffer),
                    false => Received::Nothing,
                };
            }
        });
        received
    }

    #[inline]
    fn receive_shared(&self) -> Option<Received> {
        READ_BUFFER.with(&self.connection.handle, |place| {
            let mut buffer = place.take();
            if buffer.is_empty() {
                buffer = vec![0; MOST_READ];
            }
            let received = self.connection.receive(&mut buffer);
            let mut survived = Some(());
            if let Received::Bytes(count) = received {
                survived = self.enter_or_abort("data_received", |protocol| {
                    protocol.data_received(self, &buffer[..count]);
                });
            }
            place.set(buffer);
            survived.map(|()| received)
        })
    }

    /// The loop's memory for reading, if nobody uses it now. Its bytes are of no meaning.
    pub(crate) fn take_read_buffer(&self) -> Vec<u8> {
        READ_BUFFER.with(&self.connection.handle, Cell::take)
    }

    /// Gives back memory for reading. It is dropped where it is no use, or the loop has some already.
    pub(crate) fn give_read_buffer(&self, memory: Vec<u8>) {
        if memory.len() == MOST_READ {
            READ_BUFFER.with(&self.connection.handle, |place| {
                let present = place.take();
                place.set(if present.is_empty() { memory } else { present });
            });
        }
    }

    /// One read for a protocol that fetches by itself, from outside its callbacks. The end and errors go the way of
    /// callbacks.
    pub(crate) fn fetch(&self, buffer: &mut [u8]) -> Fetched {
        if !self.connection.may_read() {
            return Fetched::Ended;
        }
        match self.connection.receive(buffer) {
            Received::Bytes(count) => Fetched::Bytes(count),
            Received::Nothing => Fetched::Nothing,
            other => {
                self.read_nothing(other);
                Fetched::Ended
            }
        }
    }

    /// Has the waker wait in the socket's own line: it is woken when something may have come, and nothing is delivered in
    /// its place. Whoever is woken so fetches until nothing is there, or leaves.
    pub(crate) fn stand_in_line(&self, place: &mut Option<WaiterId>, waker: Waker) {
        let mut waker = Some(waker);
        self.connection.with_io(|io| {
            // A loop that is closed has told everybody.
            let _ = io.readiness(|readiness| readiness.wait(Direction::Read, place, &mut waker));
        });
        drop(waker);
    }

    /// Leaves the socket's line. Who may have been told of something that nobody else was told of looks again.
    pub(crate) fn leave_fetching(&self, place: WaiterId, look_again: bool) {
        let leave =
            |io: &Io<StreamSocket>| io.readiness(|it| it.leave(Direction::Read, place)).ok();
        let left = self.connection.with_io(leave);
        drop(left);
        if look_again {
            self.look_again();
        }
    }

    /// A read that brought no bytes.
    fn read_nothing(&self, received: Received) {
        match received {
            Received::End => {
                self.connection.ended.set(true);
                let keep_open =
                    self.enter_or_abort("eof_received", |protocol| protocol.eof_received(self));
                let over = self.connection.pipe_direction().is_some();
                if keep_open == Some(false) || over {
                    self.close();
                }
            }
            Received::Failed(error) => self.fail(error),
            Received::NoBuffer => {
                let what = "a protocol's get_buffer lent no memory";
                self.connection
                    .handle
                    .state
                    .report(ExceptionContext::new(what));
                self.fail(io::Error::other(what));
            }
            Received::Bytes(_) | Received::Nothing => {}
        }
    }

    /// What one event is worth to the writer.
    fn write_ready(&self) {
        let connection = &self.connection;
        if connection.lost.get() {
            return;
        }
        if connection.outgoing.borrow().is_empty() {
            return connection.let_file_go_on();
        }
        match connection.flush() {
            Err(error) => return self.fail_writing(error),
            Ok(0) => return,
            Ok(_) => {}
        }
        let size = connection.outgoing.borrow().len();
        if connection.sending_file.get() {
            return match size {
                0 => connection.let_file_go_on(),
                _ => connection.look_again_for_writing(),
            };
        }
        if connection.marks.borrow_mut().may_resume(size) {
            // The protocol may well write at once. Its panic costs it this call only.
            let _ = self.enter("resume_writing", |protocol| protocol.resume_writing(self));
        }
        if connection.lost.get() {
            return;
        }
        if !connection.outgoing.borrow().is_empty() {
            return connection.look_again_for_writing();
        }
        connection.with_io(|io| io.set_writes(false));
        if connection.closing.get() {
            connection.lost.set(true);
            self.over(None);
        } else if connection.finishing.get() {
            connection.end_writing();
        }
    }
}

#[cfg(unix)]
impl Transport {
    /// Ends the writing end of a pipe that nobody reads any more. Events that say so set the reading bit, which nothing
    /// else uses there.
    fn notice_hang_up(&self) {
        let connection = &self.connection;
        if connection.holds.has(Hold::NotBegun) {
            return;
        }
        let gone = connection.with_io(|io| {
            let pipe = io.source().pipe()?;
            let told = pipe.direction == Direction::Write
                && io.readiness(|readiness| readiness.is_ready(Direction::Read)) == Ok(true);
            if !told {
                return None;
            }
            io.clear_ready(Direction::Read);
            Some(pipe.is_hung_up())
        });
        if gone.flatten() == Some(true) {
            let unsent = !connection.outgoing.borrow().is_empty();
            self.force_close(unsent.then(|| io::ErrorKind::BrokenPipe.into()));
        }
    }
}

impl Observer for Connection {
    fn ready(self: Rc<Self>) {
        let transport = Transport { connection: self };
        transport.read_ready();
        transport.write_ready();
        #[cfg(unix)]
        transport.notice_hang_up();
    }

    fn panicked(self: Rc<Self>, error: io::Error) {
        Transport { connection: self }.fail(error);
    }

    fn abandon(self: Rc<Self>) {
        self.release();
    }
}
