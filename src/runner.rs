//! `run`: a program's whole life on one loop.

use std::future::IntoFuture;

use crate::error::RunError;
use crate::event_loop::owner::EventLoop;

/// Makes a loop, runs `main` on it, ends what is left, closes the loop: asyncio's `run`.
///
/// Tasks that are unfinished when `main` is done are cancelled and run until they have ended.
///
/// # Errors
/// [`RunError::Io`] where the system refuses the loop its descriptors, [`RunError::Nested`] inside a running loop, and
/// what [`EventLoop::run_until_complete`] gives.
///
/// # Panics
/// A panic of `main` resumes here, after everything else was ended.
///
/// ```
/// let answer = callsoon::run(async {
///     callsoon::sleep(std::time::Duration::from_millis(1)).await;
///     42
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[track_caller]
pub fn run<F: IntoFuture>(main: F) -> Result<F::Output, RunError> {
    if crate::event_loop::free::try_get_running_loop().is_some() {
        return Err(RunError::Nested);
    }
    let event_loop = EventLoop::new()?;
    let leftovers = Leftovers {
        event_loop: &event_loop,
    };
    let result = event_loop.run_until_complete(main);
    drop(leftovers);
    event_loop.close()?;
    result
}

/// Ends what `main` left behind, also when `main` panicked.
struct Leftovers<'a> {
    event_loop: &'a EventLoop,
}

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        let tasks = self.event_loop.all_tasks();
        if tasks.is_empty() {
            return;
        }
        for task in &tasks {
            task.cancel_with("the main task has ended");
        }
        // A cancelled task ends in the turn that is one long; what destructors spawn meanwhile is dropped by close.
        self.event_loop.stop();
        let _ = self.event_loop.run_forever();
    }
}
