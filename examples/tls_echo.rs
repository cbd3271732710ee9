//! An echo server and its client over TLS, with a certificate made on the spot that the client trusts.
//!
//! ```text
//! TLSv1_3 with localhost
//! Received: "Hello World!\n"
//! ```

use std::error::Error;
use std::net::SocketAddr;

use callsoon::stream::{ReadError, StreamReader, StreamWriter};
use callsoon::tls::rustls::pki_types::PrivateKeyDer;
use callsoon::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};

#[path = "common/command_line.rs"]
mod command_line;

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), ReadError> {
    while let Some(line) = reader.next_line().await? {
        writer.write(&line);
        writer.drain().await?;
    }
    Ok(())
}

/// Both sides' configurations. A program that is served to others reads its certificate and key from files instead.
fn configurations() -> Result<(ServerConfig, ClientConfig), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let client = ClientConfig::builder().with_root_certificates(roots);
    Ok((server, client.with_no_client_auth()))
}

fn main() -> Result<(), Box<dyn Error>> {
    command_line::arguments!("");
    let (server, client) = configurations()?;
    callsoon::run(async {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = callsoon::start_server(echo, anywhere).ssl(server).await?;
        let address = server.local_addr().ok_or("no address")?;
        let connecting = callsoon::open_connection(address).ssl(client);
        let (mut reader, writer) = connecting.server_hostname("localhost").await?;
        let info = writer.tls_info().ok_or("no TLS")?;
        println!("{:?} with localhost", info.version);
        writer.write(b"Hello World!\n");
        let answer = reader.readline().await?;
        println!("Received: {:?}", String::from_utf8_lossy(&answer));
        writer.close();
        writer.wait_closed().await?;
        server.close();
        server.wait_closed().await;
        Ok(())
    })?
}
