//! `Lock`: one holder at a time, and a FIFO queue of waiters.
//!
//! The lock holds the value that it protects, so the value cannot be reached without the lock. A guard borrows the
//! value by a `RefMut`. The check of that borrow never fails, because the state allows one guard at a time. A release
//! gives the lock to the first waiter at once: the lock is not free in between, so no other caller can take it.
//!
//! ```text
//!            1 acquire              2 leak
//!   Free ────────────────▶ Held ──────────────▶ Leaked
//!    ▲                     ▲  │                   │
//!    │ 3 nobody waits      │  │ 3 guard dropped   │ 3 release()
//!    ├─────────────────────┼──┴─────────┬─────────┘
//!    │                     │ 5          │ 3 somebody waits
//!    └──────────────────── Granted ◀────┘
//!      4 the waiter is dropped: 3 again
//! ```
//! 1 `try_take`; 2 `LockGuard::leak`; 3 and 4 `release_to_next`; 5 `guard`, when the waiter is polled.

use std::cell::{Cell, RefCell, RefMut};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};

use crate::kernel::note_wait::{HolderNote, address};
use crate::kernel::wait::list::WaitList;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::sync::acquire::{Acquire, Wait};

/// The states of a lock. While it is `Free`, the wait queue is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Free,
    /// Granted to a waiter that has not run yet.
    Granted,
    /// A guard exists, or was forgotten.
    Held,
    /// A guard was leaked; [`Lock::release`] ends this state.
    Leaked,
}

/// A lock that holds the value that it protects: asyncio's `Lock`.
///
/// [`acquire`](Self::acquire) returns a guard, and dropping the guard releases the lock. So `async with lock` becomes a
/// block that begins with a guard. Waiters are served in FIFO order. A lock that is released while tasks wait goes to
/// the first of them, not to the next caller. A panic while the lock is held releases it, like an exception in asyncio.
///
/// # Differences from asyncio
/// - The lock holds the value that it protects.
/// - A guard releases the lock. [`LockGuard::leak`] and [`release`](Self::release) are asyncio's bare calls.
///
/// ```
/// use std::rc::Rc;
/// use callsoon::sync::Lock;
///
/// # callsoon::run(async {
/// let lock = Rc::new(Lock::new(0));
/// let adders = [1, 2].map(|n| {
///     let lock = Rc::clone(&lock);
///     callsoon::create_task(async move {
///         let mut total = lock.acquire().await;
///         let before = *total;
///         callsoon::yield_now().await;
///         *total = before + n;
///     })
/// });
/// for adder in adders {
///     adder.await.unwrap();
/// }
/// assert_eq!(*lock.acquire().await, 3);
/// # }).unwrap();
/// ```
///
/// It cannot be sent to another thread:
///
/// ```compile_fail,E0277
/// let lock = callsoon::sync::Lock::new(());
/// std::thread::spawn(move || lock.locked());
/// ```
pub struct Lock<T = ()> {
    state: Cell<State>,
    holder: HolderNote,
    waiters: WaitList,
    value: RefCell<T>,
}

impl<T> Lock<T> {
    /// Creates a lock that is free.
    ///
    /// ```
    /// let lock = callsoon::sync::Lock::new(());
    /// assert!(!lock.locked());
    /// ```
    pub const fn new(value: T) -> Self {
        Self {
            state: Cell::new(State::Free),
            holder: HolderNote::new(),
            waiters: WaitList::new(),
            value: RefCell::new(value),
        }
    }

    /// Waits for the lock. If it is free, this does not suspend.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait. If the lock had been granted to it already, the next waiter gets it.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let lock = callsoon::sync::Lock::new(String::new());
    /// lock.acquire().await.push_str("mine alone");
    /// assert_eq!(lock.into_inner(), "mine alone");
    /// # }).unwrap();
    /// ```
    #[inline]
    pub fn acquire(&self) -> impl Future<Output = LockGuard<'_, T>> {
        Wait::new(self, ())
    }

    /// Takes the lock if it is free. It is not free while another task waits for it.
    ///
    /// ```
    /// let lock = callsoon::sync::Lock::new(());
    /// let guard = lock.try_acquire().unwrap();
    /// assert!(lock.try_acquire().is_none());
    /// # drop(guard);
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Option<LockGuard<'_, T>> {
        self.try_take(()).then(|| self.guard(()))
    }

    /// Returns whether the lock is held.
    ///
    /// As in asyncio, this is `false` between a release and the next step of the waiter that was granted the lock. To
    /// find out whether the lock is available, call [`try_acquire`](Self::try_acquire).
    ///
    /// ```
    /// let lock = callsoon::sync::Lock::new(());
    /// let guard = lock.try_acquire();
    /// assert!(lock.locked());
    /// # drop(guard);
    /// ```
    pub fn locked(&self) -> bool {
        matches!(self.state.get(), State::Held | State::Leaked)
    }

    /// Releases a lock whose guard was [leaked](LockGuard::leak): asyncio's bare `release`, for a lock that is acquired
    /// in one place and released in another. If the guard still exists, only the guard can release the lock.
    ///
    /// # Errors
    /// [`NotLocked`] if the lock is not held by a leaked guard. The lock is unchanged then.
    ///
    /// ```
    /// use callsoon::sync::{Lock, LockGuard, NotLocked};
    /// # callsoon::run(async {
    /// let lock = Lock::new(());
    /// LockGuard::leak(lock.acquire().await);
    /// assert!(lock.locked());
    /// assert_eq!(lock.release(), Ok(()));
    /// assert_eq!(lock.release(), Err(NotLocked));
    /// # }).unwrap();
    /// ```
    pub fn release(&self) -> Result<(), NotLocked> {
        if self.state.get() != State::Leaked {
            return Err(NotLocked);
        }
        self.release_to_next();
        Ok(())
    }

    /// The value.
    ///
    /// ```
    /// assert_eq!(callsoon::sync::Lock::new(7).into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    /// Returns the value without locking: the exclusive borrow proves that no guard exists.
    ///
    /// ```
    /// let mut lock = callsoon::sync::Lock::new(7);
    /// *lock.get_mut() += 1;
    /// assert_eq!(*lock.try_acquire().unwrap(), 8);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Grants the lock to the first waiter, or marks it as free.
    #[inline]
    fn release_to_next(&self) {
        self.holder.release(|| address(&self.waiters));
        match self.waiters.take_first() {
            Some(first) => {
                self.state.set(State::Granted);
                first.wake();
            }
            None => self.state.set(State::Free),
        }
    }
}

