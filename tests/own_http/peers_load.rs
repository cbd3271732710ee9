//! h2load against hyper's servers on the loop, plain and over TLS. A machine without it says so and skips.

use std::process::{Command, Stdio};

use callsoon::stream::{join, start_server};
use callsoon::to_thread;
use callsoon::transport::Server;

use crate::exchange::Site;
use crate::https::{close, https_server};
use crate::support::{Scratch, Trace, loopback, settling};

/// Requests, connections, and streams at once on each: what every run has. A run that stalls ends, and has failed.
const ALWAYS: [&str; 8] = ["-n", "200", "-c", "4", "-m", "10", "-N", "60s"];

fn is_here() -> bool {
    let mut command = Command::new("h2load");
    let here = command.arg("--version").stdout(Stdio::null()).status();
    if here.is_err() {
        println!("skipped: this machine has no h2load");
    }
    here.is_ok()
}

/// Runs h2load, and returns the protocol that it has spoken and what it has counted.
async fn h2load(arguments: Vec<String>) -> [String; 2] {
    let run = move || {
        let mut command = Command::new("h2load");
        command.args(ALWAYS).args(arguments).stdin(Stdio::null());
        command.output().unwrap()
    };
    let output = to_thread(run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    ["Application protocol: ", "requests: "].map(|start| {
        let line = said.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("no {start:?}: {said}"))
            .into()
    })
}

/// What h2load counts if nothing failed.
const ALL: &str = "200 total, 200 started, 200 done, 200 succeeded, 0 failed, 0 errored, 0 timeout";

/// A server without TLS, of one protocol, which notes how each connection ended.
async fn plain_server(site: &Site, version: u8) -> Server {
    let site = site.clone();
    let server = start_server(
        move |reader, writer| {
            let stream = join(reader, writer);
            let served = match version {
                2 => site.serve2(stream),
                _ => site.serve1(stream),
            };
            let trace = site.trace.clone();
            async move {
                match served.await.unwrap() {
                    Ok(()) => trace.push("ended"),
                    Err(error) => trace.push(format!("failed: {error}")),
                }
            }
        },
        loopback(),
    );
    server.await.unwrap()
}

/// Pages, then uploads that are sent back.
async fn loaded(server: &Server, scheme: &str, flags: &[&str], spoken: &str) {
    let address = server.local_addr().unwrap();
    let flags = || flags.iter().map(|flag| (*flag).to_owned());
    let pages = flags().chain([format!("{scheme}://{address}/")]);
    assert_eq!(h2load(pages.collect()).await, [spoken, ALL]);
    let body = Scratch::new(&[b'x'; 20_000]);
    let data = ["-d".to_owned(), body.path().to_owned()];
    let uploads = flags().chain(data);
    let uploads = uploads.chain([format!("{scheme}://{address}/echo")]);
    assert_eq!(h2load(uploads.collect()).await, [spoken, ALL]);
}

/// Four connections for pages and four for uploads.
const CONNECTIONS: usize = 8;

#[test]
fn h2load_loads_plain_servers_of_both_protocols() {
    settling(|_, trace: Trace| async move {
        if !is_here() {
            return;
        }
        for (version, flags, spoken) in [(2, &[][..], "h2c"), (1, &["--h1"], "http/1.1")] {
            let server = plain_server(&Site::new(&trace), version).await;
            loaded(&server, "http", flags, spoken).await;
            close(server).await;
            assert_eq!(trace.take(), ["ended"; CONNECTIONS]);
        }
    });
}

#[test]
fn h2load_loads_both_protocols_over_tls() {
    settling(|_, trace: Trace| async move {
        if !is_here() {
            return;
        }
        for (flags, spoken) in [(&[][..], "h2"), (&["--h1"], "http/1.1")] {
            let server = https_server(&Site::new(&trace)).await;
            loaded(&server, "https", flags, spoken).await;
            close(server).await;
            let mut lines = trace.take();
            lines.sort();
            let agreed = vec![format!("agreed on {spoken}"); CONNECTIONS];
            let ended = vec![format!("{spoken} ended"); CONNECTIONS];
            assert_eq!(lines, [agreed, ended].concat());
        }
    });
}
