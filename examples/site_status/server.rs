//! A server to ask where the command line names no site.

use std::io;

use callsoon::stream::{StreamReader, StreamWriter};

/// Answers one request by its path.
pub(crate) async fn answer(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    let request = reader.readuntil(b"\r\n\r\n").await?;
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1);
    let status = match path {
        Some("/") => "200 OK",
        Some("/moved") => "301 Moved Permanently",
        _ => "404 Not Found",
    };
    let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    writer.write(response.as_bytes());
    writer.drain().await
}
