//! The echo bench's two kinds of process: a server a peer, and the load generator that all of them meet.
//!
//! - `callsoon_server`, `tokio_server`, `smol_server`: one task a connection, `read` then `write_all`, a 4 KiB buffer
//!   each
//! - `floor_server`: the same two system calls from a hand-written epoll loop
//! - `load`: the closed loop of requests
//! - `epoll`: the few system calls that the last two need
//!
//! A server prints `port N` once it listens, answers each line on its standard input with `cpu NANOSECONDS`, and ends
//! when its input does.

use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};

use crate::support::cpu::process_cpu;
use crate::support::rounds::Failure;

pub(crate) mod callsoon_server;
pub(crate) mod epoll;
pub(crate) mod floor_server;
pub(crate) mod load;
pub(crate) mod smol_server;
pub(crate) mod tokio_server;

/// Where servers listen: loopback, a port of the kernel's choice.
pub(crate) const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Every server's buffer for one connection.
pub(crate) const BUFFER: usize = 4096;
/// Descriptors that a process of this bench may need: 500 connections and some.
const DESCRIPTORS: libc::rlim_t = 1024;

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
            println!("cpu {}", process_cpu().as_nanos());
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
