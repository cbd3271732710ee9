//! A thread cancels a task: asyncio's `call_soon_threadsafe(task.cancel)`. The task's handle stays on the loop's thread,
//! so what crosses is the task's number in a table of the loop.
//!
//! ```text
//! the task works
//! the thread asks for the end
//! the task: the task was cancelled: the thread has had enough
//! ```

use std::cell::RefCell;
use std::thread;
use std::time::Duration;

use callsoon::{TaskRef, create_task, get_running_loop, sleep};

#[path = "common/command_line.rs"]
mod command_line;

thread_local! {
    /// The tasks that other threads may cancel, by their numbers.
    static TASKS: RefCell<Vec<TaskRef>> = const { RefCell::new(Vec::new()) };
}

fn cancel(number: usize) {
    let task = TASKS.with_borrow(|tasks| tasks.get(number).cloned());
    if let Some(task) = task {
        task.cancel_with("the thread has had enough");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let task = create_task(async {
            println!("the task works");
            sleep(Duration::from_secs(3600)).await;
        });
        let number = TASKS.with_borrow_mut(|tasks| {
            tasks.push(task.as_ref());
            tasks.len() - 1
        });
        let remote = get_running_loop().remote();
        let worker = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            println!("the thread asks for the end");
            remote
                .call_soon_threadsafe(move || cancel(number))
                .map(drop)
        });
        if let Err(error) = task.await {
            println!("the task: {error}");
        }
        worker.join().expect("the worker does not panic")?;
        Ok(())
    })?
}
