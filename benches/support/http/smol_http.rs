//! smol's server: `Async<TcpListener>` under `async_io::block_on`, a `LocalExecutor`, smol-hyper's adapters.

use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use async_executor::LocalExecutor;
use async_io::Async;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::{Form, answer, http1};
use crate::echo::{ANYWHERE, announce};
use crate::support::rounds::Failure;

/// Spawns on the server's executor. smol-hyper has one for futures that are `Send` alone.
#[derive(Clone)]
struct Spawn(Rc<LocalExecutor<'static>>);

impl<F: Future + 'static> Executor<F> for Spawn {
    fn execute(&self, future: F) {
        self.0.spawn(async move { drop(future.await) }).detach();
    }
}

pub(crate) fn serve(form: Form) -> Result<(), Failure> {
    let executor = Rc::new(LocalExecutor::new());
    let spawn = Spawn(Rc::clone(&executor));
    async_io::block_on(executor.run(async {
        let listener = Async::<TcpListener>::bind(ANYWHERE)?;
        announce(listener.get_ref().local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let connection = serve_one(stream, form, spawn.clone());
            executor.spawn(connection).detach();
        }
    }))
}

/// A connection that fails ends; the load generator notices.
async fn serve_one(stream: Async<TcpStream>, form: Form, spawn: Spawn) {
    let (stream, service) = (FuturesIo::new(stream), service_fn(answer));
    let _ = match form {
        Form::Http2 => {
            let builder = http2::Builder::new(spawn);
            builder.serve_connection(stream, service).await
        }
        _ => {
            let builder = http1(form, SmolTimer::new());
            builder.serve_connection(stream, service).await
        }
    };
}
