//! compio: io_uring where the kernel lets it, else its polling driver, as its users get it. For posts a channel of
//! smol's family, since it has none of its own.

#[cfg(target_os = "linux")]
mod runtime {
    use std::future::Future;
    use std::time::Instant;

    use compio::BufResult;
    use compio::driver::DriverType;
    use compio::io::{AsyncRead, AsyncWriteExt};
    use compio::net::{TcpListener, TcpStream};
    use compio::runtime::spawn;
    use peers::LATENCY_BUFFER;
    use peers::runtime::{Boxed, Form, Post, Runtime, Served};

    #[derive(Clone)]
    pub struct Compio;

    impl Runtime for Compio {
        fn run<T: 'static, F: Future<Output = T> + 'static>(
            main: impl FnOnce(Self) -> F,
        ) -> Result<T, String> {
            let runtime = compio::runtime::Runtime::new();
            let runtime = runtime.map_err(|error| format!("compio does not start: {error}"))?;
            let joined = runtime.block_on(async { spawn(main(Self)).await });
            joined.map_err(|error| error.to_string())
        }

        fn by_uring() -> Option<bool> {
            let runtime = compio::runtime::Runtime::new().ok()?;
            Some(runtime.driver_type() == DriverType::IoUring)
        }

        fn spawn<T: 'static>(
            &self,
            future: impl Future<Output = T> + 'static,
        ) -> impl Future<Output = T> + 'static {
            let task = spawn(future);
            async { task.await.expect("no task panics") }
        }

        fn detach(&self, future: impl Future<Output = ()> + 'static) {
            spawn(future).detach();
        }

        fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
            compio::time::sleep_until(deadline)
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

        fn read_each(
            &self,
            socket: std::net::TcpStream,
            mut seen: impl FnMut(usize) + 'static,
        ) -> std::io::Result<()> {
            let mut stream = TcpStream::from_std(socket)?;
            self.detach(async move {
                let mut buffer = Vec::with_capacity(LATENCY_BUFFER);
                while let BufResult(Ok(count @ 1..), read) = stream.read(buffer).await {
                    seen(count);
                    buffer = read;
                    buffer.clear();
                }
            });
            Ok(())
        }

        fn echo(&self, socket: std::net::TcpStream) -> std::io::Result<()> {
            let stream = TcpStream::from_std(socket)?;
            self.detach(async move {
                // A connection that fails ends; the client notices.
                let _ = echo::<LATENCY_BUFFER>(stream).await;
            });
            Ok(())
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

    /// The kernel owns the buffer meanwhile, so it is a box.
    async fn echo<const BUFFER: usize>(mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            let BufResult(count, read) = stream.read(buffer).await;
            if count? == 0 {
                return Ok(());
            }
            let BufResult(written, back) = stream.write_all(read).await;
            written?;
            buffer = back;
            buffer.clear();
        }
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    peers::main::<runtime::Compio>()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("not built for this system");
    std::process::ExitCode::from(peers::FAILED)
}
