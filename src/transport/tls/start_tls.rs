//! `start_tls`: a connection that is open already becomes an encrypted one.
//!
//! The transport stays the same object, where asyncio makes another one of which the former must not be used any more. Its
//! layer is exchanged. What was written before goes first and as it is. What a stream has received and nobody has read is
//! the beginning of the handshake, or nothing that TLS accepts: bytes that somebody has put between a command and the
//! handshake are never read as if they had come encrypted.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::error::invalid_input;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::transport::any_layer::{AnyLayer, LayerPlace};
use crate::transport::connection::{Pause, State};
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::tls::context::Context;
use crate::transport::tls::encrypted::Encrypted;
use crate::transport::tls::handshake::{Timeouts, Unconnected};
use crate::transport::tls::options::TlsOptions;

/// Gives what a stream has received and nobody has read.
type Unread = Box<dyn FnOnce() -> Vec<u8>>;

impl LoopHandle {
    /// Encrypts a connection that is open already, and gives it to `protocol`, whose `connection_made` is not called.
    ///
    /// It gives the same transport, where asyncio makes another one. Nothing is read between the await and its end; what
    /// is written meanwhile is sent encrypted after the handshake. A client has to say which name the peer has to prove,
    /// by [`server_hostname`](StartTls::server_hostname). Bytes of the handshake that the former protocol has received
    /// already are handed over by [`received`](StartTls::received).
    ///
    /// # Errors
    /// `InvalidData` if the handshake fails; `ConnectionReset` if the peer leaves meanwhile; `ConnectionAborted` after the
    /// [`ssl_handshake_timeout`](StartTls::ssl_handshake_timeout). These have a
    /// [`HandshakeError`](crate::tls::HandshakeError) inside, with the peer. `ConnectionAborted` too if the program closes
    /// the transport. After these the connection is lost to the same error. `InvalidInput` for a client
    /// without a name, a timeout of zero, and a pipe; `NotConnected` on a connection that is closing or whose either side
    /// has ended; `ResourceBusy` while a file is sent; `Unsupported` on one that is encrypted already. After these nothing
    /// has changed.
    ///
    /// # Cancellation
    /// Dropped before it is done it aborts the connection.
    ///
    /// ```no_run
    /// # use std::rc::Rc;
    /// # use callsoon::tls::ClientContext;
    /// # use callsoon::transport::{Protocol, Transport};
    /// # async fn example(transport: Transport, protocol: Rc<dyn Protocol>, context: ClientContext) -> std::io::Result<()> {
    /// let event_loop = callsoon::get_running_loop();
    /// event_loop.start_tls(&transport, protocol, context).server_hostname("example.com").await?;
    /// transport.write(b"this is a secret");
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn start_tls(
        &self,
        transport: &Transport,
        protocol: Rc<dyn Protocol>,
        context: impl Into<Context>,
    ) -> StartTls {
        StartTls::new(
            transport,
            Some(protocol),
            context.into(),
            Box::new(Vec::new),
        )
    }
}

/// A connection that is about to be encrypted. Await it. [`LoopHandle::start_tls`] and
/// [`StreamWriter::start_tls`](crate::stream::StreamWriter::start_tls) give it.
///
/// ```no_run
/// # use callsoon::tls::ServerContext;
/// # use callsoon::stream::{StreamReader, StreamWriter};
/// # async fn example(writer: StreamWriter, context: ServerContext) -> std::io::Result<()> {
/// let limit = std::time::Duration::from_secs(5);
/// writer.start_tls(context).ssl_handshake_timeout(limit).await?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is encrypted until it is awaited"]
pub struct StartTls {
    transport: Transport,
    /// `None` keeps the one that there is.
    protocol: Option<Rc<dyn Protocol>>,
    options: TlsOptions,
    received: Vec<u8>,
    unread: Unread,
}

impl StartTls {
    pub(crate) fn new(
        transport: &Transport,
        protocol: Option<Rc<dyn Protocol>>,
        context: Context,
        unread: Unread,
    ) -> Self {
        let mut options = TlsOptions::default();
        options.ask().context = Some(context);
        Self {
            transport: transport.clone(),
            protocol,
            options,
            received: Vec::new(),
            unread,
        }
    }

    /// Sets the name that the peer's certificate has to prove, or its address. A client needs it.
    ///
    /// ```no_run
    /// # use callsoon::tls::ClientContext;
    /// # async fn example(writer: callsoon::stream::StreamWriter, context: ClientContext) -> std::io::Result<()> {
    /// writer.start_tls(context).server_hostname("mail.example.com").await?;
    /// # Ok(()) }
    /// ```
    pub fn server_hostname(mut self, name: impl Into<String>) -> Self {
        self.options.ask().server_hostname = Some(name.into());
        self
    }

