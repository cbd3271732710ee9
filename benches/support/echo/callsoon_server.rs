//! callsoon's server: `net::TcpListener`, one task a connection.

use std::io;

use callsoon::net::{TcpListener, TcpStream};

use super::Work;
use crate::support::rounds::Failure;

pub(crate) fn serve(work: Work) -> Result<(), Failure> {
    callsoon::run(async {
        let listener = TcpListener::bind(super::ANYWHERE).await?;
        super::announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            callsoon::create_task(async move {
                // A connection that fails ends; the load generator notices.
                let _ = match work {
                    Work::Echo | Work::Lines => echo(&stream).await,
                    Work::Sink => sink(&stream).await,
                };
            });
        }
    })?
}

async fn echo(stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; super::BUFFER];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn sink(stream: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; super::BULK_BUFFER];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
