//! A connection that begins in plain text and goes on in TLS once both sides have agreed, as mail servers do.
//!
//! ```text
//! in plain text: "220 go ahead\r\n"
//! over TLS: "250 HELLO\r\n"
//! ```

use std::error::Error;
use std::net::SocketAddr;

use callsoon::stream::{ReadError, StreamReader, StreamWriter};
use callsoon::tls::rustls::pki_types::PrivateKeyDer;
use callsoon::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use callsoon::tls::{ClientContext, ServerContext};

#[path = "common/command_line.rs"]
mod command_line;

type Ends = (StreamReader, StreamWriter);

async fn serve((mut reader, writer): Ends, context: ServerContext) -> Result<(), ReadError> {
    while let Some(line) = reader.next_line().await? {
        match line.trim_ascii() {
            b"STARTTLS" => {
                writer.write(b"220 go ahead\r\n");
                writer.start_tls(context.clone()).await?;
            }
            word => writer.writelines(&[b"250 ", &word.to_ascii_uppercase()[..], b"\r\n"]),
        }
        writer.drain().await?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    command_line::arguments!("");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let server = ServerConfig::builder().with_no_client_auth();
    let server = ServerContext::from(server.with_single_cert(vec![made.cert.der().clone()], key)?);
    let client = ClientConfig::builder().with_root_certificates(roots);
    let client = ClientContext::from(client.with_no_client_auth());
    callsoon::run(async move {
        let serve = move |reader, writer| serve((reader, writer), server.clone());
        let server = callsoon::start_server(serve, SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = server.local_addr().ok_or("no address")?;
        let (mut reader, writer) = callsoon::open_connection(address).await?;
        writer.write(b"STARTTLS\r\n");
        let answer = String::from_utf8(reader.readline().await?)?;
        println!("in plain text: {answer:?}");
        let upgrade = writer.start_tls(client);
        upgrade.server_hostname("localhost").await?;
        writer.write(b"hello\r\n");
        let answer = String::from_utf8(reader.readline().await?)?;
        println!("over TLS: {answer:?}");
        Ok(())
    })?
}
