//! The processes of `http`: one server a peer, with the same handler, and the load generators.
//!
//! - `callsoon_http`, `tokio_http`, `smol_http`: accept, then hyper's connection as a task
//! - `load`: HTTP/1 by hand, over epoll
//! - `streams_load`: HTTP/2 by hyper's client

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};

use crate::support::rounds::Failure;

mod callsoon_http;
pub(crate) mod load;
mod smol_http;
pub(crate) mod streams_load;
mod tokio_http;

/// What every answer holds.
const ANSWER: &[u8] = b"Hello, World!";
/// How many bytes an upload has.
pub(crate) const UPLOAD: usize = 256 * 1024;

/// What a server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Http1,
    /// HTTP/1 with a timer.
    Timed,
    Http2,
}

impl Form {
    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        match name {
            "http1" => Ok(Self::Http1),
            "timed" => Ok(Self::Timed),
            "http2" => Ok(Self::Http2),
            other => Err(format!("no child {other:?}").into()),
        }
    }
}

/// Serves as `peer`, for ever.
pub(crate) fn serve(peer: &str, form: Form) -> Result<(), Failure> {
    match peer {
        "callsoon" => callsoon_http::serve(form),
        "streams" => callsoon_http::serve_streams(form),
        "localset" => tokio_http::serve_in_local_set(form),
        "localruntime" => tokio_http::serve_in_local_runtime(form),
        "smol" => smol_http::serve(form),
        other => Err(format!("no server {other:?}").into()),
    }
}

/// The handler of every server: reads the request's body to its end.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    Ok(Response::new(Full::new(Bytes::from_static(ANSWER))))
}

/// The options of HTTP/1. A timer is what makes hyper limit the time of a head.
fn http1<T>(form: Form, timer: T) -> hyper::server::conn::http1::Builder
where
    T: hyper::rt::Timer + Send + Sync + 'static,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    if form == Form::Timed {
        builder.timer(timer);
    }
    builder
}
