//! A client that asks for each route over one connection.

use std::error::Error;
use std::net::SocketAddr;

use callsoon::interop::hyper::HyperIo;
use callsoon::stream::join;
use callsoon::tls::ClientContext;
use callsoon::{create_task, open_connection};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;

pub(crate) async fn visit(
    address: SocketAddr,
    trust: Option<ClientContext>,
) -> Result<(), Box<dyn Error>> {
    let mut connecting = open_connection(address);
    if let Some(context) = trust {
        connecting = connecting.ssl(context).server_hostname("localhost");
    }
    let (reader, writer) = connecting.await?;
    let stream = HyperIo::new(join(reader, writer));
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let connection = create_task(connection);
    for (method, path, body) in [
        ("GET", "/", ""),
        ("GET", "/greet/Ada", ""),
        ("POST", "/sum", "[1, 2.5, 3]"),
        ("GET", "/missing", ""),
    ] {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", address.to_string());
        let answer = client.send_request(request.body(Full::new(Bytes::from(body)))?);
        let answer = answer.await?;
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&text);
        println!("{:<18} {status} {text}", format!("{method} {path}"));
    }
    drop(client);
    Ok(connection.await??)
}
