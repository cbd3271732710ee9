//! The servers and the load generator of `tls`.
//!
//! A server prints `port N:CERTIFICATE` once it listens, the certificate in hexadecimal digits, which is what its load
//! generator trusts.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, version};

use crate::support::rounds::Failure;

pub(crate) mod load;
mod protocol_server;
mod streams_server;
mod tokio_server;

/// Every server's buffer for one connection.
const BUFFER: usize = 4096;
/// The same for a connection in bulk, and what is written at once there.
const BULK_BUFFER: usize = 64 * 1024;

/// What a server does with what comes.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Sends it back.
    Echo,
    /// Reads it to its end and closes.
    Sink,
    /// Takes a number of eight bytes, sends so many, and closes.
    Source,
}

/// The identity of a server: its configuration, and its certificate in digits.
struct Identity {
    config: Arc<ServerConfig>,
    certificate: String,
}

impl Identity {
    fn new() -> Result<Self, Failure> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
        let digits = made.cert.der().iter().map(|byte| format!("{byte:02x}"));
        let certificate = digits.collect();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        Ok(Self {
            config: Arc::new(config),
            certificate,
        })
    }

    /// Tells the parent that `address` accepts connections.
    fn announce(&self, address: SocketAddr) {
        println!("port {}:{}", address.port(), self.certificate);
    }
}

/// Serves as `peer`, for ever.
pub(crate) fn serve(peer: &str, work: Work) -> Result<(), Failure> {
    let identity = Identity::new()?;
    match peer {
        "protocol" => protocol_server::serve(&identity, work),
        "streams" => streams_server::serve(&identity, work),
        "tokio" => tokio_server::serve(&identity, work),
        other => Err(format!("no server {other:?}").into()),
    }
}

/// The number that a client of a source has sent.
fn number(bytes: &[u8]) -> Option<usize> {
    let bytes = bytes.try_into().ok()?;
    Some(u64::from_be_bytes(bytes) as usize)
}
