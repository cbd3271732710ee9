//! `run_coroutine_threadsafe`: any thread starts a coroutine on a loop.
//!
//! ```text
//!   any thread                                     the loop's thread
//!   run_coroutine_threadsafe ──► inbox ──► 1 call the closure, create a task for what it returns
//!                                          2 the task ends: Delivery::finish ──► Done ──► the waiters are woken
//!   cancel ── not started: taken out of the inbox ───────── 3 Delivery is dropped ─┘
//!          └─ started ──► inbox ──► the task is cancelled ─► it ends, or continues
//! ```
//! The posted closure owns the [`Delivery`], and then the task does. Whatever happens to them, the delivery is finished or
//! dropped: the loop may refuse the closure or drop it when it closes, and the task may be cancelled or never run.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::error::{LoopClosed, Panicked};
use crate::event_loop::error::ThreadFutureError;
use crate::event_loop::free::get_running_loop;
use crate::event_loop::remote::RemoteHandle;
use crate::event_loop::thread_future::ThreadFuture;
use crate::event_loop::thread_result::{Delivery, Shared};

impl RemoteHandle {
    /// Starts a coroutine on the loop, from any thread, and returns the future of its result.
    ///
    /// The closure is sent to the loop's thread and called there. The future that it returns need not be `Send`. A panic
    /// of the closure or of its future is the error of the returned [`ThreadFuture`].
    ///
    /// # Errors
    /// [`LoopClosed`] if the loop has been closed. The closure has then been dropped on the calling thread.
    ///
    /// # Differences from asyncio
    /// The argument is a closure that makes the coroutine, since a coroutine need not be `Send`. A coroutine that has not
    /// begun is cancelled at once, on the thread that calls [`cancel`](ThreadFuture::cancel). Dropping the future cancels
    /// nothing.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let remote = event_loop.remote();
    /// let worker = std::thread::spawn(move || {
    ///     let future = remote.run_coroutine_threadsafe(|| async {
    ///         let local = std::rc::Rc::new(6);
    ///         callsoon::yield_now().await;
    ///         *local * 7
    ///     });
    ///     let answer = future.unwrap().result(None);
    ///     remote.call_soon_threadsafe(|| callsoon::get_running_loop().stop()).unwrap();
    ///     answer
    /// });
    /// event_loop.run_forever().unwrap();
    /// assert_eq!(worker.join().unwrap().unwrap(), 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn run_coroutine_threadsafe<T, F>(
        &self,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> Result<ThreadFuture<T>, LoopClosed>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let location = Location::caller();
        let shared = Arc::new(Shared::new(self.clone()));
        let mut future = ThreadFuture::new(Arc::clone(&shared), None);
        let delivery = Delivery::new(shared);
        let posted = self.post(move || start(make, delivery, location))?;
        future.posted = Some(posted);
        Ok(future)
    }
}

/// Runs on the loop's thread: calls the closure and creates a task for the coroutine that it returns.
fn start<T, F>(
    make: impl FnOnce() -> F,
    delivery: Delivery<T>,
    location: &'static Location<'static>,
) where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let coroutine = match catch_unwind(AssertUnwindSafe(make)) {
        Ok(coroutine) => coroutine,
        Err(payload) => {
            let panicked = Panicked::new(payload);
            return delivery.finish(Err(ThreadFutureError::Panicked(panicked)));
        }
    };
    let shared = Arc::clone(&delivery.shared);
    let task = get_running_loop().into_task(deliver(coroutine, delivery), location);
    let cancel_requested = shared.lock().is_some_and(|mut inner| {
        inner.task = Some(task.as_ref().key);
        inner.cancel_requested
    });
    if cancel_requested {
        // Another thread called `cancel` between the closure's removal from the queue and the creation of the task.
        task.cancel();
    }
}

/// Runs a coroutine and delivers its value or its panic.
async fn deliver<T, F>(coroutine: F, delivery: Delivery<T>)
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let result = {
        let mut coroutine = pin!(coroutine);
        poll_fn(|context| {
            let poll = AssertUnwindSafe(|| coroutine.as_mut().poll(context));
            match catch_unwind(poll) {
                Ok(polled) => polled.map(Ok),
                Err(payload) => Poll::Ready(Err(payload)),
            }
        })
        .await
    };
    let failed = |payload| ThreadFutureError::Panicked(Panicked::new(payload));
    delivery.finish(result.map_err(failed));
}
