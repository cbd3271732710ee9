//! The layer that encrypts: a session between the connection and its socket.
//!
//! It receives and sends by [`Plain`], and so keeps the socket's readiness as that does. Whatever the session wants to send
//! by itself, such as alerts, tickets and answers to key updates, is sent in the call that brought it about; what the
//! socket does not take then is sent upon an event, since the layer asks for one.
//!
//! In a handshake rustls calls code of the program: resolvers and verifiers of certificates, stores of sessions. Such code
//! may well use this very connection. Its calls find the session borrowed, and then nothing is taken and nothing there.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Write};
use std::time::Duration;

use crate::error::LoopClosed;
use crate::kernel::callback::TimerHandle;
use crate::kernel::io::readiness::Readiness;
use crate::kernel::io::source::Io;
use crate::kernel::local::LoopLocal;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::buffer::WriteBuffer;
use crate::transport::layer::{Layer, Plain, Received};
use crate::transport::tls::info::TlsInfo;
use crate::transport::tls::session::Session;

/// The most ciphertext that one receive takes.
const MOST_RECEIVED: usize = 64 * 1024;

/// The most that waits encrypted for a socket that is full: what a program writes before it is asked to pause, and the
/// write that exceeds that. So it is copied once, by the encryption. What is more waits in the connection as it is.
const MOST_SEALED: usize = (512 + 64) * 1024;

/// How much is encrypted before it is sent: a few records, which stay in a processor's near cache.
const SEALED_AT_ONCE: usize = 64 * 1024;

/// How much longer a record is than what it holds, in version 1.3.
const OVERHEAD: usize = 22;

/// The most that one record holds.
const FRAGMENT: usize = 16 * 1024;

/// The least that a receive has room for: a whole record, so that no record needs more than two receives.
const RECORD: usize = 18 * 1024;

/// What all encrypted connections of a loop receive into.
static CIPHERTEXT: LoopLocal<Cell<Vec<u8>>> = LoopLocal::new(|| Cell::new(Vec::new()));

/// What is called when a handshake ends. It runs no code of the program while anything is borrowed.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>)>;

/// How a connection keeps its layer if it is this one: in a box, so that plain connections stay small.
pub(crate) type BoxedEncrypted = Box<Encrypted>;

/// What is known of an encrypted connection when its layer is gone. `None` if its handshake was never complete.
pub(crate) type LeftBehind = Option<Box<TlsInfo>>;

/// Whether the layer of a connection encrypts. Without the feature `tls` this takes no room.
pub(crate) type IsEncrypted = Cell<bool>;

/// See the module.
pub(crate) struct Encrypted {
    below: Plain,
    session: RefCell<Session>,
    /// What was written before TLS began: it goes first, as it is.
    before: RefCell<WriteBuffer>,
    /// How many bytes of records wait in rustls. It does not tell, so this is exact in version 1.3 and a little less before.
    sealed: Cell<usize>,
    /// How many bytes the socket has taken, to tell a slow peer from one that stands still.
    pub(crate) sent: Cell<u64>,
    /// Bounds the handshake, and later the shutdown.
    timer: Cell<Option<TimerHandle>>,
    /// There while a handshake goes on.
    done: Cell<Option<Done>>,
    pub(crate) shutdown_timeout: Duration,
}

impl Encrypted {
    pub(crate) fn new(
        below: Plain,
        session: Session,
        before: WriteBuffer,
        shutdown_timeout: Duration,
    ) -> Self {
        Self {
            below,
            session: RefCell::new(session.keeping(MOST_SEALED)),
            before: RefCell::new(before),
            sealed: Cell::new(0),
            sent: Cell::new(0),
            timer: Cell::new(None),
            done: Cell::new(None),
            shutdown_timeout,
        }
    }

    /// Begins a handshake, which ends with a call of `done`.
    pub(crate) fn begin(&self, timer: TimerHandle, done: Done) {
        self.set_timer(Some(timer));
        self.done.set(Some(done));
        self.io().set_writes(true);
        self.io().queue();
    }

    /// Notes the end of the handshake.
    pub(crate) fn end_handshake(&self) -> Option<Done> {
        self.set_timer(None);
        self.done.take()
    }

    pub(crate) fn in_handshake(&self) -> bool {
        let done = self.done.take();
        let is_there = done.is_some();
        self.done.set(done);
        is_there
    }

    /// Returns the name that the server has to prove. `None` on a server, for an address, and for code that rustls calls.
    pub(crate) fn server_name(&self) -> Option<String> {
        let name = self.with_session(|session| session.server_name.as_deref().map(str::to_owned));
        name.flatten()
    }

    pub(crate) fn set_timer(&self, timer: Option<TimerHandle>) {
        if let Some(former) = self.timer.replace(timer) {
            former.cancel();
        }
    }

