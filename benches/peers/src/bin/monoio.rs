//! monoio: io_uring where the kernel lets it, else its epoll driver, as its users get it.

#[cfg(target_os = "linux")]
mod runtime {
    use std::future::Future;
    use std::time::Instant;

    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
    use monoio::net::{TcpListener, TcpStream};
    use peers::LATENCY_BUFFER;
    use peers::runtime::{Form, Runtime, Served};

    #[derive(Clone)]
    pub struct Monoio;

    impl Runtime for Monoio {
        fn run<T: 'static, F: Future<Output = T> + 'static>(
            main: impl FnOnce(Self) -> F,
        ) -> Result<T, String> {
            let runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
                .enable_timer()
                .build();
            let mut runtime = runtime.map_err(|error| format!("monoio does not start: {error}"))?;
            Ok(runtime.block_on(async { monoio::spawn(main(Self)).await }))
        }

        fn by_uring() -> Option<bool> {
            Some(monoio::utils::detect_uring())
        }

        fn spawn<T: 'static>(
            &self,
            future: impl Future<Output = T> + 'static,
        ) -> impl Future<Output = T> + 'static {
            monoio::spawn(future)
        }

        fn detach(&self, future: impl Future<Output = ()> + 'static) {
            drop(monoio::spawn(future));
        }

        fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
            monoio::time::sleep_until(deadline.into())
        }

        /// A task that wakes itself is polled again before all others, so this waits for one that is queued behind them.
        async fn step_aside() {
            monoio::spawn(async {}).await;
        }

        fn read_each(
            &self,
            socket: std::net::TcpStream,
            mut seen: impl FnMut(usize) + 'static,
        ) -> std::io::Result<()> {
            let mut stream = adopt(socket)?;
            self.detach(async move {
                let mut buffer = Vec::with_capacity(LATENCY_BUFFER);
                while let (Ok(count @ 1..), read) = stream.read(buffer).await {
                    seen(count);
                    buffer = read;
                    buffer.clear();
                }
            });
            Ok(())
        }

        fn echo(&self, socket: std::net::TcpStream) -> std::io::Result<()> {
            let stream = adopt(socket)?;
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
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
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

    /// A socket of the standard library's. With io_uring it stays as it is: the kernel waits for it.
    fn adopt(socket: std::net::TcpStream) -> std::io::Result<TcpStream> {
        socket.set_nonblocking(!monoio::utils::detect_uring())?;
        TcpStream::from_std(socket)
    }

    /// The kernel owns the buffer meanwhile, so it is a box.
    async fn echo<const BUFFER: usize>(mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            let (count, read) = stream.read(buffer).await;
            if count? == 0 {
                return Ok(());
            }
            let (written, back) = stream.write_all(read).await;
            written?;
            buffer = back;
            buffer.clear();
        }
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    peers::main::<runtime::Monoio>()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("not built for this system");
    std::process::ExitCode::from(peers::FAILED)
}
