//! What a runtime adds to an HTTP server: hyper does the protocol for every peer, so what differs is how a runtime hands
//! it bytes, timers and tasks.
//!
//! A server and a load generator, each a process of its own with one thread that works. The server answers every
//! request with the same handler and 13 bytes. The load generator keeps one request outstanding on each connection, or
//! stream, and checks every answer. It saturates first, so what counts is the processor time of the server process,
//! user and system, helper threads included, asked for while nothing is in flight.
//!
//! `callsoon` is `net` under `HyperIo`; `streams` is a reader and a writer under the same. `localset` and
//! `localruntime` are tokio's current-thread runtime in its two forms for futures that are not `Send`, with hyper-util's
//! adapters. `smol` is a `LocalExecutor` with smol-hyper's.
//!
//! - `http1_N`: HTTP/1, keep-alive, N connections. `_cpu`: µs of the server's processor time a request; `_rate`: requests a
//!   second (higher is better; the ratio is still peer / callsoon); `_p50`, `_p99`: µs from a request to its whole answer.
//! - `timed_50`: the same with a timer, so that hyper arms its timeout of 30 s for each head.
//! - `upload_8`: requests with 256 KiB, of which the server reads each byte.
//! - `http2_100`: HTTP/2, 10 connections with 10 streams each. The load generator is hyper's client on callsoon.
//! - `idle_memory`: bytes of memory that a connection needs that has had one answer and waits.

#![allow(unsafe_code)] // clock_gettime, alarm, rlimits and epoll, in support

#[cfg(target_os = "linux")]
#[expect(
    dead_code,
    reason = "the load generators and the announcements are needed"
)]
#[path = "support/echo/mod.rs"]
mod echo;
#[cfg(target_os = "linux")]
#[path = "support/http/mod.rs"]
mod http;
mod support;

use std::process::ExitCode;

use support::options::Options;
use support::rounds::{Bench, Failure};
use support::served;
use support::table::Figure;

/// The servers; ratios refer to the first.
const SERVERS: &[&str] = &["callsoon", "streams", "localset", "localruntime", "smol"];

/// How many idle connections are counted.
const IDLE: &str = "2000";

fn main() -> ExitCode {
    Bench {
        name: "http",
        peers: SERVERS,
        rows: vec![
            "http1_1_{cpu,rate,p50,p99}",
            "http1_50_{cpu,rate,p50,p99}",
            "timed_50_{cpu,rate,p50,p99}",
            "upload_8_{cpu,rate,p50,p99}",
            "http2_100_{cpu,rate,p50,p99}",
            "idle_{memory}",
        ],
    }
    .main(Options::from_env(&[]), child, measure)
}

/// `--child http1|timed|http2 PEER` or `--child load1|upload|load2|idle ...`.
#[cfg(target_os = "linux")]
fn child(order: &[String], _options: &Options) -> Result<(), Failure> {
    let (kind, rest) = order.split_first().ok_or("a child wants an order")?;
    echo::raise_descriptor_limit()?;
    match kind.as_str() {
        "load1" => return http::load::run(rest, 0),
        "upload" => return http::load::run(rest, http::UPLOAD),
        "load2" => return http::streams_load::run(rest),
        "idle" => return http::load::idle(rest),
        _ => {}
    }
    let form = http::Form::named(kind)?;
    echo::answer_parent();
    http::serve(rest.first().ok_or("a server wants a peer")?, form)
}

/// The load generator is written over epoll.
#[cfg(not(target_os = "linux"))]
fn child(_order: &[String], _options: &Options) -> Result<(), Failure> {
    Err("this bench needs epoll".into())
}

/// One server, one load generator, one run.
fn measure(row: &str, peer: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    let millis = options.pick("1000", "200");
    if row == "idle" {
        let run = served::run("http1", peer, "idle", &[IDLE], options)?;
        let memory = run.memory / IDLE.parse::<f64>()?;
        return Ok(vec![Figure::new("idle_memory", memory, "bytes")]);
    }
    let (kind, connections) = row.split_once('_').ok_or("rows are KIND_N")?;
    let (server, load) = match kind {
        "http2" => ("http2", "load2"),
        "upload" => ("http1", "upload"),
        kind => (kind, "load1"),
    };
    let run = served::run(server, peer, load, &[connections, millis], options)?;
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
