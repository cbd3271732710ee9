//! A coroutine that another thread starts, and its result, which any thread may wait for.
//!
//! ```text
//!   any thread                                     the loop's thread
//!   run_coroutine_threadsafe ──► inbox ──► 1 make the coroutine, make a task of it
//!                                          2 the task ends: Delivery::finish ──► Done ──► whoever waits
//!   cancel ── not begun: taken back ──────────────────────── 3 Delivery dropped ─┘
//!          └─ begun ──► inbox ──► the task is asked ─► it ends, or goes on
//! ```
//! Whatever becomes of the coroutine, its [`Delivery`] is used or dropped, and either way there is a result: a closure
//! that is refused, taken back or dropped by a closing loop, a task that is cancelled, killed or never run. So nobody
//! who waits is forgotten. The lock is held for words alone; wakers, callbacks and results are handled outside it.
//!
//! In a forked child the loop's thread is not there, and its copy of the lock may be held for ever by a thread that is
//! not either. What was done before the fork can be read there; all else has ended as with a loop that has closed.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::error::{LoopClosed, Panicked};
use crate::event_loop::free::get_running_loop;
use crate::event_loop::remote::{Posted, RemoteHandle};
use crate::kernel::enter::{catch_panic, report_panic, wake};
use crate::kernel::proceed::poll_within_budget;
use crate::kernel::task::key::Key;
use crate::kernel::task::reference::TaskRef;
use crate::kernel::task::waker::current;
use crate::kernel::wait::waiters::{WaiterId, Waiters};

type Outcome<T> = Result<T, ThreadFutureError>;

type Callback<T> = Box<dyn FnOnce(&ThreadFuture<T>) + Send>;

enum Stage<T> {
    Pending,
    Done(Outcome<T>),
    /// The result has been moved out; whether it was a cancellation.
    Taken(bool),
}

struct Inner<T> {
    stage: Stage<T>,
    /// The coroutine's task, once there is one.
    task: Option<Key>,
    /// Somebody has asked for its end.
    cancelled: bool,
    /// Somebody has asked for its end after it: if it failed, nobody wants to hear of that.
    excused: bool,
    /// How many futures there are, callbacks' included.
    futures: usize,
    waiters: Waiters<Waker>,
    callbacks: Vec<Callback<T>>,
}

struct Shared<T> {
    inner: Mutex<Inner<T>>,
    /// The result is there.
    done: Condvar,
    remote: RemoteHandle,
}

impl<T> Shared<T> {
    /// `None` in a forked child that will never have the lock. There, what was under way is found to have ended.
    fn lock(&self) -> Option<MutexGuard<'_, Inner<T>>> {
        if !self.remote.is_inherited() {
            return Some(self.inner.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if !inner.is_done() {
            inner.stage = Stage::Done(Err(ThreadFutureError::LoopClosed));
        }
        Some(inner)
    }
}

impl<T> Inner<T> {
    fn is_done(&self) -> bool {
        !matches!(self.stage, Stage::Pending)
    }

    fn take(&mut self) -> Option<Outcome<T>> {
        let cancelled = match &self.stage {
            Stage::Pending => return None,
            Stage::Done(result) => matches!(result, Err(ThreadFutureError::Cancelled)),
            Stage::Taken(cancelled) => *cancelled,
        };
        match std::mem::replace(&mut self.stage, Stage::Taken(cancelled)) {
            Stage::Done(result) => Some(result),
            Stage::Pending | Stage::Taken(_) => Some(Err(ThreadFutureError::Taken)),
        }
    }
}

/// The duty to give a result, which ends by giving one or by being dropped.
struct Delivery<T> {
    shared: Arc<Shared<T>>,
    given: bool,
}

impl<T> Delivery<T> {
    fn finish(mut self, result: Outcome<T>) {
        self.give(result);
    }

