//! A chat over WebSockets: async-tungstenite speaks the protocol over the loop's sockets, by feature `futures`.
//!
//! ```text
//! $ cargo run --example websocket_chat --features futures
//! chat on ws://127.0.0.1:39715
//! Ada hears: Ada: good morning
//! Bob hears: Ada: good morning
//! Ada hears: Bob: hello Ada
//! Bob hears: Bob: hello Ada
//! everybody has left
//! $ cargo run --example websocket_chat --features futures -- 127.0.0.1:8080    # until Ctrl-C
//! ```

use std::cell::RefCell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use async_tungstenite::{accept_async, client_async};
use callsoon::net::{TcpListener, TcpStream};
use callsoon::{Queue, create_task, ctrl_c, timeout};
use futures_util::{SinkExt, StreamExt};

/// How many messages a member may be behind. More are dropped for that member.
const MOST_BEHIND: usize = 100;

/// Everybody's unsent messages.
#[derive(Default)]
struct Room {
    members: RefCell<Vec<Rc<Queue<String>>>>,
}

impl Room {
    fn say(&self, text: &str) {
        for member in self.members.borrow().iter() {
            let _ = member.put_nowait(text.to_owned());
        }
    }
}

/// Serves one member until it leaves.
async fn member(stream: TcpStream, room: Rc<Room>) -> Result<(), Box<dyn Error>> {
    let (mut sink, mut source) = accept_async(stream).await?.split();
    let unsent = Rc::new(Queue::new(MOST_BEHIND));
    room.members.borrow_mut().push(Rc::clone(&unsent));
    let queue = Rc::clone(&unsent);
    let writer = create_task(async move {
        while let Ok(text) = queue.get().await {
            if sink.send(Message::text(text)).await.is_err() {
                break;
            }
        }
    });
    while let Some(Ok(message)) = source.next().await {
        if let Message::Text(text) = message {
            room.say(&text);
        }
    }
    let mut members = room.members.borrow_mut();
    members.retain(|member| !Rc::ptr_eq(member, &unsent));
    writer.cancel();
    Ok(())
}

async fn serve(listener: TcpListener, room: Rc<Room>) {
    while let Ok((stream, _)) = listener.accept().await {
        let room = Rc::clone(&room);
        create_task(async move {
            if let Err(error) = member(stream, room).await {
                println!("a member failed: {error}");
            }
        });
    }
}

/// Two members who say one thing each.
async fn conversation(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let url = format!("ws://{address}/");
    let (mut ada, _) = client_async(&url, TcpStream::connect(address).await?).await?;
    let (mut bob, _) = client_async(&url, TcpStream::connect(address).await?).await?;
    ada.send(Message::text("Ada: good morning")).await?;
    for line in 0..2 {
        for (name, socket) in [("Ada", &mut ada), ("Bob", &mut bob)] {
            let heard = socket.next().await.ok_or("the chat has ended")??;
            println!("{name} hears: {}", heard.to_text()?);
        }
        if line == 0 {
            bob.send(Message::text("Bob: hello Ada")).await?;
        }
    }
    ada.close(None).await?;
    Ok(bob.close(None).await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("--help") {
        println!("websocket_chat [ADDRESS]    without an address: a short chat with itself");
        return Ok(());
    }
    let address: SocketAddr = argument.as_deref().unwrap_or("127.0.0.1:0").parse()?;
    callsoon::run(async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        println!("chat on ws://{address}");
        let room = Rc::new(Room::default());
        let server = create_task(serve(listener, Rc::clone(&room)));
        match argument {
            Some(_) => ctrl_c().await?,
            None => timeout(Duration::from_secs(30), conversation(address)).await??,
        }
        while !room.members.borrow().is_empty() {
            callsoon::yield_now().await;
        }
        println!("everybody has left");
        server.cancel();
        Ok(())
    })?
}
