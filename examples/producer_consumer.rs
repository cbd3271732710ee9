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

use callsoon::{Queue, RunError, sleep, task_builder};

async fn work(name: String, queue: Rc<Queue<Duration>>) {
    while let Ok(time) = queue.get().await {
        sleep(time).await;
        queue.task_done().expect("one for each item");
        println!("{name} slept for {} ms", time.as_millis());
    }
}

async fn produce_and_wait() -> Duration {
    let queue = Rc::new(Queue::new(0));
    let mut total = Duration::ZERO;
    for number in 0..10 {
        let time = Duration::from_millis(30 + number % 3 * 10 - number % 2 * 5);
        total += time;
        queue.put_nowait(time).expect("the queue has no limit");
    }
    let worker = |number| {
        let name = format!("worker-{number}");
        task_builder()
            .name(name.clone())
            .spawn(work(name, Rc::clone(&queue)))
    };
    let workers: Vec<_> = (0..3).map(worker).collect();
    queue.join().await;
    for worker in &workers {
        worker.cancel();
    }
    for worker in workers {
        worker.await.expect_err("it was cancelled");
    }
    total
}

fn main() -> Result<(), RunError> {
    let start = Instant::now();
    let total = callsoon::run(produce_and_wait())?;
    println!(
        "3 workers slept in parallel for {:.2} s",
        start.elapsed().as_secs_f64()
    );
    println!("total expected sleep time: {:.2} s", total.as_secs_f64());
    Ok(())
}
