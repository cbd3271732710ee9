//! curl against hyper's servers over TLS, where the handshake agrees on the protocol.

use std::net::SocketAddr;

use crate::certificates::certificates;
use crate::exchange::Site;
use crate::https::{close, https_server};
use crate::peers::{HTTP1, curl, has_curl};
use crate::support::{Scratch, Trace, settling};

/// Over TLS it is an offer, which the server takes or not.
const HTTP2: &str = "--http2";

/// What curl is told besides the pages: whom to trust, and where `localhost` is.
fn trusting(address: SocketAddr, authority: &Scratch, more: &[&str]) -> Vec<String> {
    let resolve = format!("localhost:{}:{}", address.port(), address.ip());
    let trust = ["--cacert", authority.path(), "--resolve", &resolve];
    let all = trust.iter().chain(more);
    all.map(|argument| (*argument).to_owned()).collect()
}

/// Calls curl with its protocol, the address of a server of both, and the place of its authority's certificate.
fn with_https<F: Future<Output = ()>>(
    protocol: &'static str,
    test: impl FnOnce(SocketAddr, Scratch, Trace) -> F + Send + 'static,
) {
    settling(move |_, trace| async move {
        if !has_curl(protocol) {
            return;
        }
        let server = https_server(&Site::new(&trace)).await;
        let authority = Scratch::new(certificates().authority_pem.as_bytes());
        test(server.local_addr().unwrap(), authority, trace).await;
        close(server).await;
    });
}

fn all_of(protocol: &'static str, version: &'static str, agreed: &'static str) {
    with_https(protocol, move |address, authority, trace| async move {
        let url = |path: &str| format!("https://localhost:{}{path}", address.port());
        let report = " %{http_version} %{http_code} %{num_connects} %{ssl_verify_result}\n";
        let (first, second, third) = (url("/"), url("/missing"), url("/"));
        let pages = ["--write-out", report, &first, &second, &third];
        let pages = trusting(address, &authority, &pages);
        let printed = curl(protocol, pages, Vec::new()).await;
        let expected = format!(
            "hello {version} 200 1 0\nno such page {version} 404 0 0\nhello {version} 200 0 0\n"
        );
        assert_eq!(String::from_utf8(printed).unwrap(), expected);
        // A body of unknown length, and its echo.
        let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let upload = ["--request", "POST", "--upload-file", "-"];
        let page = url("/echo");
        let echo = [&upload[..], &["--header", "expect:", &page]].concat();
        let echo = trusting(address, &authority, &echo);
        let printed = curl(protocol, echo, sent.clone()).await;
        assert!(printed == sent, "{} bytes came back", printed.len());
        let pieces = trusting(address, &authority, &[&url("/pieces")]);
        let printed = curl(protocol, pieces, Vec::new()).await;
        let pieces: Vec<u8> = (0..100_u8).flat_map(|piece| [piece; 1000]).collect();
        assert!(printed == pieces, "{} bytes came", printed.len());
        crate::support::until(|| callsoon::all_tasks().len() == 1).await;
        let each = [format!("agreed on {agreed}"), format!("{agreed} ended")];
        assert_eq!(trace.take(), [&each[..], &each, &each].concat());
    });
}

#[test]
fn curl_speaks_http1_over_tls_with_keep_alive_uploads_and_chunks() {
    all_of(HTTP1, "1.1", "http/1.1");
}

#[test]
fn curl_speaks_http2_over_tls_with_keep_alive_uploads_and_streams() {
    all_of(HTTP2, "2", "h2");
}

#[test]
fn twenty_requests_of_curl_at_once_share_one_connection_of_http2() {
    with_https(HTTP2, |address, authority, trace| async move {
        let pages = format!("https://localhost:{}/[1-20]", address.port());
        let parallel = ["--parallel", "--parallel-max", "20", &pages];
        let parallel = trusting(address, &authority, &parallel);
        let printed = curl(HTTP2, parallel, Vec::new()).await;
        let printed = String::from_utf8(printed).unwrap();
        assert_eq!(printed, "no such page".repeat(20));
        crate::support::until(|| callsoon::all_tasks().len() == 1).await;
        trace.expect(["agreed on h2", "h2 ended"]);
    });
}

#[test]
fn curl_that_does_not_offer_protocols_gets_http1() {
    with_https(HTTP2, |address, authority, trace| async move {
        let page = format!("https://localhost:{}/", address.port());
        let silent = ["--no-alpn", "--write-out", " %{http_version}", &page];
        let silent = trusting(address, &authority, &silent);
        assert_eq!(curl(HTTP2, silent, Vec::new()).await, b"hello 1.1");
        crate::support::until(|| callsoon::all_tasks().len() == 1).await;
        trace.expect(["agreed on nothing", "nothing ended"]);
    });
}
