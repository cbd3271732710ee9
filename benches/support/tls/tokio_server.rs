//! tokio-rustls: a `current_thread` runtime with a `LocalSet`, one `spawn_local` a connection.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{BUFFER, BULK_BUFFER, Identity, Work, number};
use crate::echo::ANYWHERE;
use crate::support::rounds::Failure;

pub(crate) fn serve(identity: &Identity, work: Work) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(ANYWHERE).await?;
        identity.announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            // callsoon's transports set it, as asyncio's do.
            stream.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            drop(spawn_local(async move {
                // A connection that fails ends; the load generator notices.
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let _ = match work {
                    Work::Echo => echo(stream).await,
                    Work::Sink => sink(stream).await,
                    Work::Source => source(stream).await,
                };
            }));
        }
    })
}

async fn echo(mut stream: TlsStream<TcpStream>) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..count]).await?;
        stream.flush().await?;
    }
}

async fn sink(mut stream: TlsStream<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; BULK_BUFFER];
    while stream.read(&mut buffer).await? > 0 {}
    stream.shutdown().await
}

async fn source(mut stream: TlsStream<TcpStream>) -> io::Result<()> {
    let block = vec![7; BULK_BUFFER];
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes).await?;
    let mut left = number(&bytes).unwrap_or(0);
    while left > 0 {
        let count = left.min(block.len());
        left -= count;
        stream.write_all(&block[..count]).await?;
    }
    stream.shutdown().await
}
