//! Coroutines that await one another: each chain goes step by step, the chains side by side.
//!
//! `as_completed` gives the chains in the order in which they end.
//!
//! ```text
//! part1(9): sleeping for 0.4 seconds
//! part1(6): sleeping for 0.2 seconds
//! part1(3): sleeping for 0.1 seconds
//! part1(3) gives 3-1
//! part2(3, 3-1): sleeping for 0.2 seconds
//! part1(6) gives 6-1
//! part2(6, 6-1): sleeping for 0.4 seconds
//! --> chain 3: 3-2 from 3-1 (after 0.3 s)
//! part1(9) gives 9-1
//! part2(9, 9-1): sleeping for 0.8 seconds
//! --> chain 6: 6-2 from 6-1 (after 0.6 s)
//! --> chain 9: 9-2 from 9-1 (after 1.2 s)
//! ```

use std::time::{Duration, Instant};

use callsoon::{RunError, as_completed, create_task, sleep_with};

#[path = "common/command_line.rs"]
mod command_line;

async fn part1(n: u32, tenths: u32) -> String {
    println!("part1({n}): sleeping for 0.{tenths} seconds");
    let result = sleep_with(tenths * Duration::from_millis(100), format!("{n}-1")).await;
    println!("part1({n}) gives {result}");
    result
}

async fn part2(n: u32, from: &str, tenths: u32) -> String {
    println!("part2({n}, {from}): sleeping for 0.{tenths} seconds");
    let delay = tenths * Duration::from_millis(100);
    sleep_with(delay, format!("{n}-2 from {from}")).await
}

async fn chain(n: u32, tenths: u32) -> String {
    let first = part1(n, tenths).await;
    let second = part2(n, &first, 2 * tenths).await;
    format!("chain {n}: {second}")
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let start = Instant::now();
        let chains = [(9, 4), (6, 2), (3, 1)].map(|(n, tenths)| create_task(chain(n, tenths)));
        let mut ended = as_completed(chains);
        while let Some(task) = ended.next().await {
            let line = task.await.expect("nobody cancels it");
            println!("--> {line} (after {:.1} s)", start.elapsed().as_secs_f64());
        }
    })
}
