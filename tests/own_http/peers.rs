//! curl against hyper's servers on the loop. A machine without curl says so and skips.

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::rc::Rc;

use callsoon::net::TcpListener;
use callsoon::{create_task, to_thread};

use crate::exchange::{CANCELLED, Site};
use crate::support::{Trace, loopback, settling};

/// The arguments of every call: no proxy, no progress, a limit of its own, a failure for a status of 400 or more.
pub(crate) const ALWAYS: [&str; 6] = [
    "--noproxy",
    "*",
    "--silent",
    "--show-error",
    "--max-time",
    "120",
];

/// Returns whether curl is installed and can do HTTP/2, and prints a line if it is not.
pub(crate) fn has_curl(protocol: &str) -> bool {
    let version = Command::new("curl").arg("--version").output();
    let here = version.is_ok_and(|output| {
        protocol == HTTP1 || String::from_utf8_lossy(&output.stdout).contains("HTTP2")
    });
    if !here {
        println!("skipped: this machine has no curl for {protocol}");
    }
    here
}

pub(crate) const HTTP1: &str = "--http1.1";
const HTTP2: &str = "--http2-prior-knowledge";

/// Runs curl in a worker thread and returns what it has printed.
pub(crate) async fn curl(
    protocol: &'static str,
    arguments: Vec<String>,
    input: Vec<u8>,
) -> Vec<u8> {
    let run = move || {
        let mut command = Command::new("curl");
        command.args(ALWAYS).arg(protocol).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            std::io::Write::write_all(&mut stdin, &input).unwrap();
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "curl: {said}");
        output.stdout
    };
    to_thread(run).await.unwrap()
}

/// A server for both protocols at a port of its own. Counts its connections.
fn with_curl<F: Future<Output = ()>>(
    protocol: &'static str,
    test: impl FnOnce(SocketAddr, Rc<Cell<usize>>, Trace) -> F + Send + 'static,
) {
    settling(move |_, trace| async move {
        if !has_curl(protocol) {
            return;
        }
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Rc::new(Cell::new(0));
        let (site, count) = (Site::new(&trace), Rc::clone(&connections));
        let server = create_task(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.set(count.get() + 1);
                let served = match protocol {
                    HTTP2 => site.serve2(stream),
                    _ => site.serve1(stream),
                };
                create_task(async move { served.await.unwrap().unwrap() });
            }
        });
        test(address, connections, trace).await;
        server.cancel();
        assert_eq!(server.await.unwrap_err().to_string(), CANCELLED);
        crate::support::until(|| callsoon::all_tasks().len() == 1).await;
    });
}

fn all_of(protocol: &'static str, version: &'static str) {
    with_curl(protocol, move |address, connections, _trace| async move {
        let url = |path: &str| format!("http://{address}{path}");
        let report = [
            "--write-out",
            " %{http_version} %{http_code} %{num_connects}\n",
        ];
        let report = report.map(str::to_owned);
        // Two requests in one call use one connection. curl 7.88 cannot do that when it speaks HTTP/2 unasked: it fails
        // with error 16 before it sends the second one, to every server, nghttpd among them (curl's issue 10634, mended
        // in 8.0). Over TLS it can, see `peers_tls`.
        let (paths, expected) = match protocol {
            HTTP2 => (vec!["/"], format!("hello {version} 200 1\n")),
            _ => (
                vec!["/", "/missing"],
                format!("hello {version} 200 1\nno such page {version} 404 0\n"),
            ),
        };
        let urls = paths.into_iter().map(url).chain(report);
        let printed = curl(protocol, urls.collect(), Vec::new()).await;
        assert_eq!(String::from_utf8(printed).unwrap(), expected);
        assert_eq!(connections.get(), 1);
        // A body of unknown length, and its echo.
        let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let echo = [
            "--request",
            "POST",
            "--upload-file",
            "-",
            "--header",
            "expect:",
        ];
        let echo = echo.map(str::to_owned).into_iter().chain([url("/echo")]);
        let printed = curl(protocol, echo.collect(), sent.clone()).await;
        assert!(printed == sent, "{} bytes came back", printed.len());
        let printed = curl(protocol, vec![url("/pieces")], Vec::new()).await;
        let pieces: Vec<u8> = (0..100_u8).flat_map(|piece| [piece; 1000]).collect();
        assert!(printed == pieces, "{} bytes came", printed.len());
        assert_eq!(connections.get(), 3);
    });
}

#[test]
fn curl_speaks_http1_with_keep_alive_uploads_and_chunks() {
    all_of(HTTP1, "1.1");
}

#[test]
fn curl_speaks_http2_with_keep_alive_uploads_and_streams() {
    all_of(HTTP2, "2");
}

#[test]
fn curl_waits_for_100_continue_and_gets_it() {
    with_curl(HTTP1, |address, _, _| async move {
        let arguments = [
            "--request",
            "POST",
            "--upload-file",
            "-",
            "--header",
            "expect: 100-continue",
            "--expect100-timeout",
            "100",
            "--include",
        ];
        let arguments = arguments.map(str::to_owned).into_iter();
        let arguments = arguments.chain([format!("http://{address}/length")]);
        let printed = curl(HTTP1, arguments.collect(), vec![b'x'; 5000]).await;
        let printed = String::from_utf8(printed).unwrap();
        assert!(
            printed.starts_with("HTTP/1.1 100 Continue\r\n\r\n"),
            "{printed}"
        );
        assert!(printed.ends_with("\r\n\r\n5000"), "{printed}");
    });
}

#[test]
fn many_curls_at_once_have_a_connection_each() {
    with_curl(HTTP1, |address, connections, _| async move {
        let url = format!("http://{address}/[1-20]");
        let parallel = ["--parallel", "--parallel-immediate", "--parallel-max", "20"];
        let parallel = parallel.map(str::to_owned).into_iter().chain([url]);
        let printed = curl(HTTP1, parallel.collect(), Vec::new()).await;
        assert_eq!(
            String::from_utf8(printed).unwrap(),
            "no such page".repeat(20)
        );
        assert!(connections.get() >= 1);
    });
}
