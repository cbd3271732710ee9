//! Flow control of transports: faults F1 and F4.

use std::cell::Cell;
use std::io::Read as _;
use std::rc::Rc;

use callsoon::get_running_loop;
use callsoon::transport::Transport;

use crate::support::{Recorder, complete, on_real_time, recorded, std_pair, until};

#[test]
fn f1_a_peer_that_never_reads_pauses_once_whichever_way_is_written() {
    for lines in [false, true] {
        on_real_time(move |trace, event_loop| {
            complete(&event_loop, async {
                let (transport, recorder, _peer) = recorded(Recorder::new(&trace)).await;
                let chunk = vec![0; 10_000];
                for _ in 0..2000 {
                    if lines {
                        transport.writelines(&[&chunk[..1], &chunk[1..]]);
                    } else {
                        transport.write(&chunk);
                    }
                }
                assert!(transport.write_buffer_size() > 64 * 1024);
                transport.abort();
                assert_eq!(transport.write_buffer_size(), 0);
                until(|| recorder.lost.get()).await;
            });
            trace.expect(["made", "pause", "lost"]);
        });
    }
}

#[test]
fn lowering_the_limit_pauses_at_once_and_a_limit_of_zero_at_the_first_byte() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let (transport, recorder, mut peer) = recorded(Recorder::new(&trace)).await;
            transport
                .set_write_buffer_limits(Some(usize::MAX), None)
                .unwrap();
            let chunk = vec![0; 1 << 20];
            let mut written = 0;
            while transport.write_buffer_size() == 0 {
                transport.write(&chunk);
                written += chunk.len();
            }
            trace.expect(["made"]);
            transport.set_write_buffer_limits(Some(0), None).unwrap();
            trace.expect(["pause"]);
            let reader = std::thread::spawn(move || {
                let mut left = vec![0; written];
                peer.read_exact(&mut left).unwrap();
                peer
            });
            until(|| transport.write_buffer_size() == 0).await;
            trace.expect(["resume"]);
            transport.close();
            until(|| recorder.lost.get()).await;
            trace.expect(["lost"]);
            drop(reader.join().unwrap());
        });
    });
}

#[test]
fn what_resume_writing_writes_while_closing_is_still_sent() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let (transport, recorder, mut peer) =
                recorded(Recorder::new(&trace).on("resume", |t| t.write(b"the end"))).await;
            while transport.write_buffer_size() <= 1 << 16 {
                transport.write([b'x'; 10_000]);
            }
            transport.close();
            assert!(!recorder.lost.get());
            let reader = std::thread::spawn(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).unwrap();
                all
            });
            until(|| recorder.lost.get()).await;
            assert!(reader.join().unwrap().ends_with(b"xthe end"));
        });
        trace.expect(["made", "pause", "resume", "lost"]);
    });
}

#[test]
fn a_protocol_may_write_to_another_transport_when_it_resumes() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let event_loop = get_running_loop();
            let ((one, mut one_peer), (other, mut other_peer)) = (std_pair(), std_pair());
            let quiet = Recorder::new(&trace);
            let (other, _) = event_loop
                .connect_accepted_socket(|| quiet, other)
                .await
                .unwrap();
            let target = other.clone();
            let recorder = Recorder::new(&trace).on("resume", move |_| {
                target.write(b"from the other");
                target.abort();
            });
            let (transport, recorder) = event_loop
                .connect_accepted_socket(|| recorder, one)
                .await
                .unwrap();
            while transport.write_buffer_size() <= 1 << 16 {
                transport.write([b'x'; 10_000]);
            }
            let reader = std::thread::spawn(move || {
                let mut all = Vec::new();
                one_peer.read_to_end(&mut all).unwrap();
            });
            let mut word = [0; 14];
            until(|| other.is_closing()).await;
            other_peer.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"from the other");
            transport.close();
            until(|| recorder.lost.get()).await;
            reader.join().unwrap();
        });
        trace.expect(["made", "made", "pause", "resume", "lost", "lost"]);
    });
}

#[test]
fn f4_pausing_inside_data_received_ends_the_deliveries_and_swapping_loses_nothing() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let (ours, mut peer) = std_pair();
            let total = Rc::new(Cell::new(0));
            let calls = Rc::new(Cell::new(0));
            let writer = std::thread::spawn(move || {
                std::io::Write::write_all(&mut peer, &vec![7; 4_000_000]).unwrap();
                drop(peer);
            });
            let (t, c) = (trace.clone(), calls.clone());
            let make = move || {
                let c = c.clone();
                Recorder::new(&t).quiet().on("data", move |transport| {
                    c.set(c.get() + 1);
                    assert!(transport.is_reading(), "delivered while paused");
                    transport.pause_reading();
                })
            };
            let first = make();
            let (transport, first) = get_running_loop()
                .connect_accepted_socket(|| first, ours)
                .await
                .unwrap();
            let mut current = first;
            // The first delivery may have come before this task went on.
            let mut seen = 0;
            loop {
                let protocol = current.clone();
                until(|| calls.get() > seen || protocol.lost.get()).await;
                if current.lost.get() {
                    break;
                }
                total.set(total.get() + current.received.get());
                seen = calls.get();
                current = Rc::new(make());
                transport.set_protocol(current.clone());
                transport.resume_reading();
            }
            total.set(total.get() + current.received.get());
            assert_eq!(total.get(), 4_000_000);
            writer.join().unwrap();
        });
        trace.expect(["made", "eof", "lost"]);
    });
}

