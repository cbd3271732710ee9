//! `settled` waits for all and gives each result, failures too: asyncio's `gather(return_exceptions=True)`.
//!
//! ```text
//! disk 0: 512 blocks
//! disk 1: the task panicked: disk 1 does not answer
//! disk 2: 512 blocks
//! ```

use std::time::Duration;

use callsoon::{RunError, gather, sleep};

#[path = "common/command_line.rs"]
mod command_line;

async fn check(disk: u32) -> u32 {
    sleep(Duration::from_millis(10)).await;
    assert!(disk != 1, "disk {disk} does not answer");
    512
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    // The panic below is a result here; the message of the standard library would be a second report.
    std::panic::set_hook(Box::new(|_| ()));
    callsoon::run(async {
        let results = gather((0..3).map(check)).settled().await;
        for (disk, result) in results.into_iter().enumerate() {
            match result {
                Ok(blocks) => println!("disk {disk}: {blocks} blocks"),
                Err(error) => println!("disk {disk}: {error}"),
            }
        }
    })
}
