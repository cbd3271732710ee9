//! asyncio's event_handler/stop demonstration: callbacks run in the order in which they were queued, and `stop` lets
//! what is queued already run.
//!
//! ```text
//! registering callbacks
//! event_handler called for event 1
//! event_handler called for event 2
//! stop called
//! event_handler called for event 3
//! event loop is stopped
//! ```

use callsoon::EventLoop;

#[path = "common/command_line.rs"]
mod command_line;

fn event_handler(event: u32) {
    println!("event_handler called for event {event}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let event_loop = EventLoop::new()?;
    println!("registering callbacks");
    event_loop.call_soon(|| event_handler(1));
    event_loop.call_soon(|| event_handler(2));
    let handle = event_loop.handle();
    event_loop.call_soon(move || {
        println!("stop called");
        handle.stop();
        // This one is for the next run: a turn runs only what was queued when it began.
        handle.call_soon(|| event_handler(4));
    });
    event_loop.call_soon(|| event_handler(3));
    event_loop.run_forever()?;
    println!("event loop is stopped");
    event_loop.close()?;
    Ok(())
}
