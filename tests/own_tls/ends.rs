//! How a connection ends. Fault G1: an end without close_notify is told apart from an end, and closing sends what is queued,
//! then close_notify.

use std::io::{self, ErrorKind};
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::time::Duration;

use callsoon::stream::{StreamReader, StreamWriter, open_connection};
use callsoon::transport::Transport;
use callsoon::{create_task, get_running_loop, yield_now};

use crate::certificates::{client_config, server_config};
use crate::peer::Peer;
use crate::support::{Recorder, Trace, event_polls, on_virtual_time, settling, std_pair, until};
use crate::{address_of, close, connecting, pattern, recording_server};

/// A transport on the server's side with its recorder, and a peer on the client's whose handshake is over.
pub(crate) async fn recorded_server(recorder: Recorder) -> (Transport, Rc<Recorder>, Peer) {
    let (ours, theirs) = std_pair();
    let accepting = get_running_loop().connect_accepted_socket(|| recorder, ours);
    let accepting = accepting.ssl_server(server_config()).into_future();
    let accepting = create_task(accepting);
    let mut peer = Peer::client(theirs, client_config());
    peer.handshake().await.unwrap();
    let (transport, recorder) = accepting.await.unwrap().unwrap();
    (transport, recorder, peer)
}

/// A stream on the client's side, and a peer on the server's whose handshake is over.
pub(crate) async fn stream_and_peer() -> (StreamReader, StreamWriter, Peer) {
    let (ours, theirs) = std_pair();
    let connecting = open_connection(ours).ssl(client_config());
    let connecting = create_task(connecting.server_hostname("localhost").into_future());
    let mut peer = Peer::server(theirs, server_config());
    peer.handshake().await.unwrap();
    let (reader, writer) = connecting.await.unwrap().unwrap();
    (reader, writer, peer)
}

#[test]
fn g1_close_notify_is_the_end_and_a_bare_fin_is_an_error_after_the_data() {
    settling(|_, trace| async move {
        for polite in [true, false] {
            let (_, recorder, mut peer) = recorded_server(Recorder::new(&trace)).await;
            peer.write(b"hello").await;
            if polite {
                peer.close_notify().await;
            }
            peer.end_writing();
            until(|| recorder.lost.get()).await;
            match polite {
                true => trace.expect(["made", "data hello", "eof", "lost"]),
                false => trace.expect(["made", "data hello", "lost: UnexpectedEof"]),
            }
        }
    });
}

#[test]
fn g1_streams_give_the_data_and_then_the_end_or_the_error() {
    settling(|_, _| async move {
        for polite in [true, false] {
            let (mut reader, writer, mut peer) = stream_and_peer().await;
            peer.write(b"a line\nand a half").await;
            if polite {
                peer.close_notify().await;
            }
            peer.end_writing();
            assert_eq!(reader.readline().await.unwrap(), b"a line\n");
            let rest = reader.read_to_end().await;
            match polite {
                true => assert_eq!(rest.unwrap(), b"and a half"),
                false => assert_eq!(rest.unwrap_err().kind(), ErrorKind::UnexpectedEof),
            }
            writer.close();
            let closed = writer.wait_closed().await.map_err(|error| error.kind());
            assert_eq!(closed.is_ok(), polite, "{closed:?}");
        }
    });
}

#[test]
fn g1_closing_sends_everything_and_then_close_notify() {
    settling(|_, trace| async move {
        const MUCH: usize = 5_000_000;
        let (transport, recorder, mut peer) = recorded_server(Recorder::new(&trace)).await;
        let data = pattern(MUCH);
        transport.write(&data);
        transport.close();
        // Without close_notify this would be `UnexpectedEof`.
        let came = peer.read(MUCH + 1).await.unwrap();
        assert!(came == data);
        assert!(!recorder.lost.get(), "it waits for the peer's close_notify");
        peer.close_notify().await;
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "pause", "resume", "lost"]);
    });
}

