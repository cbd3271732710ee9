//! An HTTP client that streams: the body is counted piece by piece as it comes, and is never whole in memory.
//!
//! ```text
//! $ cargo run --example http_client --features hyper
//! 200 OK from http://127.0.0.1:35223/
//! 2 MiB of 8 MiB
//! 4 MiB of 8 MiB
//! 6 MiB of 8 MiB
//! 8 MiB of 8 MiB
//! 8388608 bytes
//! $ cargo run --example http_client --features hyper -- http://example.org/
//! ```

use std::error::Error;
use std::time::Duration;

use callsoon::interop::hyper::HyperIo;
use callsoon::stream::{join, open_connection, start_server};
use callsoon::{create_task, timeout};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes};
use hyper::{Request, Uri};

const MIB: u64 = 1024 * 1024;

/// Asks for a page and shows how much of it has come.
async fn download(url: Uri) -> Result<(), Box<dyn Error>> {
    let host = url.host().ok_or("a URL with a host is expected")?;
    let port = url.port_u16().unwrap_or(80);
    // The one line to change for https: streams over TLS are a reader and a writer as well.
    let (reader, writer) = open_connection((host, port)).await?;
    let stream = HyperIo::new(join(reader, writer));
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await?;
    create_task(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header("host", host);
    let answer = client
        .send_request(request.body(Empty::<Bytes>::new())?)
        .await?;
    println!("{} from {url}", answer.status());
    let mut body = answer.into_body();
    let total = body.size_hint().exact();
    let (mut received, mut shown) = (0, 0);
    while let Some(frame) = body.frame().await {
        received += frame?.data_ref().map_or(0, |piece| piece.len() as u64);
        if let (Some(total), true) = (total, received / (2 * MIB) > shown) {
            shown = received / (2 * MIB);
            println!("{} MiB of {} MiB", received / MIB, total / MIB);
        }
    }
    println!("{received} bytes");
    Ok(())
}

/// A site of this program's own with one page of 8 MiB.
async fn own_site() -> Result<Uri, Box<dyn Error>> {
    let serve = async |mut reader: callsoon::stream::StreamReader,
                       writer: callsoon::stream::StreamWriter| {
        reader.readuntil("\r\n\r\n").await?;
        writer.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 8 * MIB).as_bytes());
        for _ in 0..8 {
            writer.write(&vec![b'x'; MIB as usize]);
            writer.drain().await?;
        }
        Ok::<(), Box<dyn Error>>(())
    };
    let server = start_server(serve, ("127.0.0.1", 0)).await?;
    let address = server.local_addr().ok_or("no address")?;
    Ok(format!("http://{address}/").parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("--help") {
        println!("http_client [http://URL]    without a URL: from a site of its own");
        return Ok(());
    }
    callsoon::run(async {
        let url = match argument {
            Some(url) => url.parse()?,
            None => own_site().await?,
        };
        timeout(Duration::from_secs(50), download(url)).await?
    })?
}
