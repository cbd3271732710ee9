//! The result of a coroutine that another thread started. Any thread can block on it, and any task can await it.
//!
//! The state behind it is in `thread_result`; who starts the coroutine and delivers its result is in `run_coroutine`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::event_loop::error::ThreadFutureError;
use crate::event_loop::remote::Posted;
use crate::event_loop::thread_result::{Callback, Inner, Shared, Stage, discard, drop_unread};
use crate::kernel::enter::catch_panic;
use crate::kernel::inbox::held;
use crate::kernel::note_wait::{address, note_wait};
use crate::kernel::proceed::poll_within_budget;
use crate::kernel::task::key::Key;
use crate::kernel::task::reference::TaskRef;
use crate::kernel::task::waker::current;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::kernel::wait::waiters::WaiterId;

/// The result of a coroutine that runs on a loop.
///
/// Any thread can block on it by [`result`](Self::result). It can be awaited on any loop and in any other runtime. Clones
/// are the same future, and the first one that asks for the result gets it. Dropping all of them cancels nothing;
/// [`wrap_future`](crate::wrap_future) makes a future whose drop cancels the coroutine.
///
/// ```
/// let event_loop = callsoon::EventLoop::new()?;
/// let future: callsoon::ThreadFuture<u8> = event_loop.remote().run_coroutine_threadsafe(|| async { 7 })?;
/// assert_eq!(event_loop.run_until_complete(future)??, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the coroutine's result comes here"]
pub struct ThreadFuture<T> {
    shared: Arc<Shared<T>>,
    /// Takes the coroutine out of the inbox before it has begun. The future of a callback has none and needs none.
    pub(crate) posted: Option<Posted>,
    /// The place of this future's waker in the wait queue.
    waiter: Option<WaiterId>,
}

impl<T> ThreadFuture<T> {
    pub(crate) fn new(shared: Arc<Shared<T>>, posted: Option<Posted>) -> Self {
        if let Some(mut inner) = shared.lock() {
            inner.futures += 1;
        }
        Self {
            shared,
            posted,
            waiter: None,
        }
    }

    /// Blocks this thread until the result is there, or until `timeout` has passed, and takes the result.
    ///
    /// # Errors
    /// - [`Panicked`](ThreadFutureError::Panicked) if the coroutine panicked.
    /// - [`Cancelled`](ThreadFutureError::Cancelled) if it was cancelled.
    /// - [`LoopClosed`](ThreadFutureError::LoopClosed) if its loop closed before it ended.
    /// - [`TimedOut`](ThreadFutureError::TimedOut) if it did not end within `timeout`. It runs on.
    /// - [`OwnThread`](ThreadFutureError::OwnThread) if the loop's own thread calls this before the coroutine has ended.
    /// - [`Taken`](ThreadFutureError::Taken) if the result has been taken before.
    ///
    /// # Differences from asyncio
    /// A call on the loop's own thread is an error there and then. In asyncio it is a deadlock.
    ///
    /// ```
    /// use callsoon::ThreadFutureError;
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.remote().run_coroutine_threadsafe(|| async { 7 })?;
    /// assert!(matches!(future.result(None), Err(ThreadFutureError::OwnThread)));
    /// event_loop.run_until_complete(async { callsoon::yield_now().await })?;
    /// assert_eq!(future.result(None)?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn result(&self, timeout: Option<Duration>) -> Result<T, ThreadFutureError> {
        let lock = || self.shared.lock().ok_or(ThreadFutureError::LoopClosed);
        let mut inner = lock()?;
        if let Some(result) = inner.take() {
            return result;
        }
        drop(inner);
        if self.shared.remote.is_own_thread() {
            return Err(ThreadFutureError::OwnThread);
        }
        inner = lock()?;
        let pending = |inner: &mut Inner<T>| !inner.is_done();
        let done = &self.shared.done;
        inner = match timeout {
            None => held(done.wait_while(inner, pending)),
            Some(timeout) => held(done.wait_timeout_while(inner, timeout, pending)).0,
        };
        inner.take().unwrap_or(Err(ThreadFutureError::TimedOut))
    }

    /// Returns whether the coroutine has ended: with a value, by a panic, or cancelled.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.remote().run_coroutine_threadsafe(|| async {})?;
    /// assert!(!future.done());
    /// drop(event_loop);
    /// assert!(future.done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn done(&self) -> bool {
        self.shared.lock().is_none_or(|inner| inner.is_done())
    }

    /// Returns whether the coroutine ended because it was cancelled.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.remote().run_coroutine_threadsafe(|| async {})?;
    /// future.cancel();
    /// assert!(future.cancelled());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancelled(&self) -> bool {
        let inner = self.shared.lock();
        inner.is_some_and(|inner| inner.is_cancelled())
    }

    /// Cancels the coroutine. Returns `false` if it has ended.
    ///
    /// A coroutine that has not begun never begins, and is cancelled when this returns. If it runs, its task is asked to
    /// end as by [`Task::cancel`](crate::Task::cancel), and this future is done when the task is. After the end of a
    /// coroutine that panicked, this call says that nobody needs the report of its panic.
    ///
    /// ```
    /// # use callsoon::ThreadFutureError;
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.remote().run_coroutine_threadsafe(std::future::pending::<()>)?;
    /// event_loop.run_until_complete(async { callsoon::yield_now().await })?;
    /// assert!(future.cancel());
    /// let result = event_loop.run_until_complete(future)?;
    /// assert!(matches!(result, Err(ThreadFutureError::Cancelled)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self) -> bool
    where
        T: Send + 'static,
    {
        let task = {
            let Some(mut inner) = self.shared.lock() else {
                return false;
            };
            if inner.is_done() {
                inner.failure_ignored = true;
                return false;
            }
            inner.cancel_requested = true;
            inner.task
        };
        match (task, &self.posted) {
            (Some(key), _) => {
                let shared = Arc::clone(&self.shared);
                // A closed loop has ended its tasks, so there is nothing to cancel.
                let _ = self
                    .shared
                    .remote
                    .call_soon_threadsafe(move || cancel_task(&shared, key));
            }
            (None, Some(posted)) => drop(posted.cancel(|| ())),
            (None, None) => {}
        }
        true
    }

    /// Calls `callback` when the coroutine has ended.
    ///
    /// It is called on the loop's thread, or on the thread whose [`cancel`](Self::cancel) took the coroutine out of the
    /// inbox. If the coroutine has ended, it is called at once, on this thread. A panic of the callback is reported.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.remote().run_coroutine_threadsafe(|| async { 7 })?;
    /// future.add_done_callback(|future| {
    ///     assert_eq!(future.result(None).unwrap(), 7);
    ///     callsoon::get_running_loop().stop();
    /// });
    /// event_loop.run_forever()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_done_callback(&self, callback: impl FnOnce(&Self) + Send + 'static) {
        let callback: Callback<T> = Box::new(move |shared| {
            let future = Self::new(shared, None);
            catch_panic("Exception in a done callback", || callback(&future));
        });
        if let Some(mut inner) = self.shared.lock().filter(|inner| !inner.is_done()) {
            inner.callbacks.push(callback);
            return;
        }
        callback(Arc::clone(&self.shared));
    }
}

