//! A `Runner` runs several futures on one loop, one after another: what one leaves the next one finds.
//!
//! ```text
//! the first future starts a counter
//! between two futures nothing runs: 2
//! the second future finds the counter's task: 5
//! the counter was cancelled and has cleaned up
//! the loop is closed
//! ```

use std::cell::Cell;
use std::rc::Rc;

use callsoon::{RunError, Runner, create_task, yield_now};

#[path = "common/command_line.rs"]
mod command_line;

/// Says that the counter is dropped.
struct CleanUp;

impl Drop for CleanUp {
    fn drop(&mut self) {
        println!("the counter was cancelled and has cleaned up");
    }
}

async fn count(turns: Rc<Cell<u32>>) {
    let _clean_up = CleanUp;
    loop {
        turns.set(turns.get() + 1);
        yield_now().await;
    }
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    let mut runner = Runner::new();
    let turns = Rc::new(Cell::new(0));
    runner.run(async {
        println!("the first future starts a counter");
        create_task(count(Rc::clone(&turns)));
        yield_now().await;
    })?;
    println!("between two futures nothing runs: {}", turns.get());
    runner.run(async {
        yield_now().await;
        yield_now().await;
        println!(
            "the second future finds the counter's task: {}",
            turns.get()
        );
    })?;
    runner.close()?;
    println!("the loop is closed");
    Ok(())
}
