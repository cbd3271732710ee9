//! Descriptors of one's own: a callback that reads one, and a task that waits for one.
//!
//! ```text
//! a callback read 5 bytes: hello
//! a task read 5 bytes: world
//! ```

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use callsoon::{AsyncFd, EventLoop};

#[path = "common/command_line.rs"]
mod command_line;

fn print(who: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    println!("{who} read {} bytes: {text}", bytes.len());
}

/// By callback: it is called whenever the loop polls for events and there is something to read.
fn read_by_callback(event_loop: &EventLoop) -> Result<(), Box<dyn std::error::Error>> {
    let (mut near, mut far) = UnixStream::pair()?;
    let descriptor = near.as_raw_fd();
    let handle = event_loop.handle();
    event_loop.add_reader(&descriptor, move || {
        let mut buffer = [0; 16];
        let count = near.read(&mut buffer).expect("it is readable");
        print("a callback", &buffer[..count]);
        handle.remove_reader(&near);
        handle.stop();
    })?;
    far.write_all(b"hello")?;
    event_loop.run_forever()?;
    Ok(())
}

/// By task: `AsyncFd` holds any object with a descriptor, which is read in its own way.
async fn read_by_task() -> io::Result<()> {
    let (near, mut far) = UnixStream::pair()?;
    let near = AsyncFd::new(near)?;
    far.write_all(b"world")?;
    let mut buffer = [0; 16];
    let count = near.read_with(|mut near| near.read(&mut buffer)).await?;
    print("a task", &buffer[..count]);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let event_loop = EventLoop::new()?;
    read_by_callback(&event_loop)?;
    event_loop.run_until_complete(read_by_task())??;
    Ok(())
}
