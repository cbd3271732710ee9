//! A site to crawl: forty pages that link to each other, one that is gone, and one that breaks off.

use std::error::Error;

use callsoon::interop::hyper::HyperIo;
use callsoon::net::TcpListener;
use callsoon::{create_task, yield_now};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};

/// Page `n` links to pages `2n` and `2n + 1`, and to a page elsewhere.
fn body(path: &str) -> Option<String> {
    let number: usize = match path {
        "/" => 1,
        path => path.strip_prefix("/page/")?.parse().ok()?,
    };
    let mut text = format!("<h1>Page {number}</h1><a href=\"http://elsewhere/{number}\">away</a>");
    for next in [2 * number, 2 * number + 1] {
        if next < 40 {
            text += &format!("<a href=\"/page/{next}\">{next}</a>");
        }
    }
    if number == 1 {
        text += "<a href=\"/gone\">gone</a><a href=\"/cut\">cut</a>";
    }
    Some(text)
}

/// An error ends the connection without an answer.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, &'static str> {
    yield_now().await;
    let path = request.uri().path();
    let mut answer = Response::new(Full::default());
    match body(path) {
        Some(text) => *answer.body_mut() = Full::new(text.into()),
        None if path == "/cut" => return Err("cut on purpose"),
        None => *answer.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(answer)
}

/// Starts the site and returns the address of its first page.
pub(crate) async fn start() -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    create_task(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = HyperIo::new(stream);
            let connection = http1::Builder::new().serve_connection(stream, service_fn(answer));
            create_task(async move { drop(connection.await) });
        }
    });
    Ok(format!("http://{address}/"))
}
