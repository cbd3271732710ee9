//! How a connection begins, or does not.

use std::io::{self, ErrorKind};
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use callsoon::stream::open_connection;
use callsoon::tls::{ClientContext, HandshakeError, ServerContext};
use callsoon::{create_task, get_running_loop, yield_now};
use rustls::CertificateError;

use crate::certificates::{
    certificates, client_config, client_config_of, client_config_with, server_config,
    server_config_for_known_clients, server_config_with,
};
use crate::peer::Peer;
use crate::support::{Recorder, Waiting, loopback, on_virtual_time, settling, std_pair, until};
use crate::{address_of, close, connecting, echo_server, is_served, recording_server};

/// What rustls says about a failed handshake.
fn cause(error: &io::Error) -> Option<&rustls::Error> {
    // In version 1.3 an alert may come after the client's handshake, and then names no peer.
    match HandshakeError::of(error) {
        Some(failed) => failed.tls_error(),
        None => error.get_ref()?.downcast_ref(),
    }
}

#[test]
fn both_versions_begin_and_say_what_they_agreed_on() {
    settling(|_, trace| async move {
        let mut config = server_config();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let (t, v) = (trace.clone(), version.version);
            let serving = get_running_loop().create_server(
                move || {
                    let t = t.clone();
                    Recorder::new(&t.clone()).on("made", move |transport| {
                        let info = transport.tls_info().unwrap();
                        assert_eq!(info.version, v);
                        t.push(format!("name {:?}", info.server_name));
                        assert!(info.peer_certificates.is_empty());
                    })
                },
                loopback(),
            );
            let server = serving.ssl(Arc::clone(&config)).await.unwrap();
            let mut client = client_config_of(&[version]);
            client.alpn_protocols = vec![b"http/1.1".to_vec()];
            let (mut reader, writer) = connecting(address_of(&server), client).await.unwrap();
            let info = writer.tls_info().unwrap();
            assert_eq!(info.version, version.version);
            assert_eq!(info.alpn_protocol.as_deref(), Some(&b"http/1.1"[..]));
            assert_eq!(info.peer_certificates[0], certificates().server.certificate);
            assert!(!info.resumed);
            let suite = format!("{:?}", info.cipher_suite);
            assert!(suite.contains("AES") || suite.contains("CHACHA"), "{suite}");
            writer.write(b"bye");
            writer.close();
            writer.wait_closed().await.unwrap();
            assert_eq!(reader.read(1).await.unwrap(), b"");
            close(server).await;
            trace.expect([
                "made",
                "name Some(\"localhost\")",
                "data bye",
                "eof",
                "lost",
            ]);
        }
    });
}

#[test]
fn a_session_is_resumed_by_the_same_context_and_by_no_other() {
    settling(|_, _| async {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let (server, _) = echo_server(server_config()).await;
            let context = ClientContext::from(client_config_of(&[version]));
            for expected in [false, true, true] {
                let (mut reader, writer) = connecting(address_of(&server), context.clone())
                    .await
                    .unwrap();
                writer.write(b"!");
                assert_eq!(reader.readexactly(1).await.unwrap(), b"!");
                assert_eq!(writer.tls_info().unwrap().resumed, expected);
                writer.close();
                writer.wait_closed().await.unwrap();
            }
            let other = connecting(address_of(&server), client_config_of(&[version]));
            let (_, writer) = other.await.unwrap();
            assert!(!writer.tls_info().unwrap().resumed);
            writer.close();
            close(server).await;
        }
    });
}

