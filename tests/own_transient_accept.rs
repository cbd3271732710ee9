//! A process of its own, because strace is to interrupt its system calls.
//!
//! Row E1: every third `accept` fails because of a client who is gone. The server lives and loses nobody else.

#[path = "own/strace.rs"]
mod strace;
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::net::TcpStream as StdStream;

use callsoon::EventLoop;
use callsoon::net::TcpListener;

use strace::{injected, under_strace};
use support::{audited, complete, loopback, wait_until_queued, watched};

fn a_server_that_loses_nobody() {
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
        return a_server_that_loses_nobody();
    }
    let test = "e1_clients_that_abort_while_they_are_accepted_are_skipped";
    for error in ["ECONNABORTED", "EPROTO", "EINTR"] {
        if !under_strace(test, "accept4", error, "1+3") {
            return;
        }
    }
}
