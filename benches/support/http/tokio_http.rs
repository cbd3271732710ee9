//! tokio's server, in both of its forms for futures that are not `Send`, with hyper-util's adapters.

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use super::{Form, answer, http1};
use crate::echo::{ANYWHERE, announce};
use crate::support::rounds::Failure;

/// Spawns on the current `LocalSet` or `LocalRuntime`. hyper-util has an executor for futures that are `Send` alone.
#[derive(Clone)]
struct SpawnLocal;

impl<F: Future + 'static> Executor<F> for SpawnLocal {
    fn execute(&self, future: F) {
        drop(spawn_local(async move { drop(future.await) }));
    }
}

pub(crate) fn serve_in_local_set(form: Form) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, serve(form))
}

pub(crate) fn serve_in_local_runtime(form: Form) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())?;
    runtime.block_on(serve(form))
}

async fn serve(form: Form) -> Result<(), Failure> {
    let listener = TcpListener::bind(ANYWHERE).await?;
    announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        drop(spawn_local(serve_one(stream, form)));
    }
}

/// A connection that fails ends; the load generator notices.
async fn serve_one(stream: TcpStream, form: Form) {
    let (stream, service) = (TokioIo::new(stream), service_fn(answer));
    let _ = match form {
        Form::Http2 => {
            let builder = http2::Builder::new(SpawnLocal);
            builder.serve_connection(stream, service).await
        }
        _ => {
            let builder = http1(form, TokioTimer::new());
            builder.serve_connection(stream, service).await
        }
    };
}
