//! A thread starts coroutines on the loop of another thread, blocks for their results, and cancels one that is too slow.
//!
//! ```text
//! the loop runs in a thread of its own
//! 20 + 22 = 42
//! too slow: the coroutine has not ended in time
//! cancelled: the coroutine was cancelled
//! the loop has closed: the event loop is closed
//! ```

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use callsoon::{EventLoop, get_running_loop, sleep};

#[path = "common/command_line.rs"]
mod command_line;

async fn slow_sum(a: u32, b: u32) -> u32 {
    sleep(Duration::from_millis(100)).await;
    a + b
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let (announce, announced) = mpsc::channel();
    let thread = thread::spawn(move || {
        let event_loop = EventLoop::new().expect("the system gives a loop its descriptors");
        announce
            .send(event_loop.remote())
            .expect("main waits for it");
        event_loop.run_forever().expect("a fresh loop runs");
    });
    let remote = announced.recv()?;
    println!("the loop runs in a thread of its own");

    let sum = remote.run_coroutine_threadsafe(|| slow_sum(20, 22))?;
    println!("20 + 22 = {}", sum.result(None)?);

    let endless = remote.run_coroutine_threadsafe(|| sleep(Duration::MAX))?;
    if let Err(error) = endless.result(Some(Duration::from_millis(100))) {
        println!("too slow: {error}");
        endless.cancel();
    }
    if let Err(error) = endless.result(None) {
        println!("cancelled: {error}");
    }

    remote.call_soon_threadsafe(|| get_running_loop().stop())?;
    thread.join().expect("the loop's thread does not panic");
    if let Err(error) = remote.run_coroutine_threadsafe(|| slow_sum(1, 1)) {
        println!("the loop has closed: {error}");
    }
    Ok(())
}
