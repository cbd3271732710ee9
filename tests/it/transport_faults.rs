//! Transports whose peer, socket or protocol fails: faults E2, E4 and E5.

use std::cell::Cell;
use std::io::Write as _;
use std::rc::Rc;

use callsoon::transport::Transport;
use callsoon::{get_running_loop, yield_now};

use crate::support::{
    Recorder, Trace, audited, complete, counted_fds, loopback, on_real_time, os_error, real_loop,
    recorded, refusing, reset, std_pair, until, warnings_of, watched,
};

/// Runs `fault` on a fresh connection and gives the trace once the connection is lost.
fn faulty<F: Future<Output = ()>>(
    recorder: impl FnOnce(Recorder) -> Recorder,
    fault: impl FnOnce(Transport, std::net::TcpStream) -> F,
) -> Vec<String> {
    let trace = Trace::new();
    let event_loop = real_loop(&trace);
    complete(&event_loop, async {
        let recorder = recorder(Recorder::new(&trace));
        let (transport, recorder, peer) = recorded(recorder).await;
        fault(transport, peer).await;
        until(|| recorder.lost.get()).await;
        yield_now().await;
    });
    assert_eq!(event_loop.metrics().sources, 0);
    trace.take()
}

#[test]
fn e4_a_reset_is_given_once_wherever_it_comes() {
    audited(watched(|| {
        let idle = faulty(|r| r, |_, peer| async { reset(peer) });
        assert_eq!(idle, ["made", "lost: ConnectionReset"]);

        let unread = faulty(
            |r| r.on("made", Transport::pause_reading),
            |transport, mut peer| async move {
                peer.write_all(b"unread").unwrap();
                reset(peer);
                transport.write(b"x");
                transport.write(b"x");
            },
        );
        assert_eq!(unread.len(), 2, "{unread:?}");
        assert!(unread[1].starts_with("lost: "), "{unread:?}");

        let flushing = faulty(
            |r| r.on("made", Transport::pause_reading),
            |transport, peer| async move {
                while transport.write_buffer_size() == 0 {
                    transport.write([0; 100_000]);
                }
                reset(peer);
            },
        );
        assert!(
            flushing.last().unwrap().starts_with("lost: "),
            "{flushing:?}"
        );

        let closing = faulty(
            |r| r,
            |transport, peer| async move {
                while transport.write_buffer_size() == 0 {
                    transport.write([0; 100_000]);
                }
                transport.close();
                reset(peer);
            },
        );
        assert!(closing.last().unwrap().starts_with("lost: "), "{closing:?}");
    }));
}

#[test]
fn a_panic_in_a_protocol_is_reported_and_ends_its_connection_alone() {
    audited(watched(|| {
        for (call, name) in [
            ("made", "connection_made"),
            ("data", "data_received"),
            ("eof", "eof_received"),
        ] {
            let trace = faulty(
                |r| r.on(call, |_| panic!("on purpose")),
                |_, mut peer| async move {
                    peer.write_all(b"x").unwrap();
                    if call == "eof" {
                        peer.shutdown(std::net::Shutdown::Write).unwrap();
                    }
                    for _ in 0..50 {
                        yield_now().await;
                    }
                    // The peer sees the end.
                    drop(peer);
                },
            );
            let report = format!("report: Exception in a protocol's {name} (on purpose)");
            let end = [report.as_str(), "lost: Other"];
            let begin: &[&str] = match call {
                "made" => &["made"],
                "data" => &["made", "data x"],
                _ => &["made", "data x", "eof"],
            };
            assert_eq!(trace, [begin, &end].concat());
        }
    }));
}

#[test]
fn a_panic_in_connection_lost_is_reported_and_the_socket_closes() {
    audited(watched(|| {
        let trace = faulty(
            |r| r.on("lost", |_| panic!("on purpose")),
            |transport, peer| async move {
                transport.close();
                drop(peer);
            },
        );
        let report = "report: Exception in a protocol's connection_lost (on purpose)";
        assert_eq!(trace, ["made", "lost", report]);
    }));
}

#[test]
fn a_panic_when_pausing_costs_that_call_only() {
    audited(watched(|| {
        let trace = faulty(
            |r| r.on("pause", |_| panic!("on purpose")),
            |transport, peer| async move {
                let _peer = peer;
                while transport.write_buffer_size() <= 1 << 16 {
                    transport.write([0; 100_000]);
                }
                assert!(!transport.is_closing());
                transport.abort();
            },
        );
        let report = "report: Exception in a protocol's pause_writing (on purpose)";
        assert_eq!(trace, ["made", "pause", report, "lost"]);
    }));
}

