//! A process of its own, because strace makes its system calls fail.
//!
//! Fault E1: every third `accept` fails because a client has gone. The server goes on and loses no other client. The
//! whole list of accept(2) is tried, on listeners of both kinds and in both layers.

#[path = "own/strace.rs"]
mod strace;
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::net::TcpStream as StdStream;
use std::os::unix::net::UnixStream as StdUnixStream;

use callsoon::EventLoop;
use callsoon::net::{TcpListener, UnixListener};
use callsoon::transport::{Protocol, Transport};
use callsoon::{get_running_loop, sleep};

use strace::{injected, under_strace};
use support::{
    Trace, audited, complete, loopback, real_loop, until, virtual_loop, wait_until_queued, watched,
};

fn a_server_that_loses_no_client() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        complete(&event_loop, async {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let clients: Vec<_> = (1..=100)
                .map(|queued| {
                    let client = StdStream::connect(address).unwrap();
                    wait_until_queued(&listener, queued);
                    client
                })
                .collect();
            for client in &clients {
                let (_, peer) = listener.accept().await.unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
            }
        });
    }));
}

#[test]
fn e1_clients_that_abort_while_they_are_accepted_are_skipped() {
    if injected().is_some() {
        return a_server_that_loses_no_client();
    }
    let test = "e1_clients_that_abort_while_they_are_accepted_are_skipped";
    for error in ["ECONNABORTED", "EPROTO", "EINTR"] {
        if !under_strace(test, "accept4", error, "1+3") {
            return;
        }
    }
}

/// Errors of one client, by accept(2).
const OF_A_CLIENT: [&str; 15] = [
    "ECONNABORTED",
    "ECONNRESET",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "ENETDOWN",
    "ENETUNREACH",
    "ENONET",
    "ENOPROTOOPT",
    "EOPNOTSUPP",
    "EPERM",
    "EPROTO",
    "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT",
    "ETIMEDOUT",
    "EINTR",
];

const CLIENTS: usize = 12;

struct Greeter(Trace);

impl Protocol for Greeter {
    fn connection_made(&self, transport: &Transport) {
        self.0.push("made");
        transport.close();
    }
}

/// Every second call fails. No client is lost and no listener pauses, since the failed calls have accepted none.
fn both_layers_lose_no_client() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        complete(&event_loop, async {
            let name = format!("\0callsoon-transient-{}", std::process::id());
            let listener = UnixListener::bind(&name).await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = || StdUnixStream::connect_addr(&address).unwrap();
            let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
            for _ in &clients {
                listener.accept().await.unwrap();
            }
            drop((clients, listener));

            let event_loop = get_running_loop();
            let made = trace.clone();
            let server = event_loop.create_server(move || Greeter(made.clone()), loopback());
            let server = server.await.unwrap();
            let address = server.local_addr().unwrap();
            let client = || StdStream::connect(address).unwrap();
            let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
            // Nothing else than clients is written down, no pause above all.
            let mut lines = Vec::new();
            while lines.len() < CLIENTS {
                lines.extend(trace.take());
                sleep(std::time::Duration::from_millis(1)).await;
            }
            assert_eq!(lines, ["made"; CLIENTS]);
            drop(clients);
            server.close();
            server.wait_closed().await;
            until(|| event_loop.metrics().sources == 0).await;
        });
        assert_eq!(trace.take(), [""; 0], "nothing was reported");
    }));
}

#[test]
fn errors_that_are_about_one_client_pause_no_listener_and_end_no_accept() {
    if injected().is_some() {
        return both_layers_lose_no_client();
    }
    let test = "errors_that_are_about_one_client_pause_no_listener_and_end_no_accept";
    for error in OF_A_CLIENT {
        if !under_strace(test, "accept4", error, "1+2") {
            return;
        }
    }
}

/// A descriptor that is no listening stream socket says so for ever. Two errors at once: the number is one of those
/// that are about a client, and no client is ever accepted.
fn a_listener_that_never_accepts() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        complete(&event_loop, async {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            let turns = || get_running_loop().metrics().turns;
            let before = turns();
            let accepted =
                callsoon::timeout(std::time::Duration::from_millis(200), listener.accept());
            assert!(accepted.await.is_err(), "nobody can be accepted");
            assert!(turns() - before < 50, "it spins");
            let expected = "report: Error in accept; trying again every second \
                (Operation not supported (os error 95))";
            trace.expect([expected]);
            drop(listener);

            let event_loop = get_running_loop();
            let made = trace.clone();
            let server = event_loop.create_server(move || Greeter(made.clone()), loopback());
            let server = server.await.unwrap();
            let _client = StdStream::connect(server.local_addr().unwrap()).unwrap();
            let before = turns();
            sleep(std::time::Duration::from_millis(200)).await;
            assert!(turns() - before < 50, "it spins");
            let expected = "report: Error in accept; trying again every second \
                (Operation not supported (os error 95))";
            trace.expect([expected]);
            server.close();
            server.wait_closed().await;
        });
    }));
}

#[test]
fn a_listener_that_fails_for_every_client_pauses_and_neither_spins_nor_hangs() {
    if injected().is_some() {
        return a_listener_that_never_accepts();
    }
    let test = "a_listener_that_fails_for_every_client_pauses_and_neither_spins_nor_hangs";
    under_strace(test, "accept4", "EOPNOTSUPP", "1+1");
}

/// Of 150 failures in a row the hundredth pauses the listener, and the next fifty do not: they are counted anew.
fn a_listener_that_pauses_once() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = virtual_loop(&trace);
        let begun = event_loop.time();
        let accepted = event_loop.run_until_complete(async {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            wait_until_queued(&listener, 1);
            listener.accept().await.map(drop)
        });
        accepted.unwrap().unwrap();
        assert_eq!(event_loop.time() - begun, std::time::Duration::from_secs(1));
        let expected = "report: Error in accept; trying again every second \
            (Software caused connection abort (os error 103))";
        trace.expect([expected]);
    }));
}

#[test]
fn failures_of_clients_are_counted_anew_after_a_pause() {
    if injected().is_some() {
        return a_listener_that_pauses_once();
    }
    let test = "failures_of_clients_are_counted_anew_after_a_pause";
    under_strace(test, "accept4", "ECONNABORTED", "1..150");
}
