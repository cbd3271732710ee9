//! What the server answers to which path.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

type Answer = Response<Full<Bytes>>;

/// The most that a request may send.
const MOST_BYTES: usize = 64 * 1024;

fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    answer
}

fn json(value: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())));
    let kind = hyper::header::HeaderValue::from_static("application/json");
    answer
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, kind);
    answer
}

/// Adds the numbers of a JSON array.
async fn sum(body: Incoming) -> Answer {
    let Ok(body) = Limited::new(body, MOST_BYTES).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "at most 64 KiB");
    };
    match serde_json::from_slice::<Vec<f64>>(&body.to_bytes()) {
        Ok(numbers) => json(&json!({ "sum": numbers.iter().sum::<f64>() })),
        Err(_) => text(StatusCode::BAD_REQUEST, "an array of numbers is expected"),
    }
}

pub(crate) async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match (request.method(), path.as_str()) {
        (&Method::GET, "/") => text(StatusCode::OK, "Try /greet/<name>, or POST JSON to /sum"),
        (&Method::POST, "/sum") => sum(request.into_body()).await,
        (&Method::GET, path) => match path.strip_prefix("/greet/") {
            Some(name) => json(&json!({ "hello": name })),
            None => text(StatusCode::NOT_FOUND, "no such page"),
        },
        _ => text(StatusCode::METHOD_NOT_ALLOWED, "GET, or POST to /sum"),
    })
}
