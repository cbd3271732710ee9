//! HTTP/1: keep-alive, pipelining, chunked bodies, shutdown with a deadline, limits, cancellation.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use callsoon::interop::hyper::HyperIo;
use callsoon::net::{TcpListener, TcpStream, UnixStream};
use callsoon::stream::{join, open_connection, start_server};
use callsoon::{create_task, get_running_loop, sleep, wait_for};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::rt::Write as _;

use crate::exchange::{CANCELLED, Fed, Local, Site, client1, get, post, text};
use crate::support::{loopback, on_virtual_time, settling, stream_pair};

/// Reads until the peer has finished.
pub(crate) async fn rest_bytes(stream: &UnixStream) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Does the same and returns a text.
pub(crate) async fn rest(stream: &UnixStream) -> String {
    String::from_utf8(rest_bytes(stream).await).unwrap()
}

#[test]
fn one_connection_carries_many_requests_one_after_the_other() {
    settling(|_, trace| async move {
        let (near, far) = stream_pair();
        let served = Site::new(&trace).serve1(far);
        let (mut client, connection) = client1(near).await;
        for _ in 0..3 {
            let response = client.send_request(get("/")).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(text(response).await, "hello");
            client.ready().await.unwrap();
        }
        let missing = client.send_request(get("/missing")).await.unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
        assert_eq!(text(missing).await, "no such page");
        drop(client);
        connection.await.unwrap().unwrap();
        served.await.unwrap().unwrap();
    });
}

#[test]
fn requests_that_come_at_once_are_answered_in_their_order() {
    settling(|_, trace| async move {
        let (near, far) = UnixStream::pair().unwrap();
        let served = Site::new(&trace).serve1(far);
        let requests = "GET / HTTP/1.1\r\nhost: a\r\n\r\n\
            POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc\
            GET /missing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        near.write_all(requests.as_bytes()).await.unwrap();
        let answers = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello\
            HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n3\
            HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 12\r\n\r\nno such page";
        assert_eq!(rest(&near).await, answers);
        served.await.unwrap().unwrap();
    });
}

#[test]
fn bodies_stream_both_ways_piece_by_piece() {
    settling(|_, trace| async move {
        let (near, far) = stream_pair();
        let served = Site::new(&trace).serve1(far);
        let (mut client, connection) = client1(near).await;
        let fed = Fed::default();
        let request = post("/echo", Local::Fed(fed.clone()));
        fed.feed("piece 0");
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.headers()["transfer-encoding"], "chunked");
        let mut body = response.into_body();
        for number in 1..=5 {
            let frame = body.frame().await.unwrap().unwrap();
            let expected = format!("piece {}", number - 1);
            assert_eq!(frame.into_data().unwrap(), expected);
            // The answer to the last piece is here before the next one is made.
            fed.feed(format!("piece {number}"));
        }
        fed.end();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "piece 5");
        let response = client.send_request(get("/pieces")).await.unwrap();
        let whole = response.into_body().collect().await.unwrap().to_bytes();
        let expected: Vec<u8> = (0..100_u8).flat_map(|piece| [piece; 1000]).collect();
        assert_eq!(whole, expected);
        drop(client);
        connection.await.unwrap().unwrap();
        served.await.unwrap().unwrap();
    });
}

#[test]
fn megabytes_go_through_buffers_of_every_size() {
    settling(|_, trace| async move {
        let (near, far) = stream_pair();
        let served = Site::new(&trace).serve1(far);
        let (mut client, connection) = client1(near).await;
        let sent: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
        let request = post("/echo", Local::whole(sent.clone()));
        let response = client.send_request(request).await.unwrap();
        let whole = response.into_body().collect().await.unwrap().to_bytes();
        assert!(whole == sent, "{} bytes came back changed", whole.len());
        drop(client);
        connection.await.unwrap().unwrap();
        served.await.unwrap().unwrap();
    });
}