    fn give(&mut self, result: Outcome<T>) {
        self.given = true;
        let mut woken = Vec::new();
        let (callbacks, unread) = {
            let Some(mut inner) = self.shared.lock() else {
                return;
            };
            let unread = if inner.futures == 0 {
                // Over also with nobody to read it: a request to end may still be on its way, to a key that is free.
                let cancelled = matches!(result, Err(ThreadFutureError::Cancelled));
                inner.stage = Stage::Taken(cancelled);
                Some(result)
            } else {
                inner.stage = Stage::Done(result);
                None
            };
            inner.waiters.take_all(&mut woken);
            (std::mem::take(&mut inner.callbacks), unread)
        };
        self.shared.done.notify_all();
        for waker in woken {
            wake(waker);
        }
        for callback in callbacks {
            call(callback, &self.shared);
        }
        if let Some(unread) = unread {
            forget(unread);
        }
    }
}

impl<T> Drop for Delivery<T> {
    fn drop(&mut self) {
        if self.given {
            return;
        }
        self.give(Err(if self.shared.remote.is_closed() {
            ThreadFutureError::LoopClosed
        } else {
            ThreadFutureError::Cancelled
        }));
    }
}

fn call<T>(callback: Callback<T>, shared: &Arc<Shared<T>>) {
    let future = ThreadFuture::new(Arc::clone(shared), None);
    catch_panic("Exception in a done callback", || callback(&future));
}

/// The end of a result that nobody reads: a panic is said aloud.
fn forget<T>(result: Outcome<T>) {
    match result {
        Err(ThreadFutureError::Panicked(panicked)) => {
            report_panic("Exception of a coroutine was never retrieved", panicked);
        }
        other => discard(other),
    }
}

fn discard<T>(result: Outcome<T>) {
    catch_panic("Exception in the destructor of a result", || drop(result));
}

impl RemoteHandle {
    /// Starts a coroutine on the loop, from any thread, and gives its result's future.
    ///
    /// The closure is sent, and called on the loop's thread; what it makes need not be `Send`. A panic of either is the
    /// future's error. Dropping the future cancels nothing.
    ///
    /// # Errors
    /// [`LoopClosed`] after close; the closure has been dropped, here.
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
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                stage: Stage::Pending,
                task: None,
                cancelled: false,
                excused: false,
                futures: 0,
                waiters: Waiters::new(),
                callbacks: Vec::new(),
            }),
            done: Condvar::new(),
            remote: self.clone(),
        });
        let mut future = ThreadFuture::new(Arc::clone(&shared), None);
        let delivery = Delivery {
            shared,
            given: false,
        };
        let posted = self.post(move || begin(make, delivery, location))?;
        future.posted = Some(posted);
        Ok(future)
    }
}

/// On the loop's thread: makes the coroutine, and a task of it.
fn begin<T, F>(
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
    let cancelled = {
        let inner = shared.lock();
        inner.is_some_and(|mut inner| {
            inner.task = Some(task.as_ref().key);
            inner.cancelled
        })
    };
    if cancelled {
        // Asked for while this was on its way from the queue.
        task.cancel();
    }
}

/// Runs a coroutine and delivers what becomes of it.
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

/// The result of a coroutine that runs on a loop, for every thread: wait for it, or await it on any loop or in any other
/// runtime. Clones are the same future; the result goes to whoever asks first.
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
    /// Takes the coroutine back before it has begun. A callback's future has none, nor a use for it.
    posted: Option<Posted>,
    /// The place in the line of those who await.
    waiting: Option<WaiterId>,
}

impl<T> ThreadFuture<T> {
    fn new(shared: Arc<Shared<T>>, posted: Option<Posted>) -> Self {
        if let Some(mut inner) = shared.lock() {
            inner.futures += 1;
        }
        Self {
            shared,
            posted,
            waiting: None,
        }
    }

    /// Blocks this thread until the result is there, and takes it; for at most `timeout`, if that is given.
    ///
    /// # Errors
    /// What became of the coroutine, [`TimedOut`](ThreadFutureError::TimedOut), and
    /// [`OwnThread`](ThreadFutureError::OwnThread) where waiting would keep the loop from ever running it: see
    /// [`ThreadFutureError`].
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
        if self.shared.remote.is_at_home() {
            return Err(ThreadFutureError::OwnThread);
        }
        inner = lock()?;
        let pending = |inner: &mut Inner<T>| !inner.is_done();
        let done = &self.shared.done;
        inner = match timeout {
            None => done
                .wait_while(inner, pending)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let waited = done.wait_timeout_while(inner, timeout, pending);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        inner.take().unwrap_or(Err(ThreadFutureError::TimedOut))
    }

    /// Whether the coroutine has ended, in whatever way.
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

