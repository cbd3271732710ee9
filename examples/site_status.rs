//! The HTTP status of several sites at once, over streams. Without arguments it asks a server of its own.
//!
//! ```text
//! $ cargo run --example site_status
//! http://localhost/         HTTP/1.1 200 OK
//! http://localhost/missing  HTTP/1.1 404 Not Found
//! http://localhost/moved    HTTP/1.1 301 Moved Permanently
//! ```

use std::time::Duration;

use callsoon::stream::{StreamReader, StreamWriter};
use callsoon::{gather, open_connection, start_server, wait_for};

/// Answers a request by its path.
async fn answer(mut reader: StreamReader, writer: StreamWriter) -> std::io::Result<()> {
    let request = reader.readuntil(b"\r\n\r\n").await?;
    let status = match request.split(|&byte| byte == b' ').nth(1) {
        Some(b"/") => "200 OK",
        Some(b"/moved") => "301 Moved Permanently",
        _ => "404 Not Found",
    };
    writer.write(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    writer.drain().await
}

/// The first line of what a site answers to `HEAD`.
async fn status(host: String, port: u16, path: String) -> std::io::Result<String> {
    let (mut reader, writer) = open_connection((&host[..], port)).await?;
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    writer.write(request.as_bytes());
    let line = reader.readline().await?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    callsoon::run(async {
        let server = start_server(answer, ("127.0.0.1", 0)).await?;
        let mut sites: Vec<String> = std::env::args().skip(1).collect();
        let port = if sites.is_empty() {
            sites.extend(["", "missing", "moved"].map(|path| format!("http://localhost/{path}")));
            server.local_addr().map_or(80, |own| own.port())
        } else {
            80
        };
        let asked = sites.iter().map(|site| {
            let rest = site.trim_start_matches("http://");
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let status = status(host.to_owned(), port, format!("/{path}"));
            async { wait_for(status, Duration::from_secs(10)).await? }
        });
        for (site, answer) in sites.iter().zip(gather(asked).await?) {
            println!(
                "{site:<25} {}",
                answer.unwrap_or_else(|error| error.to_string())
            );
        }
        Ok(())
    })?
}
