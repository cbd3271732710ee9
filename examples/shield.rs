//! `shield` keeps a cancellation from what must not be interrupted: the task that waits ends, the work goes on.
//!
//! ```text
//! saving …
//! the request is cancelled
//! the request: the task was cancelled: the client has gone
//! the save is done: false
//! 42 bytes saved
//! the save is done: true
//! ```

use std::time::Duration;

use callsoon::{RunError, create_task, shield, sleep};

#[path = "common/command_line.rs"]
mod command_line;

async fn save() -> u32 {
    println!("saving …");
    sleep(Duration::from_millis(200)).await;
    println!("42 bytes saved");
    42
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let job = create_task(save());
        let save = job.as_ref();
        let request = create_task(async move {
            let bytes = shield(job).await;
            println!("never printed: {bytes:?}");
        });
        sleep(Duration::from_millis(100)).await;
        println!("the request is cancelled");
        request.cancel_with("the client has gone");
        if let Err(error) = request.await {
            println!("the request: {error}");
        }
        println!("the save is done: {}", save.done());
        sleep(Duration::from_millis(200)).await;
        println!("the save is done: {}", save.done());
    })
}
