//! A process of its own, because strace is to interrupt its system calls.
//!
//! Row E1: every third `accept` fails because of a client who is gone. The server lives and loses nobody else.

#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::net::TcpStream as StdStream;
use std::process::Command;

use callsoon::EventLoop;
use callsoon::net::TcpListener;

use support::{audited, complete, loopback, watched};

/// Set in the child.
const CHILD: &str = "CALLSOON_ACCEPT_CHILD";

/// Starts this binary once more, for one test, under strace. False, with the reason printed, where that cannot be.
fn under_strace(test: &str, inject: &str) -> bool {
    match Command::new("strace")
        .args(["-qq", "-e", "trace=none", "true"])
        .output()
    {
        Ok(probe) if probe.status.success() => {}
        Ok(_) => {
            eprintln!("skipped: strace may not trace here");
            return false;
        }
        Err(error) => {
            eprintln!("skipped: strace does not start: {error}");
            return false;
        }
    }
    let log = std::env::temp_dir().join(format!("callsoon-{test}-{}", std::process::id()));
    let child = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=accept4", "-e", inject, "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        // Looking for leaks needs to trace too, and a process has one tracer.
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .output()
        .unwrap();
    let injected = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}: {said}", child.status);
    assert!(injected.contains("(INJECTED)"), "{injected}");
    true
}

fn a_server_that_loses_nobody() {
    audited(watched(|| {
        let event_loop = EventLoop::new().unwrap();
        complete(&event_loop, async {
            let listener = TcpListener::bind(loopback()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let clients: Vec<_> = (0..100)
                .map(|_| StdStream::connect(address).unwrap())
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
    if std::env::var_os(CHILD).is_some() {
        return a_server_that_loses_nobody();
    }
    for error in ["ECONNABORTED", "EPROTO", "EINTR"] {
        let inject = format!("inject=accept4:error={error}:when=1+3");
        if !under_strace(
            "e1_clients_that_abort_while_they_are_accepted_are_skipped",
            &inject,
        ) {
            return;
        }
    }
}
