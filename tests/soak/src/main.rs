//! A soak: two processes of callsoon, a server and its load, for a minute or for hours. Thousands of idle connections, a
//! thousand new ones each second, slow readers and writers, resets, half-closes, signals, children, and posts from
//! threads. Every byte is checked. At the end stands one table, and whether anything was lost or has grown.
//!
//! - `options`: the command line.
//! - `load`, `clients`: the process that starts the other one, and its connections.
//! - `server`, `served`, `serve_streams`, `serve_protocol`, `background`: the process that serves, by streams and by
//!   protocols, and what it does besides.
//! - `header`, `sequence`: what is said on a connection.
//! - `counts`, `watch`, `table`: what is counted and observed, and what is printed of it.
//! - `sizes`: a century, and millions of timers, tasks and posts.
//! - `system`: what the system is asked.

#![deny(unsafe_code)]

mod background;
mod clients;
mod counts;
mod header;
mod load;
mod options;
mod sequence;
mod serve_protocol;
mod serve_streams;
mod served;
mod server;
mod sizes;
mod system;
mod table;
mod watch;

use std::error::Error;
use std::process::ExitCode;

use options::{Options, refuse};

/// What a process needs besides its connections: pipes, the loop's own descriptors, files.
const SPARE: u64 = 500;

/// Raises the limit of descriptors, and makes the crowd smaller if it does not suffice.
fn fit(options: &mut Options) -> Result<(), Box<dyn Error>> {
    let limit = system::raise_descriptor_limit()?;
    let room = limit.saturating_sub(load::MOST_SHORT + SPARE);
    if options.idle > room {
        println!(
            "a process may have {limit} descriptors: {room} idle connections, not {}",
            options.idle
        );
        options.idle = room;
    }
    Ok(())
}

fn run(mut options: Options) -> Result<bool, Box<dyn Error>> {
    if options.sizes {
        return sizes::sizes(&options);
    }
    let fault = match options.fault.as_deref().map(str::parse) {
        Some(Err(error)) => refuse(&format!("--fault wants {error}")),
        Some(Ok(fault)) => Some(fault),
        None => None,
    };
    fit(&mut options)?;
    if options.server {
        callsoon::run(server::server(fault))??;
        return Ok(true);
    }
    println!(
        "{} idle connections, {} new ones a second, for {} s",
        options.idle, options.rate, options.seconds
    );
    let (seconds, idle) = (options.seconds, options.idle as f64);
    let (server, mut load) = callsoon::run(load::load(options))??;
    let rate = (load.get("connections") - idle) / seconds as f64;
    load.put("connections_rate", rate.round());
    table::table(&server, &load);
    let broken = table::broken(&server, &load, seconds);
    for what in &broken {
        eprintln!("broken: {what}");
    }
    println!(
        "\n{}",
        if broken.is_empty() {
            "nothing was lost, nothing grew"
        } else {
            "failed"
        }
    );
    Ok(broken.is_empty())
}

fn main() -> ExitCode {
    match run(Options::read()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}
