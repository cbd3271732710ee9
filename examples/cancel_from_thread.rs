//! A thread cancels a task and a future: asyncio's `call_soon_threadsafe(task.cancel)`. The task stays on the loop's
//! thread; what crosses is a handle that names it.
//!
//! ```text
//! the task works
//! the thread asks for the end
//! the task: the task was cancelled: the thread has had enough
//! the future is cancelled: true
//! ```

use std::thread;
use std::time::Duration;

use callsoon::{create_task, get_running_loop, sleep};

#[path = "common/command_line.rs"]
mod command_line;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    callsoon::run(async {
        let task = create_task(async {
            println!("the task works");
            sleep(Duration::from_secs(3600)).await;
        });
        let future = get_running_loop().create_future::<()>();
        let (task_handle, future_handle) = (task.cancel_handle(), future.cancel_handle());
        let worker = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            println!("the thread asks for the end");
            task_handle.cancel_with("the thread has had enough")?;
            future_handle.cancel()
        });
        if let Err(error) = task.await {
            println!("the task: {error}");
        }
        let cancelled = future.await.is_err_and(|error| error.cancelled().is_some());
        println!("the future is cancelled: {cancelled}");
        worker.join().expect("the worker does not panic")?;
        Ok(())
    })?
}
