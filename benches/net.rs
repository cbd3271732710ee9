//! What a server costs in work that is no echo: bulk, datagrams, files, short visits, and connections that are silent.
//!
//! Servers are callsoon's three forms (`Protocol`, streams, `net`) beside tokio, smol and a hand-written epoll loop. Servers
//! and load generators are processes of their own, as in `echo`, which has the rows of requests; what counts is the
//! processor time, user and system, of the server.
//!
//! - `bulk_rate`, `bulk_cpu`: megabytes a second on one connection that the server reads to its end, in buffers of 64 KiB
//!   where the form leaves that to its user; ms of processor time for 1 GiB. 2 GiB go through.
//! - `udp_rate`, `udp_cpu`: datagrams of 64 bytes and their echoes, 16 of them under way; µs of processor time for each.
//!   There is no stream form.
//! - `sendfile_rate`, `sendfile_cpu`: megabytes a second of a file of 64 MiB, sent to one client after another; ms of processor
//!   time for 1 GiB. tokio and smol have no call for it and read and write in blocks of 64 KiB.
//! - `visit_rate`, `visit_cpu`: visits a second, one after another, each a connection, a message, its echo and the end;
//!   µs of processor time for each.
//! - `idle_memory`: bytes of the server's resident memory for a connection that has exchanged one message and is silent.
//!   Where the form has the user bring a buffer, its 4 KiB for each connection are part of it.

#![allow(unsafe_code)] // clock_gettime, alarm, rlimits and the hand-written epoll loop, in support

#[cfg(target_os = "linux")]
#[expect(dead_code, reason = "the other half is for `echo`")]
#[path = "support/echo/mod.rs"]
mod echo;
mod support;

use std::process::ExitCode;

use support::options::Options;
use support::rounds::{Bench, Failure};
use support::served;
use support::table::Figure;

/// The servers; ratios refer to the first that has the figure.
const SERVERS: &[&str] = &["protocol", "streams", "net", "floor", "tokio", "smol"];

fn main() -> ExitCode {
    Bench {
        name: "net",
        peers: SERVERS,
        rows: vec![
            "bulk_{rate,cpu}",
            "udp_{rate,cpu}",
            "sendfile_{rate,cpu}",
            "visit_{rate,cpu}",
            "idle_{memory}",
        ],
    }
    .main(Options::from_env(&[]), child, measure)
}

/// `--child echo|sink|datagram|file PEER` or `--child bulk|visits|idle|datagrams|downloads ...`.
#[cfg(target_os = "linux")]
fn child(order: &[String], _options: &Options) -> Result<(), Failure> {
    let (kind, rest) = order.split_first().ok_or("a child wants an order")?;
    echo::raise_descriptor_limit()?;
    let work = match kind.as_str() {
        "echo" => echo::Work::Echo,
        "sink" => echo::Work::Sink,
        "datagram" | "file" => {
            echo::answer_parent();
            let peer = rest.first().ok_or("a server wants a peer")?;
            return match kind.as_str() {
                "file" => echo::file_server::serve(peer),
                _ => echo::datagram_server::serve(peer),
            };
        }
        kind => return echo::visits::run(kind, rest),
    };
    echo::answer_parent();
    echo::serve(rest.first().ok_or("a server wants a peer")?, work)
}

/// The load generators and the floor are written over epoll.
#[cfg(not(target_os = "linux"))]
fn child(_order: &[String], _options: &Options) -> Result<(), Failure> {
    Err("this bench needs epoll".into())
}

/// One server, one load generator, one run.
fn measure(row: &str, peer: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    let (kind, server, count) = match row {
        // UDP has no streams.
        "udp" if peer == "streams" => return Ok(Vec::new()),
        "udp" => ("datagrams", "datagram", options.pick(200_000, 20_000)),
        "sendfile" => ("downloads", "file", options.pick(32, 4)),
        "bulk" => ("bulk", "sink", options.pick(1_u32 << 31, 1 << 27)),
        "visit" => ("visits", "echo", options.pick(8000, 800)),
        _ => ("idle", "echo", options.pick(5000, 1000)),
    };
    let run = served::run(server, peer, kind, &[&count.to_string()], options)?;
    let wall = run.done.first().ok_or("no time")? / 1e9;
    let count = f64::from(count);
    let gib = f64::from(1 << 30);
    Ok(match row {
        "bulk" => vec![
            Figure::new("bulk_rate", count / wall / 1e6, "MB_per_s"),
            Figure::new("bulk_cpu", run.cpu / 1e6 * gib / count, "ms"),
        ],
        "udp" => vec![
            Figure::new("udp_rate", count / wall, "per_s"),
            Figure::new("udp_cpu", run.cpu / 1e3 / count, "us"),
        ],
        "sendfile" => {
            let size = run.done.get(1).ok_or("no size")?;
            vec![
                Figure::new("sendfile_rate", size / wall / 1e6, "MB_per_s"),
                Figure::new("sendfile_cpu", run.cpu / 1e6 * gib / size, "ms"),
            ]
        }
        "visit" => vec![
            Figure::new("visit_rate", count / wall, "per_s"),
            Figure::new("visit_cpu", run.cpu / 1e3 / count, "us"),
        ],
        _ => vec![Figure::new("idle_memory", run.memory / count, "bytes")],
    })
}