#[test]
fn g1_an_abort_sends_no_close_notify() {
    settling(|_, trace| async move {
        let (transport, recorder, mut peer) = recorded_server(Recorder::new(&trace)).await;
        transport.abort();
        until(|| recorder.lost.get()).await;
        let error = peer.read(1).await.unwrap_err();
        let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
        assert!(kinds.contains(&error.kind()), "{error}");
        trace.expect(["made", "lost"]);
    });
}

#[test]
fn g1_a_peer_that_does_not_take_the_last_bytes_is_given_30_seconds() {
    on_virtual_time(|trace, event_loop| {
        let test = async {
            let event_loop = get_running_loop();
            let lost = event_loop.create_future();
            let told = lost.clone();
            let recorder = Recorder::new(&trace).on("lost", move |_| {
                told.set_result(get_running_loop().time()).unwrap();
            });
            let (transport, _, peer) = recorded_server(recorder).await;
            let began = event_loop.time();
            transport.write(pattern(20_000_000));
            transport.close();
            let lasted = lost.await.unwrap() - began;
            // What the system has taken after `close` begins the time anew, once.
            let limit = Duration::from_secs(30);
            assert!(lasted == limit || lasted == 2 * limit, "{lasted:?}");
            drop(peer);
            yield_now().await;
        };
        event_loop.run_until_complete(test).unwrap();
        assert_eq!(event_loop.metrics().timers, 0);
        trace.expect(["made", "pause", "lost: TimedOut"]);
    });
}

#[test]
fn g1_writes_of_a_connection_that_the_peer_has_reset_fail_at_drain() {
    settling(|_, _| async move {
        let (mut reader, writer, peer) = stream_and_peer().await;
        writer.write(b"one");
        peer.reset();
        let lost = loop {
            writer.write([0; 100_000]);
            if let Err(error) = writer.drain().await {
                break error;
            }
            yield_now().await;
        };
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(kinds.contains(&lost.kind()), "{lost:?}");
        let read = reader.read(1).await.unwrap_err();
        assert!(kinds.contains(&read.kind()), "{read:?}");
        let again = writer.drain().await.unwrap_err();
        assert!(kinds.contains(&again.kind()), "{again:?}");
    });
}