    pub(crate) fn has_timer(&self) -> bool {
        let timer = self.timer.take();
        let is_there = timer.is_some();
        self.timer.set(timer);
        is_there
    }

    /// Calls `f` with the session, unless code that rustls calls is asking.
    pub(crate) fn with_session<R>(&self, f: impl FnOnce(&mut Session) -> R) -> Option<R> {
        let mut session = self.session.try_borrow_mut().ok()?;
        Some(f(&mut session))
    }

    /// Returns what the handshake has come to. `None` before its end, and for code that rustls calls.
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        let info = self.with_session(|session| {
            let connection = &session.connection;
            (!connection.is_handshaking()).then(|| TlsInfo::of(connection))
        });
        info.flatten().flatten()
    }

    pub(crate) fn left_behind(&self) -> LeftBehind {
        self.info().map(Box::new)
    }

    /// Receives once from the socket, at most so much, and gives the bytes to `take`.
    fn receive_below<R>(&self, most: usize, take: impl FnOnce(Received, &[u8]) -> R) -> R {
        CIPHERTEXT.with(&self.io().handle(), |shared| {
            let mut buffer = shared.take();
            if buffer.is_empty() {
                buffer = vec![0; MOST_RECEIVED];
            }
            let received = self.below.receive(&mut buffer[..most]);
            let count = match received {
                Received::Bytes { count, .. } => count,
                _ => 0,
            };
            let taken = take(received, &buffer[..count]);
            shared.set(buffer);
            taken
        })
    }

    /// Goes one step further in the handshake: what was received once, and what that makes the session send. Returns
    /// whether the handshake is complete.
    pub(crate) fn shake(&self) -> io::Result<bool> {
        let Ok(mut session) = self.session.try_borrow_mut() else {
            return Ok(false);
        };
        if session.has_unopened() {
            session.shake(&[]);
        } else if session.connection.is_handshaking() && self.below.may_receive() {
            self.receive_below(RECORD, |received, bytes| match received {
                Received::Bytes { .. } => session.shake(bytes),
                Received::End => session.end(),
                Received::Failed(error) => session.fail(error),
                Received::Nothing => {}
            });
        }
        // An alert that says why goes out before the failure is told.
        let flushed = self.flush_session(&mut session);
        if let Some(error) = session.take_failure() {
            return Err(error);
        }
        flushed?;
        let goes_on = session.connection.is_handshaking();
        if goes_on && (session.has_unopened() || self.below.may_receive()) {
            self.io().queue();
        }
        Ok(!goes_on)
    }

    /// Sends what there is to be sent. Returns whether the socket took all of it; if not, an event tells when it takes
    /// more.
    fn flush_session(&self, session: &mut Session) -> io::Result<bool> {
        let mut socket = ToSocket(self);
        let mut before = self.before.borrow_mut();
        while !before.is_empty() {
            let count = socket.write_vectored(&before.front())?;
            if count == 0 {
                self.io().set_writes(true);
                return Ok(false);
            }
            before.consume(count);
        }
        while session.wants_write() {
            if session.write_to(&mut socket)? == 0 {
                self.io().set_writes(true);
                return Ok(false);
            }
            session.answer();
        }
        self.sealed.set(0);
        Ok(true)
    }

    fn send_sealed(
        &self,
        total: usize,
        mut seal: impl FnMut(&mut Session) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Ok(mut session) = self.session.try_borrow_mut() else {
            return Ok(0);
        };
        if session.connection.is_handshaking() {
            return Ok(0);
        }
        // As on a connection that is lost: a connection that closes sends its close_notify after the last byte it has.
        if session.has_ended_writing() {
            return Ok(total);
        }
        let mut taken = 0;
        loop {
            let flushed = self.flush_session(&mut session)?;
            if taken == total || !flushed && self.sealed.get() >= MOST_SEALED {
                return Ok(taken);
            }
            let count = seal(&mut session)?;
            if count == 0 {
                return Ok(taken);
            }
            taken += count;
            let records = count.div_ceil(FRAGMENT) * OVERHEAD;
            self.sealed.set(self.sealed.get() + count + records);
        }
    }

    /// Returns how many bytes wait for the socket.
    pub(crate) fn unsent(&self) -> usize {
        self.before.borrow().len() + self.sealed.get()
    }

    /// Receives and drops what the peer still sends, since nobody reads it any more. Returns why nothing more comes, if it
    /// is not because the peer has closed.
    pub(crate) fn discard(&self) -> Option<io::Error> {
        const AT_ONCE: usize = 8;
        let mut dropped = [0; 16 * 1024];
        for _ in 0..AT_ONCE {
            if self.with_session(|session| session.is_over()) == Some(true) || !self.may_receive() {
                return None;
            }
            if let Received::Failed(error) = self.receive(&mut dropped) {
                return Some(error);
            }
        }
        self.io().queue();
        None
    }

    /// Tells the peer that this side has ended, once, and returns whether both have.
    pub(crate) fn finish(&self) -> bool {
        let Ok(mut session) = self.session.try_borrow_mut() else {
            // The end goes on when the code that asks has returned.
            self.io().set_writes(true);
            self.io().queue();
            return false;
        };
        if session.connection.is_handshaking() {
            return true;
        }
        session.end_writing();
        match self.flush_session(&mut session) {
            Ok(flushed) => flushed && session.is_over(),
            // The peer is gone.
            Err(_) => true,
        }
    }
}

