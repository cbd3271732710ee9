//! All connections, from the accept to the graceful shutdown.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::TcpListener;
use callsoon::sync::Event;
use callsoon::task_group;
use callsoon::tls::ServerContext;
use futures_util::future::{Either, select};

use crate::connection::serve;

/// How long requests may go on after Ctrl-C.
const DEADLINE: Duration = Duration::from_secs(10);

/// Accepts until `stop` is set, then waits until every connection has ended, or the deadline.
pub(crate) async fn serve_all(listener: TcpListener, tls: Option<ServerContext>, stop: Rc<Event>) {
    let all = task_group(async |group| {
        while let Either::Left((accepted, _)) =
            select(pin!(listener.accept()), pin!(stop.wait())).await
        {
            match accepted {
                Ok((stream, _)) => {
                    let serving = serve(stream, tls.clone(), Rc::clone(&stop));
                    drop(group.create_task(serving));
                }
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
