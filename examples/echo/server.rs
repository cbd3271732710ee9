//! The server: a task for each connection.

use std::io;

use callsoon::net::{TcpListener, TcpStream};

pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // The task runs on without its handle. An error ends its connection alone, and goes to the exception handler.
        callsoon::create_task(echo(stream)).report_errors();
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
