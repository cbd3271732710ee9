//! callsoon's server: a socket, or a reader and a writer, under `HyperIo`.

use callsoon::interop::hyper::{HyperExecutor, HyperIo, HyperTimer};
use callsoon::net::TcpListener;
use callsoon::stream::{join, start_server};
use callsoon::{PollRead, PollWrite};
use hyper::server::conn::http2;
use hyper::service::service_fn;

use super::{Form, answer, http1};
use crate::echo::{ANYWHERE, announce};
use crate::support::rounds::Failure;

pub(crate) fn serve(form: Form) -> Result<(), Failure> {
    callsoon::run(async {
        let listener = TcpListener::bind(ANYWHERE).await?;
        announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            callsoon::create_task(serve_one(stream, form));
        }
    })?
}

pub(crate) fn serve_streams(form: Form) -> Result<(), Failure> {
    callsoon::run(async {
        let server = start_server(
            move |reader, writer| serve_one(join(reader, writer), form),
            ANYWHERE,
        );
        let server = server.await?;
        announce(server.local_addr().ok_or("no address")?);
        Ok(server.serve_forever().await?)
    })?
}

/// A connection that fails ends; the load generator notices.
async fn serve_one(stream: impl PollRead + PollWrite + 'static, form: Form) {
    let (stream, service) = (HyperIo::new(stream), service_fn(answer));
    let _ = match form {
        Form::Http2 => {
            let builder = http2::Builder::new(HyperExecutor);
            builder.serve_connection(stream, service).await
        }
        _ => {
            let builder = http1(form, HyperTimer);
            builder.serve_connection(stream, service).await
        }
    };
}
