//! A chat room: what one says, all others hear. Writers are kept in a map, since a writer may be used from anywhere.
//!
//! ```text
//! ann hears: bob joins
//! ann hears: bob: hello
//! bob hears: ann: hello yourself
//! ann hears: bob leaves
//! ```

use std::net::SocketAddr;
use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};

use callsoon::stream::{StreamReader, StreamWriter};

type Room = Rc<RefCell<BTreeMap<String, StreamWriter>>>;

fn tell(room: &Room, from: &str, text: &str) {
    for (name, writer) in &*room.borrow() {
        if name != from {
            writer.write(text.as_bytes());
        }
    }
}

async fn member(room: Room, mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    let name = text(reader.readline().await?).trim().to_owned();
    tell(&room, &name, &format!("{name} joins\n"));
    room.borrow_mut().insert(name.clone(), writer);
    while let Some(line) = reader.next_line().await? {
        tell(&room, &name, &format!("{name}: {}", text(line)));
    }
    room.borrow_mut().remove(&name);
    tell(&room, &name, &format!("{name} leaves\n"));
    Ok(())
}

fn text(line: Vec<u8>) -> String {
    String::from_utf8_lossy(&line).into_owned()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    callsoon::run(async {
        let room = Room::default();
        let join = async move |reader, writer| member(room.clone(), reader, writer).await;
        let server = callsoon::start_server(join, SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = server.local_addr().ok_or("no address")?;
        let (mut ann, to_ann) = callsoon::open_connection(address).await?;
        to_ann.write(b"ann\n");
        let (mut bob, to_bob) = callsoon::open_connection(address).await?;
        to_bob.write(b"bob\nhello\n");
        print!("ann hears: {}", text(ann.readline().await?));
        print!("ann hears: {}", text(ann.readline().await?));
        to_ann.write(b"hello yourself\n");
        print!("bob hears: {}", text(bob.readline().await?));
        drop(to_bob);
        print!("ann hears: {}", text(ann.readline().await?));
        Ok(())
    })?
}
