//! A client by callbacks, as in asyncio's documentation: a future is done when the connection is lost.
//!
//! ```text
//! Data sent: "Hello World!"
//! Data received: "Hello World!"
//! The server closed the connection
//! ```

use std::io::{self, Read as _, Write as _};

use callsoon::transport::{Protocol, Transport};

#[path = "common/command_line.rs"]
mod command_line;

struct EchoClient {
    message: &'static str,
    on_connection_lost: callsoon::Future<()>,
}

impl Protocol for EchoClient {
    fn connection_made(&self, transport: &Transport) {
        transport.write(self.message.as_bytes());
        println!("Data sent: {:?}", self.message);
    }

    fn data_received(&self, _: &Transport, data: &[u8]) {
        println!("Data received: {:?}", String::from_utf8_lossy(data));
    }

    fn connection_lost(&self, _: &Transport, _: Option<io::Error>) {
        println!("The server closed the connection");
        let _ = self.on_connection_lost.set_result(());
    }
}

/// The server, on a thread: it answers one message and closes the connection.
fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let (mut client, _) = listener.accept()?;
    let mut message = [0; 12];
    client.read_exact(&mut message)?;
    client.write_all(&message)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || serve(listener));
    callsoon::run(async move {
        let event_loop = callsoon::get_running_loop();
        let on_connection_lost = event_loop.create_future();
        let client = EchoClient {
            message: "Hello World!",
            on_connection_lost: on_connection_lost.clone(),
        };
        event_loop.create_connection(|| client, address).await?;
        Ok(on_connection_lost.await?)
    })?
}
