//! Connections that begin in plain text. Fault G2: what was received before the change and belongs to TLS is handed over, and
//! plain text is never read as if it had come over TLS.

use std::io::ErrorKind;
use std::time::Duration;

use callsoon::create_task;
use callsoon::net::TcpStream;
use callsoon::stream::{StreamReader, StreamWriter, open_connection};
use callsoon::tls::{ClientContext, ServerContext};
use futures_util::future::join;

use crate::certificates::{certificates, client_config, server_config, server_config_with};
use crate::pattern;
use crate::peer::Peer;
use crate::support::{Recorder, event_polls, settling, std_pair, until};

/// Two streams in plain text: the client's and the server's side of one connection.
async fn plain_pair() -> [(StreamReader, StreamWriter); 2] {
    let (one, other) = std_pair();
    let one = open_connection(one).await.unwrap();
    [one, open_connection(other).await.unwrap()]
}

#[test]
fn streams_go_on_in_tls_on_both_sides_after_a_line_in_plain_text() {
    settling(|_, _| async {
        let [(mut reader, writer), (mut served, serving)] = plain_pair().await;
        let server = async {
            assert_eq!(served.readline().await.unwrap(), b"STARTTLS\n");
            serving.write(b"go ahead\n");
            assert!(serving.tls_info().is_none());
            serving
                .start_tls(ServerContext::from(server_config()))
                .await
                .unwrap();
            let secret = served.readexactly(500_000).await.unwrap();
            assert!(secret == pattern(500_000));
            serving.write(b"well received\n");
            let info = serving.tls_info().unwrap();
            assert_eq!(info.server_name.as_deref(), Some("localhost"));
            assert_eq!(served.read(1).await.unwrap(), b"");
            serving.close();
            serving.wait_closed().await.unwrap();
        };
        let client = async {
            writer.write(b"STARTTLS\n");
            assert_eq!(reader.readline().await.unwrap(), b"go ahead\n");
            let context = ClientContext::from(client_config());
            writer
                .start_tls(context)
                .server_hostname("localhost")
                .await
                .unwrap();
            assert_eq!(writer.tls_info().unwrap().server_name, None);
            writer.write(pattern(500_000));
            assert_eq!(reader.readline().await.unwrap(), b"well received\n");
            writer.close();
            writer.wait_closed().await.unwrap();
        };
        join(server, client).await;
    });
}

#[test]
fn g2_a_hello_in_the_same_segment_as_the_line_before_it_is_handed_over() {
    settling(|_, _| async {
        let (ours, theirs) = std_pair();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        let mut peer = Peer::client(theirs, client_config());
        let segment = [b"PROXY TCP4 1.2.3.4\r\n".to_vec(), peer.records()].concat();
        peer.socket.write_all(&segment).await.unwrap();
        assert_eq!(reader.readline().await.unwrap(), b"PROXY TCP4 1.2.3.4\r\n");
        // By now the hello lies in the reader's buffer, whole.
        let upgrading = async {
            let context = ServerContext::from(server_config());
            writer.start_tls(context).await.unwrap();
            writer.write(reader.readexactly(4).await.unwrap());
            writer.close();
        };
        let talking = async {
            peer.handshake().await.unwrap();
            peer.write(b"ping").await;
            assert_eq!(peer.read(5).await.unwrap(), b"ping");
        };
        join(upgrading, talking).await;
    });
}

#[test]
fn g2_plain_text_that_was_slipped_in_before_the_handshake_is_never_read_as_data_of_tls() {
    settling(|_, _| async {
        let (ours, theirs) = std_pair();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        let mut peer = Peer::client(theirs, client_config());
        let segment = [b"STARTTLS\nDELETE everything\n".to_vec(), peer.records()].concat();
        peer.socket.write_all(&segment).await.unwrap();
        assert_eq!(reader.readline().await.unwrap(), b"STARTTLS\n");
        let context = ServerContext::from(server_config());
        let limited = writer
            .start_tls(context)
            .ssl_handshake_timeout(Duration::from_secs(20));
        let error = limited.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
        let rest = reader.read_to_end().await;
        assert!(!rest.is_ok_and(|rest| rest.starts_with(b"DELETE")));
        drop(peer);
    });
}

