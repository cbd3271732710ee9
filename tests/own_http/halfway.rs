//! A peer that stops at each byte, or sends garbage: the connection ends with an error that says so, and the next one
//! works.

use callsoon::create_task;
use callsoon::net::UnixStream;
use http_body_util::BodyExt;

use crate::exchange::{Site, client1, client2, get, text};
use crate::http1::rest_bytes;
use crate::http2::PREFACE;
use crate::support::{Trace, settling};

const REQUEST: &str =
    "POST /length HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

/// Where the bytes before `text` end.
fn until(whole: &str, text: &str) -> usize {
    whole.find(text).unwrap() + text.len()
}

/// Reads up to these bytes, with them.
async fn read_until(stream: &UnixStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        read.extend(byte);
    }
    read
}

/// A new pair of connections works, whatever has happened to others.
async fn goes_on(site: &Site) {
    let (near, far) = UnixStream::pair().unwrap();
    let served = site.serve1(far);
    let (mut client, connection) = client1(near).await;
    let response = client.send_request(get("/")).await.unwrap();
    assert_eq!(text(response).await, "hello");
    drop(client);
    connection.await.unwrap().unwrap();
    served.await.unwrap().unwrap();
}

#[test]
fn a_client_that_stops_at_any_byte_of_its_request_leaves_the_server_well() {
    settling(|_, trace| async move {
        let head = until(REQUEST, "\r\n\r\n");
        for sent in 0..REQUEST.len() {
            let (near, far) = UnixStream::pair().unwrap();
            let site = Site::new(&trace);
            let served = site.serve1(far);
            near.write_all(&REQUEST.as_bytes()[..sent]).await.unwrap();
            near.shutdown(std::net::Shutdown::Write).unwrap();
            let ended = served.await.unwrap();
            let answer = String::from_utf8(rest_bytes(&near).await).unwrap();
            if sent == 0 {
                assert!(ended.is_ok());
            } else if sent < head {
                assert!(ended.unwrap_err().is_incomplete_message(), "{sent} bytes");
                assert_eq!(answer, "");
            } else {
                // The handler is told, or is dropped with the connection.
                for line in trace.take() {
                    assert_eq!(line, "request: error reading a body from connection");
                }
            }
            trace.expect([]);
            goes_on(&site).await;
        }
    });
}

#[test]
fn a_client_that_stays_silent_at_any_byte_is_dropped_with_its_task() {
    settling(|_, trace| async move {
        for sent in 0..REQUEST.len() {
            let (near, far) = UnixStream::pair().unwrap();
            let site = Site::new(&trace);
            let served = site.serve1(far);
            near.write_all(&REQUEST.as_bytes()[..sent]).await.unwrap();
            crate::support::event_polls(2).await;
            assert!(!served.done());
            served.cancel();
            assert!(served.await.is_err());
            assert_eq!(rest_bytes(&near).await, b"");
            trace.expect([]);
            goes_on(&site).await;
        }
    });
}

/// Sends a request to a peer that answers with these bytes and goes away. Says what became of it.
async fn answered_by(bytes: &[u8]) -> String {
    let (near, far) = UnixStream::pair().unwrap();
    let (mut client, connection) = client1(near).await;
    let asked = create_task(async move {
        match client.send_request(get("/")).await {
            Ok(response) => match response.into_body().collect().await {
                Ok(whole) => format!("whole: {:?}", whole.to_bytes()),
                Err(error) => format!("body: {error}"),
            },
            Err(error) => format!("head: {error}"),
        }
    });
    read_until(&far, b"\r\n\r\n").await;
    far.write_all(bytes).await.unwrap();
    far.shutdown(std::net::Shutdown::Write).unwrap();
    let result = asked.await.unwrap();
    let _ = connection.await.unwrap();
    result
}