#[test]
fn keeping_open_after_the_peer_s_end_is_not_possible_over_tls() {
    settling(|_, trace| async move {
        let recorder = Recorder::new(&trace).keep_open();
        let (transport, recorder, mut peer) = recorded_server(recorder).await;
        assert!(!transport.can_write_eof());
        peer.close_notify().await;
        until(|| recorder.lost.get()).await;
        assert!(transport.is_closing());
        // Ours is the answer.
        assert_eq!(peer.read(1).await.unwrap(), b"");
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn what_is_written_in_eof_received_is_still_sent() {
    settling(|_, trace| async move {
        let recorder = Recorder::new(&trace).on("eof", |transport| transport.write(b"goodbye"));
        let (_, recorder, mut peer) = recorded_server(recorder).await;
        peer.write(b"hello").await;
        peer.close_notify().await;
        assert_eq!(peer.read(100).await.unwrap(), b"goodbye");
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data hello", "eof", "lost"]);
    });
}

#[test]
fn a_task_that_reads_the_end_may_still_write_in_that_step() {
    settling(|_, _| async move {
        for in_lines in [false, true] {
            let (mut reader, writer, mut peer) = stream_and_peer().await;
            let answering = create_task(async move {
                let count = match in_lines {
                    true => reader.readline().await.unwrap().len(),
                    false => reader.read_into(&mut [0; 10]).await.unwrap(),
                };
                assert_eq!(count, 0);
                writer.write(b"last words");
                assert!(!writer.is_closing());
                // It closes without a word of the program.
                until(|| writer.is_closing()).await;
                writer.wait_closed().await.unwrap();
            });
            event_polls(2).await;
            peer.close_notify().await;
            assert_eq!(peer.read(100).await.unwrap(), b"last words");
            drop(peer);
            answering.await.unwrap();
        }
    });
}

#[test]
fn a_stream_that_is_dropped_closes_politely() {
    settling(|_, _| async move {
        let (reader, writer, mut peer) = stream_and_peer().await;
        writer.write(b"last words");
        drop((reader, writer));
        assert_eq!(peer.read(100).await.unwrap(), b"last words");
    });
}

#[test]
fn a_server_that_ends_its_clients_does_so_politely() {
    settling(|_, trace| async move {
        let server = recording_server(&trace, server_config()).await;
        let mut peers = Vec::new();
        for _ in 0..3 {
            let socket = StdStream::connect(address_of(&server)).unwrap();
            let mut peer = Peer::client(socket, client_config());
            peer.handshake().await.unwrap();
            peers.push(peer);
        }
        until_lines(&trace, 3).await;
        server.close();
        server.close_clients();
        for mut peer in peers {
            assert_eq!(peer.read(1).await.unwrap(), b"");
            peer.close_notify().await;
        }
        server.wait_closed().await;
        trace.expect(["lost", "lost", "lost"]);
    });
}

/// Waits for so many lines of the trace and takes them out.
async fn until_lines(trace: &Trace, mut count: usize) {
    while count > 0 {
        count -= trace.take().len();
        yield_now().await;
    }
}

#[test]
fn a_record_that_was_changed_on_the_way_is_an_error_with_an_alert_and_what_came_before_is_delivered()
 {
    settling(|_, trace| async move {
        let (_, recorder, mut peer) = recorded_server(Recorder::new(&trace)).await;
        peer.write(b"good").await;
        until(|| recorder.received.get() == 4).await;
        // A record that no key of ours has made.
        let forged = [&[23, 3, 3, 0, 40][..], &[9; 40]].concat();
        peer.socket.write_all(&forged).await.unwrap();
        let error = peer.read(1).await.unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data good", "lost: InvalidData"]);
    });
}

#[test]
fn good_records_before_a_bad_one_in_the_same_segment_are_delivered() {
    settling(|_, trace| async move {
        let (_, recorder, mut peer) = recorded_server(Recorder::new(&trace)).await;
        peer.queue(b"one");
        let mut segment = peer.records();
        segment.extend([&[23, 3, 3, 0, 40][..], &[9; 40]].concat());
        peer.socket.write_all(&segment).await.unwrap();
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "data one", "lost: InvalidData"]);
    });
}

#[test]
fn a_program_that_has_paused_reading_learns_of_the_end_when_it_reads_again() {
    settling(|_, trace| async move {
        let recorder = Recorder::new(&trace).on("made", Transport::pause_reading);
        let (transport, recorder, mut peer) = recorded_server(recorder).await;
        peer.write(b"later").await;
        peer.close_notify().await;
        drop(peer);
        event_polls(5).await;
        trace.expect(["made"]);
        transport.resume_reading();
        until(|| recorder.lost.get()).await;
        trace.expect(["data later", "eof", "lost"]);
    });
}

#[test]
fn a_timeout_of_the_end_is_stated_and_its_timer_does_not_outlive_the_connection() {
    settling(|event_loop, _| async move {
        let timers = event_loop.metrics().timers;
        let (_reader, writer, mut peer) = stream_and_peer().await;
        writer.close();
        assert_eq!(peer.read(1).await.unwrap(), b"");
        peer.close_notify().await;
        drop(peer);
        let closed: io::Result<()> = writer.wait_closed().await;
        closed.unwrap();
        assert_eq!(event_loop.metrics().timers, timers);
        let server = recording_server(&Trace::new(), server_config()).await;
        let connecting = connecting(address_of(&server), client_config());
        let slow = connecting.ssl_shutdown_timeout(Duration::from_secs(3));
        let (_reader, writer) = slow.await.unwrap();
        writer.close();
        writer.wait_closed().await.unwrap();
        close(server).await;
        until(|| event_loop.metrics().timers == timers).await;
    });
}
