//! The other end of a connection, by hand: rustls beside a socket, so that a test decides when a record is written, sent and
//! read, and may send what rustls never would.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use callsoon::net::TcpStream;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Connection, ConnectionTrafficSecrets, ContentType,
    ProtocolVersion, ServerConfig, ServerConnection, SupportedCipherSuite,
};

/// A peer of the running loop.
pub(crate) struct Peer {
    tls: Connection,
    pub(crate) socket: TcpStream,
    /// What was received and not read yet.
    received: Vec<u8>,
    /// The other side has said that nothing more comes.
    ended: bool,
}

impl Peer {
    pub(crate) fn client(socket: StdStream, config: ClientConfig) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        Self::new(tls.into(), socket)
    }

    pub(crate) fn server(socket: StdStream, config: ServerConfig) -> Self {
        let tls = ServerConnection::new(Arc::new(config)).unwrap();
        Self::new(tls.into(), socket)
    }

    fn new(mut tls: Connection, socket: StdStream) -> Self {
        tls.set_buffer_limit(None);
        Self {
            tls,
            socket: TcpStream::from_std(socket).unwrap(),
            received: Vec::new(),
            ended: false,
        }
    }

    /// Returns the records that rustls wants to send.
    pub(crate) fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).unwrap();
        }
        records
    }

    /// Sends what rustls wants to send.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let records = self.records();
        self.socket.write_all(&records).await
    }

    /// Receives once, and gives rustls what came. Returns whether that was the end of the socket.
    async fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; 1 << 16];
        let count = self.socket.read(&mut buffer).await?;
        let mut came = &buffer[..count];
        while !came.is_empty() {
            self.tls.read_tls(&mut came)?;
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            self.ended |= state.peer_has_closed();
            // Taken out at once, since rustls takes no more while it keeps much.
            let before = self.received.len();
            self.received
                .resize(before + state.plaintext_bytes_to_read(), 0);
            self.tls.reader().read_exact(&mut self.received[before..])?;
        }
        Ok(count == 0)
    }

    pub(crate) async fn handshake(&mut self) -> io::Result<()> {
        loop {
            self.flush().await?;
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            if self.receive().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Does the same, but leaves for the next `flush` what comes after the handshake: a server's tickets, a client's last
    /// message.
    pub(crate) async fn handshake_but_for_the_last_flush(&mut self) {
        while self.tls.is_handshaking() {
            self.flush().await.unwrap();
            assert!(!self.receive().await.unwrap());
        }
    }

    /// Receives until a whole flight of the handshake is there to be sent, and returns it.
    pub(crate) async fn next_flight(&mut self) -> Vec<u8> {
        loop {
            // In version 1.3 a client's first record of its last flight is ready before the server's flight has ended.
            let is_12 = self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_2);
            if self.tls.wants_write() && (is_12 || !self.tls.is_handshaking()) {
                return self.records();
            }
            assert!(!self.receive().await.unwrap());
        }
    }

    /// Gives up rustls for a maker of records, which may be what rustls never makes. The configuration has to have
    /// `enable_secret_extraction`.
    pub(crate) fn into_parts(self) -> (TcpStream, Sealer) {
        assert!(!self.tls.wants_write());
        let suite = self.tls.negotiated_cipher_suite().unwrap();
        let (next, secrets) = self.tls.dangerous_extract_secrets().unwrap().tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            panic!("a suite that rustls has not had")
        };
        let encrypter = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
            // The explicit part of a nonce is the rest, where the suite has one.
            SupportedCipherSuite::Tls12(suite) => {
                let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
                let (fixed, explicit) = iv.as_ref().split_at(fixed);
                suite.aead_alg.encrypter(key, fixed, explicit)
            }
        };
        (self.socket, Sealer { encrypter, next })
    }

    /// Makes records of this and sends them.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(16 * 1024) {
            self.tls.writer().write_all(piece).unwrap();
            self.flush().await.unwrap();
        }
    }

    /// Makes records of this, which the next `flush` sends.
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
    }

    /// Reads so many bytes, or up to the end. A connection that ends without close_notify is `UnexpectedEof`.
    pub(crate) async fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.received.len() < count && !self.ended {
            let is_cut = self.receive().await;
            // A key update or an alert is answered, without a word of ours.
            let _ = self.flush().await;
            if is_cut? && !self.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let count = count.min(self.received.len());
        Ok(self.received.drain(..count).collect())
    }

    /// Asks for new keys on both sides.
    pub(crate) fn update_keys(&mut self) {
        self.tls.refresh_traffic_keys().unwrap();
    }

    pub(crate) async fn close_notify(&mut self) {
        self.tls.send_close_notify();
        let _ = self.flush().await;
    }

    /// Ends the socket's writing side, with or without a close_notify before.
    pub(crate) fn end_writing(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// Makes single records of whatever content.
pub(crate) struct Sealer {
    encrypter: Box<dyn MessageEncrypter>,
    next: u64,
}

impl Sealer {
    fn seal(&mut self, typ: ContentType, content: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(content),
        };
        let record = self.encrypter.encrypt(message, self.next).unwrap();
        self.next += 1;
        record.encode()
    }

    /// A record of data, or of none.
    pub(crate) fn data(&mut self, content: &[u8]) -> Vec<u8> {
        self.seal(ContentType::ApplicationData, content)
    }

    /// Says that nothing more comes.
    pub(crate) fn close_notify(&mut self) -> Vec<u8> {
        self.seal(ContentType::Alert, &[1, 0])
    }
}
