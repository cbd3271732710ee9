//! Two coroutines sleep side by side: the program takes as long as the longer one, not as both together.
//!
//! ```text
//! 0.0 s  started
//! 1.0 s  hello
//! 2.0 s  world
//! ```

use std::time::{Duration, Instant};

#[path = "common/command_line.rs"]
mod command_line;

async fn say_after(delay: Duration, what: &'static str, start: Instant) {
    callsoon::sleep(delay).await;
    println!("{:.1} s  {what}", start.elapsed().as_secs_f64());
}

fn main() -> Result<(), callsoon::RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let start = Instant::now();
        println!("0.0 s  started");
        let hello = callsoon::create_task(say_after(Duration::from_secs(1), "hello", start));
        let world = callsoon::create_task(say_after(Duration::from_secs(2), "world", start));
        hello.await.expect("nobody cancels it");
        world.await.expect("nobody cancels it");
    })
}
