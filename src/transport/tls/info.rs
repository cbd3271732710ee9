//! What is known of an encrypted connection: the typed counterpart of asyncio's `peercert`, `cipher` and `ssl_object`.

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, Connection, HandshakeKind, ProtocolVersion};

use crate::transport::protocol::Transport;

/// What a handshake has come to. [`Transport::tls_info`] gives it.
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
    fn of(connection: &Connection) -> Option<Self> {
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

impl Transport {
    /// Returns what the handshake has come to. `None` if the connection is not encrypted, before the end of its handshake,
    /// and once it has closed.
    ///
    /// ```
    /// # callsoon::doctest::with_transport(async |transport, there| {
    /// assert!(transport.tls_info().is_none());
    /// # Ok(()) });
    /// ```
    #[doc(alias = "get_extra_info")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls_info(&self) -> Option<TlsInfo> {
        let info = self.connection.with_encrypted(|layer| {
            layer.with_session(|session| {
                let connection = &session.connection;
                (!connection.is_handshaking()).then(|| TlsInfo::of(connection))
            })
        });
        info.flatten().flatten().flatten()
    }
}
