//! Streams over a Unix socket, whose file comes and goes with its server.
//!
//! ```text
//! the socket's file exists: true
//! echo: over a file
//! the socket's file exists: false
//! ```

use callsoon::stream::{StreamReader, StreamWriter};

#[path = "common/command_line.rs"]
mod command_line;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let path = std::env::temp_dir().join(format!("callsoon-unix-echo-{}", std::process::id()));
    callsoon::run(async move {
        let echo = async |mut reader: StreamReader, writer: StreamWriter| {
            let all = reader.read_to_end().await?;
            writer.write(&all);
            writer.drain().await
        };
        let server = callsoon::start_unix_server(echo, &path).await?;
        println!("the socket's file exists: {}", path.exists());

        let (mut reader, writer) = callsoon::open_unix_connection(&path).await?;
        writer.write(b"over a file");
        writer.write_eof();
        let answer = reader.read_to_end().await?;
        println!("echo: {}", String::from_utf8_lossy(&answer));

        server.close();
        server.wait_closed().await;
        println!("the socket's file exists: {}", path.exists());
        Ok(())
    })?
}
