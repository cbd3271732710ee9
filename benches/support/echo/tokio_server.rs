//! tokio's server: a `current_thread` runtime with a `LocalSet`, one `spawn_local` a connection.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use super::Work;
use crate::support::rounds::Failure;

pub(crate) fn serve(work: Work) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(super::ANYWHERE).await?;
        super::announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            drop(spawn_local(async move {
                // A connection that fails ends; the load generator notices.
                let _ = match work {
                    Work::Echo => echo(stream).await,
                    Work::Lines => lines(stream).await,
                    Work::Sink => sink(stream).await,
                };
            }));
        }
    })
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; super::BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn lines(mut stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::with_capacity(super::BUFFER, reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await? > 0 {
        writer.write_all(&line).await?;
        line.clear();
    }
    Ok(())
}

async fn sink(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; super::BULK_BUFFER];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
