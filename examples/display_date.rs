//! A callback that schedules itself: the time of day, once a second, until a deadline five seconds away.
//!
//! ```text
//! 12:34:56 UTC
//! 12:34:57 UTC
//! …
//! ```

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use callsoon::{EventLoop, LoopHandle};

#[path = "common/command_line.rs"]
mod command_line;

const SECOND: Duration = Duration::from_secs(1);

fn time_of_day() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since_epoch.unwrap_or_default().as_secs();
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02} UTC")
}

fn display_date(event_loop: LoopHandle, end: Instant) {
    println!("{}", time_of_day());
    if event_loop.time() + SECOND < end {
        let next = event_loop.clone();
        event_loop.call_later(SECOND, move || display_date(next, end));
    } else {
        event_loop.stop();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let event_loop = EventLoop::new()?;
    let end = event_loop.time() + 5 * SECOND;
    let handle = event_loop.handle();
    event_loop.call_soon(move || display_date(handle, end));
    event_loop.run_forever()?;
    Ok(())
}
