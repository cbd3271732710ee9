//! An HTTP server that ends well: keep-alive, JSON, and on Ctrl-C a shutdown that gives requests ten seconds to end.
//!
//! ```text
//! $ cargo run --example http_server --features hyper
//! listening on http://127.0.0.1:41873
//! GET /              200 Try /greet/<name>, or POST JSON to /sum
//! GET /greet/Ada     200 {"hello":"Ada"}
//! POST /sum          200 {"sum":6.5}
//! GET /missing       404 no such page
//! every connection has ended
//! $ cargo run --example http_server --features hyper -- 127.0.0.1:8080    # until Ctrl-C
//! ```

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use callsoon::interop::hyper::{HyperIo, HyperTimer};
use callsoon::net::{TcpListener, TcpStream};
use callsoon::sync::Event;
use callsoon::{create_task, ctrl_c, task_group, timeout};
use futures_util::future::{Either, select};
use hyper::server::conn::http1;
use hyper::service::service_fn;

mod routes;
mod visitor;

/// How long requests may go on after Ctrl-C.
const DEADLINE: Duration = Duration::from_secs(10);

/// Serves one connection. When `stop` is set it ends after the request that it is at.
async fn serve(stream: TcpStream, stop: Rc<Event>) {
    let mut builder = http1::Builder::new();
    builder.timer(HyperTimer); // a head has 30 s to arrive
    let connection = builder.serve_connection(HyperIo::new(stream), service_fn(routes::answer));
    let mut connection = pin!(connection);
    let ended = match select(connection.as_mut(), pin!(stop.wait())).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        println!("a connection failed: {error}");
    }
}

/// Accepts until `stop` is set, then waits until every connection has ended, or the deadline.
async fn serve_all(listener: TcpListener, stop: Rc<Event>) {
    let all = task_group(async |group| {
        while let Either::Left((accepted, _)) =
            select(pin!(listener.accept()), pin!(stop.wait())).await
        {
            match accepted {
                Ok((stream, _)) => drop(group.create_task(serve(stream, Rc::clone(&stop)))),
                Err(error) => println!("accept: {error}"),
            }
        }
        drop(listener);
    });
    let deadline = async {
        stop.wait().await;
        callsoon::sleep(DEADLINE).await;
    };
    match select(pin!(all), pin!(deadline)).await {
        Either::Left(_) => println!("every connection has ended"),
        Either::Right(_) => println!("some requests were cut after {DEADLINE:?}"),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("--help") {
        println!("http_server [ADDRESS]    without an address: visits itself once, and ends");
        return Ok(());
    }
    let address: SocketAddr = argument.as_deref().unwrap_or("127.0.0.1:0").parse()?;
    callsoon::run(async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        println!("listening on http://{address}");
        let stop = Rc::new(Event::new());
        let server = create_task(serve_all(listener, Rc::clone(&stop)));
        match argument {
            Some(_) => ctrl_c().await?,
            None => timeout(Duration::from_secs(30), visitor::visit(address)).await??,
        }
        stop.set();
        Ok(server.await?)
    })?
}
