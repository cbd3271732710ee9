//! The two kinds of process of `echo` and `net`: a server a peer, and the load generators that all of them meet.
//!
//! - `callsoon_server`, `tokio_server`, `smol_server`: one task a connection, `read` then `write_all`, a 4 KiB buffer
//!   each
//! - `protocol_server`, `streams_server`: callsoon's other two forms
//! - `floor_server`: the same two system calls from a hand-written epoll loop
//! - `datagram_server`, `file_server`: UDP, and one file for everybody, by each peer
//! - `load`: the closed loop of requests
//! - `visits`: bulk, short visits, idle connections, datagrams, downloads
//! - `epoll`: the few system calls that the last two need
//!
//! A server prints `port N` once it listens, answers each line on its standard input with `cpu NANOSECONDS memory BYTES`,
//! and ends when its input does.

use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};

use crate::support::cpu::process_cpu;
use crate::support::rounds::Failure;

pub(crate) mod callsoon_server;
pub(crate) mod datagram_server;
pub(crate) mod epoll;
pub(crate) mod file_server;
pub(crate) mod floor_server;
pub(crate) mod load;
pub(crate) mod protocol_server;
pub(crate) mod smol_server;
pub(crate) mod streams_server;
pub(crate) mod tokio_server;
pub(crate) mod visits;

/// Where servers listen: loopback, a port of the kernel's choice.
pub(crate) const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Every server's buffer for one connection.
pub(crate) const BUFFER: usize = 4096;
/// Every server's buffer for a connection in bulk.
pub(crate) const BULK_BUFFER: usize = 64 * 1024;
/// Descriptors that a process of these benches may need: 5,000 connections and some.
const DESCRIPTORS: libc::rlim_t = 6000;

/// What a server does with what comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Sends it back.
    Echo,
    /// Sends each line back once it is whole: what buffered readers are for.
    Lines,
    /// Reads it to its end and closes.
    Sink,
}

/// Whether `peer` has a form that reads by line; one that has none would only echo.
pub(crate) fn reads_lines(peer: &str) -> bool {
    ["streams", "tokio", "smol"].contains(&peer)
}

/// Serves as `peer`, for ever.
pub(crate) fn serve(peer: &str, work: Work) -> Result<(), Failure> {
    if work == Work::Lines && !reads_lines(peer) {
        return Err(format!("{peer} has no buffered reader").into());
    }
    match peer {
        "callsoon" | "net" => callsoon_server::serve(work),
        "protocol" => protocol_server::serve(work),
        "streams" => streams_server::serve(work),
        "tokio" => tokio_server::serve(work),
        "smol" => smol_server::serve(work),
        "floor" => floor_server::serve(work),
        other => Err(format!("no server {other:?}").into()),
    }
}

/// How much memory the process has, the kernel's part not counted.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Tells the parent that `address` accepts connections.
pub(crate) fn announce(address: SocketAddr) {
    println!("port {}", address.port());
}

/// Starts the thread that answers the parent; it sleeps in `read` while requests are served.
pub(crate) fn answer_parent() {
    std::thread::spawn(|| {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() {
                break;
            }
            let memory = resident().unwrap_or(0);
            println!("cpu {} memory {memory}", process_cpu().as_nanos());
        }
        std::process::exit(0);
    });
}

/// Lets this process open `DESCRIPTORS` files, as far as the hard limit allows.
pub(crate) fn raise_descriptor_limit() -> Result<(), Failure> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid, writable `rlimit` for the duration of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    if limit.rlim_cur >= DESCRIPTORS {
        return Ok(());
    }
    limit.rlim_cur = DESCRIPTORS.min(limit.rlim_max);
    // SAFETY: `limit` is a valid `rlimit` that the call only reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}
