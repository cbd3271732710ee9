//! Cancelling a task is a request: the task may clean up, and await things meanwhile, before it ends.
//!
//! ```text
//! cancel_me(): before sleep
//! cancel_me(): cancel sleep
//! cancel_me(): after sleep
//! main(): cancel_me is cancelled now
//! ```

use std::time::Duration;

use callsoon::{RunError, catch_cancelled, create_task, sleep};

#[path = "common/command_line.rs"]
mod command_line;

async fn cancel_me() {
    println!("cancel_me(): before sleep");
    // Wait for one hour. `catch_cancelled` is `try: … except CancelledError:`.
    let slept = catch_cancelled(sleep(Duration::from_secs(3600))).await;
    if slept.is_err() {
        println!("cancel_me(): cancel sleep");
    }
    // What `finally:` has to do.
    sleep(Duration::from_millis(10)).await;
    println!("cancel_me(): after sleep");
    if let Err(cancelled) = slept {
        cancelled.resume().await
    }
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let task = create_task(cancel_me());
        sleep(Duration::from_millis(100)).await;
        task.cancel();
        if let Err(error) = task.await {
            if error.cancelled().is_some() {
                println!("main(): cancel_me is cancelled now");
            }
        }
    })
}
