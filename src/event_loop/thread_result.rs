//! The state that a [`ThreadFuture`](crate::ThreadFuture) shares with the loop: one lock, and the result behind it.
//!
//! The loop's side holds a [`Delivery`], which is either finished with a result or dropped. A dropped one gives a result
//! too: `Cancelled`, or `LoopClosed`. So every waiter is woken in the end.
//!
//! No user code runs with the lock held. Wakers, callbacks and results are moved out of the state first.
//!
//! A forked child has no copy of the loop's thread, and its copy of the lock may be held for ever by a thread that the
//! child does not have. So [`Shared::lock`] never blocks there. A result that was there before the fork can be read.
//! Everything else has ended with [`ThreadFutureError::LoopClosed`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard, TryLockError};
use std::task::Waker;

use crate::event_loop::error::ThreadFutureError;
use crate::event_loop::remote::RemoteHandle;
use crate::kernel::enter::{catch_panic, report_panic, wake};
use crate::kernel::inbox::held;
use crate::kernel::task::key::Key;
use crate::kernel::wait::waiters::Waiters;

/// What a coroutine ends with.
pub(crate) type Outcome<T> = Result<T, ThreadFutureError>;

/// A done callback, which makes a future of the state that it is given and catches its own panic.
pub(crate) type Callback<T> = Box<dyn FnOnce(Arc<Shared<T>>) + Send>;

/// How far a coroutine has come.
pub(crate) enum Stage<T> {
    /// The coroutine has not ended.
    Pending,
    /// The coroutine has ended, and its result has not been taken.
    Done(Outcome<T>),
    /// The result has been taken, or was dropped because nobody could read it.
    Taken { was_cancelled: bool },
}

/// What the lock guards.
pub(crate) struct Inner<T> {
    pub(crate) stage: Stage<T>,
    /// The coroutine's task, once it has been created.
    pub(crate) task: Option<Key>,
    /// Set by a `cancel` that came before the end.
    pub(crate) cancel_requested: bool,
    /// Set by a `cancel` that came after the end: the failure, if it was one, is then not reported.
    pub(crate) failure_ignored: bool,
    /// How many futures there are, those of running callbacks included.
    pub(crate) futures: usize,
    /// The wakers of those who await the result.
    pub(crate) waiters: Waiters<Waker>,
    pub(crate) callbacks: Vec<Callback<T>>,
}

/// What all clones of a future and the loop's side share.
pub(crate) struct Shared<T> {
    inner: Mutex<Inner<T>>,
    /// Notified when the result is there.
    pub(crate) done: Condvar,
    pub(crate) remote: RemoteHandle,
}

impl<T> Shared<T> {
    pub(crate) fn new(remote: RemoteHandle) -> Self {
        Self {
            inner: Mutex::new(Inner {
                stage: Stage::Pending,
                task: None,
                cancel_requested: false,
                failure_ignored: false,
                futures: 0,
                waiters: Waiters::new(),
                callbacks: Vec::new(),
            }),
            done: Condvar::new(),
            remote,
        }
    }

    /// Locks the state. Returns `None` in a forked child whose copy of the lock is held for ever.
    ///
    /// In a forked child a coroutine that had not ended is marked as ended.
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, Inner<T>>> {
        if !self.remote.is_inherited() {
            return Some(held(self.inner.lock()));
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
    pub(crate) fn is_done(&self) -> bool {
        !matches!(self.stage, Stage::Pending)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        match &self.stage {
            Stage::Pending => false,
            Stage::Done(result) => matches!(result, Err(ThreadFutureError::Cancelled)),
            Stage::Taken { was_cancelled } => *was_cancelled,
        }
    }

    /// Moves the result out. Returns `None` while there is no result.
    pub(crate) fn take(&mut self) -> Option<Outcome<T>> {
        if !self.is_done() {
            return None;
        }
        let was_cancelled = self.is_cancelled();
        match std::mem::replace(&mut self.stage, Stage::Taken { was_cancelled }) {
            Stage::Done(result) => Some(result),
            Stage::Pending | Stage::Taken { .. } => Some(Err(ThreadFutureError::Taken)),
        }
    }
}

/// The obligation to give a result. It ends when a result is given or when this is dropped.
pub(crate) struct Delivery<T> {
    pub(crate) shared: Arc<Shared<T>>,
    given: bool,
}

impl<T> Delivery<T> {
    pub(crate) fn new(shared: Arc<Shared<T>>) -> Self {
        Self {
            shared,
            given: false,
        }
    }

    pub(crate) fn finish(mut self, result: Outcome<T>) {
        self.give(result);
    }

    /// Stores the result, wakes every waiter, then runs the callbacks.
    fn give(&mut self, result: Outcome<T>) {
        self.given = true;
        let mut woken = Vec::new();
        let (callbacks, unread) = {
            let Some(mut inner) = self.shared.lock() else {
                return;
            };
            let unread = if inner.futures == 0 {
                // The stage changes all the same: a cancel request may be on its way to the task's key, which is free now.
                let was_cancelled = matches!(result, Err(ThreadFutureError::Cancelled));
                inner.stage = Stage::Taken { was_cancelled };
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
            callback(Arc::clone(&self.shared));
        }
        if let Some(unread) = unread {
            drop_unread(unread);
        }
    }
}

impl<T> Drop for Delivery<T> {
    fn drop(&mut self) {
        if self.given {
            return;
        }
        self.give(Err(match self.shared.remote.is_closed() {
            true => ThreadFutureError::LoopClosed,
            false => ThreadFutureError::Cancelled,
        }));
    }
}

/// Drops a result that nobody has read. A panic of the coroutine is reported.
pub(crate) fn drop_unread<T>(result: Outcome<T>) {
    match result {
        Err(ThreadFutureError::Panicked(panicked)) => {
            report_panic("Exception of a coroutine was never retrieved", panicked);
        }
        other => discard(other),
    }
}

/// Drops a result, and reports a panic of its destructor.
pub(crate) fn discard<T>(result: Outcome<T>) {
    catch_panic("Exception in the destructor of a result", || drop(result));
}
