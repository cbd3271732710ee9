//! `curl` gets pages by https.

use std::process::Command;

use callsoon::stream::{ReadError, StreamReader, StreamWriter, start_server};
use callsoon::transport::Server;

use crate::certificates::{Identity, certificates, server_config_with};
use crate::support::Scratch;
use crate::{Files, PATIENCE, close, ended, run, with};

/// HTTP, as little as `curl` needs: the body of each answer is that of its request, or the first line.
async fn http(mut reader: StreamReader, writer: StreamWriter) -> Result<(), ReadError> {
    loop {
        let head = match reader.readuntil(b"\r\n\r\n").await {
            Ok(head) => String::from_utf8_lossy(&head).to_ascii_lowercase(),
            Err(ReadError::Incomplete(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        if header("expect:").is_some() {
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let length = header("content-length:").and_then(|length| length.trim().parse().ok());
        let mut body = reader.readexactly(length.unwrap_or(0)).await?;
        if body.is_empty() {
            body = head.lines().next().unwrap_or_default().into();
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        writer.writelines(&[answer.as_bytes(), &body]);
        writer.drain().await?;
    }
}

async fn https_server(identity: &Identity) -> Server {
    let server = start_server(http, ("127.0.0.1", 0)).ssl(server_config_with(identity));
    server.await.unwrap()
}

fn curl(server: &Server, files: &Files, arguments: &[&str]) -> Command {
    let port = server.local_addr().unwrap().port();
    let mut command = Command::new("curl");
    let quiet = ["--silent", "--show-error", "--noproxy", "*", "--max-time"];
    command.args(quiet).arg(PATIENCE);
    command.args(["--cacert", files.authority.path()]);
    command.args(["--http1.1", "--resolve"]);
    command.arg(format!("localhost:{port}:127.0.0.1"));
    let place = |argument: &&str| argument.replace("PORT", &port.to_string());
    command.args(arguments.iter().map(place));
    command
}

#[test]
fn curl_gets_and_posts_over_one_connection() {
    with("curl", || async {
        let files = Files::new();
        let server = https_server(&certificates().server).await;
        let told = "\n%{http_code} %{num_connects} %{ssl_verify_result}\n";
        let pages = ["https://localhost:PORT/one", "https://localhost:PORT/two"];
        let both = [&["--write-out", told], &pages[..]].concat();
        assert_eq!(
            run(curl(&server, &files, &both)).await,
            "get /one http/1.1\n200 1 0\nget /two http/1.1\n200 0 0\n"
        );
        let text = "callsoon".repeat(400_000);
        let scratch = Scratch::new(text.as_bytes());
        let body = format!("@{}", scratch.path());
        let post = [
            "--header",
            "Expect: 100-continue",
            "--data-binary",
            &body,
            pages[0],
        ];
        assert!(run(curl(&server, &files, &post)).await == text);
        close(server).await;
    });
}

/// What `curl` exits with if it does not trust the server.
const NOT_TRUSTED: i32 = 60;

#[test]
fn curl_refuses_certificates_that_are_no_good_and_the_server_goes_on() {
    with("curl", || async {
        let files = Files::new();
        let made = certificates();
        for identity in [&made.expired, &made.elsewhere, &made.untrusted] {
            let server = https_server(identity).await;
            let page = "https://localhost:PORT/";
            let (status, said) = ended(curl(&server, &files, &[page])).await;
            assert_eq!(status.code(), Some(NOT_TRUSTED), "{said}");
            let anyway = run(curl(&server, &files, &["--insecure", page])).await;
            assert_eq!(anyway, "get / http/1.1");
            close(server).await;
        }
    });
}

#[test]
fn g3_curl_that_speaks_plain_http_to_a_tls_port_gets_no_answer_and_the_server_goes_on() {
    with("curl", || async {
        let files = Files::new();
        let server = https_server(&certificates().server).await;
        let plain = ["http://localhost:PORT/"];
        let (status, said) = ended(curl(&server, &files, &plain)).await;
        assert!(!status.success(), "{said}");
        let page = run(curl(&server, &files, &["https://localhost:PORT/"])).await;
        assert_eq!(page, "get / http/1.1");
        close(server).await;
    });
}
