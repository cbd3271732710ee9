//! Several downloads at once, each reported when it has ended: `wait` for the first of many, again and again.
//!
//! ```text
//! $ cargo run --example download
//! small: 1000 bytes, 2 to go
//! medium: 200000 bytes, 1 to go
//! large: 3000000 bytes, 0 to go
//! ```

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use callsoon::stream::{StreamReader, StreamWriter};
use callsoon::{ReturnWhen, Task, open_connection, start_server, task_builder, wait};

#[path = "common/command_line.rs"]
mod command_line;

/// Sends as many bytes as the client asks for, in blocks, with a pause before each.
async fn serve(mut reader: StreamReader, writer: StreamWriter) -> io::Result<()> {
    let line = reader.readline().await?;
    let wanted = String::from_utf8_lossy(&line).trim().parse().unwrap_or(0);
    let block = vec![b'x'; 50_000];
    let mut sent = 0;
    while sent < wanted {
        callsoon::sleep(Duration::from_millis(5)).await;
        let count = block.len().min(wanted - sent);
        writer.write(&block[..count]);
        writer.drain().await?;
        sent += count;
    }
    Ok(())
}

/// Returns how many bytes arrived.
async fn download(server: SocketAddr, size: usize) -> io::Result<usize> {
    let (mut reader, writer) = open_connection(server).await?;
    writer.write(format!("{size}\n").as_bytes());
    Ok(reader.read_to_end().await?.len())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let server = start_server(serve, ("127.0.0.1", 0)).await?;
        let address = server.local_addr().ok_or("the server has no address")?;
        let files = [("large", 3_000_000), ("medium", 200_000), ("small", 1000)];
        let begin = |(name, size)| task_builder().name(name).spawn(download(address, size));
        let mut tasks: Vec<Task<io::Result<usize>>> = files.map(begin).into();
        while !tasks.is_empty() {
            for ended in wait(&mut tasks, ReturnWhen::FirstCompleted, None).await {
                let name = ended.name();
                let count = ended.await??;
                println!("{name}: {count} bytes, {} to go", tasks.len());
            }
        }
        Ok(())
    })?
}
