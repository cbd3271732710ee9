//! tokio: the `current_thread` runtime with a `LocalSet`, since what callsoon's tasks hold need not be `Send`.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use peers::runtime::{Boxed, Form, Post, Runtime, Served, Waiter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{JoinSet, LocalSet, spawn_local};

#[derive(Clone)]
struct Tokio;

impl Runtime for Tokio {
    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let joined = LocalSet::new().block_on(&runtime, async { spawn_local(main(Self)).await });
        joined.map_err(|error| error.to_string())
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        let task = spawn_local(future);
        async { task.await.expect("no task panics") }
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        drop(spawn_local(future));
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        tokio::task::yield_now()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep_until(deadline.into())
    }

    fn without_budget<F: Future>(future: F) -> impl Future<Output = F::Output> {
        tokio::task::unconstrained(future)
    }

    async fn group(&self, futures: impl Iterator<Item = impl Future<Output = ()> + 'static>) {
        let mut set = JoinSet::new();
        for future in futures {
            set.spawn_local(future);
        }
        while let Some(joined) = set.join_next().await {
            joined.expect("no task panics");
        }
    }

    fn waiters(&self) -> Option<Box<dyn Fn() -> Waiter>> {
        let event = Arc::new(Notify::new());
        Some(Box::new(move || {
            Box::pin(Arc::clone(&event).notified_owned())
        }))
    }

    fn post(&self) -> Option<Box<Post>> {
        let (sender, mut posts) = unbounded_channel::<Boxed>();
        drop(spawn_local(async move {
            while let Some(callback) = posts.recv().await {
                callback();
            }
        }));
        Some(Box::new(move |callback| {
            assert!(
                sender.send(callback).is_ok(),
                "the receiver lives as long as the loop"
            );
        }))
    }

    async fn serve<const BUFFER: usize>(
        &self,
        _form: Form,
        served: Served,
        announce: impl FnOnce(u16) + 'static,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        announce(listener.local_addr().expect("an address").port());
        loop {
            let accepted = listener.accept().await;
            let served = served.clone();
            match accepted {
                Ok((stream, _)) => drop(spawn_local(async move {
                    // A connection that fails ends; the client notices.
                    let _ = echo::<BUFFER>(stream).await;
                    served.end();
                })),
                Err(error) => return served.fail(error),
            }
        }
    }
}

async fn echo<const BUFFER: usize>(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

fn main() -> ExitCode {
    peers::main::<Tokio>()
}
