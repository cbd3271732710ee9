//! Another thread calls the loop: `call_soon_threadsafe` wakes it, and its handle cancels a callback from any thread.
//!
//! ```text
//! the loop waits
//! 1 from the worker
//! 2 from the worker
//! 3 from the worker
//! a callback was cancelled before it ran: true
//! the worker says goodbye
//! ```

use std::thread;
use std::time::Duration;

use callsoon::{EventLoop, LoopClosed, RemoteHandle, get_running_loop};

#[path = "common/command_line.rs"]
mod command_line;

/// Runs on a thread of its own, and has nothing of the loop but this handle.
fn work(remote: RemoteHandle) -> Result<(), LoopClosed> {
    for number in 1..=3 {
        // What takes long happens here, outside the loop.
        thread::sleep(Duration::from_millis(200));
        remote.call_soon_threadsafe(move || println!("{number} from the worker"))?;
    }
    let clone = remote.clone();
    remote.call_soon_threadsafe(move || {
        // The loop is busy with this callback, so the next one cannot have run yet.
        if let Ok(handle) = clone.call_soon_threadsafe(|| println!("never printed")) {
            let cancelled = handle.cancel();
            println!("a callback was cancelled before it ran: {cancelled}");
        }
    })?;
    remote.call_soon_threadsafe(|| {
        println!("the worker says goodbye");
        get_running_loop().stop();
    })?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let event_loop = EventLoop::new()?;
    event_loop.call_soon(|| println!("the loop waits"));
    let remote = event_loop.remote();
    let worker = thread::spawn(move || work(remote));
    event_loop.run_forever()?;
    worker.join().expect("the worker does not panic")?;
    Ok(())
}
