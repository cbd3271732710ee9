//! Fault G3: what is no handshake, or half of one. Each connection ends with a typed error or an alert, no protocol begins,
//! and the server goes on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream as StdStream};
use std::time::Duration;

use callsoon::net::TcpStream;
use callsoon::stream::open_connection;
use callsoon::{create_task, get_running_loop};

use crate::certificates::{client_config, server_config};
use crate::peer::Peer;
use crate::support::{Recorder, reset, settling, std_pair, until};
use crate::{address_of, close, echo_server, is_served};

/// A hello as rustls writes it.
fn hello() -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let config = std::sync::Arc::new(client_config());
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// A record of this type with this much in it.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&[kind, 3, 1], &length[..], body].concat()
}

/// What a server may get instead of a handshake, each with a name.
fn garbage() -> Vec<(&'static str, Vec<u8>)> {
    let hello = hello();
    let mut flipped = hello.clone();
    flipped[40] ^= 0xff;
    flipped[50] ^= 0xff;
    let mut random = 12345_u32;
    let noise = (0..100_000).map(|_| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    });
    // A message of 16 MB is announced, and much of it comes, a record at a time.
    let mut giant = record(22, &[&[1, 0xff, 0xff, 0xff], &[0; 16_000][..]].concat());
    for _ in 0..40 {
        giant.extend(record(22, &[0; 16_000]));
    }
    vec![
        (
            "http",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        ("smtp", b"EHLO localhost\r\n".to_vec()),
        ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("zeros", vec![0; 100_000]),
        ("noise", noise.collect()),
        (
            "a record that is too long",
            [&[22, 3, 1, 0xff, 0xff][..], &[1; 70_000]].concat(),
        ),
        ("a message that is too long", giant),
        ("an empty record", record(22, b"")),
        ("data first", record(23, b"early")),
        ("an alert", record(21, &[2, 40])),
        ("a warning", record(21, &[1, 0])),
        ("a change of cipher", record(20, &[1])),
        ("a heartbeat", record(24, &[1, 0x40, 0])),
        ("two hellos", [&hello[..], &hello].concat()),
        (
            "a hello and http",
            [&hello[..], b"GET / HTTP/1.1\r\n\r\n"].concat(),
        ),
        ("half a hello", hello[..hello.len() / 2].to_vec()),
        (
            "a hello in records of one byte",
            hello[5..]
                .chunks(1)
                .flat_map(|byte| record(22, byte))
                .collect(),
        ),
        ("a hello that is damaged", flipped),
        ("sslv2", [&[0x80, 0x2e, 1, 0, 2][..], &[0; 43]].concat()),
        ("nothing", Vec::new()),
    ]
}

#[test]
fn g3_whatever_comes_instead_of_a_hello_no_client_begins_and_the_server_goes_on() {
    settling(|event_loop, _| async move {
        let (server, ends) = echo_server(server_config()).await;
        let timers = event_loop.metrics().timers;
        let mut served = 0;
        for (name, bytes) in garbage() {
            for resets in [false, true] {
                let stream = StdStream::connect(address_of(&server)).unwrap();
                let stream = TcpStream::from_std(stream).unwrap();
                // It may be closed before everything was sent.
                let _ = stream.write_all(&bytes).await;
                if resets {
                    let _ = stream.set_linger(Some(Duration::ZERO));
                } else {
                    let _ = stream.shutdown(Shutdown::Write);
                    let mut answer = [0; 4096];
                    // To the end of what the server has to say.
                    while matches!(stream.read(&mut answer).await, Ok(count) if count > 0) {}
                }
                drop(stream);
                until(|| event_loop.metrics().sources == 1).await;
                assert_eq!(event_loop.metrics().timers, timers, "{name}");
                assert_eq!(ends.borrow().len(), served, "{name}");
                is_served(address_of(&server), client_config()).await;
                until(|| event_loop.metrics().sources == 1).await;
                served += 1;
            }
        }
        assert!(ends.borrow().iter().all(|end| end == "end"));
        close(server).await;
    });
}

#[test]
fn g3_plain_text_is_answered_by_an_alert() {
    settling(|_, _| async {
        let (server, _) = echo_server(server_config()).await;
        let stream = StdStream::connect(address_of(&server)).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut alert = [0; 7];
        stream.read_exact(&mut alert).await.unwrap();
        // A record of type alert, of two bytes, the first of which says that it is fatal.
        assert_eq!((alert[0], &alert[3..6]), (21, &[0, 2, 2][..]));
        assert_eq!(stream.read(&mut alert).await.unwrap(), 0);
        drop(stream);
        close(server).await;
    });
}

#[test]
fn g3_a_client_gets_a_typed_error_for_whatever_a_server_says_instead() {
    settling(|event_loop, _| async move {
        let timers = event_loop.metrics().timers;
        for (name, bytes) in garbage() {
            let (ours, mut theirs) = std_pair();
            theirs.set_nonblocking(true).unwrap();
            let _ = theirs.write_all(&bytes);
            theirs.shutdown(Shutdown::Write).unwrap();
            let connecting = open_connection(ours).ssl(client_config());
            let error = connecting.server_hostname("localhost").await.unwrap_err();
            let kinds = [
                ErrorKind::InvalidData,
                ErrorKind::ConnectionReset,
                ErrorKind::UnexpectedEof,
            ];
            assert!(kinds.contains(&error.kind()), "{name}: {error:?}");
            drop(theirs);
            until(|| event_loop.metrics().sources == 0).await;
            assert_eq!(event_loop.metrics().timers, timers, "{name}");
        }
    });
}

#[test]
fn a_connection_that_ends_or_breaks_before_the_handshake_is_over_was_reset() {
    settling(|_, trace| async move {
        for breaks in [false, true] {
            let (ours, mut theirs) = std_pair();
            theirs.set_nonblocking(true).unwrap();
            let connecting = open_connection(ours).ssl(client_config());
            let connecting = connecting.server_hostname("localhost").into_future();
            let connecting = create_task(connecting);
            // Its hello has come.
            until(|| theirs.peek(&mut [0]).is_ok()).await;
            let mut hello = [0; 4096];
            assert!(theirs.read(&mut hello).unwrap() > 100);
            match breaks {
                true => reset(theirs),
                false => drop(theirs),
            }
            let error = connecting.await.unwrap().map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error:?}");

            let (ours, theirs) = std_pair();
            let recorder = Recorder::new(&trace);
            let accepting = get_running_loop().connect_accepted_socket(|| recorder, ours);
            let accepting = create_task(accepting.ssl_server(server_config()).into_future());
            let mut peer = Peer::client(theirs, client_config());
            peer.flush().await.unwrap();
            match breaks {
                true => peer.reset(),
                false => drop(peer),
            }
            let error = accepting.await.unwrap().map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error:?}");
        }
        trace.expect([]);
    });
}