/// Runs on the loop's thread: cancels the coroutine's task unless it has ended.
fn cancel_task<T>(shared: &Shared<T>, key: Key) {
    // A task delivers its result before its key can become another task's.
    if shared.lock().is_none_or(|inner| inner.is_done()) {
        return;
    }
    let Some(state) = current() else { return };
    if let Some(task) = state.task(key) {
        let state = Rc::clone(&state);
        TaskRef { task, state, key }.cancel();
    }
}

impl<T> Future for ThreadFuture<T> {
    type Output = Result<T, ThreadFutureError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        poll_within_budget(context, |context| self.poll_result(context))
    }
}

impl<T> ThreadFuture<T> {
    fn poll_result(&mut self, context: &Context<'_>) -> Poll<Result<T, ThreadFutureError>> {
        // Cloned without the lock: another runtime's waker is user code.
        let waker = context.waker().clone();
        let Some(mut inner) = self.shared.lock() else {
            return Poll::Ready(Err(ThreadFutureError::LoopClosed));
        };
        if let Some(result) = inner.take() {
            drop(inner);
            self.waiter = None;
            return Poll::Ready(result);
        }
        let replaced = inner.waiters.wait(&mut self.waiter, waker);
        drop(inner);
        drop(replaced);
        note_wait(WaitKind::ThreadFuture, || address(&*self.shared));
        Poll::Pending
    }
}

impl<T> Clone for ThreadFuture<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.shared), self.posted)
    }
}

impl<T> Drop for ThreadFuture<T> {
    fn drop(&mut self) {
        let (waker, unread) = {
            let Some(mut inner) = self.shared.lock() else {
                return;
            };
            // Saturates: in a forked child a future whose `new` found the lock held was not counted.
            inner.futures = inner.futures.saturating_sub(1);
            let waker = self.waiter.and_then(|id| inner.waiters.leave(id));
            let unread = matches!(inner.stage, Stage::Done(_)) && inner.futures == 0;
            let unread = if unread { inner.take() } else { None };
            (waker, unread.map(|unread| (unread, inner.failure_ignored)))
        };
        drop(waker);
        match unread {
            Some((unread, false)) => drop_unread(unread),
            Some((ignored, true)) => discard(ignored),
            None => {}
        }
    }
}

impl<T> fmt::Debug for ThreadFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadFuture")
            .field("done", &self.done())
            .finish_non_exhaustive()
    }
}
