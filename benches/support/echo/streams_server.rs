//! callsoon's server by streams: `start_server`, one task a connection.

use std::io;

use callsoon::stream::{StreamReader, StreamWriter, start_server};

use super::Work;
use crate::support::rounds::Failure;

pub(crate) fn serve(work: Work) -> Result<(), Failure> {
    callsoon::run(async {
        let client = async move |reader, writer| match work {
            Work::Echo => echo(reader, writer).await,
            Work::Lines => lines(reader, writer).await,
            Work::Sink => sink(reader).await,
        };
        let server = start_server(client, super::ANYWHERE).await?;
        super::announce(server.local_addr().ok_or("no address")?);
        Ok(server.serve_forever().await?)
    })?
}

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    let mut buffer = [0; super::BUFFER];
    loop {
        let count = reader.read_into(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        writer.write(&buffer[..count]);
        writer.drain().await?;
    }
}

async fn lines(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    while let Some(line) = reader.next_line().await.map_err(io::Error::other)? {
        writer.write(&line);
        writer.drain().await?;
    }
    Ok(())
}

async fn sink(mut reader: StreamReader) -> io::Result<()> {
    let mut buffer = vec![0; super::BULK_BUFFER];
    while reader.read_into(&mut buffer).await? > 0 {}
    Ok(())
}
