//! A test that passes by accident is found: what is ready at the same time runs in another order with each seed.
//!
//! ```text
//! in the usual order: passes
//! shuffled with 20 seeds: fails with seed 2, and with 9 others
//! with an event: passes with all of them
//! ```

use std::cell::Cell;
use std::rc::Rc;

use callsoon::create_task;
use callsoon::sync::Event;
use callsoon::testing;

#[path = "common/command_line.rs"]
mod command_line;

/// The reader relies on the writer being created first, as if that promised that it also runs first.
async fn by_accident() -> bool {
    let value = Rc::new(Cell::new(0));
    let (write, read) = (Rc::clone(&value), value);
    let writer = create_task(async move { write.set(42) });
    let reader = create_task(async move { read.get() == 42 });
    writer.await.unwrap();
    reader.await.unwrap()
}

/// The reader waits for what it needs.
async fn by_event() -> bool {
    let shared = Rc::new((Cell::new(0), Event::new()));
    let writing = Rc::clone(&shared);
    let writer = create_task(async move {
        writing.0.set(42);
        writing.1.set();
        true
    });
    let reader = create_task(async move {
        shared.1.wait().await;
        shared.0.get() == 42
    });
    writer.await.unwrap() && reader.await.unwrap()
}

fn main() {
    command_line::arguments!("");
    assert!(testing::run(by_accident()));
    println!("in the usual order: passes");

    // A test asserts, and a failure prints its seed. Here the failures are counted instead.
    let fails = |seed: &u64| !testing::builder().shuffle(*seed).run(by_accident());
    let failing: Vec<_> = (0..20).filter(fails).collect();
    let (first, others) = (failing[0], failing.len() - 1);
    println!("shuffled with 20 seeds: fails with seed {first}, and with {others} others");

    testing::shuffle_all(0..20, || async { assert!(by_event().await) });
    println!("with an event: passes with all of them");
}