#[test]
fn g2_a_server_s_plain_text_after_its_go_ahead_is_never_read_as_data_of_tls() {
    settling(|_, _| async {
        let (ours, theirs) = std_pair();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        let theirs = TcpStream::from_std(theirs).unwrap();
        theirs
            .write_all(b"220 go ahead\r\n250 injected\r\n")
            .await
            .unwrap();
        assert_eq!(reader.readline().await.unwrap(), b"220 go ahead\r\n");
        let context = ClientContext::from(client_config());
        let error = writer
            .start_tls(context)
            .server_hostname("localhost")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
        let rest = reader.read_to_end().await;
        assert!(!rest.is_ok_and(|rest| rest.starts_with(b"250")));
        drop(theirs);
    });
}

#[test]
fn a_transport_changes_its_protocol_and_connection_made_is_not_called_again() {
    settling(|event_loop, trace| async move {
        let (ours, theirs) = std_pair();
        let before = Recorder::new(&trace);
        let (transport, _) = event_loop
            .connect_accepted_socket(|| before, ours)
            .await
            .unwrap();
        let peer = create_task(async move {
            let mut peer = Peer::server(theirs, server_config());
            peer.handshake().await.unwrap();
            peer.write(b"over TLS").await;
            assert_eq!(peer.read(8).await.unwrap(), b"answered");
            peer.close_notify().await;
            assert_eq!(peer.read(1).await.unwrap(), b"");
        });
        let after = std::rc::Rc::new(Recorder::new(&trace).on("data", |transport| {
            transport.write(b"answered");
        }));
        let context = ClientContext::from(client_config());
        let upgrading = event_loop.start_tls(&transport, after.clone(), context);
        let transport = upgrading.server_hostname("localhost").await.unwrap();
        assert!(transport.tls_info().is_some());
        until(|| after.lost.get()).await;
        peer.await.unwrap();
        trace.expect(["made", "data over TLS", "eof", "lost"]);
    });
}

#[test]
fn what_was_written_before_goes_out_in_plain_text_before_the_hello() {
    settling(|_, _| async {
        let (ours, theirs) = std_pair();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        let theirs_plain = TcpStream::from_std(theirs.try_clone().unwrap()).unwrap();
        // More than the socket takes.
        let text = pattern(3_000_000);
        writer.write(&text);
        let upgrading = async {
            let context = ClientContext::from(client_config());
            writer
                .start_tls(context)
                .server_hostname("localhost")
                .await
                .unwrap();
            assert_eq!(reader.read(10).await.unwrap(), b"ok");
            writer.close();
        };
        let talking = async {
            let mut came = vec![0; text.len()];
            theirs_plain.read_exact(&mut came).await.unwrap();
            assert!(came == text);
            drop(theirs_plain);
            let mut peer = Peer::server(theirs, server_config());
            peer.handshake().await.unwrap();
            peer.write(b"ok").await;
            assert_eq!(peer.read(1).await.unwrap(), b"");
        };
        join(upgrading, talking).await;
    });
}

#[test]
fn a_handshake_that_fails_closes_the_connection() {
    settling(|_, _| async {
        let (ours, theirs) = std_pair();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        let mut peer = Peer::server(theirs, server_config_with(&certificates().untrusted));
        let context = ClientContext::from(client_config());
        let upgrading = writer.start_tls(context).server_hostname("localhost");
        let (error, told) = join(upgrading.into_future(), peer.handshake()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidData);
        // A client that is content with version 1.3 tells its server after that one's handshake.
        let told = match told {
            Ok(()) => peer.read(1).await.map(drop),
            Err(error) => Err(error),
        };
        assert!(told.unwrap_err().to_string().contains("UnknownCA"));
        assert!(writer.is_closing());
        assert!(reader.read(1).await.is_err());
    });
}

#[test]
fn a_change_that_is_given_up_closes_the_connection_and_leaves_no_timer() {
    settling(|event_loop, _| async move {
        let timers = event_loop.metrics().timers;
        let (ours, theirs) = std_pair();
        let (_reader, writer) = open_connection(ours).await.unwrap();
        let context = ClientContext::from(client_config());
        {
            let upgrading = writer.start_tls(context).server_hostname("localhost");
            let mut upgrading = crate::support::Waiting::begun(upgrading.into_future());
            event_polls(3).await;
            assert!(upgrading.poll().is_none());
        }
        until(|| event_loop.metrics().sources == 0).await;
        assert_eq!(event_loop.metrics().timers, timers);
        assert!(writer.is_closing());
        drop(theirs);
    });
}

#[test]
fn a_connection_that_is_over_cannot_be_changed() {
    settling(|_, _| async {
        let (ours, _theirs) = std_pair();
        let (_reader, writer) = open_connection(ours).await.unwrap();
        writer.close();
        let context = ClientContext::from(client_config());
        let refused = writer.start_tls(context).server_hostname("localhost").await;
        assert!(refused.is_err());
    });
}
