//! A cancellation from another thread arrives at a shield and is handled there: the shielded task runs on, and is awaited
//! after all.
//!
//! ```text
//! the payment begins
//! cancelled while it waits; the payment is waited for
//! the payment is made
//! the waiter ends: the task was cancelled
//! ```

use std::thread;
use std::time::Duration;

use callsoon::{catch_cancelled, create_task, shield, sleep};

#[path = "common/command_line.rs"]
mod command_line;

async fn pay() {
    println!("the payment begins");
    sleep(Duration::from_millis(200)).await;
    println!("the payment is made");
}

async fn wait_for_payment() {
    let mut payment = create_task(pay());
    if let Err(cancelled) = catch_cancelled(shield(&mut payment)).await {
        println!("cancelled while it waits; the payment is waited for");
        payment.await.expect("nobody cancels the payment");
        // The cancellation goes on, so that those outside see it.
        cancelled.resume().await
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let waiter = create_task(wait_for_payment());
        let handle = waiter.cancel_handle();
        // Somebody on another thread gives up, while the loop is busy with the payment.
        let impatient = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            handle.cancel()
        });
        if let Err(error) = waiter.await {
            println!("the waiter ends: {error}");
        }
        impatient.join().expect("the thread does not panic")?;
        Ok(())
    })?
}