#[test]
fn a_flooding_connection_lets_others_have_their_turn() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let ((flood, mut flooding), (ours, mut peer)) = (std_pair(), std_pair());
            let writer = std::thread::spawn(move || {
                let chunk = vec![0; 1 << 20];
                while std::io::Write::write_all(&mut flooding, &chunk).is_ok() {}
            });
            let event_loop = get_running_loop();
            let quiet = Recorder::new(&trace).quiet();
            let (flooded, sink) = event_loop
                .connect_accepted_socket(|| quiet, flood)
                .await
                .unwrap();
            let echo = Recorder::new(&trace).quiet().on("data", |t| t.write(b"!"));
            let (served, _) = event_loop
                .connect_accepted_socket(|| echo, ours)
                .await
                .unwrap();
            until(|| sink.received.get() > 1 << 20).await;
            let rounds = std::thread::spawn(move || {
                for _ in 0..200 {
                    std::io::Write::write_all(&mut peer, b"?").unwrap();
                    peer.read_exact(&mut [0; 1]).unwrap();
                }
            });
            until(|| rounds.is_finished()).await;
            rounds.join().unwrap();
            served.close();
            Transport::abort(&flooded);
            until(|| sink.lost.get()).await;
            writer.join().unwrap();
        });
        trace.take();
    });
}

#[test]
fn f1_beyond_the_cap_a_connection_is_lost_and_what_it_kept_is_dropped() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let (transport, recorder, _peer) = recorded(Recorder::new(&trace)).await;
            let cap = 3 << 20;
            transport.set_write_buffer_cap(Some(cap));
            let chunk = vec![0; 10_000];
            let mut most = 0;
            // A program that heeds nothing: ten gigabytes, if it were let.
            for _ in 0..1_000_000 {
                transport.writelines(&[&chunk[..1], &chunk[1..]]);
                most = most.max(transport.write_buffer_size());
                if transport.is_closing() {
                    break;
                }
            }
            assert!(transport.is_closing());
            assert!((cap - 10_000..=cap).contains(&most), "{most}");
            assert_eq!(transport.write_buffer_size(), 0);
            until(|| recorder.lost.get()).await;
        });
        trace.expect(["made", "pause", "lost: QuotaExceeded"]);
    });
}

#[test]
fn f1_a_cap_below_what_is_buffered_ends_the_connection_and_none_bounds_nothing() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let (transport, recorder, _peer) = recorded(Recorder::new(&trace)).await;
            transport.set_write_buffer_cap(Some(0));
            transport.write(b"the system takes this at once");
            transport.set_write_buffer_cap(None);
            transport.write(vec![0; 20 << 20]);
            assert!(!transport.is_closing());
            let size = transport.write_buffer_size();
            transport.set_write_buffer_cap(Some(size));
            assert!(!transport.is_closing());
            transport.set_write_buffer_cap(Some(size - 1));
            assert!(transport.is_closing());
            until(|| recorder.lost.get()).await;
        });
        trace.expect(["made", "pause", "lost: QuotaExceeded"]);
    });
}

/// A line whose bytes are asked for by user code, which may end the connection.
struct Line<'a> {
    asked: &'a Cell<usize>,
    ends: Option<&'a Transport>,
}

impl AsRef<[u8]> for Line<'_> {
    fn as_ref(&self) -> &[u8] {
        self.asked.set(self.asked.get() + 1);
        if let Some(transport) = self.ends {
            transport.abort();
        }
        b"line"
    }
}

#[test]
fn lines_of_which_one_ends_the_connection_are_neither_sent_nor_kept() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            for is_full in [false, true] {
                let (transport, recorder, mut peer) = recorded(Recorder::new(&trace)).await;
                let mut sent = 0;
                while is_full && transport.write_buffer_size() == 0 {
                    transport.write([0; 10_000]);
                    sent += 10_000;
                }
                let asked = Cell::new(0);
                let line = |ends| Line {
                    asked: &asked,
                    ends,
                };
                transport.writelines(&[line(None), line(Some(&transport)), line(None)]);
                // What is to be buffered is asked for line by line; what is sent at once, for all of it first.
                assert_eq!(asked.get(), if is_full { 2 } else { 3 });
                assert_eq!(transport.write_buffer_size(), 0);
                until(|| recorder.lost.get()).await;
                let mut received = Vec::new();
                let _ = peer.read_to_end(&mut received);
                assert!(received.len() <= sent, "no line has come");
                assert!(received.iter().all(|byte| *byte == 0));
            }
        });
        trace.expect(["made", "lost", "made", "lost"]);
    });
}
