//! A process of its own, because strace makes its system calls fail.
//!
//! Fault L3: now and then a call fails, for lack of memory or another reason. That is an error of the operation that
//! made it and of nothing else: nothing is left of it, nothing panics, and an echo that tries again succeeds.

#[path = "it/operations.rs"]
mod operations;
#[path = "it/operations_streams.rs"]
mod operations_streams;
#[path = "own/strace.rs"]
mod strace;
#[expect(dead_code, unused_imports, reason = "a part of it is needed here")]
#[path = "it/support/mod.rs"]
mod support;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use callsoon::net::TcpStream;
use callsoon::stream::open_connection;
use callsoon::transport::{Protocol, Transport};
use callsoon::{get_running_loop, move_on_after};

use operations::{Case, cases, folder, holdings, settle};
use operations_streams::more_cases;
use strace::{injected, under_strace};
use support::{Trace, audited, complete, loopback, real_loop, wait_until_gone, watched};

/// Tries an operation once; what it comes to is the system's business.
async fn attempt(case: &Case) {
    let before = holdings();
    // What it needs may fail to come about, too.
    if let Ok(operation) = (case.begin)().await {
        // A peer whose part has failed may never say anything.
        drop(move_on_after(Duration::from_millis(300), operation).await);
    }
    settle(case.name, before).await;
}

struct Echo;

impl Protocol for Echo {
    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// A few messages there and back by a connection of `net`.
async fn by_net(to: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(to).await?;
    for round in 0..4_u32 {
        stream.write_all(&round.to_be_bytes()).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        assert_eq!(u32::from_be_bytes(answer), round);
    }
    Ok(())
}

/// The same by streams.
async fn by_streams(to: SocketAddr) -> io::Result<()> {
    let (mut reader, writer) = open_connection(to).await?;
    for round in 0..4_u32 {
        writer.write(round.to_be_bytes());
        writer.drain().await?;
        assert_eq!(reader.readexactly(4).await?, round.to_be_bytes());
    }
    writer.write_eof();
    assert_eq!(reader.read_to_end().await?, b"");
    writer.close();
    writer.wait_closed().await
}

/// Twenty conversations of each kind come to their end, however often each has to begin again.
async fn echo() {
    let before = holdings();
    let (server, address) = loop {
        let Ok(server) = get_running_loop().create_server(|| Echo, loopback()).await else {
            continue;
        };
        if let Some(address) = server.local_addr() {
            break (server, address);
        }
        // Its address could not be read, so no client could connect to it.
        server.close();
        server.wait_closed().await;
    };
    for kind in 0..40 {
        let mut attempts = 0;
        while !is_over(kind % 2 == 0, address).await {
            attempts += 1;
            assert!(attempts < 100, "no conversation comes to its end");
        }
    }
    server.close();
    server.abort_clients();
    server.wait_closed().await;
    settle("echo", before).await;
}

async fn is_over(by_callbacks: bool, address: SocketAddr) -> bool {
    // A server that could not take a client in waits for a second.
    let patience = Duration::from_millis(1500);
    let ended = if by_callbacks {
        move_on_after(patience, by_net(address)).await
    } else {
        move_on_after(patience, by_streams(address)).await
    };
    ended.is_some_and(|ended| ended.is_ok())
}

/// What the traced child does.
fn suffer() {
    audited(watched(|| {
        let trace = Trace::new();
        let event_loop = real_loop(&trace);
        for case in cases().iter().chain(&more_cases()) {
            println!("{}", case.name);
            complete(&event_loop, attempt(case));
        }
        complete(&event_loop, echo());
        // A resolver thread holds a descriptor of its loop until it ends.
        drop(event_loop);
        wait_until_gone("callsoon-dns");
        let _ = std::fs::remove_dir_all(folder());
        let reports = trace.take();
        let panicked = |line: &&String| line.contains("Exception") || line.contains("panicked");
        assert_eq!(reports.iter().find(panicked), None);
    }));
}

fn with_failing(test: &str, when: &str, calls: &[(&str, &str)]) {
    if injected().is_some() {
        return suffer();
    }
    for (call, error) in calls {
        if !under_strace(test, call, error, when) {
            return;
        }
    }
}

#[test]
fn l3_calls_that_make_and_register_sockets_fail_now_and_then() {
    with_failing(
        "l3_calls_that_make_and_register_sockets_fail_now_and_then",
        "3+7",
        &[
            ("socket", "ENOBUFS"),
            ("epoll_ctl", "ENOSPC"),
            ("accept4", "ENOMEM"),
            ("bind", "EADDRINUSE"),
            ("connect", "EADDRNOTAVAIL"),
            ("listen", "EADDRINUSE"),
        ],
    );
}

#[test]
fn l3_calls_that_send_and_receive_fail_now_and_then() {
    with_failing(
        "l3_calls_that_send_and_receive_fail_now_and_then",
        // A conversation makes eight of each.
        "3+31",
        &[
            ("sendto", "ENOBUFS"),
            ("sendmsg", "ENOMEM"),
            ("recvfrom", "ENOMEM"),
            ("sendto", "EINTR"),
            ("recvfrom", "EINTR"),
            ("sendfile", "EIO"),
        ],
    );
}

#[test]
fn l3_calls_that_ask_and_set_fail_now_and_then() {
    with_failing(
        "l3_calls_that_ask_and_set_fail_now_and_then",
        "3+7",
        &[
            ("getsockopt", "ENOBUFS"),
            ("setsockopt", "ENOMEM"),
            ("getsockname", "ENOBUFS"),
            ("getpeername", "ENOBUFS"),
            ("shutdown", "ENOTCONN"),
            ("epoll_wait", "EINTR"),
        ],
    );
}
