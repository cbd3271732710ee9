//! tokio's current-thread runtime, in both of its forms for futures that are not `Send`.
//!
//! From another thread neither form takes a task that is not `Send`, so a post is `Handle::spawn` of one that is. In a
//! `LocalSet` such a task runs beside the set, not in its queue.

use std::future::Future;
use std::net::TcpStream;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Handle};
use tokio::task::{LocalSet, spawn_local};

use super::runtime::{BUFFER, Runtime};

/// A `LocalRuntime`, or else a `LocalSet`. Everything is a free function inside either.
#[derive(Clone)]
pub(crate) struct Tokio<const LOCAL_RUNTIME: bool>;

/// Tasks in a `LocalSet`.
pub(crate) type InLocalSet = Tokio<false>;
/// Tasks in a `LocalRuntime`.
pub(crate) type InLocalRuntime = Tokio<true>;

impl<const LOCAL_RUNTIME: bool> Runtime for Tokio<LOCAL_RUNTIME> {
    type Remote = Handle;

    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String> {
        let mut builder = Builder::new_current_thread();
        builder.enable_all();
        let main = main(Self);
        let joined = if LOCAL_RUNTIME {
            let runtime = builder.build_local(Default::default());
            let runtime = runtime.map_err(|error| error.to_string())?;
            runtime.block_on(async { spawn_local(main).await })
        } else {
            let runtime = builder.build().map_err(|error| error.to_string())?;
            LocalSet::new().block_on(&runtime, async { spawn_local(main).await })
        };
        joined.map_err(|error| error.to_string())
    }

    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        drop(spawn_local(async move { callback() }));
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

    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        self.detach(async move {
            tokio::time::sleep_until(deadline.into()).await;
            callback();
        });
    }

    fn remote(&self) -> Option<Handle> {
        Some(Handle::current())
    }

    fn post(remote: &Handle, job: impl FnOnce() + Send + 'static) {
        drop(remote.spawn(async move { job() }));
    }

    fn read_each(
        &self,
        socket: TcpStream,
        mut seen: impl FnMut(usize) + 'static,
    ) -> std::io::Result<()> {
        let mut stream = nonblocking(socket)?;
        self.detach(async move {
            let mut buffer = [0; BUFFER];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                seen(count);
            }
        });
        Ok(())
    }

    fn echo(&self, socket: TcpStream) -> std::io::Result<()> {
        let mut stream = nonblocking(socket)?;
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

fn nonblocking(socket: TcpStream) -> std::io::Result<tokio::net::TcpStream> {
    socket.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(socket)
}
