//! A queue between one producer and three workers. `join` waits until every item was worked on; only then are the
//! workers, which never end by themselves, cancelled.
//!
//! ```text
//! worker-0 slept for 30 ms
//! worker-1 slept for 35 ms
//! worker-2 slept for 50 ms
//! …
//! 3 workers slept in parallel for 0.14 s
//! total expected sleep time: 0.36 s
//! ```

use std::rc::Rc;
use std::time::{Duration, Instant};

use callsoon::{Queue, RunError, create_task, sleep};

#[path = "common/command_line.rs"]
mod command_line;

async fn work(name: String, queue: Rc<Queue<Duration>>) {
    while let Ok(time) = queue.get().await {
        sleep(time).await;
        println!("{name} slept for {} ms", time.as_millis());
        queue.task_done().expect("one for each item");
    }
}

/// Returns how long all items together take.
fn fill(queue: &Queue<Duration>) -> Duration {
    let mut total = Duration::ZERO;
    for milliseconds in [30, 35, 50, 25, 40, 45, 30, 35, 50, 25] {
        let time = Duration::from_millis(milliseconds);
        queue.put_nowait(time).expect("the queue has no limit");
        total += time;
    }
    total
}

fn main() -> Result<(), RunError> {
    command_line::arguments!("");
    callsoon::run(async {
        let queue = Rc::new(Queue::new(0));
        let total = fill(&queue);
        let start = Instant::now();
        let mut workers = Vec::new();
        for number in 0..3 {
            let name = format!("worker-{number}");
            workers.push(create_task(work(name, Rc::clone(&queue))));
        }
        queue.join().await;
        let seconds = start.elapsed().as_secs_f64();
        for worker in workers {
            worker.cancel();
            worker.await.expect_err("it is cancelled");
        }
        println!("3 workers slept in parallel for {seconds:.2} s");
        println!("total expected sleep time: {:.2} s", total.as_secs_f64());
    })
}
