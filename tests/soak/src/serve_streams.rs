//! The server's conversations by streams: a function for each client.

use std::io;

use callsoon::sleep;
use callsoon::stream::{StreamReader, StreamWriter};

use crate::counts::Count;
use crate::header::{Header, Kind, LENGTH};
use crate::served::{Conversation, Served, UPLOAD_BYTES, UPLOAD_REST, shrink};

/// So many bytes are read or written at once.
const PIECE: usize = 16 * 1024;

/// One client, from its header to its end.
pub(crate) async fn converse(served: &Served, mut reader: StreamReader, writer: StreamWriter) {
    served.came();
    if let Err(error) = conversation(served, &mut reader, &writer).await {
        served.failed("a stream's client", &error);
    }
}

async fn conversation(
    served: &Served,
    reader: &mut StreamReader,
    writer: &StreamWriter,
) -> io::Result<()> {
    let header = reader.readexactly(LENGTH).await?;
    let Some(header) = Header::decode(&header) else {
        return Err(io::Error::other("a header that no client sends"));
    };
    let mut talk = Conversation::new(header);
    match header.kind {
        Kind::Echo | Kind::Reset => echo(served, &mut talk, reader, writer).await?,
        Kind::Download => download(served, &mut talk, writer).await?,
        Kind::Upload => upload(served, &mut talk, reader, writer).await?,
        Kind::Half => {
            writer.write(talk.answer(served, header.count as usize));
            writer.write_eof();
            served.counts.one(Count::HalfCloses);
            while let Some(data) = piece(reader, PIECE).await? {
                talk.check(served, &data);
            }
        }
    }
    writer.close();
    // An error here is of a client that has gone without reading everything.
    writer.wait_closed().await
}

/// The next bytes, or nothing at the client's end.
async fn piece(reader: &mut StreamReader, most: usize) -> io::Result<Option<Vec<u8>>> {
    let data = reader.read(most).await?;
    Ok((!data.is_empty()).then_some(data))
}

async fn echo(
    served: &Served,
    talk: &mut Conversation,
    reader: &mut StreamReader,
    writer: &StreamWriter,
) -> io::Result<()> {
    while let Some(data) = piece(reader, PIECE).await? {
        talk.check(served, &data);
        writer.write(talk.answer(served, data.len()));
        writer.drain().await?;
        if talk.header.kind == Kind::Reset && talk.has_all() {
            served.reset(writer.transport());
            break;
        }
    }
    Ok(())
}

async fn download(
    served: &Served,
    talk: &mut Conversation,
    writer: &StreamWriter,
) -> io::Result<()> {
    shrink(writer.transport())?;
    let mut left = talk.header.count as usize;
    while left > 0 {
        let count = left.min(PIECE);
        writer.write(talk.answer(served, count));
        writer.drain().await?;
        left -= count;
    }
    Ok(())
}

async fn upload(
    served: &Served,
    talk: &mut Conversation,
    reader: &mut StreamReader,
    writer: &StreamWriter,
) -> io::Result<()> {
    shrink(writer.transport())?;
    while let Some(data) = piece(reader, UPLOAD_BYTES).await? {
        talk.check(served, &data);
        sleep(UPLOAD_REST).await;
    }
    writer.write(talk.answer(served, talk.upload_answer()));
    writer.drain().await
}
