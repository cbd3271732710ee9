//! The HTTP status of several sites, asked side by side: a small client over streams, with a limit of time for each.
//!
//! ```text
//! $ cargo run --example site_status
//! http://localhost/         HTTP/1.1 200 OK
//! http://localhost/missing  HTTP/1.1 404 Not Found
//! http://localhost/moved    HTTP/1.1 301 Moved Permanently
//! $ cargo run --example site_status -- http://www.python.org
//! http://www.python.org     HTTP/1.1 301 Moved Permanently
//! ```

use std::io;
use std::time::Duration;

use callsoon::{gather, open_connection, start_server, wait_for};

mod server;

/// Returns the first line of what a site answers to `HEAD`.
async fn status(url: String, port: u16) -> io::Result<String> {
    let rest = url.trim_start_matches("http://");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (mut reader, writer) = open_connection((host, port)).await?;
    let request = format!("HEAD /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    writer.write(request.as_bytes());
    let line = reader.readline().await?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Returns the status, or why there is none.
async fn status_in_time(url: String, port: u16) -> String {
    let limit = Duration::from_secs(10);
    match wait_for(status(url, port), limit).await {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => error.to_string(),
        Err(timed_out) => timed_out.to_string(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut urls: Vec<String> = std::env::args().skip(1).collect();
    let mut port = 80;
    callsoon::run(async {
        let server = start_server(server::answer, ("127.0.0.1", 0)).await?;
        if urls.is_empty() {
            let own_paths = ["", "missing", "moved"];
            urls.extend(own_paths.map(|path| format!("http://localhost/{path}")));
            port = server.local_addr().ok_or("no address")?.port();
        }
        let questions = urls.iter().map(|url| status_in_time(url.clone(), port));
        let answers = gather(questions).await?;
        for (url, answer) in urls.iter().zip(answers) {
            println!("{url:<25} {answer}");
        }
        Ok(())
    })?
}
