//! Peers that ask and never read, or go on after the end; programs that end, write or send files in the middle of a
//! handshake; stores of sessions that use their own connection, or panic.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callsoon::stream::{StreamReader, StreamWriter, open_connection};
use callsoon::tls::{ClientContext, ServerContext};
use callsoon::transport::Transport;
use callsoon::{Task, create_task};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, NamedGroup};
use socket2::SockRef;

use crate::certificates::{client_config, server_config};
use crate::ends::{recorded_server, stream_and_peer};
use crate::pattern;
use crate::peer::Peer;
use crate::support::{Recorder, Scratch, event_polls, settling, std_pair, until};

const LIMIT: Duration = Duration::from_millis(300);

thread_local! {
    /// What a store does with a ticket: stores are `Send`, and transports are not.
    static UPON_TICKET: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

fn upon_ticket(call: impl Fn() + 'static) {
    UPON_TICKET.set(Some(Box::new(call)));
}

/// A store that keeps nothing, and runs code of the test for each ticket.
#[derive(Debug)]
struct Store;

impl ClientSessionStore for Store {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        let call = UPON_TICKET.take();
        if let Some(call) = call {
            call();
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

fn storing() -> ClientConfig {
    let mut config = client_config();
    config.resumption = Resumption::store(Arc::new(Store));
    config
}

/// A stream on the client's side with such a store, and its server, which has not sent its tickets.
async fn stream_before_tickets() -> (StreamReader, StreamWriter, Peer) {
    let (ours, theirs) = std_pair();
    let connecting = open_connection(ours)
        .ssl(storing())
        .ssl_shutdown_timeout(LIMIT);
    let connecting = create_task(connecting.server_hostname("localhost").into_future());
    let mut peer = Peer::server(theirs, server_config());
    peer.handshake_but_for_the_last_flush().await;
    let (reader, writer) = connecting.await.unwrap().unwrap();
    (reader, writer, peer)
}

#[test]
fn a_store_of_sessions_may_write_and_close_its_connection_which_ends_politely() {
    settling(|event_loop, trace| async move {
        let (ours, theirs) = std_pair();
        let recorder = Recorder::new(&trace).on("made", |transport| {
            let transport = transport.clone();
            upon_ticket(move || {
                assert!(transport.tls_info().is_none(), "the session is in use");
                transport.write(b"bye");
                transport.close();
            });
        });
        let connecting = event_loop.connect_accepted_socket(|| recorder, ours);
        let connecting = connecting
            .ssl(storing())
            .server_hostname("localhost")
            .ssl_shutdown_timeout(LIMIT);
        let connecting = create_task(connecting.into_future());
        let mut peer = Peer::server(theirs, server_config());
        peer.handshake().await.unwrap();
        let (_transport, recorder) = connecting.await.unwrap().unwrap();
        assert_eq!(peer.read(10).await.unwrap(), b"bye");
        peer.close_notify().await;
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "lost"]);
    });
}

#[test]
fn a_store_of_sessions_may_close_its_connection_with_nothing_to_be_sent() {
    settling(|_, _| async move {
        let (mut reader, writer, mut peer) = stream_before_tickets().await;
        let transport = writer.transport().clone();
        let reading = create_task(async move { reader.read(10).await });
        event_polls(2).await;
        upon_ticket(move || transport.close());
        peer.flush().await.unwrap();
        assert_eq!(peer.read(10).await.unwrap(), b"");
        peer.close_notify().await;
        drop(peer);
        writer.wait_closed().await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), b"");
    });
}

#[test]
fn a_store_of_sessions_that_panics_ends_its_connection_and_not_the_task_that_reads() {
    settling(|_, trace| async move {
        let (mut reader, writer, mut peer) = stream_before_tickets().await;
        let reading = create_task(async move { reader.read_into(&mut [0; 10]).await });
        event_polls(2).await;
        upon_ticket(|| panic!("on purpose"));
        peer.flush().await.unwrap();
        let error = reading.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "{error:?}");
        assert!(writer.wait_closed().await.is_err());
        trace.expect(["report: Exception in a protocol's TLS session (on purpose)"]);
    });
}

#[test]
fn a_store_of_sessions_that_panics_while_its_connection_closes_ends_that() {
    settling(|_, trace| async move {
        let (_reader, writer, mut peer) = stream_before_tickets().await;
        upon_ticket(|| panic!("on purpose"));
        writer.close();
        peer.flush().await.unwrap();
        assert_eq!(
            writer.wait_closed().await.unwrap_err().kind(),
            ErrorKind::Other
        );
        trace.expect(["report: Exception in a protocol's TLS session (on purpose)"]);
    });
}