#[test]
fn a_reader_and_a_writer_make_a_connection() {
    settling(|_, trace| async move {
        let site = Site::new(&trace);
        let serving = site.clone();
        let server = start_server(
            move |reader, writer| {
                let served = serving.serve1(join(reader, writer));
                async move { served.await.unwrap().unwrap() }
            },
            loopback(),
        );
        let server = server.await.unwrap();
        let opening = open_connection(server.local_addr().unwrap());
        let (reader, writer) = opening.await.unwrap();
        let (mut client, connection) = client1(join(reader, writer)).await;
        for number in 0..3 {
            let body = Local::Fed(Fed::of([vec![b'x'; number * 100_000 + 1].into()]));
            let response = client.send_request(post("/length", body)).await.unwrap();
            assert_eq!(text(response).await, (number * 100_000 + 1).to_string());
            client.ready().await.unwrap();
        }
        drop(client);
        connection.await.unwrap().unwrap();
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn a_graceful_shutdown_lets_requests_end_until_the_deadline() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let site = Site::new(&trace);
            let start = get_running_loop().time();
            let mut clients = Vec::new();
            let mut served = Vec::new();
            for path in ["/", "/slow", "/never"] {
                let (near, far) = UnixStream::pair().unwrap();
                served.push((path, site.serve1(far)));
                let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
                near.write_all(request.as_bytes()).await.unwrap();
                clients.push(near);
            }
            sleep(Duration::from_secs(1)).await;
            site.closing.set();
            let (go, log) = (Rc::clone(&site.go), trace.clone());
            get_running_loop().call_later(Duration::from_secs(2), move || go.set());
            let mut ends = Vec::new();
            for (path, served) in served {
                let log = log.clone();
                ends.push(create_task(async move {
                    let ended = wait_for(served, Duration::from_secs(5)).await;
                    let at = get_running_loop().time() - start;
                    log.push(match ended {
                        Ok(result) => format!("{path} at {at:?}: {:?}", result.unwrap()),
                        Err(_) => format!("{path} at {at:?}: cut"),
                    });
                }));
            }
            for end in ends {
                end.await.unwrap();
            }
            for client in clients {
                let answer = rest(&client).await;
                trace.push(answer.replace("\r\n", "|"));
            }
        });
        run.unwrap();
        trace.expect([
            "slow begins",
            "never begins",
            "/ at 1s: Ok(())",
            "/slow at 3s: Ok(())",
            "drop handler",
            "/never at 6s: cut",
            "HTTP/1.1 200 OK|content-length: 5||hello",
            "HTTP/1.1 200 OK|connection: close|content-length: 4||slow",
            "",
        ]);
    });
}

#[test]
fn a_head_that_does_not_end_is_waited_for_thirty_seconds() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let start = get_running_loop().time();
            for sent in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: a\r\n"] {
                let (near, far) = UnixStream::pair().unwrap();
                let served = Site::new(&trace).serve1(far);
                near.write_all(sent.as_bytes()).await.unwrap();
                let error = served.await.unwrap().unwrap_err();
                let at = get_running_loop().time() - start;
                trace.push(format!("{at:?}: timeout {}", error.is_timeout()));
                trace.push(rest(&near).await);
            }
        });
        run.unwrap();
        trace.expect([
            "30s: timeout true",
            "",
            "60s: timeout true",
            "",
            "90s: timeout true",
            "",
        ]);
    });
}

#[test]
fn a_connection_that_rests_between_requests_is_ended_by_the_same_timeout() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let start = get_running_loop().time();
            let (near, far) = UnixStream::pair().unwrap();
            let served = Site::new(&trace).serve1(far);
            for _ in 0..3 {
                let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
                near.write_all(request).await.unwrap();
                sleep(Duration::from_secs(20)).await;
            }
            let ended = served.await.unwrap();
            trace.push(format!(
                "{:?}: {ended:?}",
                get_running_loop().time() - start
            ));
            let answers = rest(&near).await;
            assert_eq!(answers.matches("hello").count(), 3);
        });
        run.unwrap();
        trace.expect(["70s: Err(hyper::Error(HeaderTimeout))"]);
    });
}