impl<T> Acquire for Lock<T> {
    const KIND: WaitKind = WaitKind::Lock;

    type Amount = ();
    type Guard<'a>
        = LockGuard<'a, T>
    where
        T: 'a;

    #[inline]
    fn wait_list(&self) -> &WaitList {
        &self.waiters
    }

    #[inline]
    fn try_take(&self, (): ()) -> bool {
        let free = self.state.get() == State::Free;
        if free {
            self.state.set(State::Held);
        }
        free
    }

    #[inline]
    fn guard(&self, (): ()) -> LockGuard<'_, T> {
        self.state.set(State::Held);
        self.holder.hold(|| address(&self.waiters));
        LockGuard {
            value: self.value.borrow_mut(),
            hold: Hold { lock: self },
        }
    }

    #[inline]
    fn give_up(&self, (): (), granted: bool) {
        if granted {
            self.release_to_next();
        }
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Lock<T> {
    /// Leaves the value out: its `Debug` is user code, which might try to take the lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("locked", &self.locked())
            .field("waiters", &self.waiters.len())
            .finish_non_exhaustive()
    }
}

/// Holds a [`Lock`] and gives access to its value. Dropping it releases the lock.
///
/// ```
/// # callsoon::run(async {
/// let lock = callsoon::sync::Lock::new(vec![1]);
/// let mut guard = lock.acquire().await;
/// guard.push(2);
/// drop(guard);
/// assert!(!lock.locked());
/// # }).unwrap();
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<'l, T = ()> {
    // Declared first, so that the borrow of the value ends before the lock is released.
    value: RefMut<'l, T>,
    hold: Hold<'l, T>,
}

/// Releases the lock when it is dropped.
struct Hold<'l, T> {
    lock: &'l Lock<T>,
}

impl<T> Drop for Hold<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.release_to_next();
    }
}

impl<'l, T> LockGuard<'l, T> {
    /// Ends the borrow of the value and keeps the lock locked until [`Lock::release`] is called.
    ///
    /// `mem::forget` would keep the value borrowed and the lock locked for ever.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # use callsoon::sync::{Lock, LockGuard};
    /// let lock = Lock::new(());
    /// LockGuard::leak(lock.acquire().await);
    /// assert!(lock.try_acquire().is_none());
    /// lock.release().unwrap();
    /// # }).unwrap();
    /// ```
    pub fn leak(guard: Self) {
        let Self { value, hold } = guard;
        drop(value);
        hold.lock.state.set(State::Leaked);
        std::mem::forget(hold);
    }

    /// Returns the lock that this guard holds.
    ///
    /// ```
    /// # callsoon::run(async {
    /// # use callsoon::sync::{Lock, LockGuard};
    /// let lock = Lock::new(());
    /// let guard = lock.acquire().await;
    /// assert!(std::ptr::eq(LockGuard::lock(&guard), &lock));
    /// # }).unwrap();
    /// ```
    pub fn lock(guard: &Self) -> &'l Lock<T> {
        guard.hold.lock
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockGuard").field(&*self.value).finish()
    }
}

/// The error of [`Lock::release`]: the lock is not held by a [leaked](LockGuard::leak) guard.
///
/// ```
/// let lock = callsoon::sync::Lock::new(());
/// assert_eq!(lock.release(), Err(callsoon::sync::NotLocked));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotLocked;

impl fmt::Display for NotLocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is not locked by a leaked guard")
    }
}

impl Error for NotLocked {}

#[cfg(test)]
mod tests {
    use std::mem::forget;

    use super::{Lock, LockGuard};
    use crate::kernel::inspection::holders_noted;
    use crate::{EventLoop, yield_now};

    #[test]
    fn the_note_of_a_holder_goes_with_its_lock_wherever_that_was_moved() {
        let event_loop = EventLoop::builder().inspect(true).build().unwrap();
        let main = event_loop.create_task(async {
            let dropped_in_place = Box::new(Lock::new(1));
            forget(dropped_in_place.acquire().await);
            let moved = Lock::new(2);
            LockGuard::leak(moved.acquire().await);
            let (others, unwrapped) = (Lock::new(3), Lock::new(4));
            let guard = others.acquire().await;
            forget(unwrapped.acquire().await);
            assert_eq!(holders_noted(), 4);
            drop(dropped_in_place);
            assert_eq!(holders_noted(), 3);
            let moved = Box::new(moved);
            yield_now().await;
            moved.release().unwrap();
            assert_eq!(holders_noted(), 2);
            assert_eq!(unwrapped.into_inner(), 4);
            assert_eq!(holders_noted(), 1);
            drop(guard);
            assert_eq!(holders_noted(), 0);
        });
        event_loop.run_until_complete(main).unwrap().unwrap();
    }
}