#[test]
fn the_host_is_the_server_s_name_unless_another_is_given_and_a_socket_needs_one() {
    settling(|_, _| async {
        let (server, _) = echo_server(server_config()).await;
        let port = address_of(&server).port();
        let context = ClientContext::from(client_config());
        for host in ["localhost", "127.0.0.1"] {
            let by_host = open_connection((host, port)).ssl(context.clone());
            let (_, writer) = by_host.await.unwrap();
            writer.close();
        }
        let (socket, _other) = std_pair();
        let unnamed = open_connection(socket).ssl(context.clone()).await;
        assert_eq!(unnamed.unwrap_err().kind(), ErrorKind::InvalidInput);
        let socket = StdStream::connect(address_of(&server)).unwrap();
        let named = open_connection(socket).ssl(context.clone());
        let (_, writer) = named.server_hostname("localhost").await.unwrap();
        writer.close();
        for no_name in ["", "not a name", "a..b"] {
            let refused = open_connection(("localhost", port)).ssl(context.clone());
            let refused = refused.server_hostname(no_name).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        close(server).await;
    });
}

#[test]
fn names_and_timeouts_without_tls_and_timeouts_of_zero_are_refused() {
    settling(|_, _| async {
        let (server, _) = echo_server(server_config()).await;
        let address = address_of(&server);
        let zero = Duration::ZERO;
        let refused = [
            open_connection(address).server_hostname("localhost"),
            open_connection(address).ssl_handshake_timeout(Duration::from_secs(1)),
            open_connection(address).ssl_shutdown_timeout(Duration::from_secs(1)),
            connecting(address, client_config()).ssl_handshake_timeout(zero),
            connecting(address, client_config()).ssl_shutdown_timeout(zero),
        ];
        for (place, refused) in refused.into_iter().enumerate() {
            let error = refused.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{place}: {error}");
        }
        close(server).await;
    });
}

#[test]
fn a_bad_certificate_is_the_connecter_s_error_and_the_server_s_protocol_never_begins() {
    settling(|_, trace| async move {
        let made = certificates();
        for (identity, expected) in [
            (&made.expired, "Expired"),
            (&made.elsewhere, "NotValidForName"),
            (&made.untrusted, "UnknownIssuer"),
        ] {
            let server = recording_server(&trace, server_config_with(identity)).await;
            let refused = connecting(address_of(&server), client_config()).await;
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            let Some(rustls::Error::InvalidCertificate(why)) = cause(&error) else {
                panic!("{error:?}")
            };
            let why: &CertificateError = why;
            assert!(format!("{why:?}").starts_with(expected), "{why:?}");
            // The server has read the alert and closed.
            until(|| get_running_loop().metrics().sources == 1).await;
            close(server).await;
            trace.expect([]);
        }
    });
}

#[test]
fn a_client_s_certificate_reaches_the_server_and_one_without_is_refused() {
    settling(|_, trace| async move {
        let known = certificates().client.certificate.clone();
        let t = trace.clone();
        let serving = get_running_loop().create_server(
            move || {
                let known = known.clone();
                Recorder::new(&t).on("made", move |transport| {
                    let info = transport.tls_info().unwrap();
                    assert_eq!(info.peer_certificates, std::slice::from_ref(&known));
                })
            },
            loopback(),
        );
        let server = serving
            .ssl(server_config_for_known_clients())
            .await
            .unwrap();
        let address = address_of(&server);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            // In version 1.3 the client's side begins before the server refuses it.
            let refused = async {
                let (mut reader, _writer) =
                    connecting(address, client_config_of(&[version])).await?;
                reader.read(1).await.map(drop)
            };
            let error = refused.await.unwrap_err();
            let alert = format!("{:?}", cause(&error));
            assert!(alert.contains("AlertReceived"), "{error:?}");
        }
        trace.expect([]);
        let client = client_config_with(&certificates().client);
        let (_, writer) = connecting(address, client).await.unwrap();
        writer.close();
        writer.wait_closed().await.unwrap();
        close(server).await;
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn a_server_and_a_client_with_no_version_in_common_both_say_so() {
    settling(|_, trace| async move {
        let (ours, theirs) = std_pair();
        let mut peer = Peer::server(theirs, server_config());
        let only_12 = client_config_of(&[&rustls::version::TLS12]);
        let mut only_13 = server_config();
        only_13.alpn_protocols = vec![b"h3".to_vec()];
        let mut client = client_config();
        client.alpn_protocols = vec![b"h2".to_vec()];
        let server = recording_server(&trace, only_13).await;
        let refused = connecting(address_of(&server), client).await.unwrap_err();
        assert!(
            refused.to_string().contains("NoApplicationProtocol"),
            "{refused}"
        );
        close(server).await;
        // And the versions that are left work.
        let connecting = open_connection(ours).ssl(only_12);
        let connecting = create_task(async move {
            let (_, writer) = connecting.server_hostname("localhost").await.unwrap();
            writer.close();
        });
        peer.handshake().await.unwrap();
        connecting.await.unwrap();
        trace.expect([]);
    });
}

#[test]
fn g3_a_peer_that_says_nothing_is_given_60_seconds_on_either_side() {
    on_virtual_time(|trace, event_loop| {
        let test = async {
            let event_loop = get_running_loop();
            for limit in [None, Some(Duration::from_secs(7))] {
                let began = event_loop.time();
                let (ours, _silent) = std_pair();
                // The name that the server has to prove, and for the server the client's address.
                let server_end = format!("localhost:{}", ours.peer_addr().unwrap().port());
                let mut client = open_connection(ours).ssl(client_config());
                client = client.server_hostname("localhost");
                let (ours, _silent) = std_pair();
                let client_end = ours.peer_addr().unwrap().to_string();
                let recorder = Recorder::new(&trace);
                let accepted = event_loop.connect_accepted_socket(|| recorder, ours);
                let mut server = accepted.ssl_server(server_config());
                if let Some(limit) = limit {
                    client = client.ssl_handshake_timeout(limit);
                    server = server.ssl_handshake_timeout(limit);
                }
                let expected = limit.unwrap_or(Duration::from_secs(60));
                let client = async {
                    let error = client.await.map(drop).unwrap_err();
                    (error.kind(), error.to_string(), event_loop.time() - began)
                };
                let server = async {
                    let error = server.await.map(drop).unwrap_err();
                    (error.kind(), error.to_string(), event_loop.time() - began)
                };
                let ends = futures_util::future::join(client, server).await;
                let end = |peer| {
                    let text =
                        format!("TLS handshake with {peer}: it took longer than {expected:?}");
                    (ErrorKind::ConnectionAborted, text, expected)
                };
                assert_eq!(ends, (end(server_end), end(client_end)));
            }
            yield_now().await;
            assert_eq!(event_loop.metrics().sources, 0);
        };
        event_loop.run_until_complete(test).unwrap();
        assert_eq!(event_loop.metrics().timers, 0);
        trace.expect([]);
    });
}

#[test]
fn g3_a_connecter_that_gives_up_leaves_no_descriptor_and_no_timer() {
    settling(|event_loop, _| async move {
        let timers = event_loop.metrics().timers;
        for steps in 0..4 {
            let (ours, theirs) = std_pair();
            let connecting = open_connection(ours).ssl(client_config());
            let connecting = connecting.server_hostname("localhost");
            let mut waiting = Waiting::begun(connecting.into_future());
            let mut peer = Peer::server(theirs, server_config());
            for _ in 0..steps {
                yield_now().await;
                assert!(waiting.poll().is_none());
            }
            drop(waiting);
            // What the peer reads is the end, after the hello or without.
            let ended = peer.handshake().await.unwrap_err();
            let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
            assert!(kinds.contains(&ended.kind()), "{ended}");
            drop(peer);
            until(|| event_loop.metrics().sources == 0).await;
            assert_eq!(event_loop.metrics().timers, timers);
        }
    });
}

#[test]
fn a_server_that_closes_and_aborts_ends_clients_in_the_middle_of_their_handshakes() {
    settling(|event_loop, trace| async move {
        let timers = event_loop.metrics().timers;
        let server = recording_server(&trace, server_config()).await;
        let mut clients: Vec<_> = (0..3)
            .map(|_| {
                Peer::client(
                    StdStream::connect(address_of(&server)).unwrap(),
                    client_config(),
                )
            })
            .collect();
        // One has said nothing, one its hello, one everything but the end.
        clients[1].flush().await.unwrap();
        clients[2].flush().await.unwrap();
        until(|| event_loop.metrics().sources == 4 + 3).await;
        server.close();
        server.abort_clients();
        server.wait_closed().await;
        for client in &mut clients {
            // The last one's handshake may be over on its side.
            let ended = match client.handshake().await {
                Ok(()) => client.read(1).await.map(drop),
                Err(error) => Err(error),
            };
            assert!(ended.is_err());
        }
        drop(clients);
        until(|| event_loop.metrics().sources == 0).await;
        assert_eq!(event_loop.metrics().timers, timers);
        trace.expect([]);
    });
}

#[test]
fn contexts_are_not_kept_by_connections_that_are_over() {
    settling(|_, _| async {
        let (client, server) = (Arc::new(client_config()), Arc::new(server_config()));
        let (serving, _) = echo_server(ServerContext::from(Arc::clone(&server))).await;
        for _ in 0..3 {
            is_served(address_of(&serving), Arc::clone(&client)).await;
        }
        let refused = open_connection(address_of(&serving)).ssl(Arc::clone(&client));
        assert!(refused.server_hostname("elsewhere.example").await.is_err());
        close(serving).await;
        until(|| Arc::strong_count(&client) == 1).await;
        until(|| Arc::strong_count(&server) == 1).await;
    });
}
