//! hyper's executor: what HTTP/2 starts besides the connection becomes a task.
//!
//! hyper spawns without a handle. A task's failure is reported all the same: the loop reports a panic that no handle
//! can retrieve.

use std::future::Future;

use hyper::rt::Executor;

use crate::event_loop::free::create_task;

/// Runs futures as tasks of the running loop. They need not be `Send`.
///
/// A connection of HTTP/2 runs each of its streams by this. Such a task ends by itself soon after its connection; to
/// end one earlier, drop the response, or the request's body.
///
/// # Panics
/// [`execute`](Executor::execute) outside a running loop.
///
/// ```
/// use callsoon::interop::hyper::HyperExecutor;
/// use hyper::rt::Executor;
///
/// callsoon::run(async {
///     let done = std::rc::Rc::new(std::cell::Cell::new(false));
///     let set = done.clone();
///     HyperExecutor.execute(async move { set.set(true) });
///     callsoon::yield_now().await;
///     assert!(done.get());
/// }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperExecutor;

impl<F> Executor<F> for HyperExecutor
where
    F: Future + 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        // Dropping a handle cancels nothing.
        drop(create_task(future));
    }
}
