//! One connection, from the handshake to its last answer.

use std::error::Error;
use std::pin::pin;
use std::rc::Rc;

use callsoon::interop::hyper::{HyperIo, HyperTimer};
use callsoon::net::TcpStream;
use callsoon::stream::join;
use callsoon::sync::Event;
use callsoon::tls::ServerContext;
use callsoon::{PollRead, PollWrite, open_connection};
use futures_util::future::{Either, select};
use hyper::server::conn::http1;
use hyper::service::service_fn;

use crate::routes;

/// Serves a connection, over TLS if there is a context for it.
pub(crate) async fn serve(stream: TcpStream, tls: Option<ServerContext>, stop: Rc<Event>) {
    let ended = match tls {
        Some(context) => encrypted(stream, context, stop).await,
        None => answer(stream, stop).await,
    };
    if let Err(error) = ended {
        println!("a connection failed: {error}");
    }
}

async fn encrypted(
    stream: TcpStream,
    context: ServerContext,
    stop: Rc<Event>,
) -> Result<(), Box<dyn Error>> {
    let (reader, writer) = open_connection(stream).ssl_server(context).await?;
    answer(join(reader, writer), stop).await
}

/// Answers requests. When `stop` is set it ends after the one that it is at.
async fn answer<S>(stream: S, stop: Rc<Event>) -> Result<(), Box<dyn Error>>
where
    S: PollRead + PollWrite + Unpin,
{
    let mut builder = http1::Builder::new();
    builder.timer(HyperTimer); // a head has 30 s to arrive
    let connection = builder.serve_connection(HyperIo::new(stream), service_fn(routes::answer));
    let mut connection = pin!(connection);
    match select(connection.as_mut(), pin!(stop.wait())).await {
        Either::Left((ended, _)) => ended?,
        Either::Right(_) => {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
    }
    Ok(())
}
