//! Pipes: what was written comes out, or one end has an error.

use std::io;
use std::rc::Rc;

use callsoon::create_task;
use callsoon::stream::{StreamReader, open_read_pipe, open_write_pipe};

use crate::support::pipe;
use crate::world::{Shared, World};

pub(crate) async fn by_streams(world: World) {
    let sent = world.bytes(7, 200_000);
    let (far, near) = (Shared::default(), Shared::default());
    let (reading, writing) = pipe().unwrap();
    let side = Rc::clone(&near);
    let reader = create_task(async move {
        let ended = match open_read_pipe(reading).await {
            Ok(reader) => read(reader, &side).await,
            Err(error) => Err(error),
        };
        side.borrow_mut().ended = Some(ended);
    });
    let write = async {
        let writer = open_write_pipe(writing).await?;
        for piece in sent.chunks(30_000) {
            writer.write(piece);
            writer.drain().await?;
        }
        writer.close();
        writer.wait_closed().await
    };
    let ended: io::Result<()> = write.await;
    reader.await.unwrap();
    // The far side of an echo has read all that was sent; here it has written it.
    far.borrow_mut().read.clone_from(&sent);
    far.borrow_mut().ended = Some(ended);
    world.judge("pipes", &sent, &far, &near);
}

async fn read(mut reader: StreamReader, side: &Shared) -> io::Result<()> {
    loop {
        let piece = reader.read(10_000).await?;
        if piece.is_empty() {
            return Ok(());
        }
        side.borrow_mut().read.extend_from_slice(&piece);
    }
}
