//! One TLS session without its socket: ciphertext in, plaintext out, and the reverse.
//!
//! rustls does the protocol. Its `complete_io`, which reads and writes by itself until it is content, is never called:
//! what is received is handed to it a piece at a time, and what it decrypts is taken out before the next piece, so its
//! buffers hold a record or a message of the handshake at most. Ciphertext for whose content there is no room stays here.
//!
//! When the session is over for reading, by a close_notify, the end of the socket or a failure, the plaintext before that
//! is still taken out first.

use std::io::{self, IoSlice, Read as _, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::transport::tls::error::tls_error;

/// More plaintext than one piece of ciphertext can bring.
const MORE_THAN_A_PIECE: usize = 64 * 1024;

/// See the module.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    /// The name that a server has to prove. `None` on servers, and for a server that has to prove its address.
    pub(crate) server_name: Option<Box<str>>,
    /// Ciphertext that was received and is not decrypted yet, from `opened` on.
    unopened: Vec<u8>,
    opened: usize,
    /// How many bytes of plaintext wait in rustls.
    plaintext: usize,
    /// Nothing more is read after that plaintext.
    over: bool,
    /// Why, unless it was a close_notify.
    failure: Option<io::Error>,
    /// The peer was sent a close_notify, after which nothing may be sent.
    ended_writing: bool,
    /// A key update may wait for its answer.
    owes_answer: bool,
}

impl Session {
    pub(crate) fn client(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let server_name = match &name {
            ServerName::DnsName(name) => Some(name.as_ref().into()),
            _ => None,
        };
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(tls_error)?;
        let mut session = Self::of(Connection::Client(connection));
        session.server_name = server_name;
        Ok(session)
    }

    pub(crate) fn server(config: &Arc<ServerConfig>) -> io::Result<Self> {
        let connection = ServerConnection::new(Arc::clone(config));
        Ok(Self::of(Connection::Server(connection.map_err(tls_error)?)))
    }

    fn of(connection: Connection) -> Self {
        Self {
            connection,
            server_name: None,
            unopened: Vec::new(),
            opened: 0,
            plaintext: 0,
            over: false,
            failure: None,
            ended_writing: false,
            owes_answer: false,
        }
    }

    /// Sets how many bytes of records may wait for the socket.
    pub(crate) fn keeping(mut self, most: usize) -> Self {
        self.connection.set_buffer_limit(Some(most));
        self
    }

    /// Returns whether something can be taken out, or something was received that may bring something, or there is an end
    /// to be told of.
    pub(crate) fn has_more(&self) -> bool {
        self.plaintext > 0 || self.has_unopened() || self.over
    }

    /// Returns whether ciphertext waits for its turn.
    pub(crate) fn has_unopened(&self) -> bool {
        self.opened < self.unopened.len() && !self.over
    }

    /// Returns whether nothing more comes in.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Returns how many bytes wait in the session, of whatever form.
    pub(crate) fn waiting(&self) -> usize {
        self.plaintext + self.unopened.len() - self.opened
    }

    /// Takes the reason why nothing more is read. `None` after a close_notify.
    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Ends reading because of an error.
    pub(crate) fn fail(&mut self, error: io::Error) {
        self.over = true;
        self.failure.get_or_insert(error);
    }

    /// Notes that the socket has ended. Without a close_notify before, that is a failure.
    pub(crate) fn end(&mut self) {
        if self.over {
            return;
        }
        let (kind, why) = if self.connection.is_handshaking() {
            let why = "the peer closed the connection";
            (io::ErrorKind::ConnectionReset, why)
        } else {
            let why = "the peer closed the connection without a close_notify of TLS";
            (io::ErrorKind::UnexpectedEof, why)
        };
        self.fail(io::Error::new(kind, why));
    }

    /// Decrypts ciphertext that waits, then `received`, into `buffer`, which is not empty, and returns how much of it is
    /// filled. What there is no room for waits here.
    pub(crate) fn open(&mut self, received: &[u8], buffer: &mut [u8]) -> usize {
        let waiting = std::mem::take(&mut self.unopened);
        let mut rest = &waiting[std::mem::take(&mut self.opened)..];
        let mut filled = self.open_some(&mut rest, buffer);
        if !rest.is_empty() && !self.over {
            self.opened = waiting.len() - rest.len();
            self.unopened = waiting;
            // The caller receives nothing while something waits.
            self.unopened.extend_from_slice(received);
            return filled;
        }
        let mut rest = received;
        filled += self.open_some(&mut rest, &mut buffer[filled..]);
        if !self.over {
            self.unopened.extend_from_slice(rest);
        }
        filled
    }

