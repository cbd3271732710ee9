//! A chat room: a task for each member, and writers in a map, so that every task can write to all members.
//!
//! `room.rs` is the room. Here two clients use it.
//!
//! ```text
//! ann receives: bob joins
//! ann receives: bob: hello
//! bob receives: ann: hello yourself
//! ann receives: bob leaves
//! ```

use std::rc::Rc;

use callsoon::stream::{StreamReader, StreamWriter};
use callsoon::{open_connection, start_server};

#[path = "../common/command_line.rs"]
mod command_line;
mod room;

use room::{Room, read_text};

async fn print_next(name: &str, reader: &mut StreamReader) -> std::io::Result<()> {
    if let Some(line) = read_text(reader).await? {
        println!("{name} receives: {line}");
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let room = Rc::new(Room::default());
        let serve = async move |reader: StreamReader, writer: StreamWriter| {
            let room = Rc::clone(&room);
            room.serve(reader, writer).await
        };
        let server = start_server(serve, ("127.0.0.1", 0)).await?;
        let address = server.local_addr().ok_or("the server has no address")?;

        // A member's first line is the member's name.
        let (mut ann, ann_writer) = open_connection(address).await?;
        ann_writer.write(b"ann\n");
        let (mut bob, bob_writer) = open_connection(address).await?;
        bob_writer.write(b"bob\nhello\n");

        print_next("ann", &mut ann).await?;
        print_next("ann", &mut ann).await?;
        ann_writer.write(b"hello yourself\n");
        print_next("bob", &mut bob).await?;

        // A writer closes its connection when it is dropped.
        drop(bob_writer);
        print_next("ann", &mut ann).await?;
        Ok(())
    })?
}
