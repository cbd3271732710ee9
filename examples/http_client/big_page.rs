//! A site with one page of 8 MiB, over TLS, with a certificate that is made on the spot.

use std::error::Error;

use callsoon::stream::{StreamReader, StreamWriter, start_server};
use callsoon::tls::ClientContext;
use callsoon::tls::rustls::pki_types::PrivateKeyDer;
use callsoon::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use callsoon::transport::Server;
use hyper::Uri;

const MIB: usize = 1024 * 1024;

async fn answer(
    mut reader: StreamReader,
    writer: StreamWriter,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    reader.readuntil("\r\n\r\n").await?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 8 * MIB);
    writer.write(head.as_bytes());
    for _ in 0..8 {
        writer.write(vec![b'x'; MIB]);
        writer.drain().await?;
    }
    Ok(())
}

/// Starts the site. Returns its server, which closes when it is dropped, its address, and a context that trusts it.
pub(crate) async fn serve() -> Result<(Server, Uri, ClientContext), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let trusting = ClientConfig::builder().with_root_certificates(roots);
    let trusting = ClientContext::from(trusting.with_no_client_auth());
    let server = start_server(answer, ("127.0.0.1", 0)).ssl(config).await?;
    let port = server.local_addr().ok_or("no address")?.port();
    let url = format!("https://localhost:{port}/").parse()?;
    Ok((server, url, trusting))
}
