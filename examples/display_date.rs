//! A callback that re-arms itself: the time of day, once a second, until a deadline five seconds away.
//!
//! ```text
//! 12:34:56 UTC
//! 12:34:57 UTC
//! …
//! ```

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use callsoon::{EventLoop, LoopHandle};

const SECOND: Duration = Duration::from_secs(1);

fn display_date(event_loop: LoopHandle, end: Instant) {
    let today = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
        % 86_400;
    println!(
        "{:02}:{:02}:{:02} UTC",
        today / 3600,
        today / 60 % 60,
        today % 60
    );
    if event_loop.time() + SECOND < end {
        let again = event_loop.clone();
        event_loop.call_later(SECOND, move || display_date(again, end));
    } else {
        event_loop.stop();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let event_loop = EventLoop::new()?;
    let end = event_loop.time() + 5 * SECOND;
    let handle = event_loop.handle();
    event_loop.call_soon(move || display_date(handle, end));
    event_loop.run_forever()?;
    Ok(())
}
