//! Records of nothing, of one byte, and thousands of them in one segment, in both versions. rustls takes 32 records of
//! nothing in a row. None of them is data, or an end.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;

use callsoon::net::TcpStream;
use callsoon::stream::{StreamReader, StreamWriter, open_connection};
use callsoon::{create_task, get_running_loop, yield_now};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::certificates::{client_config_of, server_config};
use crate::peer::{Peer, Sealer};
use crate::support::{Recorder, event_polls, settling, std_pair, until};

/// How many records of nothing rustls takes in a row.
const ALLOWED: usize = 32;

/// How many operations of one step may succeed.
const BUDGET: usize = 128;

/// A client whose records are made by hand, of a server on the other socket.
async fn client(socket: std::net::TcpStream, version: &'static SupportedProtocolVersion) -> Peer {
    let mut config = client_config_of(&[version]);
    config.enable_secret_extraction = true;
    let mut peer = Peer::client(socket, config);
    peer.handshake().await.unwrap();
    peer
}

async fn recorder_and_sealer(
    recorder: Recorder,
    version: &'static SupportedProtocolVersion,
) -> (Rc<Recorder>, TcpStream, Sealer) {
    let (ours, theirs) = std_pair();
    let accepting = get_running_loop().connect_accepted_socket(|| recorder, ours);
    let accepting = create_task(accepting.ssl_server(server_config()).into_future());
    let peer = client(theirs, version).await;
    let (_, recorder) = accepting.await.unwrap().unwrap();
    let (socket, sealer) = peer.into_parts();
    (recorder, socket, sealer)
}

async fn stream_and_sealer(
    version: &'static SupportedProtocolVersion,
) -> (StreamReader, StreamWriter, TcpStream, Sealer) {
    let (ours, theirs) = std_pair();
    let accepting = open_connection(ours).ssl_server(server_config());
    let accepting = create_task(accepting.into_future());
    let peer = client(theirs, version).await;
    let (reader, writer) = accepting.await.unwrap().unwrap();
    let (socket, sealer) = peer.into_parts();
    (reader, writer, socket, sealer)
}

/// As many records of nothing as are allowed, then one of these words, for each of them.
fn words_between_nothing(sealer: &mut Sealer, words: &[&[u8]]) -> Vec<u8> {
    let mut records = Vec::new();
    for word in words {
        for _ in 0..ALLOWED {
            records.extend(sealer.data(b""));
        }
        records.extend(sealer.data(word));
    }
    records
}

/// Sends records as one segment, one by one, or byte by byte.
async fn send(socket: &TcpStream, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        socket.write_all(piece).await.unwrap();
        event_polls(1).await;
    }
}

#[test]
fn a_protocol_hears_of_the_data_between_records_of_nothing_and_of_nothing_else() {
    settling(|_, trace| async move {
        for version in [&TLS12, &TLS13] {
            for piece in [usize::MAX, 22, 1] {
                let recorder = Recorder::new(&trace);
                let (recorder, socket, mut sealer) = recorder_and_sealer(recorder, version).await;
                for word in [b"one", b"two"] {
                    let before = recorder.received.get();
                    let records = words_between_nothing(&mut sealer, &[word]);
                    send(&socket, &records, piece).await;
                    until(|| recorder.received.get() == before + 3).await;
                }
                // Records of nothing before the end are no data either.
                let end = [sealer.data(b""), sealer.close_notify()].concat();
                send(&socket, &end, piece).await;
                until(|| recorder.lost.get()).await;
                trace.expect(["made", "data one", "data two", "eof", "lost"]);
            }
        }
    });
}

#[test]
fn a_stream_takes_no_record_of_nothing_for_its_end() {
    settling(|_, _| async {
        for version in [&TLS12, &TLS13] {
            for piece in [usize::MAX, 22, 1] {
                let (mut reader, writer, socket, mut sealer) = stream_and_sealer(version).await;
                let mut records = words_between_nothing(&mut sealer, &[b"one", b"two"]);
                records.extend(sealer.data(b""));
                records.extend(sealer.close_notify());
                let sending = create_task(async move {
                    send(&socket, &records, piece).await;
                    socket
                });
                let mut came: Vec<u8> = Vec::new();
                let mut buffer = [0; 100];
                loop {
                    match reader.read_into(&mut buffer).await.unwrap() {
                        0 => break,
                        count => came.extend_from_slice(&buffer[..count]),
                    }
                }
                assert_eq!(came, b"onetwo");
                writer.close();
                drop(sending.await.unwrap());
                writer.wait_closed().await.unwrap();
            }
        }
    });
}

