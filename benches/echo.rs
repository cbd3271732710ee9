//! What a runtime adds to a TCP request: reactor, readiness, waking a task, the read and the write.
//!
//! A server and a load generator, each a process of its own with one thread that works, exchange 64-byte messages over
//! loopback, one request outstanding on each of 1, 50 or 500 connections. The load generator is the slower of the two
//! and saturates first, so messages a second say little; what counts is the processor time, user and system, that the
//! server spends on a request. It is asked of the server process while nothing is in flight, before and after the run,
//! and so includes helper threads and excludes connecting and warming up.
//!
//! Every server does the same: one task a connection with a 4 KiB buffer, `read`, then `write_all` of what came.
//! `floor` has no tasks: a hand-written edge-triggered epoll loop, two system calls a request and no read that finds
//! nothing. No server sets socket options; in this exchange no packet waits for an acknowledgement.
//!
//! - `echo_N_cpu`: µs of the server's processor time a request.
//! - `echo_N_rate`: requests a second, all connections together (higher is better; the ratio is still peer / callsoon).
//! - `echo_N_p50`, `echo_N_p99`: µs from a request's send to its whole reply, as the load generator sees it. With many
//!   connections that is mostly waiting in its own queue.

#![allow(unsafe_code)] // clock_gettime, alarm, rlimits and the hand-written epoll loop, in support

#[cfg(target_os = "linux")]
#[expect(dead_code, reason = "the other half is for `net`")]
#[path = "support/echo/mod.rs"]
mod echo;
mod support;

use std::process::ExitCode;

use support::child::Child;
use support::options::Options;
use support::rounds::{Bench, Failure};
use support::table::Figure;

/// The servers; ratios refer to the first.
const SERVERS: &[&str] = &["callsoon", "floor", "tokio", "smol"];

fn main() -> ExitCode {
    let rows = vec!["echo_1", "echo_50", "echo_500"];
    Bench {
        name: "echo",
        peers: SERVERS,
        rows,
    }
    .main(Options::from_env(), child, measure)
}

/// `--child serve PEER` or `--child load ...`.
#[cfg(target_os = "linux")]
fn child(order: &[String], _options: &Options) -> Result<(), Failure> {
    let (kind, rest) = order.split_first().ok_or("a child wants an order")?;
    echo::raise_descriptor_limit()?;
    if kind == "load" {
        return echo::load::run(rest);
    }
    echo::answer_parent();
    let peer = rest.first().ok_or("serve wants a peer")?;
    echo::serve(peer, echo::Work::Echo)
}

/// The load generator and the floor are written over epoll.
#[cfg(not(target_os = "linux"))]
fn child(_order: &[String], _options: &Options) -> Result<(), Failure> {
    Err("this bench needs epoll".into())
}

/// One server, one load generator, one run.
fn measure(row: &str, peer: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    let connections = row.strip_prefix("echo_").ok_or("rows are echo_N")?;
    let millis = options.pick("1000", "200");
    let mut server = Child::start(&["serve", peer], options.quick)?;
    let port = server.expect("port")?;
    let mut load = Child::start(&["load", &port, connections, millis], options.quick)?;
    load.expect("warm")?;
    let before = cpu_nanos(&mut server)?;
    load.tell("go")?;
    let done = load.expect("done")?;
    let cpu = cpu_nanos(&mut server)? - before;
    load.finish()?;
    server.finish()?;
    let numbers = done
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<Vec<f64>, _>>()?;
    let [requests, wall, p50, p99] = numbers[..] else {
        return Err(format!("the load generator said {done:?}").into());
    };
    Ok(vec![
        Figure::new(&format!("{row}_cpu"), cpu / 1e3 / requests, "us"),
        Figure::new(&format!("{row}_rate"), requests / (wall / 1e9), "per_s"),
        Figure::new(&format!("{row}_p50"), p50 / 1e3, "us"),
        Figure::new(&format!("{row}_p99"), p99 / 1e3, "us"),
    ])
}

/// The processor time that the server has used so far.
fn cpu_nanos(server: &mut Child) -> Result<f64, Failure> {
    server.tell("cpu")?;
    let answer = server.expect("cpu")?;
    let nanos = answer.split_whitespace().next().ok_or("no figure")?;
    Ok(nanos.parse()?)
}
