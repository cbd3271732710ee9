//! An echo server and three clients, which wait between their lines.

use std::net::SocketAddr;
use std::time::Duration;

use callsoon::stream::{ReadError, StreamReader, StreamWriter};
use callsoon::{get_running_loop, sleep, task_builder};

type Failure = Box<dyn std::error::Error>;

async fn echo(mut reader: StreamReader, writer: StreamWriter) -> Result<(), ReadError> {
    while let Some(line) = reader.next_line().await? {
        writer.write(&line);
        writer.drain().await?;
    }
    Ok(())
}

async fn client(address: SocketAddr, number: u64) -> Result<(), Failure> {
    let (mut reader, writer) = callsoon::open_connection(address).await?;
    for _ in 0..3 {
        sleep(Duration::from_millis(number)).await;
        writer.write(b"hello\n");
        reader.readline().await?;
    }
    writer.close();
    writer.wait_closed().await?;
    Ok(())
}

/// Runs the server until its clients have had their answers.
pub(crate) async fn serve() -> Result<(), Failure> {
    let server = callsoon::start_server(echo, ("127.0.0.1", 0)).await?;
    let address = server.local_addr().ok_or("no address")?;
    get_running_loop().call_soon(|| println!("serving, and tracing"));
    let mut clients = Vec::new();
    for number in 1..=3 {
        let name = format!("client {number}");
        clients.push(task_builder().name(name).spawn(client(address, number)));
    }
    for client in clients {
        client.await??;
    }
    server.close();
    server.wait_closed().await;
    Ok(())
}
