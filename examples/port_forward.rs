//! A port forwarder: each client's connection is joined with one to the target, and bytes go both ways until both have ended.
//!
//! `forward` is the forwarder. Here a client sends a million bytes through it to a target, a thread that counts them and
//! answers. When one side is slow the other one has to wait, so memory stays bounded.
//!
//! ```text
//! the client has sent 1000000 bytes and has received: 1000000 bytes have come
//! the forwarder has passed on 1000000 bytes one way and 23 the other
//! ```

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener};

use callsoon::net::{TcpListener, TcpStream};
use callsoon::{copy_bidirectional, create_task, open_connection};

#[path = "common/command_line.rs"]
mod command_line;

/// Joins the next client with the target, and returns how many bytes went each way.
async fn forward(listener: TcpListener, target: SocketAddr) -> io::Result<(u64, u64)> {
    let (client, _) = listener.accept().await?;
    let server = TcpStream::connect(target).await?;
    copy_bidirectional(client, server).await
}

/// Reads one connection to its end, and answers then.
fn count_bytes(listener: StdListener) -> io::Result<()> {
    let (mut connection, _) = listener.accept()?;
    let count = connection.read_to_end(&mut Vec::new())?;
    connection.write_all(format!("{count} bytes have come").as_bytes())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let listener = StdListener::bind("127.0.0.1:0")?;
    let target = listener.local_addr()?;
    let counter = std::thread::spawn(move || count_bytes(listener));

    callsoon::run(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let forwarding = create_task(forward(listener, target));

        let (mut reader, writer) = open_connection(address).await?;
        let message = vec![b'x'; 1_000_000];
        writer.write(&message);
        writer.write_eof();
        let answer = String::from_utf8(reader.read_to_end().await?)?;
        let sent = message.len();
        println!("the client has sent {sent} bytes and has received: {answer}");

        let (there, back) = forwarding.await??;
        println!("the forwarder has passed on {there} bytes one way and {back} the other");
        counter.join().expect("the target does not panic")?;
        Ok(())
    })?
}
