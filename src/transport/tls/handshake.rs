//! The beginning of an encrypted connection: the handshake, driven by the events of its socket.
//!
//! A new connection has a protocol that does nothing until its handshake is complete. Then the code that began it is told, and
//! gives it the protocol of the program. A connection that was open before keeps its protocol, which is called for nothing
//! meanwhile. Each event costs one receive and one step of the session.

use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::kernel::callee::Callee;
use crate::kernel::enter::{Entry, Failed, InContext};
use crate::kernel::io::source::Io;
use crate::socket::address::Address;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::any_layer::{AnyLayer, LayerPlace};
use crate::transport::buffer::WriteBuffer;
use crate::transport::connection::{Connection, State};
use crate::transport::layer::{Layer as _, Plain, Received};
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::tls::encrypted::{Done, Encrypted};
use crate::transport::tls::error::{HandshakeError, copy_of, panicked};
use crate::transport::tls::info::TlsInfo;
use crate::transport::tls::session::Session;

/// The protocol of a new connection until its handshake is complete.
struct Handshaking;

impl Protocol for Handshaking {}

/// How long a handshake may take, and how long the end may stand still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) handshake: Duration,
    pub(crate) shutdown: Duration,
}

impl<P: ?Sized> Connection<P> {
    /// Borrows the layer that encrypts, while there is one. `f` must not run user code.
    #[inline]
    pub(crate) fn with_encrypted<R>(&self, f: impl FnOnce(&Encrypted) -> R) -> Option<R> {
        // One load tells where there is no TLS, which is the usual connection.
        if !self.encrypted.get() {
            return None;
        }
        self.with_layer(|layer| layer.encrypted().map(f)).flatten()
    }
}

impl Transport {
    /// Makes a connection whose handshake has not begun.
    pub(crate) fn encrypted(
        io: Io<StreamSocket>,
        session: Box<Session>,
        timeouts: Timeouts,
        peer: Option<Address>,
        location: &'static Location<'static>,
    ) -> io::Result<Self> {
        let below = Plain::from(io);
        let layer = Encrypted::new(below, *session, WriteBuffer::default(), timeouts.shutdown);
        Self::new(
            AnyLayer::Encrypted(Box::new(layer)),
            Rc::new(Handshaking),
            peer,
            location,
        )
    }

    /// Begins the handshake of a connection whose layer encrypts. `done` is called at its end, however it ends.
    pub(crate) fn begin_handshake(&self, timeouts: Timeouts, done: Done) {
        let timeout = timeouts.handshake;
        let connection = &self.connection;
        let this = Rc::downgrade(connection);
        let expired = move || {
            if let Some(connection) = this.upgrade() {
                let why = format!("it took longer than {timeout:?}");
                let error = io::Error::new(io::ErrorKind::ConnectionAborted, why);
                Self { connection }.fail_handshake(error);
            }
        };
        let deadline = connection.handle.state.clock.after(timeout);
        let (handle, location) = (&connection.handle, connection.location);
        let timer = handle.queue_timer(deadline, expired, location, "start_tls");
        connection.with_encrypted(|layer| layer.begin(timer, done));
    }

    /// Does what an event asks for if the connection is encrypted and at its beginning or its end. Returns whether it did.
    #[inline(always)]
    pub(crate) fn session_ready(&self) -> bool {
        self.connection.encrypted.get() && self.encrypted_ready()
    }

    #[inline(never)]
    fn encrypted_ready(&self) -> bool {
        match self.connection.with_encrypted(Encrypted::in_handshake) {
            None => false,
            Some(false) if !self.connection.is(State::Closing) => false,
            Some(in_handshake) => {
                if !in_handshake {
                    self.shutdown_ready();
                } else if !self.connection.has_reached(State::Failing) {
                    self.handshake_ready();
                }
                true
            }
        }
    }

    /// Enters the session. Resolvers and verifiers of certificates and stores of sessions, which rustls calls then, are code
    /// of the program. After the handshake that is so too: tickets come later.
    pub(crate) fn enter_session<R>(
        &self,
        what: &'static str,
        f: impl FnOnce() -> R,
    ) -> Result<R, Failed> {
        let connection = &self.connection;
        let entry = Entry {
            state: &connection.handle.state,
            callee: Callee::Protocol(what, self),
            location: connection.location,
        };
        entry.run(InContext::Of(&connection.context), f)
    }

