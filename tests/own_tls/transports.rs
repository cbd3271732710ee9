//! What a transport over TLS does and knows: marks, names, files, sockets of every kind.

use std::io::ErrorKind;
use std::net::TcpStream as StdStream;
use std::os::unix::net::UnixStream;

use callsoon::get_running_loop;
use callsoon::stream::{open_unix_connection, start_unix_server};
use callsoon::transport::Address;
use futures_util::future::join;

use crate::certificates::{client_config, server_config};
use crate::ends::{recorded_server, stream_and_peer};
use crate::peer::Peer;
use crate::support::{Recorder, Scratch, settling, std_pair, until};
use crate::{address_of, close, connecting, echo, echo_server, pattern, recording_server};

#[test]
fn names_and_sockets_are_those_below() {
    settling(|_, _| async {
        let (server, _) = echo_server(server_config()).await;
        let address = address_of(&server);
        let (_reader, writer) = connecting(address, client_config()).await.unwrap();
        assert_eq!(writer.peername(), Some(Address::from(address)));
        let own = writer
            .transport()
            .socket(|socket| socket.local_addr().unwrap());
        let own = own.unwrap().as_socket().map(Address::from);
        assert_eq!(writer.sockname(), own);
        assert_eq!(
            writer
                .transport()
                .socket(|socket| socket.tcp_nodelay().unwrap()),
            Some(true)
        );
        writer.close();
        writer.wait_closed().await.unwrap();
        close(server).await;
    });
}

#[test]
fn a_plain_transport_has_no_tls() {
    settling(|event_loop, trace| async move {
        let (ours, theirs) = std_pair();
        let recorder = Recorder::new(&trace);
        let accepting = event_loop.connect_accepted_socket(|| recorder, ours);
        let (transport, recorder) = accepting.await.unwrap();
        assert!(transport.tls_info().is_none());
        assert!(transport.can_write_eof());
        drop(theirs);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn what_the_handshake_has_come_to_is_known_after_the_end() {
    settling(|_, _| async {
        let (server, _) = echo_server(server_config()).await;
        for politely in [true, false] {
            let connecting = connecting(address_of(&server), client_config());
            let (_reader, writer) = connecting.await.unwrap();
            let before = writer.tls_info().unwrap();
            match politely {
                true => writer.close(),
                false => writer.transport().abort(),
            }
            writer.wait_closed().await.unwrap();
            assert!(writer.transport().socket(|_| ()).is_none(), "it has closed");
            let after = writer.tls_info().unwrap();
            assert_eq!(after.peer_certificates.len(), 1);
            assert_eq!(format!("{after:?}"), format!("{before:?}"));
        }
        close(server).await;
    });
}

#[test]
fn unix_sockets_have_tls_too() {
    settling(|_, _| async {
        let name = format!("callsoon-tls-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let server = start_unix_server(echo, &path)
            .ssl(server_config())
            .await
            .unwrap();
        let connecting = open_unix_connection(&path).ssl(client_config());
        let (mut reader, writer) = connecting.server_hostname("localhost").await.unwrap();
        let data = pattern(1_000_000);
        writer.write(&data);
        assert!(reader.readexactly(data.len()).await.unwrap() == data);
        writer.close();
        writer.wait_closed().await.unwrap();
        // There is no host that could be the name.
        let unnamed = open_unix_connection(&path).ssl(client_config()).await;
        assert_eq!(unnamed.unwrap_err().kind(), ErrorKind::InvalidInput);
        close(server).await;

        let (one, other) = UnixStream::pair().unwrap();
        let serving = get_running_loop().connect_accepted_socket(Recorder::default, one);
        let serving = serving.ssl_server(server_config()).into_future();
        let connecting = callsoon::open_connection(other).ssl(client_config());
        let connecting = connecting.server_hostname("localhost").into_future();
        let (served, connected) = join(serving, connecting).await;
        let (_reader, writer) = connected.unwrap();
        writer.close();
        writer.wait_closed().await.unwrap();
        let recorder = served.unwrap().1;
        until(|| recorder.lost.get()).await;
    });
}

#[test]
fn the_marks_are_512_and_128_kib_and_are_kept() {
    settling(|_, trace| async move {
        let (transport, recorder, mut peer) = recorded_server(Recorder::new(&trace)).await;
        assert_eq!(transport.write_buffer_limits(), (128 * 1024, 512 * 1024));
        while transport.write_buffer_size() <= 512 * 1024 {
            transport.write([7; 64 * 1024]);
        }
        trace.expect(["made", "pause"]);
        let resumed = std::cell::Cell::new(0);
        let reading = async {
            while !trace.take().contains(&"resume".to_owned()) {
                resumed.set(resumed.get() + peer.read(10_000).await.unwrap().len());
            }
        };
        reading.await;
        assert!(transport.write_buffer_size() <= 128 * 1024);
        transport.set_write_buffer_limits(Some(0), None).unwrap();
        transport.abort();
        until(|| recorder.lost.get()).await;
        let last = trace.take();
        assert_eq!(last.last().unwrap(), "lost");
    });
}

#[test]
fn files_are_sent_through_tls_and_not_past_it() {
    settling(|_, _| async {
        let (_reader, writer, mut peer) = stream_and_peer().await;
        let scratch = Scratch::new(&pattern(3_000_000));
        writer.write(b"<");
        let sending = async {
            let sent = writer.sendfile(&scratch.file, 1000, Some(2_000_000)).await;
            assert_eq!(sent.unwrap(), 2_000_000);
            assert_eq!(scratch.position(), 2_001_000);
            writer.write(b">");
            writer.close();
        };
        let reading = async {
            let came = peer.read(2_000_002).await.unwrap();
            assert!(came[1..2_000_001] == pattern(3_000_000)[1000..2_001_000]);
            assert_eq!((came[0], came[2_000_001]), (b'<', b'>'));
            assert_eq!(peer.read(1).await.unwrap(), b"");
        };
        join(sending, reading).await;
    });
}

#[test]
fn pieces_of_writelines_and_single_bytes_arrive_in_their_order() {
    settling(|_, _| async {
        let (_reader, writer, mut peer) = stream_and_peer().await;
        let data = pattern(300_000);
        let pieces: Vec<&[u8]> = data[..100_000].chunks(7).collect();
        writer.writelines(&pieces);
        for byte in data[100_000..101_000].chunks(1) {
            writer.write(byte);
        }
        writer.write(b"");
        writer.write(&data[101_000..]);
        writer.close();
        assert!(peer.read(data.len() + 1).await.unwrap() == data);
    });
}

#[test]
fn a_loop_that_closes_drops_connections_in_every_state() {
    use crate::support::{Trace, audited, complete, real_loop, watched};
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        let held = complete(&event_loop, async {
            let server = recording_server(&trace, server_config()).await;
            let silent = StdStream::connect(address_of(&server)).unwrap();
            let mut half = Peer::client(
                StdStream::connect(address_of(&server)).unwrap(),
                client_config(),
            );
            half.flush().await.unwrap();
            let (_, writer) = connecting(address_of(&server), client_config())
                .await
                .unwrap();
            writer.write(b"never mind");
            until(|| get_running_loop().metrics().sources >= 6).await;
            server.detach();
            (silent, half)
        });
        drop(event_loop);
        drop(held);
        let calls = trace.take();
        assert!(
            !calls.iter().any(|call| call.contains("panic")),
            "{calls:?}"
        );
    }));
}
