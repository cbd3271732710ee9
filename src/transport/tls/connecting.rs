//! `ssl` on everything that connects, and on servers.

use std::time::Duration;

use crate::transport::client::CreateConnection;
use crate::transport::create_server::CreateServer;
use crate::transport::tls::context::{ClientContext, ServerContext};

impl<F> CreateConnection<F> {
    /// Encrypts the connection, as its client. The protocol is made after the handshake.
    ///
    /// The peer has to prove the name of the host that is connected to, or [`server_hostname`](Self::server_hostname).
    ///
    /// Awaiting then fails also with: `InvalidData` if the handshake fails;
    /// `ConnectionReset` if the peer leaves meanwhile; `ConnectionAborted` after the
    /// [`ssl_handshake_timeout`](Self::ssl_handshake_timeout); `InvalidInput` if there is no name. A [`HandshakeError`](crate::tls::HandshakeError) inside has the peer and the
    /// [`rustls::Error`].
    ///
    /// ```no_run
    /// # use callsoon::tls::ClientContext;
    /// # async fn example(context: ClientContext) -> std::io::Result<()> {
    /// let (reader, writer) = callsoon::open_connection(("example.com", 443)).ssl(context).await?;
    /// writer.write(b"HEAD / HTTP/1.0\r\nHost: example.com\r\n\r\n");
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn ssl(mut self, context: impl Into<ClientContext>) -> Self {
        self.tls.ask().context = Some(context.into().into());
        self
    }

    /// Encrypts the connection, as its server: for a socket that was accepted elsewhere. asyncio's
    /// `connect_accepted_socket` has `ssl` for this.
    ///
    /// ```no_run
    /// # use callsoon::doctest::Idle;
    /// # use callsoon::tls::ServerContext;
    /// # async fn example(context: ServerContext, socket: std::net::TcpStream) -> std::io::Result<()> {
    /// let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.connect_accepted_socket(|| Idle, socket).ssl_server(context).await?;
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn ssl_server(mut self, context: impl Into<ServerContext>) -> Self {
        self.tls.ask().context = Some(context.into().into());
        self
    }

    /// Sets the name that the server's certificate has to prove, or its address. By default the host that is connected to.
    /// A list of addresses, a path and a socket have none, so they need it.
    ///
    /// ```no_run
    /// # use callsoon::tls::ClientContext;
    /// # async fn example(context: ClientContext) -> std::io::Result<()> {
    /// let tunnel = callsoon::open_connection(("localhost", 8443));
    /// let (reader, writer) = tunnel.ssl(context).server_hostname("example.com").await?;
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn server_hostname(mut self, name: impl Into<String>) -> Self {
        self.tls.ask().server_hostname = Some(name.into());
        self
    }

    /// Sets how long the handshake may take. 60 seconds by default. Zero is an error of kind `InvalidInput`.
    ///
    /// ```no_run
    /// # use callsoon::tls::ClientContext;
    /// # async fn example(context: ClientContext) -> std::io::Result<()> {
    /// let limit = std::time::Duration::from_secs(5);
    /// let connecting = callsoon::open_connection(("example.com", 443)).ssl(context);
    /// let (reader, writer) = connecting.ssl_handshake_timeout(limit).await?;
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn ssl_handshake_timeout(mut self, limit: Duration) -> Self {
        self.tls.ask().handshake_timeout = Some(limit);
        self
    }

    /// Sets how long the peer may do nothing when the connection closes, before it is lost to `TimedOut`. 30 seconds by
    /// default. Zero is an error of kind `InvalidInput`.
    ///
    /// ```no_run
    /// # use callsoon::tls::ClientContext;
    /// # async fn example(context: ClientContext) -> std::io::Result<()> {
    /// let limit = std::time::Duration::from_secs(1);
    /// let connecting = callsoon::open_connection(("example.com", 443)).ssl(context);
    /// let (reader, writer) = connecting.ssl_shutdown_timeout(limit).await?;
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn ssl_shutdown_timeout(mut self, limit: Duration) -> Self {
        self.tls.ask().shutdown_timeout = Some(limit);
        self
    }
}

impl CreateServer {
    /// Encrypts the connections of clients. A client's protocol is made after its handshake.
    ///
    /// A handshake that fails ends its connection, and the server goes on. In debug mode the exception handler is told. A
    /// client whose handshake goes on counts as one of the server's.
    ///
    /// ```no_run
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # use callsoon::tls::ServerContext;
    /// # async fn example(context: ServerContext) -> std::io::Result<()> {
    /// let event_loop = callsoon::get_running_loop();
    /// let server = event_loop.create_server(|| Idle, anywhere).ssl(context).await?;
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn ssl(mut self, context: impl Into<ServerContext>) -> Self {
        self.tls.ask().context = Some(context.into().into());
        self
    }

    /// Sets how long the handshake of a client may take. 60 seconds by default. Zero is an error of kind `InvalidInput`.
    ///
    /// ```no_run
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # use callsoon::tls::ServerContext;
    /// # async fn example(context: ServerContext) -> std::io::Result<()> {
    /// let limit = std::time::Duration::from_secs(5);
    /// let creating = callsoon::get_running_loop().create_server(|| Idle, anywhere).ssl(context);
    /// let server = creating.ssl_handshake_timeout(limit).await?;
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn ssl_handshake_timeout(mut self, limit: Duration) -> Self {
        self.tls.ask().handshake_timeout = Some(limit);
        self
    }

    /// Sets how long a client may do nothing when its connection closes, before that is lost to `TimedOut`. 30 seconds by
    /// default. Zero is an error of kind `InvalidInput`.
    ///
    /// ```no_run
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # use callsoon::tls::ServerContext;
    /// # async fn example(context: ServerContext) -> std::io::Result<()> {
    /// let limit = std::time::Duration::from_secs(1);
    /// let creating = callsoon::get_running_loop().create_server(|| Idle, anywhere).ssl(context);
    /// let server = creating.ssl_shutdown_timeout(limit).await?;
    /// # Ok(()) }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn ssl_shutdown_timeout(mut self, limit: Duration) -> Self {
        self.tls.ask().shutdown_timeout = Some(limit);
        self
    }
}
