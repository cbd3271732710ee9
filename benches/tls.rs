//! What a runtime adds to TLS: how bytes get from the socket to rustls and from there to the program, and back.
//!
//! All servers use rustls with the same configuration, so the cryptography is the same work for each. callsoon's two forms
//! (`protocol`, `streams`) stand beside tokio-rustls on a `current_thread` runtime. Servers and load generators are processes of
//! their own, as in `echo`; the load generator is rustls over a blocking socket, and what counts is the processor time, user
//! and system, of the server. A figure that is the same for all is one that cryptography decides.
//!
//! - `full_rate`, `full_cpu`: handshakes of version 1.3 a second, one after another, each with a connection, a message of 64
//!   bytes, its echo and the end; µs of processor time for each.
//! - `resumed_rate`, `resumed_cpu`: the same, each handshake but the first resumed by a ticket.
//! - `in_rate`, `in_cpu`: megabytes a second that the server reads on one connection, up to its end; ms of processor time for
//!   1 GiB.
//! - `out_rate`, `out_cpu`: the same for what the server writes, 64 KiB at a time, with flow control.
//! - `echo_N_rate`, `echo_N_cpu`: requests of 64 bytes and their echoes a second, one outstanding on each of N connections;
//!   µs of processor time for each.

#![allow(unsafe_code)] // clock_gettime, alarm, rlimits and the hand-written epoll loop, in support

#[cfg(target_os = "linux")]
#[expect(dead_code, reason = "the other parts are for `echo` and `net`")]
#[path = "support/echo/mod.rs"]
mod echo;
mod support;
#[cfg(target_os = "linux")]
#[path = "support/tls/mod.rs"]
mod tls;

use std::process::ExitCode;

use support::options::Options;
use support::rounds::{Bench, Failure};
use support::served;
use support::table::Figure;

/// The servers; ratios refer to the first.
const SERVERS: &[&str] = &["protocol", "streams", "tokio"];

fn main() -> ExitCode {
    Bench {
        name: "tls",
        peers: SERVERS,
        rows: vec![
            "full_{rate,cpu}",
            "resumed_{rate,cpu}",
            "in_{rate,cpu}",
            "out_{rate,cpu}",
            "echo_1_{rate,cpu}",
            "echo_50_{rate,cpu}",
        ],
    }
    .main(Options::from_env(&[]), child, measure)
}

/// `--child echo|sink|source PEER` or `--child full|resumed|in|out|echoes ...`.
#[cfg(target_os = "linux")]
fn child(order: &[String], _options: &Options) -> Result<(), Failure> {
    let (kind, rest) = order.split_first().ok_or("a child wants an order")?;
    let work = match kind.as_str() {
        "echo" => tls::Work::Echo,
        "sink" => tls::Work::Sink,
        "source" => tls::Work::Source,
        kind => return tls::load::run(kind, rest),
    };
    echo::answer_parent();
    tls::serve(rest.first().ok_or("a server wants a peer")?, work)
}

/// The parts that are shared with `echo` are written over epoll.
#[cfg(not(target_os = "linux"))]
fn child(_order: &[String], _options: &Options) -> Result<(), Failure> {
    Err("this bench needs epoll".into())
}

/// One server, one load generator, one run.
fn measure(row: &str, peer: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    let bytes = options.pick(1_u32 << 30, 1 << 26).to_string();
    let millis = options.pick("1000", "200");
    let (server, kind, order) = match row.split_once('_') {
        Some((_, connections)) => ("echo", "echoes", vec![connections, millis]),
        None if row == "in" => ("sink", "in", vec![bytes.as_str()]),
        None if row == "out" => ("source", "out", vec![bytes.as_str()]),
        None => ("echo", row, vec![options.pick("2000", "200")]),
    };
    let run = served::run(server, peer, kind, &order, options)?;
    let [count, wall] = run.done[..] else {
        return Err(format!("the load generator said {:?}", run.done).into());
    };
    let rate = count / (wall / 1e9);
    let (name, cpu) = (format!("{row}_rate"), format!("{row}_cpu"));
    if server == "echo" {
        return Ok(vec![
            Figure::new(&name, rate, "per_s"),
            Figure::new(&cpu, run.cpu / 1e3 / count, "us"),
        ]);
    }
    let gib = f64::from(1 << 30);
    Ok(vec![
        Figure::new(&name, rate / 1e6, "MB_per_s"),
        Figure::new(&cpu, run.cpu / 1e6 * gib / count, "ms"),
    ])
}
