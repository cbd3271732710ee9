//! Callbacks at points in time, of which the loop's clock decides: one is cancelled, one ends the loop.
//!
//! ```text
//! after 100 ms: first
//! after 200 ms: second
//! after 300 ms: stop
//! ```

use std::time::{Duration, Instant};

use callsoon::{EventLoop, LoopHandle};

#[path = "common/command_line.rs"]
mod command_line;

fn say(event_loop: &LoopHandle, start: Instant, what: &str) {
    // Rounded down, since timers are late by a little.
    let passed = (event_loop.time() - start).as_millis() / 100 * 100;
    println!("after {passed} ms: {what}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let event_loop = EventLoop::new()?;
    let start = event_loop.time();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);

    let handle = event_loop.handle();
    event_loop.call_at(at(300), move || {
        say(&handle, start, "stop");
        handle.stop();
    });
    for (milliseconds, what) in [(200, "second"), (100, "first")] {
        let handle = event_loop.handle();
        event_loop.call_at(at(milliseconds), move || say(&handle, start, what));
    }
    let never = event_loop.call_at(at(150), || println!("never printed"));
    never.cancel();
    event_loop.run_forever()?;
    Ok(())
}
