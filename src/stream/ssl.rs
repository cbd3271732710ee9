//! TLS on streams: `ssl` on a server of streams, `start_tls` on a stream that is open already. `ssl` of `open_connection`
//! is that of [`CreateConnection`](crate::transport::CreateConnection).

use std::rc::Rc;
use std::time::Duration;

use crate::stream::open::StartServer;
use crate::stream::writer::StreamWriter;
use crate::transport::tls::context::{Context, ServerContext};
use crate::transport::tls::info::TlsInfo;
use crate::transport::tls::start_tls::StartTls;

#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
impl StartServer {
    /// Encrypts the connections of clients. The function runs after the handshake. See
    /// [`CreateServer::ssl`](crate::transport::CreateServer::ssl).
    ///
    /// ```no_run
    /// # use callsoon::doctest::anywhere;
    /// # use callsoon::tls::ServerContext;
    /// # async fn example(context: ServerContext) -> std::io::Result<()> {
    /// let greet = async |_, writer: callsoon::stream::StreamWriter| writer.write(b"bye\n");
    /// let server = callsoon::start_server(greet, anywhere).ssl(context).await?;
    /// # Ok(()) }
    /// ```
    pub fn ssl(self, context: impl Into<ServerContext>) -> Self {
        self.options(|server| server.ssl(context))
    }

    /// Sets how long the handshake of a client may take. See
    /// [`CreateServer::ssl_handshake_timeout`](crate::transport::CreateServer::ssl_handshake_timeout).
    ///
    /// ```no_run
    /// # use callsoon::doctest::anywhere;
    /// # use callsoon::tls::ServerContext;
    /// # async fn example(context: ServerContext) -> std::io::Result<()> {
    /// let limit = std::time::Duration::from_secs(5);
    /// let starting = callsoon::start_server(async |_, _| (), anywhere).ssl(context);
    /// let server = starting.ssl_handshake_timeout(limit).await?;
    /// # Ok(()) }
    /// ```
    pub fn ssl_handshake_timeout(self, limit: Duration) -> Self {
        self.options(|server| server.ssl_handshake_timeout(limit))
    }

    /// Sets how long a client may do nothing when its connection closes. See
    /// [`CreateServer::ssl_shutdown_timeout`](crate::transport::CreateServer::ssl_shutdown_timeout).
    ///
    /// ```no_run
    /// # use callsoon::doctest::anywhere;
    /// # use callsoon::tls::ServerContext;
    /// # async fn example(context: ServerContext) -> std::io::Result<()> {
    /// let limit = std::time::Duration::from_secs(1);
    /// let starting = callsoon::start_server(async |_, _| (), anywhere).ssl(context);
    /// let server = starting.ssl_shutdown_timeout(limit).await?;
    /// # Ok(()) }
    /// ```
    pub fn ssl_shutdown_timeout(self, limit: Duration) -> Self {
        self.options(|server| server.ssl_shutdown_timeout(limit))
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
impl StreamWriter {
    /// Encrypts a stream that is open already. Both of its ends go on as they are.
    ///
    /// What was written before goes first, as it is. What was received and not read is taken for the beginning of the
    /// handshake. A client has to say which name the peer has to prove, by
    /// [`server_hostname`](crate::tls::StartTls::server_hostname). See
    /// [`LoopHandle::start_tls`](crate::LoopHandle::start_tls). asyncio drains first.
    ///
    /// # Errors
    /// As [`LoopHandle::start_tls`](crate::LoopHandle::start_tls).
    ///
    /// # Cancellation
    /// Dropped before it is done it aborts the connection.
    ///
    /// ```no_run
    /// # use callsoon::tls::ClientContext;
    /// # async fn example(context: ClientContext) -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut reader, writer) = callsoon::open_connection(("mail.example.com", 587)).await?;
    /// writer.write(b"STARTTLS\r\n");
    /// reader.readline().await?;
    /// writer.start_tls(context).server_hostname("mail.example.com").await?;
    /// # Ok(()) }
    /// ```
    pub fn start_tls(&self, context: impl Into<Context>) -> StartTls {
        let protocol = Rc::clone(&self.stream.protocol);
        let unread = Box::new(move || protocol.incoming.take().bytes().to_vec());
        StartTls::new(&self.stream.transport, None, context.into(), unread)
    }

    /// Returns what the TLS handshake has come to. See [`Transport::tls_info`](crate::transport::Transport::tls_info).
    ///
    /// ```
    /// # callsoon::doctest::with_stream(async |mut reader, writer, there| {
    /// assert!(writer.tls_info().is_none());
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_extra_info")]
    pub fn tls_info(&self) -> Option<TlsInfo> {
        self.stream.transport.tls_info()
    }
}
