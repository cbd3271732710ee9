//! An asynchronous generator is a task that puts values into a queue of one place: asyncio's `async for` over powers of
//! two. The end of the values is `shutdown`.
//!
//! ```text
//! one by one: 1 2 4 8 16
//! a list: [1, 2, 4, 8, 16, 32, 64, 128]
//! ```

use std::rc::Rc;

use callsoon::{Queue, RunError, create_task, yield_now};

#[path = "common/command_line.rs"]
mod command_line;

/// Generates `count` powers of two. Each waits until the one before is taken.
fn powers_of_two(count: u32) -> Rc<Queue<u64>> {
    let queue = Rc::new(Queue::new(1));
    let values = Rc::clone(&queue);
    create_task(async move {
        for exponent in 0..count {
            if values.put(1 << exponent).await.is_err() {
                return;
            }
            yield_now().await;
        }
        // What is queued is still delivered.
        values.shutdown(false);
    });
    queue
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        print!("one by one:");
        let values = powers_of_two(5);
        while let Ok(value) = values.get().await {
            print!(" {value}");
        }
        println!();

        let (values, mut list) = (powers_of_two(8), Vec::new());
        while let Ok(value) = values.get().await {
            list.push(value);
        }
        println!("a list: {list:?}");
    })
}
