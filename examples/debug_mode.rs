//! Debug mode names a callback that holds the loop for too long: what asyncio's `loop.set_debug(True)` says. It is on by
//! the environment too, with `CALLSOON_DEBUG=1`. The report is a warning through `tracing`, or on standard error
//! "callsoon: a slow callback held up the loop", with the place where the callback was queued.
//!
//! ```text
//! debug mode is on: true; a call is slow after 100ms
//! a callback has held the loop for 150 ms
//! ```

use std::thread;
use std::time::Duration;

use callsoon::EventLoop;

#[path = "common/command_line.rs"]
mod command_line;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let event_loop = EventLoop::new()?;
    event_loop.set_debug(true);
    event_loop.set_slow_callback_duration(Duration::from_millis(100));
    println!(
        "debug mode is on: {}; a call is slow after {:?}",
        event_loop.debug(),
        event_loop.slow_callback_duration()
    );
    event_loop.call_soon(|| {
        // A mistake: this blocks the thread of the loop. `callsoon::sleep` would not.
        thread::sleep(Duration::from_millis(150));
        println!("a callback has held the loop for 150 ms");
    });
    let handle = event_loop.handle();
    event_loop.call_soon(move || handle.stop());
    event_loop.run_forever()?;
    Ok(())
}
