//! A port forwarder of two protocols: when one side is slow, the other is paused, so that memory stays bounded.
//!
//! `forward.rs` and `side.rs` are the forwarder. Here a client sends a million bytes through it to a target, a thread that counts them.
//!
//! ```text
//! the client has sent 1000000 bytes
//! the target has received 1000000 bytes
//! the forwarder has closed
//! ```

use std::io;
use std::net::{SocketAddr, TcpListener};

use callsoon::{get_running_loop, open_connection};

mod forward;
mod side;

use forward::Forward;

/// Reads one connection to its end and counts its bytes.
fn count_bytes(listener: TcpListener) -> io::Result<u64> {
    let (mut connection, _) = listener.accept()?;
    io::copy(&mut connection, &mut io::sink())
}

async fn send(to: SocketAddr) -> io::Result<()> {
    let (mut reader, writer) = open_connection(to).await?;
    let message = vec![b'x'; 1_000_000];
    writer.write(&message);
    writer.write_eof();
    // The target closes its side when it has read everything.
    reader.read_to_end().await?;
    println!("the client has sent {} bytes", message.len());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let target = listener.local_addr()?;
    let counter = std::thread::spawn(move || count_bytes(listener));

    callsoon::run(async move {
        let event_loop = get_running_loop();
        let server = event_loop
            .create_server(move || Forward::new(target), "127.0.0.1:0")
            .await?;
        send(server.local_addr().ok_or("no address")?).await?;

        let received = counter.join().expect("the target does not panic")?;
        println!("the target has received {received} bytes");
        server.close();
        server.wait_closed().await;
        println!("the forwarder has closed");
        Ok(())
    })?
}
