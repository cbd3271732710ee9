//! HTTP/2: many requests on one connection, flow control, shutdown, resets, pings, peers that are not there.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::UnixStream;
use callsoon::stream::{join, open_connection, start_server};
use callsoon::{create_task, get_running_loop, sleep};
use http_body_util::BodyExt;
use hyper::StatusCode;

use crate::exchange::{CANCELLED, Fed, Local, Site, client2, get, post, text};
use crate::http1::rest_bytes;
use crate::support::{loopback, on_virtual_time, settling, stream_pair};

/// What a client of HTTP/2 sends first, and the empty frame of settings that follows.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How many streams hyper's server allows at once.
const STREAMS: usize = 200;

#[test]
fn two_hundred_requests_are_in_flight_on_one_connection() {
    settling(|_, trace| async move {
        let (near, far) = stream_pair();
        // No handler answers before all have arrived.
        let served = Site::with_meeting(&trace, STREAMS).serve2(far);
        let (client, connection) = client2(near).await;
        let met = Rc::new(Cell::new(0));
        let mut requests = Vec::new();
        for _ in 0..STREAMS {
            let (mut client, met) = (client.clone(), Rc::clone(&met));
            requests.push(create_task(async move {
                let response = client.send_request(get("/meet")).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                assert_eq!(text(response).await, "met");
                met.set(met.get() + 1);
            }));
        }
        for request in requests {
            request.await.unwrap();
        }
        assert_eq!(met.get(), STREAMS);
        drop(client);
        connection.await.unwrap().unwrap();
        served.await.unwrap().unwrap();
    });
}

#[test]
fn bodies_stream_both_ways_at_once_within_the_windows() {
    settling(|_, trace| async move {
        let (near, far) = stream_pair();
        let served = Site::new(&trace).serve2(far);
        let (client, connection) = client2(near).await;
        let mut echoes = Vec::new();
        for stream in 0..4_u8 {
            let mut client = client.clone();
            echoes.push(create_task(async move {
                // More than the windows of a stream and of the connection hold.
                let pieces = (0..50_u8).map(|piece| vec![piece ^ stream; 40_000].into());
                let request = post("/echo", Local::Fed(Fed::of(pieces)));
                let response = client.send_request(request).await.unwrap();
                let whole = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(whole.len(), 2_000_000);
                let mut pieces = whole.chunks(40_000).enumerate();
                assert!(pieces.all(|(at, piece)| piece == vec![at as u8 ^ stream; 40_000]));
            }));
        }
        for echo in echoes {
            echo.await.unwrap();
        }
        drop(client);
        connection.await.unwrap().unwrap();
        served.await.unwrap().unwrap();
    });
}

#[test]
fn each_piece_is_answered_before_the_next_one_is_made() {
    settling(|_, trace| async move {
        let (near, far) = stream_pair();
        let served = Site::new(&trace).serve2(far);
        let (mut client, connection) = client2(near).await;
        let fed = Fed::default();
        let sending = client.send_request(post("/echo", Local::Fed(fed.clone())));
        let mut body = sending.await.unwrap().into_body();
        for number in 0..5 {
            fed.feed(format!("piece {number}"));
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), format!("piece {number}"));
        }
        fed.end();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "");
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
                let served = serving.serve2(join(reader, writer));
                async move { served.await.unwrap().unwrap() }
            },
            loopback(),
        );
        let server = server.await.unwrap();
        let opening = open_connection(server.local_addr().unwrap());
        let (reader, writer) = opening.await.unwrap();
        let (mut client, connection) = client2(join(reader, writer)).await;
        let body = Local::Fed(Fed::of([vec![b'x'; 500_000].into()]));
        let response = client.send_request(post("/length", body)).await.unwrap();
        assert_eq!(text(response).await, "500000");
        let response = client.send_request(get("/pieces")).await.unwrap();
        assert_eq!(text(response).await.len(), 100_000);
        drop(client);
        connection.await.unwrap().unwrap();
        server.close();
        server.wait_closed().await;
    });
}

#[test]
fn a_request_that_is_cancelled_ends_its_handler_and_nothing_else() {
    settling(|_, trace| async move {
        let site = Site::new(&trace);
        let (near, far) = stream_pair();
        let served = site.serve2(far);
        let (mut client, connection) = client2(near).await;
        let mut same = client.clone();
        let request = create_task(async move { same.send_request(get("/never")).await.is_ok() });
        site.begun.wait().await;
        request.cancel();
        assert_eq!(request.await.unwrap_err().to_string(), CANCELLED);
        let response = client.send_request(get("/")).await.unwrap();
        assert_eq!(text(response).await, "hello");
        drop(client);
        connection.await.unwrap().unwrap();
        served.await.unwrap().unwrap();
        trace.expect(["never begins", "drop handler"]);
    });
}

#[test]
fn a_server_that_drops_its_connection_ends_every_handler_and_every_request() {
    settling(|_, trace| async move {
        let site = Site::new(&trace);
        let (near, far) = stream_pair();
        let served = site.serve2(far);
        let (mut client, connection) = client2(near).await;
        let request = create_task(async move { client.send_request(get("/never")).await.is_err() });
        site.begun.wait().await;
        served.cancel();
        assert_eq!(served.await.unwrap_err().to_string(), CANCELLED);
        assert!(request.await.unwrap());
        let _ = connection.await.unwrap();
        // What the executor runs for the connection ends too.
        crate::support::until(|| callsoon::all_tasks().len() == 1).await;
        trace.expect(["never begins", "drop handler"]);
    });
}

#[test]
fn a_graceful_shutdown_answers_what_has_begun_and_refuses_what_comes_later() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let site = Site::new(&trace);
            let start = get_running_loop().time();
            let (near, far) = UnixStream::pair().unwrap();
            let served = site.serve2(far);
            let (client, connection) = client2(near).await;
            let (mut same, log) = (client.clone(), trace.clone());
            let request = create_task(async move {
                let response = same.send_request(get("/slow")).await.unwrap();
                let text = text(response).await;
                log.push(format!("{text} at {:?}", get_running_loop().time() - start));
            });
            sleep(Duration::from_secs(1)).await;
            site.closing.set();
            sleep(Duration::from_secs(1)).await;
            let mut late = client;
            trace.push(match late.send_request(get("/")).await {
                Ok(response) => format!("late: {}", response.status()),
                Err(_) => "late: refused".to_owned(),
            });
            sleep(Duration::from_secs(1)).await;
            site.go.set();
            request.await.unwrap();
            served.await.unwrap().unwrap();
            let _ = connection.await.unwrap();
            trace.push(format!("over at {:?}", get_running_loop().time() - start));
        });
        run.unwrap();
        trace.expect(["slow begins", "late: refused", "slow at 3s", "over at 3s"]);
    });
}

#[test]
fn a_peer_that_answers_no_ping_is_given_up_after_interval_and_timeout() {
    on_virtual_time(|trace, event_loop| {
        let run = event_loop.run_until_complete(async {
            let start = get_running_loop().time();
            let (near, far) = UnixStream::pair().unwrap();
            let served = Site::new(&trace).serve2(far);
            near.write_all(PREFACE).await.unwrap();
            let error = served.await.unwrap().unwrap_err();
            let at = get_running_loop().time() - start;
            trace.push(format!("{at:?}: timeout {}", error.is_timeout()));
            let sent = rest_bytes(&near).await;
            assert_eq!(sent[3], 4, "settings come first");
        });
        run.unwrap();
        trace.expect(["25s: timeout true"]);
    });
}
