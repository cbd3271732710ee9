//! Another protocol after HTTP/1, over TLS, without `with_upgrades`: both sides take their connection back, with what
//! had been read of the next protocol already.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use callsoon::create_task;
use callsoon::interop::hyper::HyperIo;
use callsoon::stream::{StreamReader, StreamWriter, join, start_server};
use callsoon::transport::Server;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, UPGRADE};
use hyper::http::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};

use crate::exchange::{Local, get};
use crate::https::{HTTP1, close, connect, server_config_for};
use crate::support::{loopback, settling};

type Answering = Pin<Box<dyn Future<Output = Result<Response<Local>, Infallible>>>>;

fn switch(_: Request<Incoming>) -> Answering {
    let mut answer = Response::new(Local::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("echo"));
    Box::pin(async { Ok(answer) })
}

/// Switches to a protocol that sends everything back.
async fn echo_after_http(reader: StreamReader, writer: StreamWriter) {
    let stream = HyperIo::new(join(reader, writer));
    let connection = hyper::server::conn::http1::Builder::new();
    let connection = connection.serve_connection(stream, service_fn(switch));
    let parts = connection.without_shutdown().await.unwrap();
    let (mut reader, writer) = parts.io.into_inner().into_parts();
    writer.write(&parts.read_buf);
    loop {
        let bytes = reader.read(1 << 16).await.unwrap();
        if bytes.is_empty() {
            return writer.close();
        }
        writer.write(&bytes);
        writer.drain().await.unwrap();
    }
}

async fn server() -> Server {
    let serving = start_server(echo_after_http, loopback());
    serving.ssl(server_config_for(&[HTTP1])).await.unwrap()
}

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nhost: site\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

#[test]
fn a_server_switches_to_another_protocol_and_loses_nothing_that_came_with_the_request() {
    settling(|_, _| async {
        let server = server().await;
        let (stream, _) = connect(server.local_addr().unwrap(), &[HTTP1])
            .await
            .unwrap();
        let (mut reader, writer) = stream.into_parts();
        writer.write([REQUEST, b"early"].concat());
        let head = reader.readuntil(b"\r\n\r\n").await.unwrap();
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        assert_eq!(reader.readexactly(5).await.unwrap(), b"early");
        let much = vec![7; 300_000];
        writer.write(&much);
        assert!(reader.readexactly(much.len()).await.unwrap() == much);
        writer.close();
        writer.wait_closed().await.unwrap();
        close(server).await;
    });
}

#[test]
fn a_client_switches_to_another_protocol_too() {
    settling(|_, _| async {
        let server = server().await;
        let (stream, _) = connect(server.local_addr().unwrap(), &[HTTP1])
            .await
            .unwrap();
        let opening = hyper::client::conn::http1::handshake(HyperIo::new(stream));
        let (mut client, connection) = opening.await.unwrap();
        let connection = create_task(connection.without_shutdown());
        let mut request = get("/");
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("echo"));
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        let parts = connection.await.unwrap().unwrap();
        assert!(parts.read_buf.is_empty());
        let (mut reader, writer) = parts.io.into_inner().into_parts();
        writer.write(b"over TLS still");
        assert!(writer.tls_info().is_some());
        assert_eq!(reader.readexactly(14).await.unwrap(), b"over TLS still");
        writer.close();
        writer.wait_closed().await.unwrap();
        close(server).await;
    });
}
