//! callsoon's server by streams: one task a connection.

use std::io;

use callsoon::stream::{StreamReader, StreamWriter, start_server};

use super::{BUFFER, BULK_BUFFER, Identity, Work, number};
use crate::echo::ANYWHERE;
use crate::support::rounds::Failure;

pub(crate) fn serve(identity: &Identity, work: Work) -> Result<(), Failure> {
    callsoon::run(async {
        let client = async move |reader, writer| match work {
            Work::Echo => echo(reader, writer).await,
            Work::Sink => sink(reader).await,
            Work::Source => source(reader, writer).await,
        };
        let serving = start_server(client, ANYWHERE).ssl(identity.config.clone());
        let server = serving.await?;
        identity.announce(server.local_addr().ok_or("no address")?);
        Ok(server.serve_forever().await?)
    })?
}

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        let count = reader.read_into(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        writer.write(&buffer[..count]);
        writer.drain().await?;
    }
}

async fn sink(mut reader: StreamReader) -> io::Result<()> {
    let mut buffer = vec![0; BULK_BUFFER];
    while reader.read_into(&mut buffer).await? > 0 {}
    Ok(())
}

async fn source(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    let block = vec![7; BULK_BUFFER];
    let mut left = number(&reader.readexactly(8).await?).unwrap_or(0);
    while left > 0 {
        let count = left.min(block.len());
        left -= count;
        writer.write(&block[..count]);
        writer.drain().await?;
    }
    writer.close();
    writer.wait_closed().await
}
