//! Failures that no code handles go to the loop's exception handler, and the loop goes on.
//!
//! ```text
//! handler: Exception in callback: a callback fails
//! handler: Task exception was never retrieved: a task fails
//! the awaiter: the task panicked: another task fails
//! the loop goes on
//! ```

use callsoon::EventLoop;

#[path = "common/command_line.rs"]
mod command_line;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    command_line::arguments!("");
    // Each panic is reported by the loop; the message of the standard library would be the second report.
    std::panic::set_hook(Box::new(|_| ()));
    let event_loop = EventLoop::new()?;
    event_loop.set_exception_handler(|_, context| {
        let panic = context.panic.as_ref().map_or("", |panic| panic.message());
        println!("handler: {}: {panic}", context.message);
    });
    event_loop.call_soon(|| panic!("a callback fails"));
    // This handle is dropped, so that no code can retrieve the failure.
    event_loop.create_task(async { panic!("a task fails") });
    // This failure goes to the awaiter, and not to the handler.
    let task = event_loop.create_task(async { panic!("another task fails") });
    event_loop.run_until_complete(async {
        let outcome: Result<(), _> = task.await;
        if let Err(error) = outcome {
            println!("the awaiter: {error}");
        }
        println!("the loop goes on");
    })?;
    Ok(())
}
