//! smol: async-executor's `LocalExecutor` under `async_io::block_on`.
//!
//! A `LocalExecutor` cannot be reached from another thread, so a post goes through an unbounded channel to a task that
//! runs what arrives.

use std::future::Future;
use std::net::TcpStream;
use std::time::Instant;

use async_channel::Sender;
use async_executor::LocalExecutor;
use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use super::runtime::{BUFFER, Runtime};

/// The executor, leaked: a plain reference is the cheapest handle on it that a program could have.
#[derive(Clone)]
pub(crate) struct Smol(&'static LocalExecutor<'static>);

/// What goes through the channel.
type Posted = Box<dyn FnOnce() + Send>;

impl Runtime for Smol {
    type Remote = Sender<Posted>;

    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String> {
        let executor: &'static _ = Box::leak(Box::new(LocalExecutor::new()));
        let task = executor.spawn(main(Self(executor)));
        Ok(async_io::block_on(executor.run(task)))
    }

    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        self.0.spawn(async move { callback() }).detach();
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        self.0.spawn(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        futures_lite::future::yield_now()
    }

    async fn sleep_until(deadline: Instant) {
        Timer::at(deadline).await;
    }

    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        self.detach(async move {
            Timer::at(deadline).await;
            callback();
        });
    }

    fn remote(&self) -> Option<Sender<Posted>> {
        let (sender, posts) = async_channel::unbounded::<Posted>();
        self.detach(async move {
            while let Ok(job) = posts.recv().await {
                job();
            }
        });
        Some(sender)
    }

    fn post(remote: &Sender<Posted>, job: impl FnOnce() + Send + 'static) {
        // An executor that has ended has what it wanted.
        let _ = remote.try_send(Box::new(job));
    }

    fn read_each(
        &self,
        socket: TcpStream,
        mut seen: impl FnMut(usize) + 'static,
    ) -> std::io::Result<()> {
        let mut stream = Async::new(socket)?;
        self.detach(async move {
            let mut buffer = [0; BUFFER];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                seen(count);
            }
        });
        Ok(())
    }

    fn echo(&self, socket: TcpStream) -> std::io::Result<()> {
        let mut stream = Async::new(socket)?;
        self.detach(async move {
            let mut buffer = [0; BUFFER];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}