    /// Whether the coroutine has ended by being cancelled.
    ///
    /// ```
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let future = event_loop.remote().run_coroutine_threadsafe(|| async {})?;
    /// future.cancel();
    /// assert!(future.cancelled());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancelled(&self) -> bool {
        let Some(inner) = self.shared.lock() else {
            return false;
        };
        match &inner.stage {
            Stage::Pending => false,
            Stage::Done(result) => matches!(result, Err(ThreadFutureError::Cancelled)),
            Stage::Taken(cancelled) => *cancelled,
        }
    }

    /// Asks the coroutine to end; `false` where it has ended. One that has not begun never does, and is cancelled when
    /// this returns; the task of one that runs is asked, and this future is done when that task is.
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
                inner.excused = true;
                return false;
            }
            inner.cancelled = true;
            inner.task
        };
        match (task, &self.posted) {
            (Some(key), _) => {
                let shared = Arc::clone(&self.shared);
                // A loop that is closed has ended its tasks.
                let _ = self
                    .shared
                    .remote
                    .call_soon_threadsafe(move || ask(&shared, key));
            }
            (None, Some(posted)) => drop(posted.cancel(|| ())),
            (None, None) => {}
        }
        true
    }

    /// Calls `callback` when the coroutine has ended: on the loop's thread, or on the one that has taken it back. Where
    /// it has ended, here and now. A panic of the callback is reported.
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
        let callback: Callback<T> = Box::new(callback);
        let due = {
            match self.shared.lock().filter(|inner| !inner.is_done()) {
                None => Some(callback),
                Some(mut inner) => {
                    inner.callbacks.push(callback);
                    None
                }
            }
        };
        if let Some(callback) = due {
            call(callback, &self.shared);
        }
    }
}

/// On the loop's thread: asks the coroutine's task to end, if it has not.
fn ask<T>(shared: &Shared<T>, key: Key) {
    // A task that has ended has delivered, and only then may its key become another's.
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
        // Cloned with nothing locked, since it may be foreign.
        let waker = context.waker().clone();
        let Some(mut inner) = self.shared.lock() else {
            return Poll::Ready(Err(ThreadFutureError::LoopClosed));
        };
        if let Some(result) = inner.take() {
            drop(inner);
            self.waiting = None;
            return Poll::Ready(result);
        }
        let replaced = inner.waiters.wait(&mut self.waiting, waker);
        drop(inner);
        drop(replaced);
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
        let (left, unread) = {
            let Some(mut inner) = self.shared.lock() else {
                return;
            };
            // In a forked child some may not have been counted.
            inner.futures = inner.futures.saturating_sub(1);
            let left = self.waiting.and_then(|id| inner.waiters.leave(id));
            let unread = matches!(inner.stage, Stage::Done(_)) && inner.futures == 0;
            let unread = if unread { inner.take() } else { None };
            (left, unread.map(|unread| (unread, inner.excused)))
        };
        drop(left);
        match unread {
            Some((unread, false)) => forget(unread),
            Some((excused, true)) => discard(excused),
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

/// Why a [`ThreadFuture`] gave no value.
///
/// ```
/// use callsoon::ThreadFutureError;
/// let event_loop = callsoon::EventLoop::new()?;
/// let future = event_loop.remote().run_coroutine_threadsafe(|| async {})?;
/// drop(event_loop);
/// assert!(matches!(future.result(None), Err(ThreadFutureError::LoopClosed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ThreadFutureError {
    /// The coroutine, or the closure that was to make it, panicked.
    Panicked(Panicked),
    /// The coroutine was cancelled.
    Cancelled,
    /// The loop closed before the coroutine ended, or this is a forked child, in which the loop is not.
    LoopClosed,
    /// The coroutine is still running.
    TimedOut,
    /// The loop's own thread would wait for itself: await the future there.
    OwnThread,
    /// The result has been taken before.
    Taken,
}

impl fmt::Display for ThreadFutureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panicked) => write!(f, "the coroutine {panicked}"),
            Self::Cancelled => f.write_str("the coroutine was cancelled"),
            Self::LoopClosed => LoopClosed.fmt(f),
            Self::TimedOut => f.write_str("the coroutine has not ended in time"),
            Self::OwnThread => f.write_str("the loop's own thread would wait for itself"),
            Self::Taken => f.write_str("the coroutine's result has been taken before"),
        }
    }
}

impl Error for ThreadFutureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Panicked(panicked) => Some(panicked),
            _ => None,
        }
    }
}