    fn open_some(&mut self, ciphertext: &mut &[u8], buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        loop {
            filled += self.take_plaintext(&mut buffer[filled..]);
            if filled == buffer.len() || ciphertext.is_empty() || self.over {
                return filled;
            }
            self.feed(ciphertext);
        }
    }

    /// Goes on with the handshake by what waits and what was received, up to its end: the rest waits here.
    pub(crate) fn shake(&mut self, received: &[u8]) {
        let mut waiting = std::mem::take(&mut self.unopened);
        waiting.extend_from_slice(received);
        let mut rest = &waiting[std::mem::take(&mut self.opened)..];
        while !rest.is_empty() && !self.over && self.connection.is_handshaking() {
            self.feed(&mut rest);
        }
        if self.over && self.connection.is_handshaking() && self.failure.is_none() {
            self.over = false;
            self.end();
        }
        if !rest.is_empty() && !self.over {
            self.opened = waiting.len() - rest.len();
            self.unopened = waiting;
        }
    }

    /// Adds ciphertext to what waits, before the handshake begins.
    pub(crate) fn receive_early(&mut self, ciphertext: &[u8]) {
        self.unopened.extend_from_slice(ciphertext);
    }

    /// Has rustls take one piece and decrypt what is whole.
    fn feed(&mut self, ciphertext: &mut &[u8]) {
        let before = ciphertext.len();
        match self.connection.read_tls(ciphertext) {
            Ok(_) if ciphertext.len() < before => {}
            // It takes nothing after a close_notify.
            Ok(_) => return self.over = true,
            Err(error) => return self.fail(error),
        }
        let processed = self.connection.process_new_packets();
        match processed {
            Ok(state) => {
                self.plaintext = state.plaintext_bytes_to_read();
                self.over |= state.peer_has_closed();
                self.owes_answer = true;
                self.answer();
            }
            Err(error) => {
                // What was decrypted before is left to be taken. rustls does not say how much it is, but it is less.
                self.plaintext = MORE_THAN_A_PIECE;
                self.fail(tls_error(error));
            }
        }
    }

    /// Has rustls make its answer to a key update, which it keeps until something is written: nothing is enough. One answer
    /// is enough for many updates. So none is made while something waits for the socket: a peer that asks without end and
    /// reads nothing would fill the memory.
    pub(crate) fn answer(&mut self) {
        let may_write = !self.connection.is_handshaking() && !self.ended_writing;
        if self.owes_answer && may_write && !self.connection.wants_write() {
            self.owes_answer = false;
            let _ = self.connection.writer().write(&[]);
        }
    }

    /// Has rustls say that nothing more comes, once. Before the end of the handshake there is nobody to tell.
    pub(crate) fn end_writing(&mut self) {
        if !self.connection.is_handshaking() {
            self.ended_writing = true;
            self.connection.send_close_notify();
        }
    }

    pub(crate) fn has_ended_writing(&self) -> bool {
        self.ended_writing
    }

    fn take_plaintext(&mut self, buffer: &mut [u8]) -> usize {
        let mut taken = 0;
        while self.plaintext > 0 && taken < buffer.len() {
            // The end and `WouldBlock` alike mean that nothing is left.
            match self.connection.reader().read(&mut buffer[taken..]) {
                Ok(count) if count > 0 => {
                    taken += count;
                    self.plaintext = self.plaintext.saturating_sub(count);
                }
                _ => self.plaintext = 0,
            }
        }
        taken
    }

    /// Encrypts as much as rustls keeps at a time, and returns how much.
    pub(crate) fn seal(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection.writer().write_vectored(pieces)
    }

    /// Returns whether there is ciphertext for the socket.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Hands ciphertext to the socket, and returns how much it took.
    pub(crate) fn write_to(&mut self, socket: &mut dyn Write) -> io::Result<usize> {
        self.connection.write_tls(socket)
    }
}
