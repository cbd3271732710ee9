//! `gather!` runs coroutines side by side and gives their values in the order of the arguments.
//!
//! ```text
//! Task A: Compute factorial(2), currently i=2...
//! Task B: Compute factorial(3), currently i=2...
//! Task C: Compute factorial(4), currently i=2...
//! Task A: factorial(2) = 2
//! Task B: Compute factorial(3), currently i=3...
//! Task C: Compute factorial(4), currently i=3...
//! Task B: factorial(3) = 6
//! Task C: Compute factorial(4), currently i=4...
//! Task C: factorial(4) = 24
//! (2, 6, 24)
//! ```

use std::time::Duration;

use callsoon::{gather, sleep};

#[path = "common/command_line.rs"]
mod command_line;

async fn factorial(name: char, number: u64) -> u64 {
    let mut f = 1;
    for i in 2..=number {
        println!("Task {name}: Compute factorial({number}), currently i={i}...");
        sleep(Duration::from_millis(100)).await;
        f *= i;
    }
    println!("Task {name}: factorial({number}) = {f}");
    f
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let values = callsoon::run(async {
        gather!(factorial('A', 2), factorial('B', 3), factorial('C', 4)).await
    })?;
    println!("{:?}", values?);
    Ok(())
}
