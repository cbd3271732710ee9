//! A limit for what may take too long: `wait_for` cancels it, waits until it has cleaned up, and reports the timeout.
//!
//! ```text
//! timeout!
//! the task cleans up
//! timeout again; the task is cancelled: true
//! move_on_after gives None
//! ```

use std::time::Duration;

use callsoon::{RunError, catch_cancelled, create_task, move_on_after, sleep, wait_for};

#[path = "common/command_line.rs"]
mod command_line;

const SECOND: Duration = Duration::from_secs(1);

async fn eternity() {
    // Sleep for one hour.
    sleep(3600 * SECOND).await;
    println!("yay!");
}

async fn eternity_with_clean_up() {
    if let Err(cancelled) = catch_cancelled(eternity()).await {
        println!("the task cleans up");
        sleep(SECOND / 10).await;
        cancelled.resume().await
    }
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        // Wait for at most one second.
        if wait_for(eternity(), SECOND).await.is_err() {
            println!("timeout!");
        }

        let mut task = create_task(eternity_with_clean_up());
        if wait_for(&mut task, SECOND).await.is_err() {
            // The clean-up is over when `wait_for` returns.
            println!("timeout again; the task is cancelled: {}", task.cancelled());
        }

        // A timeout that is no error.
        let value = move_on_after(SECOND, eternity()).await;
        println!("move_on_after gives {value:?}");
    })
}
