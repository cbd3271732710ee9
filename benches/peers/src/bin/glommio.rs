//! glommio: io_uring alone.

#[cfg(target_os = "linux")]
mod runtime {
    use std::future::Future;
    use std::time::Instant;

    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use glommio::net::{TcpListener, TcpStream};
    use glommio::timer::Timer;
    use glommio::{LocalExecutorBuilder, spawn_local};
    use peers::runtime::{Form, Runtime, Served};

    #[derive(Clone)]
    pub struct Glommio;

    impl Runtime for Glommio {
        fn run<T: 'static, F: Future<Output = T> + 'static>(
            main: impl FnOnce(Self) -> F,
        ) -> Result<T, String> {
            let executor = LocalExecutorBuilder::default().make();
            let executor = executor.map_err(|error| format!("glommio does not start: {error}"))?;
            Ok(executor.run(async { spawn_local(main(Self)).await }))
        }

        fn spawn<T: 'static>(
            &self,
            future: impl Future<Output = T> + 'static,
        ) -> impl Future<Output = T> + 'static {
            spawn_local(future)
        }

        fn detach(&self, future: impl Future<Output = ()> + 'static) {
            drop(spawn_local(future).detach());
        }

        fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
            let timer = Timer::new(deadline.saturating_duration_since(Instant::now()));
            async move {
                timer.await;
            }
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
                    Ok(stream) => self.detach(async move {
                        // A connection that fails ends; the client notices.
                        let _ = echo::<BUFFER>(stream).await;
                        served.end();
                    }),
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
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    peers::main::<runtime::Glommio>()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("not built for this system");
    std::process::ExitCode::from(peers::FAILED)
}
