//! Connections, from the accept to the graceful shutdown.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use callsoon::interop::hyper::{HyperIo, HyperTimer};
use callsoon::net::{TcpListener, TcpStream};
use callsoon::sync::Event;
use callsoon::task_group;
use futures_util::future::{Either, select};
use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::routes;

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
pub(crate) async fn serve_all(listener: TcpListener, stop: Rc<Event>) {
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
