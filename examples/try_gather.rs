//! `try_gather` ends at the first `Err`: it cancels the others, and waits until they have cleaned up.
//!
//! ```text
//! fetching three pages
//! page 0 cleans up
//! page 2 cleans up
//! page 1 failed: 404
//! without a failure: Some([10, 11, 12])
//! ```

use std::time::Duration;

use callsoon::{RunError, catch_cancelled, sleep, try_gather};

#[path = "common/command_line.rs"]
mod command_line;

/// Page 1 is missing; the others take a minute.
async fn fetch(page: u64) -> Result<u64, u32> {
    if page == 1 {
        return Err(404);
    }
    let minute = sleep(Duration::from_secs(60));
    if let Err(cancelled) = catch_cancelled(minute).await {
        println!("page {page} cleans up");
        cancelled.resume().await;
    }
    Ok(page)
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        println!("fetching three pages");
        if let Err(callsoon::TryGatherError::Failed { index, error }) =
            try_gather((0..3).map(fetch)).await
        {
            println!("page {index} failed: {error}");
        }
        let sizes = try_gather((10..13).map(|size| async move { Ok::<u64, u32>(size) })).await;
        println!("without a failure: {:?}", sizes.ok());
    })
}