/// A stream on the server's side that has begun to encrypt, and a client that has sent its hello.
async fn upgrading() -> (
    StreamReader,
    StreamWriter,
    Task<io::Result<Transport>>,
    Peer,
) {
    let (ours, theirs) = std_pair();
    let (reader, writer) = open_connection(ours).await.unwrap();
    let context = ServerContext::from(server_config());
    let upgrading = writer.start_tls(context).into_future();
    let upgrading = create_task(upgrading);
    let peer = Peer::client(theirs, client_config());
    event_polls(2).await;
    (reader, writer, upgrading, peer)
}

#[test]
fn an_end_of_writing_in_the_handshake_is_told_after_it() {
    settling(|_, _| async move {
        for words in [b"".as_slice(), b"all there is"] {
            let (mut reader, writer, upgrading, mut peer) = upgrading().await;
            writer.write(words);
            writer.write_eof();
            peer.handshake().await.unwrap();
            upgrading.await.unwrap().unwrap();
            assert_eq!(peer.read(100).await.unwrap(), words);
            peer.write(b"heard").await;
            assert_eq!(reader.readexactly(5).await.unwrap(), b"heard");
            writer.close();
            peer.close_notify().await;
            writer.wait_closed().await.unwrap();
        }
    });
}

#[test]
fn a_file_that_is_sent_in_the_handshake_goes_out_after_it() {
    settling(|_, _| async move {
        let (_reader, writer, upgrading, mut peer) = upgrading().await;
        let writer = Rc::new(writer);
        let sender = Rc::clone(&writer);
        let sending = create_task(async move {
            let scratch = Scratch::new(&pattern(100_000));
            sender.sendfile(&scratch.file, 0, None).await
        });
        event_polls(2).await;
        assert!(!sending.done());
        peer.handshake().await.unwrap();
        upgrading.await.unwrap().unwrap();
        assert!(peer.read(100_000).await.unwrap() == pattern(100_000));
        assert_eq!(sending.await.unwrap().unwrap(), 100_000);
        writer.close();
        assert_eq!(peer.read(1).await.unwrap(), b"");
        peer.close_notify().await;
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn a_read_that_waits_while_the_stream_begins_tls_gets_what_comes_over_it() {
    settling(|_, _| async move {
        let (ours, theirs) = std_pair();
        let (mut reader, writer) = open_connection(ours).await.unwrap();
        let reading = create_task(async move { reader.read(100).await });
        event_polls(2).await;
        let context = ServerContext::from(server_config());
        let upgrading = create_task(writer.start_tls(context).into_future());
        let mut peer = Peer::client(theirs, client_config());
        peer.handshake().await.unwrap();
        peer.write(b"over TLS").await;
        upgrading.await.unwrap().unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), b"over TLS");
        writer.close();
        peer.close_notify().await;
        writer.wait_closed().await.unwrap();
    });
}

#[test]
fn closing_in_the_handshake_ends_it_at_once_even_if_a_hello_has_not_gone_out() {
    settling(|_, _| async move {
        for polls in [0, 2] {
            let (ours, theirs) = std_pair();
            let (_reader, writer) = open_connection(ours).await.unwrap();
            let context = ClientContext::from(client_config());
            let start = writer.start_tls(context).server_hostname("localhost");
            let start = start.ssl_handshake_timeout(LIMIT).into_future();
            let mut upgrading = std::pin::pin!(start);
            assert!(futures_util::poll!(&mut upgrading).is_pending());
            event_polls(polls).await;
            writer.close();
            let error = upgrading.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            assert!(error.to_string().contains("was closed"), "{error}");
            writer.wait_closed().await.unwrap();
            drop(theirs);
        }
    });
}

#[test]
fn nothing_of_a_handshake_reaches_the_former_protocol_although_a_write_fails() {
    settling(|event_loop, trace| async move {
        let (ours, theirs) = std_pair();
        let former = Recorder::new(&trace);
        let accepting = event_loop.connect_accepted_socket(|| former, ours);
        let (transport, _) = accepting.await.unwrap();
        transport.set_write_buffer_cap(Some(10));
        let next = Rc::new(Recorder::new(&trace));
        let context = ServerContext::from(server_config());
        let upgrading = create_task(
            event_loop
                .start_tls(&transport, next, context)
                .into_future(),
        );
        let mut peer = Peer::client(theirs, client_config());
        peer.handshake_but_for_the_last_flush().await;
        peer.queue(b"secret");
        peer.flush().await.unwrap();
        transport.write([0; 100]);
        let error = upgrading.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        trace.expect(["made", "lost: QuotaExceeded"]);
    });
}

#[test]
fn nothing_is_sent_after_a_close_notify() {
    settling(|_, trace| async move {
        let (transport, recorder, mut peer) = recorded_server(Recorder::new(&trace)).await;
        transport.write(b"the last words");
        transport.close();
        assert_eq!(peer.read(100).await.unwrap(), b"the last words");
        transport.write(b"too late");
        peer.update_keys();
        peer.flush().await.unwrap();
        event_polls(2).await;
        peer.close_notify().await;
        until(|| recorder.lost.get()).await;
        let mut record = [0; 100];
        assert_eq!(peer.socket.read(&mut record).await.unwrap(), 0);
        trace.expect(["made", "lost"]);
    });
}

#[test]
fn a_peer_that_asks_for_new_keys_without_end_does_not_put_off_the_end() {
    settling(|event_loop, trace| async move {
        let (ours, theirs) = std_pair();
        let recorder = Recorder::new(&trace);
        let accepting = event_loop.connect_accepted_socket(|| recorder, ours);
        let accepting = accepting
            .ssl_server(server_config())
            .ssl_shutdown_timeout(LIMIT);
        let accepting = create_task(accepting.into_future());
        let mut peer = Peer::client(theirs, client_config());
        peer.handshake().await.unwrap();
        let (transport, recorder) = accepting.await.unwrap().unwrap();
        transport.close();
        let start = Instant::now();
        while !recorder.lost.get() && start.elapsed() < 8 * LIMIT {
            peer.update_keys();
            // Something of the program, so that rustls does not count the requests.
            peer.queue(b".");
            let _ = peer.flush().await;
            callsoon::sleep(LIMIT / 10).await;
        }
        assert!(start.elapsed() < 8 * LIMIT);
        trace.expect(["made", "lost: TimedOut"]);
    });
}

#[test]
fn a_peer_that_asks_for_new_keys_and_never_reads_is_owed_one_answer() {
    const REQUESTS: usize = 3000;
    const WRITTEN: usize = 500_000;
    settling(|_, _| async move {
        let (ours, theirs) = std_pair();
        SockRef::from(&ours).set_send_buffer_size(1 << 16).unwrap();
        SockRef::from(&theirs)
            .set_recv_buffer_size(1 << 16)
            .unwrap();
        let connecting = open_connection(ours).ssl(client_config());
        let connecting = create_task(connecting.server_hostname("localhost").into_future());
        let mut peer = Peer::server(theirs, server_config());
        peer.handshake().await.unwrap();
        let (mut reader, writer) = connecting.await.unwrap().unwrap();
        // More than the sockets have room for, so that every answer has to wait.
        writer.write([0; WRITTEN]);
        for _ in 0..REQUESTS {
            peer.update_keys();
            peer.queue(b".");
            peer.flush().await.unwrap();
            assert_eq!(reader.readexactly(1).await.unwrap(), b".");
        }
        writer.close();
        peer.end_writing();
        let mut came = 0;
        let mut buffer = [0; 1 << 16];
        loop {
            match peer.socket.read(&mut buffer).await.unwrap() {
                0 => break,
                count => came += count,
            }
        }
        // Records are a little longer than what they hold. Each answer would be 27 bytes more.
        let more = came - WRITTEN;
        assert!((27..2000).contains(&more), "{more}");
    });
}

#[test]
fn a_server_that_would_take_early_data_is_refused_since_nobody_would_read_it() {
    settling(|event_loop, trace| async move {
        let mut config = server_config();
        config.max_early_data_size = 1000;
        let t = trace.clone();
        let serving = event_loop.create_server(move || Recorder::new(&t), crate::loopback());
        let error = serving.ssl(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let (mut reader, writer, mut peer) = stream_and_peer().await;
        peer.write(b"x").await;
        assert_eq!(reader.readexactly(1).await.unwrap(), b"x");
        writer.close();
        peer.close_notify().await;
    });
}

#[test]
fn a_relay_from_tls_to_tls_passes_everything_on_both_ways_and_both_ends() {
    settling(|_, _| async move {
        let (reader, writer, mut left) = stream_and_peer().await;
        let mut here = callsoon::stream::join(reader, writer);
        let (reader, writer, mut right) = stream_and_peer().await;
        let mut there = callsoon::stream::join(reader, writer);
        let relaying =
            create_task(async move { callsoon::copy_bidirectional(&mut here, &mut there).await });
        let data = pattern(100_000);
        left.write(&data).await;
        assert!(right.read(data.len()).await.unwrap() == data);
        right.write(b"heard").await;
        assert_eq!(left.read(5).await.unwrap(), b"heard");
        left.update_keys();
        left.close_notify().await;
        assert_eq!(right.read(1).await.unwrap(), b"");
        right.close_notify().await;
        assert_eq!(relaying.await.unwrap().unwrap(), (100_000, 5));
        assert_eq!(left.read(1).await.unwrap(), b"");
    });
}
