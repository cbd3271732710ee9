//! A client that asks for each route over one connection.

use std::error::Error;
use std::net::SocketAddr;

use callsoon::create_task;
use callsoon::interop::hyper::HyperIo;
use callsoon::net::TcpStream;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;

pub(crate) async fn visit(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let stream = HyperIo::new(TcpStream::connect(address).await?);
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
