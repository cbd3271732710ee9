//! An echo server by callbacks: one protocol, no task for a connection.
//!
//! ```text
//! connection made
//! client: HELLO
//! connection lost: no error
//! ```

use std::io;
use std::net::SocketAddr;

use callsoon::net::TcpStream;
use callsoon::transport::{Protocol, Transport};

#[path = "common/command_line.rs"]
mod command_line;

struct Shout;

impl Protocol for Shout {
    fn connection_made(&self, _: &Transport) {
        println!("connection made");
    }

    fn data_received(&self, transport: &Transport, data: &[u8]) {
        transport.write(data.to_ascii_uppercase());
    }

    fn connection_lost(&self, _: &Transport, error: Option<io::Error>) {
        let how = error.map_or("no error".to_owned(), |error| error.to_string());
        println!("connection lost: {how}");
    }
}

async fn client(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.write_all(b"hello").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    println!("client: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let event_loop = callsoon::get_running_loop();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = event_loop.create_server(|| Shout, anywhere).await?;
        client(server.local_addr().ok_or("no address")?).await?;
        server.close();
        server.wait_closed().await;
        Ok(())
    })?
}