#[test]
fn writing_in_connection_lost_and_after_it_is_dropped_and_warned_of_from_the_fifth_time_on() {
    audited(watched(|| {
        let mut lines = Vec::new();
        let warnings = warnings_of(|| {
            lines = faulty(
                |r| {
                    r.on("lost", |transport| {
                        transport.write(b"1");
                        transport.writelines(&["2"]);
                        transport.close();
                        transport.abort();
                        transport.write_eof();
                    })
                },
                |transport, peer| async move {
                    let _peer = peer;
                    transport.abort();
                    yield_now().await;
                    for _ in 0..4 {
                        transport.write(b"x");
                    }
                },
            );
        });
        assert_eq!(lines, ["made", "lost"]);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }));
}

#[test]
fn e2_a_refused_connection_leaves_nothing_and_makes_no_protocol() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let event_loop = get_running_loop();
            let (_socket, nobody) = refusing();
            let before = counted_fds();
            let made = Rc::new(Cell::new(false));
            let flag = made.clone();
            let factory = move || {
                flag.set(true);
                Recorder::new(&Trace::new())
            };
            let refused = event_loop.create_connection(factory, nobody).await;
            let error = refused.map(drop).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            assert!(!made.get());
            let two = [nobody, nobody];
            let both = event_loop
                .create_connection(|| Recorder::new(&Trace::new()), two)
                .await;
            let both = both.map(drop).unwrap_err();
            assert_eq!(os_error(&both), Some(libc::ECONNREFUSED));
            let none: [std::net::SocketAddr; 0] = [];
            let none = event_loop
                .create_connection(|| Recorder::new(&Trace::new()), none)
                .await;
            assert_eq!(
                none.map(drop).unwrap_err().kind(),
                std::io::ErrorKind::NotFound
            );
            assert_eq!(counted_fds(), before);
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn the_second_address_is_tried_when_the_first_refuses() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            let event_loop = get_running_loop();
            let (_socket, nobody) = refusing();
            let listener = std::net::TcpListener::bind(loopback()).unwrap();
            let somebody = listener.local_addr().unwrap();
            let recorder = Recorder::new(&trace);
            let (transport, recorder) = event_loop
                .create_connection(|| recorder, [nobody, somebody])
                .await
                .unwrap();
            assert_eq!(transport.peername().unwrap().internet(), Some(somebody));
            transport.close();
            until(|| recorder.lost.get()).await;
        });
        trace.expect(["made", "lost"]);
    });
}

#[test]
fn e2_a_factory_that_panics_closes_the_socket() {
    on_real_time(|_, event_loop| {
        let listener = std::net::TcpListener::bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        let task = event_loop.create_task(async move {
            let factory = || -> Recorder { panic!("on purpose") };
            let _ = get_running_loop().create_connection(factory, address).await;
        });
        assert!(
            complete(&event_loop, task)
                .unwrap_err()
                .panicked()
                .is_some()
        );
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn a_connection_that_nobody_waits_for_any_more_closes() {
    on_real_time(|trace, event_loop| {
        complete(&event_loop, async {
            for polls in 1..5 {
                let (ours, _peer) = std_pair();
                let recorder = Rc::new(Recorder::new(&trace));
                let shared = recorder.clone();
                let event_loop = get_running_loop();
                let mut connecting = event_loop
                    .connect_accepted_socket(move || shared, ours)
                    .into_future();
                let mut done = None;
                for _ in 0..polls {
                    if done.is_none() {
                        done = crate::support::poll_once(&mut connecting).await;
                        yield_now().await;
                    }
                }
                drop(connecting);
                if let Some(done) = done {
                    done.unwrap().0.close();
                }
                until(|| recorder.lost.get()).await;
                trace.expect(["made", "lost"]);
            }
        });
        assert_eq!(event_loop.metrics().sources, 0);
    });
}

#[test]
fn a_datagram_socket_is_refused() {
    on_real_time(|_, event_loop| {
        complete(&event_loop, async {
            let event_loop = get_running_loop();
            let socket = std::net::UdpSocket::bind(loopback()).unwrap();
            let socket = socket2::Socket::from(socket);
            let recorder = || Recorder::new(&Trace::new());
            let refused = event_loop.connect_accepted_socket(recorder, socket).await;
            assert_eq!(
                refused.map(drop).unwrap_err().kind(),
                std::io::ErrorKind::InvalidInput
            );
        });
    });
}
