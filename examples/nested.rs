//! Coroutines that await one another: nothing runs until it is awaited, or is a task. A task's value is there when the
//! loop's run is over.
//!
//! ```text
//! awaited directly: 42
//! as a task: 42
//! after a pause: hello
//! the task's result: 42
//! ```

use std::time::Duration;

use callsoon::{EventLoop, create_task, sleep_with};

#[path = "common/command_line.rs"]
mod command_line;

async fn nested() -> u32 {
    42
}

async fn main_coroutine() -> u32 {
    // This makes a future and runs nothing.
    drop(nested());
    println!("awaited directly: {}", nested().await);
    let task = create_task(nested());
    println!("as a task: {}", task.await.expect("nobody cancels it"));
    let greeting = sleep_with(Duration::from_millis(10), "hello").await;
    println!("after a pause: {greeting}");
    nested().await
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let event_loop = EventLoop::new()?;
    let mut task = event_loop.create_task(main_coroutine());
    // To run until the task itself is complete would move the result out of it.
    event_loop.run_until_complete(task.wait())?;
    println!("the task's result: {}", task.result()??);
    Ok(())
}
