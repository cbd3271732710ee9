//! Both protocols over TLS: the handshake agrees on one of them, and what ends a connection is told apart.

use std::io::ErrorKind;

use callsoon::net::TcpStream;
use callsoon::stream::{Joined, StreamReader, StreamWriter, join, open_connection, start_server};
use callsoon::tls::rustls::ServerConfig;
use callsoon::transport::{ConnectTo, Server};
use callsoon::{Task, create_task};
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};

use crate::certificates::{client_config, server_config};
use crate::exchange::{Client1, Client2, Fed, Local, Site, client1, client2, get, post, text};
use crate::support::{Trace, loopback, settling};

/// The names of the protocols in a handshake.
pub(crate) const H2: &[u8] = b"h2";
pub(crate) const HTTP1: &[u8] = b"http/1.1";

pub(crate) fn server_config_for(protocols: &[&[u8]]) -> ServerConfig {
    let mut config = server_config();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

/// A server of both protocols, which notes what each connection has agreed on and how it ended.
pub(crate) async fn https_server(site: &Site) -> Server {
    let site = site.clone();
    let server = start_server(
        move |reader, writer: StreamWriter| {
            let agreed = writer.tls_info().unwrap().alpn_protocol;
            let agreed = agreed.map(|name| String::from_utf8(name).unwrap());
            let stream = join(reader, writer);
            let served = match agreed.as_deref() {
                Some("h2") => site.serve2(stream),
                _ => site.serve1(stream),
            };
            let (trace, name) = (site.trace.clone(), agreed.unwrap_or("nothing".into()));
            trace.push(format!("agreed on {name}"));
            async move {
                match served.await.unwrap() {
                    Ok(()) => trace.push(format!("{name} ended")),
                    Err(error) => trace.push(format!("{name} failed: {error}")),
                }
            }
        },
        loopback(),
    );
    let server = server.ssl(server_config_for(&[H2, HTTP1]));
    server.await.unwrap()
}

/// Connects as a client that offers some protocols.
pub(crate) async fn connect(
    to: impl Into<ConnectTo>,
    offered: &[&[u8]],
) -> std::io::Result<(Joined, Option<Vec<u8>>)> {
    let mut config = client_config();
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    let connecting = open_connection(to).ssl(config);
    let (reader, writer) = connecting.server_hostname("localhost").await?;
    let agreed = writer.tls_info().unwrap().alpn_protocol;
    Ok((join(reader, writer), agreed))
}

/// Closes the server, and waits until what its connections have to say is said.
pub(crate) async fn close(server: Server) {
    server.close();
    server.wait_closed().await;
    crate::support::until(|| callsoon::all_tasks().len() == 1).await;
}

/// A client of either protocol.
enum Client {
    One(Client1),
    Two(Client2),
}

impl Client {
    async fn open(server: &Server, offered: &[&[u8]]) -> (Self, Task<hyper::Result<()>>) {
        let (stream, agreed) = connect(server.local_addr().unwrap(), offered)
            .await
            .unwrap();
        match agreed.as_deref() {
            Some(H2) => {
                let (client, connection) = client2(stream).await;
                (Self::Two(client), connection)
            }
            _ => {
                let (client, connection) = client1(stream).await;
                (Self::One(client), connection)
            }
        }
    }

    async fn send(&mut self, request: hyper::Request<Local>) -> Response<Incoming> {
        match self {
            Self::One(client) => {
                client.ready().await.unwrap();
                client.send_request(request).await.unwrap()
            }
            Self::Two(client) => client.send_request(request).await.unwrap(),
        }
    }
}

#[test]
fn the_handshake_agrees_on_a_protocol_and_one_connection_carries_all_requests() {
    settling(|_, trace| async move {
        let server = https_server(&Site::new(&trace)).await;
        for (offered, agreed) in [
            (&[H2, HTTP1][..], "h2"),
            (&[H2], "h2"),
            (&[HTTP1], "http/1.1"),
            (&[], "nothing"),
        ] {
            let (mut client, connection) = Client::open(&server, offered).await;
            for _ in 0..3 {
                assert_eq!(text(client.send(get("/")).await).await, "hello");
            }
            // More than one record, one window and one buffer hold, each way.
            let pieces = (0..50_u8).map(|piece| vec![piece; 40_000].into());
            let echoed = client
                .send(post("/echo", Local::Fed(Fed::of(pieces))))
                .await;
            let echoed = echoed.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(echoed.len(), 2_000_000);
            let mut pieces = echoed.chunks(40_000).enumerate();
            assert!(pieces.all(|(at, piece)| piece == vec![at as u8; 40_000]));
            drop(client);
            connection.await.unwrap().unwrap();
            crate::support::until(|| callsoon::all_tasks().len() == 1).await;
            assert_eq!(
                trace.take(),
                [format!("agreed on {agreed}"), format!("{agreed} ended")]
            );
        }
        close(server).await;
    });
}

#[test]
fn two_hundred_requests_are_in_flight_on_one_encrypted_connection() {
    settling(|_, trace| async move {
        let site = Site::with_meeting(&trace, 200);
        let server = https_server(&site).await;
        let (stream, agreed) = connect(server.local_addr().unwrap(), &[H2]).await.unwrap();
        assert_eq!(agreed.as_deref(), Some(H2));
        let (client, connection) = client2(stream).await;
        let requests: Vec<_> = (0..200)
            .map(|_| {
                let mut client = client.clone();
                create_task(
                    async move { text(client.send_request(get("/meet")).await.unwrap()).await },
                )
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), "met");
        }
        drop(client);
        connection.await.unwrap().unwrap();
        close(server).await;
        trace.expect(["agreed on h2", "h2 ended"]);
    });
}

