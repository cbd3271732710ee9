//! Three coroutines that try again until a number is high enough, side by side: `gather` waits for all of them.
//!
//! ```text
//! Initiated make_random(0).
//! make_random(0) == 2 too low; retrying.
//! Initiated make_random(1).
//! make_random(1) == 1 too low; retrying.
//! Initiated make_random(2).
//! make_random(2) == 3 too low; retrying.
//! make_random(0) == 1 too low; retrying.
//! ---> Finished: make_random(1) == 7
//! ---> Finished: make_random(2) == 8
//! make_random(0) == 5 too low; retrying.
//! ---> Finished: make_random(0) == 7
//!
//! r1: 7, r2: 7, r3: 8
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{RunError, gather, sleep};

#[path = "common/command_line.rs"]
mod command_line;

/// A number from 0 to 10, the same ones in every run.
fn random(seed: &Cell<u64>) -> u64 {
    seed.set(seed.get() ^ (seed.get() << 13));
    seed.set(seed.get() ^ (seed.get() >> 7));
    seed.set(seed.get() ^ (seed.get() << 17));
    seed.get() % 11
}

async fn make_random(seed: Rc<Cell<u64>>, index: u32, threshold: u64) -> u64 {
    println!("Initiated make_random({index}).");
    loop {
        let number = random(&seed);
        if number > threshold {
            println!("---> Finished: make_random({index}) == {number}");
            return number;
        }
        println!("make_random({index}) == {number} too low; retrying.");
        sleep(Duration::from_millis(100 + 35 * u64::from(index))).await;
    }
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let seed = Rc::new(Cell::new(2));
        let tries = (0..3).map(|index| make_random(seed.clone(), index, 6));
        let numbers = gather(tries).await.expect("nobody cancels them");
        println!(
            "\nr1: {}, r2: {}, r3: {}",
            numbers[0], numbers[1], numbers[2]
        );
    })
}
