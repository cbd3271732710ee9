//! Descriptors of one's own: a callback that reads one, and a task that waits for one.
//!
//! ```text
//! $ cargo run --example custom_fd
//! a callback read 5 bytes: hello
//! a task read 5 bytes: world
//! ```

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use callsoon::AsyncFd;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let event_loop = callsoon::EventLoop::new()?;

    // By callback: it is called in every turn in which there is something to read.
    let (mut near, mut far) = UnixStream::pair()?;
    let (handle, descriptor) = (event_loop.handle(), near.as_raw_fd());
    event_loop.add_reader(&descriptor, move || {
        let mut buffer = [0; 16];
        let count = near.read(&mut buffer).expect("it is readable");
        let text = String::from_utf8_lossy(&buffer[..count]);
        println!("a callback read {count} bytes: {text}");
        handle.remove_reader(&near);
        handle.stop();
    })?;
    far.write_all(b"hello")?;
    event_loop.run_forever()?;

    // By task: any object with a descriptor, read in its own way.
    let (near, mut far) = UnixStream::pair()?;
    event_loop.run_until_complete(async move {
        let near = AsyncFd::new(near)?;
        far.write_all(b"world")?;
        let mut buffer = [0; 16];
        let count = near.read_with(|mut near| near.read(&mut buffer)).await?;
        let text = String::from_utf8_lossy(&buffer[..count]);
        println!("a task read {count} bytes: {text}");
        Ok::<(), std::io::Error>(())
    })??;
    Ok(())
}
