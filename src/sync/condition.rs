//! `Condition`: waiting for a change of the value that a lock protects.
//!
//! The condition does not own the lock. A waiter passes its guard in and gets a guard of the same lock back. So waiting
//! without the lock cannot be written, and any number of conditions can share one lock.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;

use crate::kernel::wait::list::WaitList;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::sync::acquire::{Acquire, Wait};
use crate::sync::lock::LockGuard;

/// Lets tasks wait until another task changes the value that a [`Lock`](crate::sync::Lock) protects: asyncio's
/// `Condition`.
///
/// # Differences from asyncio
/// - The condition does not own its lock. [`wait`](Self::wait) takes a guard and returns a guard of the same lock, and
///   any number of conditions can share one lock.
/// - [`notify`](Self::notify) does not need the lock, where asyncio raises `RuntimeError`. asyncio asks for it because
///   a waiter that checks its predicate without the lock may miss the notification. Here the guard is given up in the
///   step in which the waiter is queued, so nothing can come in between. And a callback, which cannot wait for a lock,
///   can notify.
/// - A waiter that is cancelled does not hold the lock afterwards, where asyncio takes it again first. To cancel is to
///   drop, and a destructor cannot wait.
///
/// ```
/// use std::rc::Rc;
/// use callsoon::sync::{Condition, Lock};
///
/// # callsoon::run(async {
/// let shelf = Rc::new((Lock::new(0), Condition::new()));
/// let customer = callsoon::create_task({
///     let shelf = Rc::clone(&shelf);
///     async move {
///         let (loaves, baked) = &*shelf;
///         let mut loaves = baked.wait_for(loaves.acquire().await, |loaves| *loaves >= 2).await;
///         *loaves -= 2;
///     }
/// });
/// let (loaves, baked) = &*shelf;
/// for _ in 0..3 {
///     *loaves.acquire().await += 1;
///     baked.notify_all();
///     callsoon::yield_now().await;
/// }
/// customer.await.unwrap();
/// assert_eq!(*loaves.acquire().await, 1);
/// # }).unwrap();
/// ```
pub struct Condition {
    waiters: WaitList,
}

impl Condition {
    /// Creates a condition without waiters.
    ///
    /// ```
    /// let condition = callsoon::sync::Condition::new();
    /// condition.notify(1);
    /// ```
    pub const fn new() -> Self {
        Self {
            waiters: WaitList::new(),
        }
    }

    /// Releases the lock, waits to be notified, and acquires the lock again.
    ///
    /// A notification does not mean that the predicate holds: another task may have taken the lock first and changed
    /// the value. Check again, or use [`wait_for`](Self::wait_for).
    ///
    /// # Cancellation
    /// Dropping the future ends the wait without the lock. If it had been notified, the next waiter is notified
    /// instead.
    ///
    /// ```
    /// use callsoon::sync::{Condition, Lock};
    /// # callsoon::run(async {
    /// let (lock, condition) = (Lock::new(5), Condition::new());
    /// let guard = lock.acquire().await;
    /// # let lock = &lock;
    /// let notify = async {
    ///     *lock.acquire().await += 1;
    ///     condition.notify(1);
    /// };
    /// # use std::future::{Future, poll_fn};
    /// # let (mut wait, mut notify) = (Box::pin(condition.wait(guard)), Box::pin(notify));
    /// # poll_fn(|context| { assert!(wait.as_mut().poll(context).is_pending()); notify.as_mut().poll(context) }).await;
    /// # /* The two run at the same time:
    /// let (guard, ()) = join!(condition.wait(guard), notify);
    /// # */ let guard = wait.await;
    /// assert_eq!(*guard, 6);
    /// # }).unwrap();
    /// ```
    pub async fn wait<'l, T>(&self, guard: LockGuard<'l, T>) -> LockGuard<'l, T> {
        let lock = LockGuard::lock(&guard);
        let mut guard = Some(guard);
        let mut notified = pin!(Wait::new(self, ()));
        poll_fn(|context| {
            let polled = notified.as_mut().poll(context);
            // The waiter is queued now, so no later notification is missed.
            drop(guard.take());
            polled
        })
        .await;
        let notification = Notification { condition: self };
        let guard = lock.acquire().await;
        std::mem::forget(notification);
        guard
    }

    /// Waits until `predicate` holds for the value. The predicate is called under the lock; the first call comes before
    /// any wait.
    ///
    /// # Cancellation
    /// As for [`wait`](Self::wait).
    ///
    /// ```
    /// use callsoon::sync::{Condition, Lock};
    /// # callsoon::run(async {
    /// let (lock, condition) = (Lock::new(5), Condition::new());
    /// let guard = condition.wait_for(lock.acquire().await, |value| *value == 5).await;
    /// assert_eq!(*guard, 5);
    /// # }).unwrap();
    /// ```
    pub async fn wait_for<'l, T>(
        &self,
        mut guard: LockGuard<'l, T>,
        mut predicate: impl FnMut(&mut T) -> bool,
    ) -> LockGuard<'l, T> {
        let mut notification = None;
        loop {
            let holds = predicate(&mut guard);
            // Not reached if the predicate panics. The notification then goes to the next waiter.
            std::mem::forget(notification.take());
            if holds {
                return guard;
            }
            guard = self.wait(guard).await;
            notification = Some(Notification { condition: self });
        }
    }

    /// Wakes the first `n` waiters, or all if there are fewer. Each of them continues when it has acquired the lock.
    /// The caller neither needs nor releases the lock.
    ///
    /// ```
    /// let condition = callsoon::sync::Condition::new();
    /// condition.notify(2);
    /// ```
    pub fn notify(&self, n: usize) {
        self.waiters.grant(n);
    }

    /// Wakes all waiters.
    ///
    /// ```
    /// let condition = callsoon::sync::Condition::new();
    /// condition.notify_all();
    /// ```
    pub fn notify_all(&self) {
        self.waiters.grant(usize::MAX);
    }
}

/// A notification whose receiver still waits for the lock. If it is dropped, the next waiter is notified.
struct Notification<'c> {
    condition: &'c Condition,
}

impl Drop for Notification<'_> {
    fn drop(&mut self) {
        self.condition.notify(1);
    }
}

impl Acquire for Condition {
    const KIND: WaitKind = WaitKind::Condition;

    type Amount = ();
    type Guard<'a> = ();

    fn wait_list(&self) -> &WaitList {
        &self.waiters
    }

    /// Always fails: only a later notification ends the wait.
    fn try_take(&self, (): ()) -> bool {
        false
    }

    fn guard(&self, (): ()) {}

    fn give_up(&self, (): (), granted: bool) {
        if granted {
            self.notify(1);
        }
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("waiters", &self.waiters.len())
            .finish_non_exhaustive()
    }
}