#[test]
fn a_server_that_stops_at_any_byte_of_its_answer_is_an_error_of_head_or_body() {
    settling(|_, trace| async move {
        let head = until(RESPONSE, "\r\n\r\n");
        for sent in 0..=RESPONSE.len() {
            let result = answered_by(&RESPONSE.as_bytes()[..sent]).await;
            let expected = match sent {
                _ if sent == RESPONSE.len() => r#"whole: b"abc""#,
                _ if sent >= head => "body: error reading a body from connection",
                _ => "head: connection closed before message completed",
            };
            assert_eq!(result, expected, "after {sent} bytes");
        }
        let result = answered_by(b"no such protocol\r\n\r\n").await;
        assert_eq!(result, "head: invalid HTTP version parsed");
        trace.expect([]);
    });
}

#[test]
fn a_client_of_http2_that_stops_or_sends_garbage_leaves_the_server_well() {
    settling(|_, trace| async move {
        for sent in 0..=PREFACE.len() {
            let (near, far) = UnixStream::pair().unwrap();
            let site = Site::new(&trace);
            let served = site.serve2(far);
            near.write_all(&PREFACE[..sent]).await.unwrap();
            drop(near);
            // What hyper calls this end is its own affair; it ends.
            let _ = served.await.unwrap();
            trace.expect([]);
            goes_on(&site).await;
        }
        for garbage in [
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            vec![0xff; 100],
            // Settings of a length that no settings have.
            [PREFACE, b"\0\0\x05\x04\0\0\0\0\0abcde"].concat(),
            // Data on a stream that nobody has opened.
            [PREFACE, b"\0\0\x01\0\0\0\0\0\x07x"].concat(),
            // A frame that is larger than was agreed.
            [PREFACE, b"\xff\xff\xff\0\0\0\0\0\x01"].concat(),
        ] {
            let (near, far) = UnixStream::pair().unwrap();
            let site = Site::new(&trace);
            let served = site.serve2(far);
            near.write_all(&garbage).await.unwrap();
            near.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(served.await.unwrap().is_err(), "{garbage:?}");
            trace.expect([]);
            goes_on(&site).await;
        }
    });
}

/// What a server of HTTP/2 sends in answer to one request for `/`.
async fn recorded(trace: &Trace) -> Vec<u8> {
    /// The head of a request: GET, http, `/`, and an authority of one letter, by the tables of HPACK.
    const HEAD: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
    let (near, far) = UnixStream::pair().unwrap();
    let served = Site::new(trace).serve2(far);
    near.write_all(&[PREFACE, HEAD].concat()).await.unwrap();
    let mut sent = read_until(&near, b"hello").await;
    near.shutdown(std::net::Shutdown::Write).unwrap();
    sent.extend(rest_bytes(&near).await);
    served.await.unwrap().unwrap();
    sent
}

/// Reads what a client of HTTP/2 sends, up to the head of its first request.
async fn read_head(stream: &UnixStream) {
    const HEADERS: u8 = 1;
    stream.read_exact(&mut [0; 24]).await.unwrap();
    let mut frame = [0; 9];
    while frame[3] != HEADERS {
        stream.read_exact(&mut frame).await.unwrap();
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
    }
}

#[test]
fn a_server_of_http2_that_stops_at_any_byte_of_its_answer_is_an_error() {
    settling(|_, trace| async move {
        let whole = recorded(&trace).await;
        let body = whole.windows(5).position(|bytes| bytes == b"hello");
        let body = body.unwrap() + 5;
        for sent in 0..=whole.len() {
            let (near, far) = UnixStream::pair().unwrap();
            let (mut client, connection) = client2(near).await;
            let asked = create_task(async move {
                let response = client.send_request(get("/")).await?;
                let body = response.into_body().collect().await?;
                Ok::<_, hyper::Error>(body.to_bytes())
            });
            // An answer that came before the request would be an error of its own.
            read_head(&far).await;
            far.write_all(&whole[..sent]).await.unwrap();
            far.shutdown(std::net::Shutdown::Write).unwrap();
            match asked.await.unwrap() {
                Ok(bytes) => assert!(bytes == "hello" && sent >= body, "after {sent} bytes"),
                Err(error) => assert!(sent < body, "after {sent} bytes of {body}: {error:?}"),
            }
            let _ = connection.await.unwrap();
            rest_bytes(&far).await;
        }
        trace.expect([]);
    });
}
