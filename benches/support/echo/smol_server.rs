//! smol's server: `Async<TcpListener>` under `async_io::block_on`, one `LocalExecutor` task a connection.

use std::io;
use std::net::{TcpListener, TcpStream};

use async_executor::LocalExecutor;
use async_io::Async;
use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::Work;
use crate::support::rounds::Failure;

pub(crate) fn serve(work: Work) -> Result<(), Failure> {
    let executor = LocalExecutor::new();
    async_io::block_on(executor.run(async {
        let listener = Async::<TcpListener>::bind(super::ANYWHERE)?;
        super::announce(listener.get_ref().local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let connection = executor.spawn(async move {
                // A connection that fails ends; the load generator notices.
                let _ = match work {
                    Work::Echo => echo(stream).await,
                    Work::Lines => lines(&stream).await,
                    Work::Sink => sink(stream).await,
                };
            });
            connection.detach();
        }
    }))
}

async fn echo(mut stream: Async<TcpStream>) -> io::Result<()> {
    let mut buffer = [0; super::BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn lines(stream: &Async<TcpStream>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(super::BUFFER, stream);
    let mut writer = stream;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await? > 0 {
        writer.write_all(&line).await?;
        line.clear();
    }
    Ok(())
}

async fn sink(mut stream: Async<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; super::BULK_BUFFER];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
