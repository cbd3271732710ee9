//! callsoon: callbacks are callbacks, timers and readable sockets call callbacks too.

use std::future::Future;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Instant;

use callsoon::{EventLoop, LoopHandle, RemoteHandle};

use super::runtime::{BUFFER, Runtime};

/// The loop's handle.
#[derive(Clone)]
pub(crate) struct Callsoon(LoopHandle);

impl Runtime for Callsoon {
    type Remote = RemoteHandle;

    fn run<T: 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce(Self) -> F,
    ) -> Result<T, String> {
        let event_loop = EventLoop::new().map_err(|error| error.to_string())?;
        // The loads are still running when the loop closes, which would report each task.
        event_loop.set_exception_handler(|_, context| {
            if !context.message.starts_with("Task was destroyed") {
                eprintln!("{context}");
            }
        });
        let main = main(Self(event_loop.handle()));
        let joined = event_loop.run_until_complete(async { callsoon::create_task(main).await });
        joined
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }

    fn call_soon(&self, callback: impl FnOnce() + 'static) {
        self.0.call_soon(callback);
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        let _task = callsoon::create_task(future);
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        callsoon::yield_now()
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        callsoon::sleep_until(deadline)
    }

    fn call_at(&self, deadline: Instant, callback: impl FnOnce() + 'static) {
        self.0.call_at(deadline, callback);
    }

    fn remote(&self) -> Option<RemoteHandle> {
        Some(self.0.remote())
    }

    fn post(remote: &RemoteHandle, job: impl FnOnce() + Send + 'static) {
        // A loop that has closed has what it wanted.
        let _ = remote.call_soon_threadsafe(job);
    }

    fn read_each(
        &self,
        socket: TcpStream,
        mut seen: impl FnMut(usize) + 'static,
    ) -> std::io::Result<()> {
        socket.set_nonblocking(true)?;
        let descriptor = socket.as_raw_fd();
        let event_loop = self.0.clone();
        let mut buffer = [0; BUFFER];
        // The callback owns the socket, so the descriptor is open as long as it is watched.
        self.0
            .add_reader(&descriptor, move || match (&socket).read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => {
                    event_loop.remove_reader(&descriptor);
                }
                Ok(count) => seen(count),
            })
    }

    fn echo(&self, socket: TcpStream) -> std::io::Result<()> {
        let stream = callsoon::net::TcpStream::from_std(socket)?;
        self.detach(async move {
            let mut buffer = [0; BUFFER];
            while let Ok(count) = stream.read(&mut buffer).await {
                if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}
