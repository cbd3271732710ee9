//! A site with one page of 8 MiB.

use std::error::Error;

use callsoon::stream::{StreamReader, StreamWriter, start_server};
use callsoon::transport::Server;
use hyper::Uri;

const MIB: usize = 1024 * 1024;

async fn answer(mut reader: StreamReader, writer: StreamWriter) -> Result<(), Box<dyn Error>> {
    reader.readuntil("\r\n\r\n").await?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 8 * MIB);
    writer.write(head.as_bytes());
    for _ in 0..8 {
        writer.write(&vec![b'x'; MIB]);
        writer.drain().await?;
    }
    Ok(())
}

/// Starts the site and returns its server, which closes when it is dropped, and its address.
pub(crate) async fn serve() -> Result<(Server, Uri), Box<dyn Error>> {
    let server = start_server(answer, ("127.0.0.1", 0)).await?;
    let address = server.local_addr().ok_or("no address")?;
    Ok((server, format!("http://{address}/").parse()?))
}