    /// Sets how long the handshake may take. 60 seconds by default. Zero is an error of kind `InvalidInput`.
    ///
    /// ```no_run
    /// # use callsoon::tls::ServerContext;
    /// # async fn example(writer: callsoon::stream::StreamWriter, context: ServerContext) -> std::io::Result<()> {
    /// let limit = std::time::Duration::from_secs(5);
    /// writer.start_tls(context).ssl_handshake_timeout(limit).await?;
    /// # Ok(()) }
    /// ```
    pub fn ssl_handshake_timeout(mut self, limit: Duration) -> Self {
        self.options.ask().handshake_timeout = Some(limit);
        self
    }

    /// Sets how long the peer may do nothing when the connection closes. 30 seconds by default. Zero is an error of kind
    /// `InvalidInput`.
    ///
    /// ```no_run
    /// # use callsoon::tls::ServerContext;
    /// # async fn example(writer: callsoon::stream::StreamWriter, context: ServerContext) -> std::io::Result<()> {
    /// let limit = std::time::Duration::from_secs(1);
    /// writer.start_tls(context).ssl_shutdown_timeout(limit).await?;
    /// # Ok(()) }
    /// ```
    pub fn ssl_shutdown_timeout(mut self, limit: Duration) -> Self {
        self.options.ask().shutdown_timeout = Some(limit);
        self
    }

    /// Hands over bytes that a protocol has received and that belong to the handshake, such as those that have come in one
    /// piece with the command before it. A stream hands over by itself what was not read. asyncio has no such option.
    ///
    /// ```no_run
    /// # use std::rc::Rc;
    /// # use callsoon::tls::ServerContext;
    /// # use callsoon::transport::{Protocol, Transport};
    /// # async fn example(transport: Transport, next: Rc<dyn Protocol>, context: ServerContext, data: &[u8]) -> std::io::Result<()> {
    /// let hello = data.strip_prefix(b"STARTTLS\r\n").unwrap_or_default();
    /// callsoon::get_running_loop().start_tls(&transport, next, context).received(hello).await?;
    /// # Ok(()) }
    /// ```
    pub fn received(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.received.extend_from_slice(bytes.as_ref());
        self
    }

    /// Exchanges the layer. Until the handshake ends nothing is read for the protocol.
    fn exchange(&mut self) -> io::Result<Timeouts> {
        let connection = &self.transport.connection;
        let Some((mut session, timeouts)) = self.options.session(None)? else {
            return Err(invalid_input("there is no context"));
        };
        if connection.pipe_direction().is_some() {
            return Err(invalid_input(
                "a socket can be encrypted, and a pipe cannot",
            ));
        }
        let ended = connection.read_ended.get() || connection.write_ended.get();
        if connection.has_reached(State::Closing) || ended {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if connection.sending_file.get() {
            let why = "a file is being sent over this connection";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
        }
        // Only a program that is inside `Transport::socket` just now can hold the borrow.
        let place = connection.layer.try_borrow_mut();
        let mut place = place.map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        let below = match std::mem::replace(&mut *place, LayerPlace::from(None)) {
            LayerPlace::There(AnyLayer::Plain(below)) => below,
            other => {
                *place = other;
                let why = "the connection is encrypted already";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
        };
        let unread = std::mem::replace(&mut self.unread, Box::new(Vec::new));
        session.receive_early(&self.received);
        session.receive_early(&unread());
        let before = std::mem::take(&mut *connection.outgoing.borrow_mut());
        let layer = Encrypted::new(below, *session, before, timeouts.shutdown);
        *place = LayerPlace::There(AnyLayer::Encrypted(Box::new(layer)));
        connection.encrypted.set(true);
        connection.pauses.set(Pause::ForHandshake);
        Ok(timeouts)
    }

    async fn encrypt(mut self) -> io::Result<Transport> {
        proceed().await;
        let timeouts = self.exchange()?;
        let unconnected = Unconnected::shaken(self.transport, timeouts).await?;
        let transport = unconnected.connect(self.protocol)?;
        transport.connection.pauses.lift(Pause::ForHandshake);
        transport.read_after_queued();
        Ok(transport)
    }
}

impl IntoFuture for StartTls {
    type Output = io::Result<Transport>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<Transport>>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.encrypt())
    }
}

impl fmt::Debug for StartTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartTls")
            .field("transport", &self.transport)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
