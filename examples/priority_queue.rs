//! A queue that gives the smallest item first: what is urgent goes before what came earlier.
//!
//! ```text
//! 1 put out the fire
//! 2 answer the telephone
//! 3 water the flowers
//! ```

use std::rc::Rc;

use callsoon::{PriorityQueue, create_task};

#[path = "common/command_line.rs"]
mod command_line;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let queue = Rc::new(PriorityQueue::new(0));
        let jobs = Rc::clone(&queue);
        let worker = create_task(async move {
            while let Ok((priority, job)) = jobs.get().await {
                println!("{priority} {job}");
                jobs.task_done().expect("one for each item");
            }
        });
        queue.put_nowait((3, "water the flowers"))?;
        queue.put_nowait((1, "put out the fire"))?;
        queue.put_nowait((2, "answer the telephone"))?;
        queue.join().await;
        worker.cancel();
        worker.await.expect_err("it is cancelled");
        Ok(())
    })?
}
