//! The same work for many items, four at a time: `for_each_limit` takes an item only when there is room for it.
//!
//! ```text
//! 20 files, at most 4 open at once
//! the sum of their sizes: 190
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use callsoon::{for_each_limit, sleep};

#[path = "common/command_line.rs"]
mod command_line;

#[derive(Default)]
struct Counts {
    open: Cell<u64>,
    most: Cell<u64>,
    sum: Cell<u64>,
}

async fn read(size: u64, counts: Rc<Counts>) {
    counts.open.set(counts.open.get() + 1);
    counts.most.set(counts.most.get().max(counts.open.get()));
    sleep(Duration::from_millis(1 + size % 3)).await;
    counts.sum.set(counts.sum.get() + size);
    counts.open.set(counts.open.get() - 1);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    let counts = Rc::new(Counts::default());
    callsoon::run(async {
        for_each_limit(0..20, 4, |size| read(size, Rc::clone(&counts))).await
    })??;
    println!("20 files, at most {} open at once", counts.most.get());
    println!("the sum of their sizes: {}", counts.sum.get());
    Ok(())
}
