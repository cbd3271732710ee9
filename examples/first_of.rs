//! The first of several: `race!` gives its value, and `select!` of the `futures` crate runs its branch. Losers are dropped,
//! which cancels no task and loses no item.
//!
//! ```text
//! race!: nothing has come for 20 ms
//! race!: one
//! select!: two
//! select!: the worker has ended with 7
//! race of two mirrors: quick
//! ```

use std::time::Duration;

use callsoon::{Queue, create_task, race, sleep, sleep_with};
use futures_util::{FutureExt as _, select_biased};

#[path = "common/command_line.rs"]
mod command_line;

const MS: Duration = Duration::from_millis(1);

/// The next item, or what to say if none comes in time.
async fn next(queue: &Queue<&'static str>) -> &'static str {
    let item = async { queue.get().await.unwrap_or("the queue was shut down") };
    race!(item, sleep_with(20 * MS, "nothing has come for 20 ms")).await
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let queue = Queue::new(0);
        println!("race!: {}", next(&queue).await);
        queue.put_nowait("one")?;
        queue.put_nowait("two")?;
        println!("race!: {}", next(&queue).await);

        // By `&mut` the task is not given away: it runs on while another branch is chosen.
        let mut worker = create_task(async {
            sleep(30 * MS).await;
            7
        });
        for _ in 0..2 {
            select_biased! {
                item = queue.get().boxed_local().fuse() => println!("select!: {}", item?),
                value = (&mut worker).fuse() => println!("select!: the worker has ended with {}", value?),
            }
        }

        let mirrors = [("slow", 40), ("quick", 10)];
        let answers = mirrors.map(|(name, ms)| sleep_with(ms * MS, name));
        println!("race of two mirrors: {}", race(answers).await);
        Ok(())
    })?
}