/// Accepts until it is cancelled, and notes how each connection ended.
async fn serve_all(site: Site, listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (site, served) = (site.clone(), site.serve1(stream));
        create_task(async move {
            if let Err(error) = served.await.unwrap() {
                site.trace.push(error);
            }
        });
    }
}

#[test]
fn an_oversized_header_gets_431_and_the_server_goes_on() {
    settling(|_, trace| async move {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = create_task(serve_all(Site::new(&trace), listener));
        let big = format!("x-big: {}\r\n", "x".repeat(500_000));
        let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
        for (bad, status) in [(big.as_str(), 431), (&many, 431), ("no colon\r\n", 400)] {
            let stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{bad}\r\n");
            // The server may answer and close before it has read everything.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(head, format!("HTTP/1.1 {status}").as_bytes());
            drop(stream);
            let (mut client, connection) =
                client1(TcpStream::connect(address).await.unwrap()).await;
            assert_eq!(
                text(client.send_request(get("/")).await.unwrap()).await,
                "hello"
            );
            drop(client);
            connection.await.unwrap().unwrap();
        }
        server.cancel();
        assert_eq!(server.await.unwrap_err().to_string(), CANCELLED);
        trace.expect([
            "message head is too large",
            "message head is too large",
            "invalid HTTP header parsed",
        ]);
    });
}

#[test]
fn a_request_that_is_cancelled_ends_its_handler_and_its_connection() {
    settling(|_, trace| async move {
        let (near, far) = stream_pair();
        let site = Site::new(&trace);
        let served = site.serve1(far);
        let (mut client, connection) = client1(near).await;
        let request = create_task(async move { client.send_request(get("/never")).await.is_ok() });
        site.begun.wait().await;
        request.cancel();
        assert_eq!(request.await.unwrap_err().to_string(), CANCELLED);
        connection.await.unwrap().unwrap();
        assert!(served.await.unwrap().unwrap_err().is_incomplete_message());
        trace.expect(["never begins", "drop handler"]);
    });
}

#[test]
fn a_response_whose_reader_goes_away_ends_the_servers_connection() {
    settling(|_, trace| async move {
        let (near, far) = stream_pair();
        let served = Site::new(&trace).serve1(far);
        let (mut client, connection) = client1(near).await;
        let fed = Fed::default();
        fed.feed("first");
        let request = post("/echo", Local::Fed(fed.clone()));
        let mut body = client.send_request(request).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop((body, client));
        connection.cancel();
        assert_eq!(connection.await.unwrap_err().to_string(), CANCELLED);
        assert!(served.await.unwrap().is_err());
        fed.end();
    });
}

/// Says that it has moved more bytes than it was given, or room for.
struct Liar;

impl callsoon::PollRead for Liar {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buffer.len() + 1))
    }
}

impl callsoon::PollWrite for Liar {
    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len() + 1))
    }
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_stream_that_says_it_has_moved_more_than_it_could_ends_the_connection() {
    settling(|_, trace| async move {
        // No request has begun, so hyper's server ends without an error.
        Site::new(&trace).serve1(Liar).await.unwrap().unwrap();
        let (mut client, connection) = client1(Liar).await;
        let error = client.send_request(get("/")).await.unwrap_err();
        assert!(format!("{error:?}").contains("InvalidData"), "{error:?}");
        connection.await.unwrap().unwrap();

        let (mut stream, pieces) = (HyperIo::new(Liar), [io::IoSlice::new(b"one")]);
        let mut context = Context::from_waker(Waker::noop());
        for written in [
            Pin::new(&mut stream).poll_write(&mut context, b"one"),
            Pin::new(&mut stream).poll_write_vectored(&mut context, &pieces),
        ] {
            assert!(
                matches!(&written, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData),
                "{written:?}"
            );
        }
    });
}
