//! hyper over TLS with peers that stop in the middle, ask for too much, read too slowly or go away, and with requests
//! that are dropped at each of their awaits.

use callsoon::interop::hyper::{HyperIo, HyperTimer};
use callsoon::stream::{StreamReader, StreamWriter, join, start_server};
use callsoon::transport::Server;
use callsoon::yield_now;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Bytes;

use crate::exchange::{Client1, Client2, Fed, Local, Site, client1, client2, get, post, text};
use crate::https::{H2, HTTP1, close, connect, https_server, server_config_for};
use crate::support::{Trace, Waiting, event_polls, loopback, settling, until};

/// A client of HTTP/1 by hand.
async fn raw(server: &Server) -> (StreamReader, StreamWriter) {
    let (stream, _) = connect(server.local_addr().unwrap(), &[HTTP1])
        .await
        .unwrap();
    stream.into_parts()
}

async fn http1(server: &Server) -> (Client1, callsoon::Task<hyper::Result<()>>) {
    let (stream, _) = connect(server.local_addr().unwrap(), &[HTTP1])
        .await
        .unwrap();
    client1(stream).await
}

async fn http2(server: &Server) -> (Client2, callsoon::Task<hyper::Result<()>>) {
    let (stream, _) = connect(server.local_addr().unwrap(), &[H2]).await.unwrap();
    client2(stream).await
}

/// What the next client is told, whatever has happened to others.
async fn goes_on(server: &Server, trace: &Trace) {
    let (mut client, connection) = http1(server).await;
    let answer = client.send_request(get("/")).await.unwrap();
    assert_eq!(text(answer).await, "hello");
    drop(client);
    connection.await.unwrap().unwrap();
    until(|| callsoon::all_tasks().len() == 1).await;
    trace.expect(["agreed on http/1.1", "http/1.1 ended"]);
}

/// A server of HTTP/1 that answers although its client has ended its side.
async fn half_closing_server(site: &Site) -> Server {
    let site = site.clone();
    let client = move |reader, writer| {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(HyperTimer).half_close(true);
        let stream = HyperIo::new(join(reader, writer));
        let connection = builder.serve_connection(stream, site.service());
        let trace = site.trace.clone();
        async move {
            trace.push(match connection.await {
                Ok(()) => "ended".to_owned(),
                Err(error) => format!("failed: {error}"),
            });
        }
    };
    let serving = start_server(client, loopback());
    serving.ssl(server_config_for(&[HTTP1])).await.unwrap()
}

