//! A clock that does not drift: `interval` keeps its schedule, however long the work after a tick takes.
//!
//! ```text
//! tick 0 after   0 ms
//! tick 1 after 100 ms
//! tick 2 after 200 ms
//! tick 3 after 300 ms
//! ```

use std::time::Duration;

use callsoon::{RunError, interval, sleep};

#[path = "common/command_line.rs"]
mod command_line;

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let mut interval = interval(Duration::from_millis(100));
        let start = interval.tick().await;
        println!("tick 0 after   0 ms");
        for number in 1..4 {
            // The work. A loop of `sleep(100 ms)` would be late by as much, and later each time.
            sleep(Duration::from_millis(30)).await;
            let due = interval.tick().await;
            println!("tick {number} after {:>3} ms", (due - start).as_millis());
        }
    })
}