#[test]
fn more_records_of_nothing_in_a_row_than_rustls_allows_end_the_connection_after_the_data() {
    settling(|_, trace| async move {
        for version in [&TLS12, &TLS13] {
            for piece in [usize::MAX, 22] {
                let recorder = Recorder::new(&trace);
                let (recorder, socket, mut sealer) = recorder_and_sealer(recorder, version).await;
                let mut records = sealer.data(b"before");
                for _ in 0..=ALLOWED {
                    records.extend(sealer.data(b""));
                }
                send(&socket, &records, piece).await;
                until(|| recorder.lost.get()).await;
                trace.expect(["made", "data before", "lost: InvalidData"]);
                // rustls sends no alert about it. The peer gets the end, after what came before.
                while socket
                    .read(&mut [0; 1024])
                    .await
                    .is_ok_and(|count| count > 0)
                {}

                let (mut reader, writer, socket, mut sealer) = stream_and_sealer(version).await;
                let mut records = sealer.data(b"before");
                for _ in 0..=ALLOWED {
                    records.extend(sealer.data(b""));
                }
                send(&socket, &records, piece).await;
                assert_eq!(reader.readexactly(6).await.unwrap(), b"before");
                let error = reader.read(1).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                let why = error.get_ref().unwrap().to_string();
                assert!(why.contains("TooManyEmptyFragments"), "{why}");
                assert!(writer.wait_closed().await.is_err());
            }
        }
    });
}

/// Counts the turns of the loop until it is dropped.
fn counted_turns() -> (Rc<Cell<usize>>, callsoon::Task<()>) {
    let turns = Rc::new(Cell::new(0));
    let counted = Rc::clone(&turns);
    let counting = create_task(async move {
        loop {
            counted.set(counted.get() + 1);
            yield_now().await;
        }
    });
    (turns, counting)
}

/// Many records of one byte, with as many of nothing between them as `nothing`.
fn tiny_records(sealer: &mut Sealer, count: usize, nothing: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for _ in 0..count {
        for _ in 0..nothing {
            records.extend(sealer.data(b""));
        }
        records.extend(sealer.data(b"."));
    }
    records
}

#[test]
fn a_stream_that_reads_thousands_of_tiny_records_lets_another_task_have_its_turn() {
    settling(|_, _| async {
        for version in [&TLS12, &TLS13] {
            for (count, nothing) in [(5000, 0), (500, ALLOWED)] {
                let (mut reader, writer, socket, mut sealer) = stream_and_sealer(version).await;
                let records = tiny_records(&mut sealer, count, nothing);
                let sending = create_task(async move {
                    socket.write_all(&records).await.unwrap();
                    socket
                });
                let (turns, counting) = counted_turns();
                let (mut last, mut in_a_row) = (turns.get(), 0);
                for _ in 0..count {
                    assert_eq!(reader.read_into(&mut [0]).await.unwrap(), 1);
                    if turns.get() == last {
                        in_a_row += 1;
                        assert!(in_a_row <= BUDGET, "the other task waits");
                    } else {
                        (last, in_a_row) = (turns.get(), 0);
                    }
                }
                assert!(turns.get() >= count / BUDGET);
                counting.cancel();
                counting.await.unwrap_err();
                writer.transport().abort();
                drop(sending.await.unwrap());
            }
        }
    });
}

#[test]
fn a_protocol_is_given_tiny_records_once_a_turn() {
    settling(|_, trace| async move {
        for version in [&TLS12, &TLS13] {
            for (count, nothing) in [(5000, 0), (500, ALLOWED)] {
                let (turns, counting) = counted_turns();
                let (counted, last) = (Rc::clone(&turns), Cell::new(usize::MAX));
                let recorder = Recorder::new(&trace).quiet().on("data", move |_| {
                    assert_ne!(
                        last.replace(counted.get()),
                        counted.get(),
                        "twice in a turn"
                    );
                });
                let (recorder, socket, mut sealer) = recorder_and_sealer(recorder, version).await;
                let mut records = tiny_records(&mut sealer, count, nothing);
                records.extend(sealer.close_notify());
                socket.write_all(&records).await.unwrap();
                until(|| recorder.lost.get()).await;
                assert_eq!(recorder.received.get(), count);
                counting.cancel();
                counting.await.unwrap_err();
                trace.expect(["made", "eof", "lost"]);
            }
        }
    });
}
