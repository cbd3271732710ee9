//! What is known of an encrypted connection: the typed counterpart of asyncio's `peercert`, `cipher` and `ssl_object`.

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, Connection, HandshakeKind, ProtocolVersion};

/// What a handshake has come to. [`Transport::tls_info`](crate::transport::Transport::tls_info)
/// gives it, also after the connection has closed.
///
/// ```no_run
/// # async fn example(transport: callsoon::transport::Transport) -> Option<()> {
/// let info = transport.tls_info()?;
/// println!("{:?} by {:?}", info.version, info.cipher_suite);
/// if info.alpn_protocol.as_deref() == Some(b"h2") {
///     println!("HTTP/2");
/// }
/// # Some(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The certificates that the peer has shown, its own first. Empty if it has shown none.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// How the connection is encrypted.
    pub cipher_suite: CipherSuite,
    /// The version of TLS.
    pub version: ProtocolVersion,
    /// The application protocol that both sides have agreed on, if they speak of it.
    pub alpn_protocol: Option<Vec<u8>>,
    /// The name that a client has asked this server for. `None` on the side of a client.
    pub server_name: Option<String>,
    /// An earlier session was resumed, so that no certificate was shown again.
    pub resumed: bool,
}

impl TlsInfo {
    pub(crate) fn of(connection: &Connection) -> Option<Self> {
        let server_name = match connection {
            Connection::Client(_) => None,
            Connection::Server(server) => server.server_name().map(str::to_owned),
        };
        let certificates = connection.peer_certificates().unwrap_or_default();
        Some(Self {
            peer_certificates: certificates.to_vec(),
            cipher_suite: connection.negotiated_cipher_suite()?.suite(),
            version: connection.protocol_version()?,
            alpn_protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
            server_name,
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }
}
