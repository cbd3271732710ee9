//! smol: async-executor's `LocalExecutor` under `async_io::block_on`, which drives timers and sockets.

use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use async_executor::LocalExecutor;
use async_io::{Async, Timer};
use event_listener::Event;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use peers::runtime::{Boxed, Form, Post, Runtime, Served, Waiter};

/// The executor, leaked: a plain reference is the cheapest handle on it that a program could have.
#[derive(Clone)]
struct Smol(&'static LocalExecutor<'static>);

impl Runtime for Smol {
    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String> {
        let executor: &'static _ = Box::leak(Box::new(LocalExecutor::new()));
        let task = executor.spawn(main(Self(executor)));
        Ok(async_io::block_on(executor.run(task)))
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        self.0.spawn(future)
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        self.0.spawn(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        futures_lite::future::yield_now()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        let timer = Timer::at(deadline);
        async move {
            timer.await;
        }
    }

    fn waiters(&self) -> Option<Box<dyn Fn() -> Waiter>> {
        let event = Rc::new(Event::new());
        Some(Box::new(move || {
            let event = Rc::clone(&event);
            Box::pin(async move { event.listen().await })
        }))
    }

    fn post(&self) -> Option<Box<Post>> {
        let (sender, posts) = async_channel::unbounded::<Boxed>();
        self.detach(async move {
            while let Ok(callback) = posts.recv().await {
                callback();
            }
        });
        Some(Box::new(move |callback| {
            assert!(
                sender.try_send(callback).is_ok(),
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
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a port");
        announce(listener.get_ref().local_addr().expect("an address").port());
        loop {
            let accepted = listener.accept().await;
            let served = served.clone();
            match accepted {
                Ok((stream, _)) => self.detach(async move {
                    // A connection that fails ends; the client notices.
                    let _ = echo::<BUFFER>(stream).await;
                    served.end();
                }),
                Err(error) => return served.fail(error),
            }
        }
    }
}

async fn echo<const BUFFER: usize>(mut stream: Async<TcpStream>) -> std::io::Result<()> {
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
    peers::main::<Smol>()
}
