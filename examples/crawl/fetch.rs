//! One page, and the links in it.

use std::error::Error;
use std::time::Duration;

use callsoon::interop::hyper::HyperIo;
use callsoon::stream::{join, open_connection};
use callsoon::{create_task, timeout};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, Uri};

/// The most that is read of a page.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Returns the text of a page, unless that takes more than ten seconds.
pub(crate) async fn page_in_time(url: &str) -> Result<String, Box<dyn Error>> {
    timeout(Duration::from_secs(10), page(url)).await?
}

/// Returns the text of a page.
async fn page(url: &str) -> Result<String, Box<dyn Error>> {
    let url: Uri = url.parse()?;
    let host = url.host().ok_or("no host")?;
    let port = url.port_u16().unwrap_or(80);
    let (reader, writer) = open_connection((host, port)).await?;
    let stream = HyperIo::new(join(reader, writer));
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await?;
    create_task(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header("host", host);
    let answer = client
        .send_request(request.body(Empty::<Bytes>::new())?)
        .await?;
    if !answer.status().is_success() {
        return Err(answer.status().to_string().into());
    }
    let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
    let body = body.map_err(|error| error as Box<dyn Error>)?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

/// Returns the links of a page, those within the site with its origin.
pub(crate) fn links(origin: &str, text: &str) -> Vec<String> {
    let references = text.split("href=\"").skip(1);
    let references = references.filter_map(|rest| Some(rest.split_once('"')?.0));
    references
        .map(|link| match link.starts_with('/') {
            true => format!("{origin}{link}"),
            false => link.to_owned(),
        })
        .collect()
}
