//! Three tasks count side by side: while one waits the others go on, so together they take one second.
//!
//! ```text
//! One
//! One
//! One
//! Two
//! Two
//! Two
//! together they took 1.0 s
//! ```

use std::time::{Duration, Instant};

use callsoon::{ReturnWhen, RunError, create_task, sleep, wait};

#[path = "common/command_line.rs"]
mod command_line;

async fn count() {
    println!("One");
    sleep(Duration::from_secs(1)).await;
    println!("Two");
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    let start = Instant::now();
    callsoon::run(async {
        let mut tasks: Vec<_> = (0..3).map(|_| create_task(count())).collect();
        wait(&mut tasks, ReturnWhen::AllCompleted, None).await;
    })?;
    println!("together they took {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
