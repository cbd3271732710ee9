//! What the forms of a TCP server cost: by `Protocol`, by streams, by `net`, beside tokio, smol and a hand-written loop.
//!
//! Servers and load generators are processes of their own, as in `echo`, and what counts is the processor time, user and
//! system, of the server. The floor has no runtime: edge-triggered epoll, two system calls a message.
//!
//! - `echo_N_cpu`: µs of the server's processor time for a message of 64 bytes and its echo, on N connections.
//! - `echo_N_rate`, `echo_N_p50`, `echo_N_p99`: messages a second, and µs from a message to its echo, as the load
//!   generator sees it; it saturates first.
//! - `lines_N_...`: the same, each message a line that the server must have whole: `readline` beside the `BufReader`s of
//!   tokio and smol, which are streams' nearest form. The others have none.
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
#[path = "support/echo/mod.rs"]
mod echo;
mod support;

use std::process::ExitCode;

use support::child::Child;
use support::options::Options;
use support::rounds::{Bench, Failure};
use support::table::Figure;

/// The servers; ratios refer to the first that has the figure.
const SERVERS: &[&str] = &["protocol", "streams", "net", "floor", "tokio", "smol"];

fn main() -> ExitCode {
    let rows = vec![
        "echo_1", "echo_50", "echo_500", "lines_50", "bulk", "udp", "sendfile", "visit", "idle",
    ];
    Bench {
        name: "net",
        peers: SERVERS,
        rows,
    }
    .main(Options::from_env(), child, measure)
}

/// `--child echo|lines|sink|datagram|file PEER`, `--child load ...` or `--child bulk|visits|idle|datagrams|downloads ...`.
#[cfg(target_os = "linux")]
fn child(order: &[String], _options: &Options) -> Result<(), Failure> {
    let (kind, rest) = order.split_first().ok_or("a child wants an order")?;
    echo::raise_descriptor_limit()?;
    let work = match kind.as_str() {
        "echo" => echo::Work::Echo,
        "lines" => echo::Work::Lines,
        "sink" => echo::Work::Sink,
        "datagram" | "file" => {
            echo::answer_parent();
            let peer = rest.first().ok_or("a server wants a peer")?;
            return match kind.as_str() {
                "file" => echo::file_server::serve(peer),
                _ => echo::datagram_server::serve(peer),
            };
        }
        "load" => return echo::load::run(rest),
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

#[cfg(target_os = "linux")]
use echo::reads_lines;

/// There is no server to ask.
#[cfg(not(target_os = "linux"))]
fn reads_lines(_peer: &str) -> bool {
    true
}

/// One server, one load generator, one run.
fn measure(row: &str, peer: &str, options: &Options) -> Result<Vec<Figure>, Failure> {
    if let Some((kind @ ("echo" | "lines"), connections)) = row.split_once('_') {
        if kind == "lines" && !reads_lines(peer) {
            return Ok(Vec::new());
        }
        let millis = options.pick("1000", "200");
        let (cpu, _, done) = run(kind, peer, &["load"], &[connections, millis], options)?;
        let [requests, wall, p50, p99] = done[..] else {
            return Err(format!("the load generator said {done:?}").into());
        };
        return Ok(vec![
            Figure::new(&format!("{row}_cpu"), cpu / 1e3 / requests, "us"),
            Figure::new(&format!("{row}_rate"), requests / (wall / 1e9), "per_s"),
            Figure::new(&format!("{row}_p50"), p50 / 1e3, "us"),
            Figure::new(&format!("{row}_p99"), p99 / 1e3, "us"),
        ]);
    }
    let (kind, server, count) = match row {
        // UDP has no streams.
        "udp" if peer == "streams" => return Ok(Vec::new()),
        "udp" => ("datagrams", "datagram", options.pick(200_000, 20_000)),
        "sendfile" => ("downloads", "file", options.pick(32, 4)),
        "bulk" => ("bulk", "sink", options.pick(1_u32 << 31, 1 << 27)),
        "visit" => ("visits", "echo", options.pick(8000, 800)),
        _ => ("idle", "echo", options.pick(5000, 1000)),
    };
    let (cpu, memory, done) = run(server, peer, &[kind], &[&count.to_string()], options)?;
    let wall = done.first().ok_or("no time")? / 1e9;
    let count = f64::from(count);
    let gib = f64::from(1 << 30);
    Ok(match row {
        "bulk" => vec![
            Figure::new("bulk_rate", count / wall / 1e6, "MB_per_s"),
            Figure::new("bulk_cpu", cpu / 1e6 * gib / count, "ms"),
        ],
        "udp" => vec![
            Figure::new("udp_rate", count / wall, "per_s"),
            Figure::new("udp_cpu", cpu / 1e3 / count, "us"),
        ],
        "sendfile" => {
            let size = done.get(1).ok_or("no size")?;
            vec![
                Figure::new("sendfile_rate", size / wall / 1e6, "MB_per_s"),
                Figure::new("sendfile_cpu", cpu / 1e6 * gib / size, "ms"),
            ]
        }
        "visit" => vec![
            Figure::new("visit_rate", count / wall, "per_s"),
            Figure::new("visit_cpu", cpu / 1e3 / count, "us"),
        ],
        _ => vec![Figure::new("idle_memory", memory / count, "bytes")],
    })
}

/// Runs a server and a load generator, and gives the server's processor time in ns and growth in bytes between `warm` and
/// `done`, and the numbers that the load generator says at its end.
fn run(
    server: &str,
    peer: &str,
    load: &[&str],
    order: &[&str],
    options: &Options,
) -> Result<(f64, f64, Vec<f64>), Failure> {
    let mut server = Child::start(&[server, peer], options.quick)?;
    let port = server.expect("port")?;
    let order = [load, &[port.as_str()], order].concat();
    let mut load = Child::start(&order, options.quick)?;
    load.expect("warm")?;
    let (cpu, memory) = figures(&mut server)?;
    load.tell("go")?;
    let done = load.expect("done")?;
    let (cpu_after, memory_after) = figures(&mut server)?;
    load.finish()?;
    server.finish()?;
    let done = done
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok((cpu_after - cpu, memory_after - memory, done))
}

/// The processor time that the server has used so far, and its memory.
fn figures(server: &mut Child) -> Result<(f64, f64), Failure> {
    server.tell("cpu")?;
    let answer = server.expect("cpu")?;
    let (cpu, memory) = answer.split_once(" memory ").ok_or("no memory")?;
    Ok((cpu.parse()?, memory.parse()?))
}