#[test]
fn a_client_with_no_protocol_in_common_is_refused_and_the_server_goes_on() {
    settling(|_, trace| async move {
        let server = https_server(&Site::new(&trace)).await;
        let refused = connect(server.local_addr().unwrap(), &[b"gopher"])
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
        let why = refused.get_ref().unwrap().to_string();
        assert!(why.contains("NoApplicationProtocol"), "{why}");
        let (mut client, connection) = Client::open(&server, &[HTTP1]).await;
        assert_eq!(text(client.send(get("/")).await).await, "hello");
        drop(client);
        connection.await.unwrap().unwrap();
        close(server).await;
        trace.expect(["agreed on http/1.1", "http/1.1 ended"]);
    });
}

#[test]
fn a_graceful_shutdown_over_tls_answers_what_was_asked_and_then_closes() {
    settling(|_, trace| async move {
        // hyper's client of HTTP/2 closes at the first of the server's two GOAWAY frames. A peer that closes TLS closes
        // both sides, but what the server says when it reads of that still goes out.
        for (offered, agreed) in [(H2, "h2"), (HTTP1, "http/1.1")] {
            let site = Site::new(&trace);
            let server = https_server(&site).await;
            let (mut client, connection) = Client::open(&server, &[offered]).await;
            let Site {
                begun, go, closing, ..
            } = site;
            let asked = create_task(async move { text(client.send(get("/slow")).await).await });
            begun.wait().await;
            closing.set();
            go.set();
            assert_eq!(asked.await.unwrap(), "slow");
            connection.await.unwrap().unwrap();
            close(server).await;
            assert_eq!(
                trace.take(),
                [
                    format!("agreed on {agreed}"),
                    "slow begins".to_owned(),
                    format!("{agreed} ended")
                ]
            );
        }
    });
}

/// A server whose answers have no length, so that they end with the connection, as `end` ends it.
async fn unbounded_server(end: fn(&StreamWriter)) -> Server {
    let client = move |mut reader: StreamReader, writer: StreamWriter| async move {
        reader.readuntil(b"\r\n\r\n").await.unwrap();
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc");
        writer.drain().await.unwrap();
        end(&writer);
    };
    let server = start_server(client, loopback()).ssl(server_config_for(&[HTTP1]));
    server.await.unwrap()
}

/// Asks such a server.
async fn ask_for_all(server: &Server) -> hyper::Result<hyper::body::Bytes> {
    let (stream, _) = connect(server.local_addr().unwrap(), &[HTTP1])
        .await
        .unwrap();
    let (mut client, connection) = client1(stream).await;
    let answer = client.send_request(get("/")).await.unwrap();
    let whole = answer.into_body().collect().await;
    drop(client);
    let _ = connection.await.unwrap();
    whole.map(|whole| whole.to_bytes())
}

#[test]
fn a_body_that_ends_with_the_connection_is_whole_only_if_its_peer_has_said_so() {
    settling(|_, _| async move {
        let server = unbounded_server(StreamWriter::close).await;
        assert_eq!(ask_for_all(&server).await.unwrap(), "abc");
        close(server).await;
        let server = unbounded_server(|writer| writer.transport().abort()).await;
        let cut = ask_for_all(&server).await.unwrap_err();
        assert_eq!(cut.to_string(), "error reading a body from connection");
        close(server).await;
    });
}

#[test]
fn plain_http_at_the_port_of_https_is_an_error_of_its_client_alone() {
    settling(|_, trace: Trace| async move {
        let server = https_server(&Site::new(&trace)).await;
        let address = server.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = client1(stream).await;
        client.send_request(get("/")).await.unwrap_err();
        connection.await.unwrap().unwrap();
        let (mut client, connection) = Client::open(&server, &[H2]).await;
        assert_eq!(text(client.send(get("/")).await).await, "hello");
        drop(client);
        connection.await.unwrap().unwrap();
        close(server).await;
        trace.expect(["agreed on h2", "h2 ended"]);
    });
}
