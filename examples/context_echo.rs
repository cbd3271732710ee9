//! An echo server whose functions know the client without an argument: a context variable of each connection's task.
//!
//! ```text
//! Good bye, client @ 127.0.0.1
//! Good bye, client @ 127.0.0.1
//! the variable outside of a connection: None
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};

use callsoon::net::{TcpListener, TcpStream};
use callsoon::{ContextVar, create_task};

#[path = "common/command_line.rs"]
mod command_line;

static CLIENT: ContextVar<IpAddr> = ContextVar::new("client_addr");

/// Reads the address from the context of the task that calls it.
fn render_goodbye() -> String {
    let client = CLIENT
        .get()
        .map_or_else(String::new, |client| client.to_string());
    format!("Good bye, client @ {client}\n")
}

async fn handle(stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    CLIENT.set(peer.ip());
    let mut line = [0; 64];
    while stream.read(&mut line).await? > 0 {
        stream.write_all(render_goodbye().as_bytes()).await?;
    }
    Ok(())
}

async fn ask(server: SocketAddr) -> io::Result<String> {
    let stream = TcpStream::connect(server).await?;
    stream.write_all(b"hello\n").await?;
    let mut answer = [0; 64];
    let count = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        create_task(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                create_task(handle(stream, peer)).report_errors();
            }
        });
        print!("{}{}", ask(address).await?, ask(address).await?);
        println!("the variable outside of a connection: {:?}", CLIENT.get());
        Ok(())
    })?
}
