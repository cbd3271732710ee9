//! An echo server by streams: a function for each client, which reads from top to bottom.
//!
//! ```text
//! Send: "Hello World!\n"
//! Received: "Hello World!\n"
//! ```

use std::net::SocketAddr;

use callsoon::stream::{ReadError, StreamReader, StreamWriter};

#[path = "common/command_line.rs"]
mod command_line;

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), ReadError> {
    while let Some(line) = reader.next_line().await? {
        writer.write(&line);
        writer.drain().await?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = callsoon::start_server(echo, anywhere).await?;
        let address = server.local_addr().ok_or("no address")?;

        let (mut reader, writer) = callsoon::open_connection(address).await?;
        let message = "Hello World!\n";
        println!("Send: {message:?}");
        writer.write(message.as_bytes());
        writer.drain().await?;
        let answer = reader.readline().await?;
        println!("Received: {:?}", String::from_utf8_lossy(&answer));
        writer.close();
        writer.wait_closed().await?;

        server.close();
        server.wait_closed().await;
        Ok(())
    })?
}
