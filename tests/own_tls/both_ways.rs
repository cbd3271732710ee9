//! Faults G4 and G5: both sides write much before they read, keys change meanwhile, and what comes in small records, or in
//! none, costs no more than it should.

use std::cell::Cell;
use std::rc::Rc;

use callsoon::transport::Transport;
use callsoon::{create_task, yield_now};
use futures_util::future::join;
use socket2::SockRef;

use crate::certificates::{client_config, server_config};
use crate::ends::{recorded_server, stream_and_peer};
use crate::peer::Peer;
use crate::support::{Recorder, event_polls, own_cpu_time, settling, std_pair, until};
use crate::{address_of, close, connecting, pattern};

const TEN_MEGABYTES: usize = 10_000_000;

#[test]
fn g4_both_sides_write_ten_megabytes_before_either_reads() {
    settling(|_, _| async {
        let heard = Rc::new(Cell::new(false));
        let noted = Rc::clone(&heard);
        let talk = move |mut reader: callsoon::stream::StreamReader,
                         writer: callsoon::stream::StreamWriter| {
            let noted = Rc::clone(&noted);
            async move {
                writer.write(pattern(TEN_MEGABYTES));
                let came = reader.readexactly(TEN_MEGABYTES).await?;
                noted.set(came == pattern(TEN_MEGABYTES));
                writer.close();
                writer.wait_closed().await?;
                Ok::<_, callsoon::stream::ReadError>(())
            }
        };
        let server = callsoon::start_server(talk, crate::support::loopback());
        let server = server.ssl(server_config()).await.unwrap();
        let connecting = connecting(address_of(&server), client_config());
        let (mut reader, writer) = connecting.await.unwrap();
        writer.write(pattern(TEN_MEGABYTES));
        let came = reader.readexactly(TEN_MEGABYTES).await.unwrap();
        assert!(came == pattern(TEN_MEGABYTES));
        assert_eq!(reader.read(1).await.unwrap(), b"");
        writer.close();
        writer.wait_closed().await.unwrap();
        close(server).await;
        assert!(heard.get());
    });
}

#[test]
fn g4_protocols_that_write_ten_megabytes_at_once_hear_all_of_the_others() {
    settling(|_, trace| async move {
        let recorder = Recorder::new(&trace).quiet();
        let recorder = recorder.on("made", |transport| transport.write(pattern(TEN_MEGABYTES)));
        let (served, here, mut peer) = recorded_server(recorder).await;
        let data = pattern(TEN_MEGABYTES);
        // The peer writes all before it reads a byte, as far as the sockets have room, and reads while it has not.
        for piece in data.chunks(1 << 20) {
            let so_far = here.received.get();
            peer.write(piece).await;
            until(|| here.received.get() == so_far + piece.len()).await;
        }
        assert!(peer.read(TEN_MEGABYTES).await.unwrap() == data);
        served.close();
        assert_eq!(peer.read(1).await.unwrap(), b"");
        peer.close_notify().await;
        drop(peer);
        until(|| here.lost.get()).await;
        let calls = trace.take();
        assert_eq!((&*calls[0], &**calls.last().unwrap()), ("made", "lost"));
        let middle = &calls[1..calls.len() - 1];
        assert_eq!(middle, ["pause", "resume"]);
    });
}

#[test]
fn g4_an_update_of_keys_is_answered_by_a_side_that_only_reads() {
    settling(|_, _| async move {
        let (mut reader, writer, mut peer) = stream_and_peer().await;
        for round in 0..10_u8 {
            peer.update_keys();
            peer.write(&[round]).await;
            assert_eq!(reader.readexactly(1).await.unwrap(), [round]);
            event_polls(2).await;
            // The answer is there, although nothing was written: a record of its own.
            let mut answer = [0; 5];
            assert_eq!(peer.socket.peek(&mut answer).await.unwrap(), 5);
            assert_eq!(answer[0], 23);
            if round % 2 == 0 {
                continue;
            }
            // Both sides have the same new keys.
            writer.write(b"yes");
            assert_eq!(peer.read(3).await.unwrap(), b"yes");
        }
        writer.close();
        assert_eq!(peer.read(1).await.unwrap(), b"");
    });
}

#[test]
fn g4_keys_are_updated_in_the_middle_of_much_that_goes_both_ways() {
    settling(|_, _| async move {
        let (mut reader, writer, mut peer) = stream_and_peer().await;
        let data = pattern(1_000_000);
        for piece in data.chunks(100_000) {
            let sending = async {
                writer.write(piece);
                writer.drain().await.unwrap();
            };
            let peer = async {
                peer.update_keys();
                peer.write(piece).await;
                assert!(peer.read(piece.len()).await.unwrap() == piece);
            };
            join(sending, peer).await;
            assert!(reader.readexactly(piece.len()).await.unwrap() == piece);
        }
        writer.close();
        assert_eq!(peer.read(1).await.unwrap(), b"");
    });
}

