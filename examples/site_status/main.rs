//! The HTTP status of several sites, asked side by side: a small client over streams, with a limit of time for each.
//! The exit status is 1 if no site has answered.
//!
//! ```text
//! $ cargo run --example site_status
//! http://localhost:41873/         HTTP/1.1 200 OK
//! http://localhost:41873/missing  HTTP/1.1 404 Not Found
//! http://localhost:41873/moved    HTTP/1.1 301 Moved Permanently
//! $ cargo run --example site_status -- http://www.python.org
//! http://www.python.org           HTTP/1.1 301 Moved Permanently
//! ```

use std::process::ExitCode;
use std::time::Duration;

use callsoon::{gather, open_connection, start_server, wait_for};

#[path = "../common/command_line.rs"]
mod command_line;
mod server;
mod url;

/// Returns the first line of what a site answers to `HEAD`, or what is wrong.
async fn status(url: String) -> Result<String, String> {
    let url::Url { host, port, path } = url::parse(&url)?;
    let ask = async {
        let (mut reader, writer) = open_connection((host.as_str(), port)).await?;
        let request =
            format!("HEAD {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
        writer.write(request.as_bytes());
        reader.readline().await
    };
    let asked = wait_for(ask, Duration::from_secs(10)).await;
    let line = asked.map_err(|_| "no answer within 10 s")?;
    match line.map_err(|error| error.to_string())?.trim_ascii_end() {
        [] => Err("the connection ended without an answer".to_owned()),
        line => Ok(String::from_utf8_lossy(line).into_owned()),
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut urls = command_line::arguments!("[URL...]");
    callsoon::run(async {
        let server = start_server(server::answer, ("127.0.0.1", 0)).await?;
        if urls.is_empty() {
            let port = server.local_addr().ok_or("no address")?.port();
            urls.extend(
                ["", "missing", "moved"].map(|path| format!("http://localhost:{port}/{path}")),
            );
        }
        let answers = gather(urls.iter().cloned().map(status)).await?;
        for (url, answer) in urls.iter().zip(&answers) {
            let text = answer.as_ref().unwrap_or_else(|error| error);
            println!("{url:<31} {text}");
        }
        let all_failed = answers.iter().all(Result::is_err);
        Ok(ExitCode::from(u8::from(all_failed)))
    })?
}
