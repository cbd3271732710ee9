//! Limits inside limits: each ends only what is inside it, and the shortest decides. The clock is virtual: an hour is
//! over at once.
//!
//! ```text
//! after    2 s: the inner limit: over
//! after    5 s: the outer limit: over
//! ```

use std::time::{Duration, Instant};

use callsoon::{Clock, EventLoop, get_running_loop, sleep, timeout};

#[path = "common/command_line.rs"]
mod command_line;

const SECOND: Duration = Duration::from_secs(1);

fn say(start: Instant, what: &str) {
    let passed = get_running_loop().time() - start;
    println!("after {:>4} s: {what}", passed.as_secs());
}

async fn work(start: Instant) {
    if timeout(2 * SECOND, sleep(3600 * SECOND)).await.is_err() {
        say(start, "the inner limit: over");
    }
    // This limit is longer than what is left of the outer one, which ends it too.
    let _ = timeout(60 * SECOND, sleep(3600 * SECOND)).await;
    say(start, "never printed");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let event_loop = EventLoop::builder().clock(Clock::Virtual).build()?;
    event_loop.run_until_complete(async {
        let start = get_running_loop().time();
        if timeout(5 * SECOND, work(start)).await.is_err() {
            say(start, "the outer limit: over");
        }
    })?;
    Ok(())
}
