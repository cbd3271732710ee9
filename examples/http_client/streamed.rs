//! A page, piece by piece.

use std::error::Error;

use callsoon::create_task;
use callsoon::interop::hyper::HyperIo;
use callsoon::stream::{join, open_connection};
use callsoon::tls::ClientContext;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes};
use hyper::{Request, Uri};

const MIB: u64 = 1024 * 1024;

/// Asks for a page and shows how much of it has come. `trusting` says which servers of https are trusted.
pub(crate) async fn download(url: Uri, trusting: ClientContext) -> Result<(), Box<dyn Error>> {
    let host = url.host().ok_or("a URL with a host is expected")?;
    let connecting = |usual| open_connection((host, url.port_u16().unwrap_or(usual)));
    // Over TLS they are a reader and a writer as well, so nothing below differs.
    let (reader, writer) = match url.scheme_str() {
        Some("https") => connecting(443).ssl(trusting).await?,
        _ => connecting(80).await?,
    };
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
