//! A file goes to a client without a copy in this process: `sendfile`, here its own source.
//!
//! ```text
//! the server has sent the file: true
//! the client has the same bytes: true
//! ```

use std::fs::File;
use std::io;

use callsoon::create_task;
use callsoon::net::{TcpListener, TcpStream};

#[path = "common/command_line.rs"]
mod command_line;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/", file!());

async fn serve(listener: TcpListener) -> io::Result<u64> {
    let (stream, _) = listener.accept().await?;
    // From the beginning, and up to the end.
    stream.sendfile(&File::open(PATH)?, 0, None).await
}

async fn fetch(stream: TcpStream) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&buffer[..count]);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let expected = include_bytes!("sendfile.rs");
    callsoon::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = create_task(serve(listener));
        let received = fetch(TcpStream::connect(address).await?).await?;
        let sent = server.await??;
        println!(
            "the server has sent the file: {}",
            sent == expected.len() as u64
        );
        println!("the client has the same bytes: {}", received == expected);
        Ok(())
    })?
}
