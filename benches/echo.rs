//! What a runtime adds to a TCP request: reactor, readiness, waking a task or calling a protocol, the read and the write.
//!
//! A server and a load generator, each a process of its own with one thread that works, exchange 64-byte messages over
//! loopback, one request outstanding on each of 1, 50 or 500 connections. The load generator is the slower of the two
//! and saturates first, so messages a second say little; what counts is the processor time, user and system, that the
//! server spends on a request. It is asked of the server process while nothing is in flight, before and after the run,
//! and so includes helper threads and excludes connecting and warming up.
//!
//! `net`, `tokio` and `smol` do the same: one task a connection with a 4 KiB buffer, `read`, then `write_all` of what
//! came. `protocol` and `streams` are callsoon's other two forms. `floor` has no runtime: a hand-written edge-triggered
//! epoll loop, two system calls a request and no read that finds nothing. No server sets socket options; in this
//! exchange no packet waits for an acknowledgement.
//!
//! - `echo_N_cpu`: µs of the server's processor time a request.
//! - `echo_N_rate`: requests a second, all connections together (higher is better; the ratio is still peer / callsoon).
//! - `echo_N_p50`, `echo_N_p99`: µs from a request's send to its whole reply, as the load generator sees it. With many
//!   connections that is mostly waiting in its own queue.
//! - `lines_N_...`: the same, each message a line that the server must have whole: `readline` beside the `BufReader`s of
//!   tokio and smol, which are streams' nearest form. The others have none.

#![allow(unsafe_code)] // clock_gettime, alarm, rlimits and the hand-written epoll loop, in support

#[cfg(target_os = "linux")]
#[expect(dead_code, reason = "the other half is for `net`")]
#[path = "support/echo/mod.rs"]
mod echo;
mod support;

use std::process::ExitCode;

use support::options::Options;
use support::rounds::{Bench, Failure};
use support::served;
use support::table::Figure;

/// The servers; ratios refer to the first that has the figure.
const SERVERS: &[&str] = &["net", "protocol", "streams", "floor", "tokio", "smol"];

fn main() -> ExitCode {
    Bench {
        name: "echo",
        peers: SERVERS,
        rows: vec![
            "echo_1_{cpu,rate,p50,p99}",
            "echo_50_{cpu,rate,p50,p99}",
            "echo_500_{cpu,rate,p50,p99}",
            "lines_50_{cpu,rate,p50,p99}",
        ],
    }
    .main(Options::from_env(&[]), child, measure)
}

/// `--child echo|lines PEER` or `--child load ...`.
#[cfg(target_os = "linux")]
fn child(order: &[String], _options: &Options) -> Result<(), Failure> {
    let (kind, rest) = order.split_first().ok_or("a child wants an order")?;
    echo::raise_descriptor_limit()?;
    let work = match kind.as_str() {
        "echo" => echo::Work::Echo,
        "lines" => echo::Work::Lines,
        "load" => return echo::load::run(rest),
        other => return Err(format!("no child {other:?}").into()),
    };
    echo::answer_parent();
    echo::serve(rest.first().ok_or("a server wants a peer")?, work)
}

/// The load generator and the floor are written over epoll.
#[cfg(not(target_os = "linux"))]
fn child(_order: &[String], _options: &Options) -> Result<(), Failure> {
    Err("this bench needs epoll".into())
}

#[cfg(target_os = "linux")]
use echo::reads_lines;

/// There is no server to ask.
#[cfg(not(target_os = "linux"))]
fn reads_lines(_peer: &str) -> bool {
    true
}

/// One server, one load generator, one run.
fn measure(row: &str, peer: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    let (kind, connections) = row.split_once('_').ok_or("rows are KIND_N")?;
    if kind == "lines" && !reads_lines(peer) {
        return Ok(Vec::new());
    }
    let millis = options.pick("1000", "200");
    let run = served::run(kind, peer, "load", &[connections, millis], options)?;
    let [requests, wall, p50, p99] = run.done[..] else {
        return Err(format!("the load generator said {:?}", run.done).into());
    };
    Ok(vec![
        Figure::new(&format!("{row}_cpu"), run.cpu / 1e3 / requests, "us"),
        Figure::new(&format!("{row}_rate"), requests / (wall / 1e9), "per_s"),
        Figure::new(&format!("{row}_p50"), p50 / 1e3, "us"),
        Figure::new(&format!("{row}_p99"), p99 / 1e3, "us"),
    ])
}
