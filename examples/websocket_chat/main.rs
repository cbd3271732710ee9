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

use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use callsoon::net::TcpListener;
use callsoon::{create_task, ctrl_c, timeout};

#[path = "../common/command_line.rs"]
mod command_line;
mod hall;
mod talk;

fn main() -> Result<(), Box<dyn Error>> {
    let argument = command_line::arguments!("[ADDRESS:PORT]").pop();
    let address: SocketAddr = argument.as_deref().unwrap_or("127.0.0.1:0").parse()?;
    callsoon::run(async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        println!("chat on ws://{address}");
        let room = Rc::new(hall::Room::default());
        let server = create_task(hall::serve(listener, Rc::clone(&room)));
        match argument {
            Some(_) => ctrl_c().await?,
            None => timeout(Duration::from_secs(30), talk::conversation(address)).await??,
        }
        while !room.is_empty() {
            callsoon::yield_now().await;
        }
        println!("everybody has left");
        server.cancel();
        Ok(())
    })?
}
