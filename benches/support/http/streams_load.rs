//! The load generator for HTTP/2: hyper's client on callsoon, ten streams on each connection.
//!
//! `load2 PORT STREAMS MILLISECONDS` says what `load1` says. It costs more than any server, and the same beside each.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::interop::hyper::{HyperExecutor, HyperIo};
use callsoon::net::TcpStream;
use callsoon::{Task, create_task};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};

use super::ANSWER;
use crate::support::rounds::Failure;
use crate::support::table::percentile;

/// How many streams share a connection.
const SHARED_BY: usize = 10;

/// `--child load2 PORT STREAMS MILLISECONDS`.
pub(crate) fn run(order: &[String]) -> Result<(), Failure> {
    let [port, streams, millis] = order else {
        return Err("load wants PORT STREAMS MILLISECONDS".into());
    };
    let (port, streams) = (port.parse::<u16>()?, streams.parse::<usize>()?);
    let time = Duration::from_millis(millis.parse()?);
    callsoon::run(async move {
        let mut clients = Vec::new();
        for _ in 0..streams.div_ceil(SHARED_BY) {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            let (client, connection) = handshake(HyperExecutor, HyperIo::new(stream)).await?;
            create_task(connection);
            clients.push(client);
        }
        drive(&clients, streams, time / 10).await?;
        println!("warm");
        std::io::stdin().read_line(&mut String::new())?;
        let began = Instant::now();
        let mut latencies = drive(&clients, streams, time).await?;
        let wall = began.elapsed().as_nanos();
        let (p50, p99) = (
            percentile(&mut latencies, 50),
            percentile(&mut latencies, 99),
        );
        println!("done {} {wall} {p50} {p99}", latencies.len());
        Ok(())
    })?
}

/// Keeps a request outstanding on every stream for `time`, then waits for the answers; latencies in ns.
async fn drive(
    clients: &[SendRequest<Empty<Bytes>>],
    streams: usize,
    time: Duration,
) -> Result<Vec<f64>, Failure> {
    let end = Instant::now() + time;
    let latencies = Rc::new(RefCell::new(Vec::new()));
    let wrong = Rc::new(Cell::new(false));
    let tasks: Vec<Task<Result<(), hyper::Error>>> = (0..streams)
        .map(|index| {
            let mut client = clients[index % clients.len()].clone();
            let (latencies, wrong) = (Rc::clone(&latencies), Rc::clone(&wrong));
            create_task(async move {
                loop {
                    let sent = Instant::now();
                    let request = Request::get("http://bench/").body(Empty::new());
                    let request = request.expect("a request without a fault");
                    let answer = client.send_request(request).await?;
                    let body = answer.into_body().collect().await?.to_bytes();
                    wrong.set(wrong.get() || body != ANSWER);
                    let now = Instant::now();
                    latencies.borrow_mut().push((now - sent).as_nanos() as f64);
                    if now >= end {
                        return Ok(());
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    match wrong.get() {
        true => Err("an answer differs".into()),
        false => Ok(latencies.take()),
    }
}