#[test]
fn a_client_that_ends_its_side_after_a_request_gets_what_can_be_answered_at_once() {
    settling(|_, trace| async move {
        let site = Site::new(&trace);
        let server = half_closing_server(&site).await;
        let (mut reader, writer) = raw(&server).await;
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        writer.write_eof();
        let answer = reader.read_to_end().await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
        until(|| callsoon::all_tasks().len() == 1).await;
        trace.expect(["ended"]);
        drop((reader, writer));

        // This one would be answered later, and then there is no connection any more.
        let (mut reader, writer) = raw(&server).await;
        writer.write(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
        site.begun.wait().await;
        writer.write_eof();
        assert_eq!(reader.read_to_end().await.unwrap(), b"");
        site.go.set();
        until(|| callsoon::all_tasks().len() == 1).await;
        trace.expect(["slow begins", "failed: error writing a body to connection"]);
        close(server).await;
    });
}

#[test]
fn an_upload_that_ends_in_the_middle_is_an_error_of_its_handler_however_it_ends() {
    settling(|_, trace| async move {
        let server = https_server(&Site::new(&trace)).await;
        for end in [StreamWriter::close, |writer: &StreamWriter| {
            writer.transport().abort();
        }] {
            let (_reader, writer) = raw(&server).await;
            writer.write(b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n");
            writer.write([b'x'; 400]);
            event_polls(5).await;
            end(&writer);
            until(|| callsoon::all_tasks().len() == 1).await;
            let lines = trace.take();
            assert_eq!(lines[0], "agreed on http/1.1");
            assert_eq!(lines[1], "request: error reading a body from connection");
            assert_eq!(lines.len(), 3, "{lines:?}");
            goes_on(&server, &trace).await;
        }
        for politely in [true, false] {
            let opening = connect(server.local_addr().unwrap(), &[H2]);
            let (mut stream, _) = opening.await.unwrap();
            let transport = stream.writer().transport().clone();
            let (mut client, connection) = client2(stream).await;
            let fed = Fed::default();
            fed.feed(vec![b'x'; 400]);
            let request = post("/length", Local::Fed(fed.clone()));
            let asking = callsoon::create_task(async move { client.send_request(request).await });
            until(|| fed.left() == 0).await;
            event_polls(5).await;
            match politely {
                true => transport.close(),
                false => transport.abort(),
            }
            assert!(asking.await.unwrap().is_err());
            let _ = connection.await.unwrap();
            until(|| callsoon::all_tasks().len() == 1).await;
            let lines = trace.take();
            assert_eq!(lines[0], "agreed on h2");
            let told = "request: error reading a body from connection";
            assert!(lines.iter().any(|line| line == told), "{lines:?}");
            goes_on(&server, &trace).await;
        }
        close(server).await;
    });
}

#[test]
fn a_body_that_is_shorter_than_its_length_is_an_error_even_if_its_peer_closes_politely() {
    settling(|_, _| async {
        for end in [StreamWriter::close, |writer: &StreamWriter| {
            writer.transport().abort();
        }] {
            let client = move |mut reader: StreamReader, writer: StreamWriter| async move {
                reader.readuntil(b"\r\n\r\n").await.unwrap();
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc");
                writer.drain().await.unwrap();
                end(&writer);
            };
            let server = start_server(client, loopback()).ssl(server_config_for(&[HTTP1]));
            let server = server.await.unwrap();
            let (mut client, connection) = http1(&server).await;
            let answer = client.send_request(get("/")).await.unwrap();
            let error = answer.into_body().collect().await.unwrap_err();
            assert_eq!(error.to_string(), "error reading a body from connection");
            let _ = connection.await.unwrap();
            close(server).await;
        }
    });
}

/// Polls so many times, when it is woken each time, and returns the result if that was enough.
async fn polled<T>(asking: &mut Waiting<'_, T>, times: usize) -> Option<T> {
    for time in 0..times {
        if time > 0 {
            yield_now().await;
            until(|| asking.is_woken()).await;
        }
        if let Some(result) = asking.poll() {
            return Some(result);
        }
    }
    None
}

/// A request whose body is sent back in a few pieces.
fn few_pieces() -> hyper::Request<Local> {
    let pieces = (0..5).map(|piece| vec![piece; 1000].into());
    post("/echo", Local::Fed(Fed::of(pieces)))
}

/// The length of a body that has come piece by piece.
async fn length_of(answer: hyper::Response<hyper::body::Incoming>) -> usize {
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
        // The next piece is another await, even if it has come already.
        yield_now().await;
    }
    length
}

#[test]
fn a_request_of_http2_may_be_dropped_at_each_await_and_its_connection_goes_on() {
    settling(|_, trace| async move {
        let server = https_server(&Site::new(&trace)).await;
        let (client, connection) = http2(&server).await;
        for times in 1.. {
            let mut same = client.clone();
            let mut asking = Waiting::new(async move {
                length_of(same.send_request(few_pieces()).await.unwrap()).await
            });
            let whole = polled(&mut asking, times).await;
            drop(asking);
            let answer = client.clone().send_request(get("/")).await.unwrap();
            assert_eq!(text(answer).await, "hello");
            if let Some(length) = whole {
                assert!(times > 3 && length == 5000, "{times}: {length}");
                break;
            }
        }
        drop(client);
        connection.await.unwrap().unwrap();
        close(server).await;
        trace.expect(["agreed on h2", "h2 ended"]);
    });
}

#[test]
fn a_request_of_http1_may_be_dropped_at_each_await_and_both_sides_end() {
    settling(|_, trace| async move {
        let server = https_server(&Site::new(&trace)).await;
        for times in 1.. {
            let (mut client, connection) = http1(&server).await;
            let mut asking = Waiting::new(async move {
                length_of(client.send_request(few_pieces()).await.unwrap()).await
            });
            let whole = polled(&mut asking, times).await;
            drop(asking);
            let _ = connection.await.unwrap();
            until(|| callsoon::all_tasks().len() == 1).await;
            let lines = trace.take();
            assert_eq!(lines.len(), 2, "{lines:?}");
            if let Some(length) = whole {
                assert!(times > 3 && length == 5000, "{times}: {length}");
                break;
            }
        }
        goes_on(&server, &trace).await;
        close(server).await;
    });
}

/// How many pieces of how many bytes a client sends to have them sent back.
const PIECES: usize = 1000;
const PIECE: usize = 64 * 1024;

/// The most that hyper, the two streams and the system may hold of them: several megabytes are the system's.
const MOST_HELD: usize = 24 * 1024 * 1024;

/// Waits until nothing moves any more.
async fn until_it_stands_still(fed: &Fed) {
    let mut idle = 0;
    while idle < 5 {
        let before = fed.left();
        event_polls(100).await;
        idle = if fed.left() == before { idle + 1 } else { 0 };
    }
}

#[test]
fn a_client_that_does_not_read_the_echo_stops_its_own_upload_and_nothing_is_lost() {
    settling(|_, trace| async move {
        let server = https_server(&Site::new(&trace)).await;
        for two in [false, true] {
            let piece = Bytes::from(vec![7; PIECE]);
            let fed = Fed::of((0..PIECES).map(|_| piece.clone()));
            let request = post("/echo", Local::Fed(fed.clone()));
            let (answer, connection) = if two {
                let (mut client, connection) = http2(&server).await;
                (client.send_request(request).await, connection)
            } else {
                let (mut client, connection) = http1(&server).await;
                (client.send_request(request).await, connection)
            };
            until_it_stands_still(&fed).await;
            let held = (PIECES - fed.left()) * PIECE;
            assert!(held < MOST_HELD, "two: {two}, {held} bytes");
            assert_eq!(length_of(answer.unwrap()).await, PIECES * PIECE);
            let _ = connection.await.unwrap();
            until(|| callsoon::all_tasks().len() == 1).await;
        }
        close(server).await;
        trace.expect([
            "agreed on http/1.1",
            "http/1.1 ended",
            "agreed on h2",
            "h2 ended",
        ]);
    });
}

#[test]
fn large_headers_pass_and_headers_without_end_get_431_after_a_bounded_amount() {
    settling(|_, trace| async move {
        let server = https_server(&Site::new(&trace)).await;
        let (mut client, connection) = http1(&server).await;
        let mut request = get("/");
        let large = "x".repeat(60_000).parse().unwrap();
        request.headers_mut().insert("large", large);
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(text(answer).await, "hello");
        drop(client);
        connection.await.unwrap().unwrap();

        let (mut reader, writer) = raw(&server).await;
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nendless: ");
        let mut sent = 0;
        let most = 20_000_000;
        while sent < most && writer.drain().await.is_ok() && !writer.is_closing() {
            writer.write([b'x'; 10_000]);
            sent += 10_000;
            event_polls(1).await;
        }
        assert!(sent < most / 2, "{sent} bytes were taken");
        let mut head = [0; 13];
        let count = reader.read_into(&mut head).await.unwrap();
        assert_eq!(&head[..count], b"HTTP/1.1 431 ");
        drop((reader, writer));
        until(|| callsoon::all_tasks().len() == 1).await;
        trace.take();

        // HTTP/2 has a limit of its own, which concerns one request alone.
        let (mut client, connection) = http2(&server).await;
        let mut request = get("/");
        let large = "x".repeat(60_000).parse().unwrap();
        request.headers_mut().insert("large", large);
        if let Ok(answer) = client.send_request(request).await {
            assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let answer = client.send_request(get("/")).await.unwrap();
        assert_eq!(text(answer).await, "hello");
        drop(client);
        connection.await.unwrap().unwrap();
        close(server).await;
        trace.expect(["agreed on h2", "h2 ended"]);
    });
}