#[test]
fn g4_a_program_that_was_asked_to_pause_is_resumed_although_a_receive_has_sent_the_rest() {
    // All that the sockets do not take is encrypted at once, so that any flush of the session may send the rest.
    const WRITTEN: usize = 600_000;
    const MARK: usize = 200_000;
    settling(|event_loop, trace| async move {
        for end in [false, true] {
            let (ours, theirs) = std_pair();
            SockRef::from(&ours).set_send_buffer_size(1 << 16).unwrap();
            let receives = SockRef::from(&theirs).set_recv_buffer_size(1 << 16);
            receives.unwrap();
            let recorder = Recorder::new(&trace).quiet();
            let accepting = event_loop.connect_accepted_socket(|| recorder, ours);
            let accepting = create_task(accepting.ssl_server(server_config()).into_future());
            let mut peer = Peer::client(theirs, client_config());
            peer.handshake().await.unwrap();
            let (transport, recorder) = accepting.await.unwrap().unwrap();
            transport.set_write_buffer_limits(Some(MARK), None).unwrap();
            transport.write(pattern(WRITTEN));
            if end {
                transport.write_eof();
            }
            trace.expect(["made", "pause"]);
            let mut came = Vec::new();
            while came.len() < WRITTEN {
                // Something to receive, at the moment when there is room to send.
                peer.queue(b".");
                peer.flush().await.unwrap();
                came.extend(peer.read(16_000.min(WRITTEN - came.len())).await.unwrap());
            }
            assert!(came == pattern(WRITTEN));
            if end {
                assert_eq!(peer.read(1).await.unwrap(), b"");
            }
            peer.close_notify().await;
            drop(peer);
            until(|| recorder.lost.get()).await;
            trace.expect(["resume", "eof", "lost"]);
        }
    });
}

#[test]
fn g5_reading_that_is_paused_stops_the_peer_and_nothing_is_lost() {
    settling(|_, trace| async move {
        let recorder = Recorder::new(&trace).quiet();
        let recorder = recorder.on("made", Transport::pause_reading);
        let (transport, recorder, mut peer) = recorded_server(recorder).await;
        // As much as the sockets take while the program does not read.
        let block = pattern(16_000);
        let mut sent = 0;
        let mut unsent: Vec<u8> = Vec::new();
        let mut idle = 0;
        while idle < 50 {
            if unsent.is_empty() {
                peer.queue(&block);
                unsent = peer.records();
                sent += block.len();
            }
            match peer.socket.try_write(&unsent) {
                Ok(count) => {
                    unsent.drain(..count);
                    idle = 0;
                }
                Err(_) => {
                    event_polls(2).await;
                    idle += 1;
                }
            }
            assert!(sent < 100_000_000, "nothing stops the peer");
        }
        assert_eq!(recorder.received.get(), 0);
        transport.resume_reading();
        peer.socket.write_all(&unsent).await.unwrap();
        until(|| recorder.received.get() == sent).await;
        peer.close_notify().await;
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn g5_pausing_in_data_received_holds_what_the_same_segment_brought() {
    settling(|_, trace| async move {
        let recorder = Recorder::new(&trace).on("data", Transport::pause_reading);
        let (transport, recorder, mut peer) = recorded_server(recorder).await;
        let mut segment = Vec::new();
        for word in [&b"one"[..], b"two", b"three"] {
            peer.queue(word);
            segment.extend(peer.records());
        }
        peer.socket.write_all(&segment).await.unwrap();
        until(|| recorder.received.get() > 0).await;
        event_polls(3).await;
        let first = recorder.received.get();
        // What rustls has made of the segment is there without another event.
        while recorder.received.get() < 11 {
            assert!(!transport.is_reading());
            let before = recorder.received.get();
            transport.resume_reading();
            until(|| recorder.received.get() > before).await;
        }
        assert!(first <= 11);
        transport.close();
        drop(peer);
        until(|| recorder.lost.get()).await;
        let calls = trace.take();
        let words: String = calls
            .iter()
            .filter_map(|call| call.strip_prefix("data "))
            .collect();
        assert_eq!(words, "onetwothree");
    });
}

#[test]
fn g5_records_of_one_byte_and_of_none_cost_time_in_proportion() {
    settling(|_, trace| async move {
        let recorder = Recorder::new(&trace).quiet();
        let (_, recorder, mut peer) = recorded_server(recorder).await;
        let mut spent = Vec::new();
        for amount in [2_000, 2_000, 32_000] {
            let mut segment = Vec::new();
            for byte in pattern(amount).chunks(1) {
                peer.queue(byte);
                segment.extend(peer.records());
            }
            let before = recorder.received.get();
            let began = own_cpu_time();
            peer.socket.write_all(&segment).await.unwrap();
            until(|| recorder.received.get() == before + amount).await;
            spent.push(own_cpu_time() - began);
        }
        // Sixteen times as much takes sixteen times as long, and 256 times if each record were to cost more than the last.
        let base = spent[0].min(spent[1]);
        assert!(spent[2] < base * 64, "{spent:?}");
        peer.close_notify().await;
        drop(peer);
        until(|| recorder.lost.get()).await;
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn g5_a_flood_on_one_connection_lets_others_have_their_turn() {
    settling(|_, trace| async move {
        let flooded = Recorder::new(&trace).quiet();
        let (_, flooded, mut flooding) = recorded_server(flooded).await;
        let echo = Recorder::new(&trace)
            .quiet()
            .on("data", |transport| transport.write(b"!"));
        let (_, served, mut peer) = recorded_server(echo).await;
        let segment = pattern(200_000);
        for round in 1..=50 {
            for piece in segment.chunks(16_000) {
                flooding.queue(piece);
            }
            let records = flooding.records();
            let sent = flooding.socket.write_all(&records);
            let asked = async {
                peer.write(b"?").await;
                assert_eq!(peer.read(1).await.unwrap(), b"!");
                served.received.get()
            };
            assert_eq!(join(sent, asked).await.1, round);
        }
        until(|| flooded.received.get() == 50 * segment.len()).await;
        for mut peer in [peer, flooding] {
            peer.close_notify().await;
        }
        until(|| flooded.lost.get() && served.lost.get()).await;
        yield_now().await;
        assert_eq!(trace.take().len(), 6);
    });
}
