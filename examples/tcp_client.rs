//! A client by callbacks: a future tells when the connection is lost, as in asyncio's documentation.
//!
//! ```text
//! Data sent: "Hello World!"
//! Data received: "Hello World!"
//! The server closed the connection
//! ```

use std::io::{self, Read as _, Write as _};

use callsoon::transport::{Protocol, Transport};

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
        // It is lost once.
        let _ = self.on_connection_lost.set_result(());
    }
}

/// Somebody to talk to: a thread that answers one message and goes.
fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let (mut client, _) = listener.accept()?;
    let mut message = [0; 12];
    client.read_exact(&mut message)?;
    client.write_all(&message)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