// None of this is compiled into the callers, whose code for plain connections is then what it is without TLS.
impl Layer for Encrypted {
    fn io(&self) -> &Io<StreamSocket> {
        self.below.io()
    }

    #[inline(never)]
    fn may_receive_or(&self, otherwise: impl FnOnce(&mut Readiness)) -> Result<bool, LoopClosed> {
        match self.with_session(|session| session.has_more()) {
            Some(true) => Ok(true),
            Some(false) => self.below.may_receive_or(otherwise),
            // Code that rustls calls must not wait for what it holds up itself.
            None => Err(LoopClosed),
        }
    }

    #[inline(never)]
    fn receive(&self, buffer: &mut [u8]) -> Received {
        let Ok(mut session) = self.session.try_borrow_mut() else {
            return Received::Nothing;
        };
        let mut count = session.open(&[], buffer);
        // The first receive may bring the rest of one record and a part of the next.
        for _ in 0..2 {
            if count > 0 || session.has_more() || !self.below.may_receive() {
                break;
            }
            let most = buffer.len().clamp(RECORD, MOST_RECEIVED);
            count = self.receive_below(most, |received, bytes| match received {
                Received::Bytes { .. } => session.open(bytes, buffer),
                Received::End => {
                    session.end();
                    0
                }
                Received::Failed(error) => {
                    session.fail(error);
                    0
                }
                Received::Nothing => 0,
            });
        }
        // A peer that takes nothing any more is noticed by the next receive or the next write.
        let _ = self.flush_session(&mut session);
        if count > 0 {
            let more = session.has_more() || self.below.may_receive();
            return Received::Bytes { count, more };
        }
        match session.take_failure() {
            Some(error) => Received::Failed(error),
            None if session.is_over() => Received::End,
            None => Received::Nothing,
        }
    }

    #[inline(never)]
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        self.send_sealed(bytes.len(), |session| {
            let piece = &rest[..rest.len().min(SEALED_AT_ONCE)];
            let count = session.seal(&[IoSlice::new(piece)])?;
            rest = &rest[count..];
            Ok(count)
        })
    }

    fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let total = pieces.iter().map(|piece| piece.len()).sum();
        let mut pieces = pieces.to_vec();
        let mut rest = &mut pieces[..];
        self.send_sealed(total, |session| {
            let count = session.seal(rest)?;
            IoSlice::advance_slices(&mut rest, count);
            Ok(count)
        })
    }

    #[inline(never)]
    fn has_unsent(&self) -> bool {
        if !self.before.borrow().is_empty() {
            return true;
        }
        // Half a handshake is nothing that a connection which closes has to send.
        !self.in_handshake() && self.with_session(|session| session.wants_write()) == Some(true)
    }

    #[inline(never)]
    fn flush(&self) -> io::Result<()> {
        let flushed = self.with_session(|session| self.flush_session(session));
        flushed.unwrap_or(Ok(true)).map(drop)
    }

    fn end_writing(&self) {
        self.with_session(|session| {
            session.end_writing();
            let _ = self.flush_session(session);
        });
    }

    fn unread(&self) -> usize {
        let waiting = self.with_session(|session| session.waiting());
        self.below.unread() + waiting.unwrap_or(0)
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        self.set_timer(None);
        if let Some(done) = self.done.take() {
            let why = "the connection was closed during the TLS handshake";
            done(Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)));
        }
    }
}

/// The socket, as rustls writes to it. 0 is what is taken by one that is full.
struct ToSocket<'a>(&'a Encrypted);

impl ToSocket<'_> {
    fn note(&self, count: usize) -> usize {
        let layer = self.0;
        layer.sent.set(layer.sent.get().wrapping_add(count as u64));
        layer.sealed.set(layer.sealed.get().saturating_sub(count));
        count
    }
}

impl Write for ToSocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.below.send(bytes).map(|count| self.note(count))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self.0.below.send_vectored(pieces);
        sent.map(|count| self.note(count))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
