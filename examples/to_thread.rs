//! A blocking call in a thread, beside a coroutine that sleeps: both take one second, and so does the program.
//!
//! ```text
//! 0.0 s  started main
//! 0.0 s  start blocking_io
//! 1.0 s  blocking_io complete
//! 1.0 s  finished main
//! ```

use std::time::{Duration, Instant};

use callsoon::{gather, sleep, to_thread};

#[path = "common/command_line.rs"]
mod command_line;

const SECOND: Duration = Duration::from_secs(1);

fn say(start: Instant, what: &str) {
    println!("{:.1} s  {what}", start.elapsed().as_secs_f64());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let start = Instant::now();
        say(start, "started main");
        let blocking = to_thread(move || {
            say(start, "start blocking_io");
            std::thread::sleep(SECOND);
            say(start, "blocking_io complete");
        });
        let (blocked, ()) = gather!(blocking, sleep(SECOND)).await?;
        blocked?;
        say(start, "finished main");
        Ok(())
    })?
}