    /// Receives for a task, and enters the session for it if there is one.
    #[inline]
    pub(crate) fn enter_to_fetch(
        &self,
        receive: impl FnOnce() -> Option<Received>,
    ) -> Option<Received> {
        if !self.connection.encrypted.get() {
            return receive();
        }
        let received = self.enter_session("TLS session", receive);
        received.unwrap_or_else(|Failed| Some(Received::Failed(panicked())))
    }

    fn handshake_ready(&self) {
        let connection = &self.connection;
        let shake = || connection.with_encrypted(Encrypted::shake);
        match self.enter_session("TLS handshake", shake) {
            Ok(Some(Ok(true))) => self.finish_handshake(),
            // The code that was called may have closed it, or what was written before TLS has gone.
            Ok(Some(Ok(false)) | None) => self.after_close(connection.finish_close(), None),
            Ok(Some(Err(error))) => self.fail_handshake(error),
            Err(Failed) => self.fail_handshake(panicked()),
        }
    }

    fn finish_handshake(&self) {
        let connection = &self.connection;
        let done = connection.with_encrypted(Encrypted::end_handshake);
        connection.marks.borrow_mut().raise();
        if connection.has_unsent() {
            connection.queue_for_writing();
        } else if connection.sending_file.get() {
            connection.wake_file_sender();
        } else {
            connection.with_io(|io| io.set_writes(false));
            if connection.write_ended.get() {
                connection.with_layer(AnyLayer::end_writing);
            }
        }
        if let Some(done) = done.flatten() {
            done(Ok(()));
        }
        // What the program wrote before TLS began has gone.
        self.resume_writing_if_low(connection.unsent());
        // The program may have closed it meanwhile.
        self.after_close(connection.finish_close(), None);
        self.watch_shutdown();
    }

    /// Ends the connection since its handshake has failed.
    fn fail_handshake(&self, error: io::Error) {
        let connection = &self.connection;
        let peer = self.handshake_peer();
        let done = connection.with_encrypted(Encrypted::end_handshake);
        let copy = HandshakeError::wrap(peer.clone(), copy_of(&error));
        self.fail(HandshakeError::wrap(peer, error));
        if let Some(done) = done.flatten() {
            done(Err(copy));
        }
    }

    /// Returns the name that the peer has to prove, with its port, or else its address, as text.
    fn handshake_peer(&self) -> String {
        let name = self.connection.with_encrypted(Encrypted::server_name);
        let address = self.peername();
        let port = address.as_ref().and_then(Address::internet);
        match (name.flatten(), port, address) {
            (Some(name), Some(address), _) => format!("{name}:{}", address.port()),
            (Some(name), None, _) => name,
            (None, _, Some(address)) => address.to_string(),
            (None, _, None) => "an unnamed peer".to_owned(),
        }
    }
}

impl Transport {
    /// Returns what the handshake has come to, also after the connection has closed. `None` if the connection is not
    /// encrypted, and before the end of its handshake.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert!(transport.tls_info().is_none());
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_extra_info")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls_info(&self) -> Option<TlsInfo> {
        match &*self.connection.layer.borrow() {
            LayerPlace::There(layer) => layer.encrypted()?.info(),
            LayerPlace::Gone(left) => left.as_deref().cloned(),
        }
    }
}

/// A connection whose handshake goes on or is complete. If it is dropped before it is given to the program, it ends.
pub(crate) struct Unconnected(Option<Transport>);

impl Unconnected {
    /// Shakes hands on a connection whose layer encrypts.
    pub(crate) async fn shaken(transport: Transport, timeouts: Timeouts) -> io::Result<Self> {
        let unconnected = Self(Some(transport.clone()));
        let ended = transport.connection.handle.create_future();
        let end = ended.clone();
        // The caller may have been dropped.
        let done = move |result| drop(end.set_result(result));
        transport.begin_handshake(timeouts, Box::new(done));
        drop(transport);
        match ended.take().await {
            Ok(result) => result.map(|()| unconnected),
            // The loop closes, and then nobody polls.
            Err(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Returns the connection, with a protocol of the program if it needs one.
    pub(crate) fn connect(mut self, protocol: Option<Rc<dyn Protocol>>) -> io::Result<Transport> {
        let transport = self.0.take().ok_or(io::ErrorKind::NotConnected)?;
        if let Some(protocol) = protocol {
            transport.set_protocol(protocol);
        }
        Ok(transport)
    }
}

impl Drop for Unconnected {
    fn drop(&mut self) {
        if let Some(transport) = self.0.take() {
            transport.abort();
        }
    }
}
