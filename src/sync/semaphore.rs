//! `Semaphore` and `BoundedSemaphore`: a limited number of permits.
//!
//! A permit that is released while tasks wait goes to the first waiter at once. So the permits that `available_permits`
//! counts are free for any caller. A waiter for many permits is not overtaken by later callers that want few. The count
//! never wraps: a release beyond the limit is refused. A guard's destructor cannot report an error, so it drops the
//! surplus.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::ops::Deref;

use crate::kernel::wait::list::WaitList;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::sync::acquire::{Acquire, Wait};

/// A counting semaphore: asyncio's `Semaphore`.
///
/// # Differences from asyncio
/// - [`acquire`](Self::acquire) returns a guard, which gives the permit back when it is dropped.
///   [`SemaphoreGuard::leak`] and [`release`](Self::release) are asyncio's bare calls.
/// - [`acquire_many`](Self::acquire_many) and [`add_permits`](Self::add_permits) have no counterpart.
///
/// ```
/// use std::rc::Rc;
/// use callsoon::sync::Semaphore;
///
/// # callsoon::run(async {
/// let two_at_a_time = Rc::new(Semaphore::new(2));
/// let downloads: Vec<_> = (0..5)
///     .map(|_| {
///         let semaphore = Rc::clone(&two_at_a_time);
///         callsoon::create_task(async move {
///             let _permit = semaphore.acquire().await;
///             callsoon::yield_now().await;
///         })
///     })
///     .collect();
/// for download in downloads {
///     download.await.unwrap();
/// }
/// assert_eq!(two_at_a_time.available_permits(), 2);
/// # }).unwrap();
/// ```
pub struct Semaphore {
    permits: Cell<usize>,
    /// The limit of free permits.
    limit: usize,
    /// The waiters, each with the number of permits that it wants. The first one wants more than are free.
    waiters: WaitList<usize>,
}

impl Semaphore {
    /// Creates a semaphore with `permits` permits. With 0, every caller waits for a [`release`](Self::release).
    ///
    /// ```
    /// assert_eq!(callsoon::sync::Semaphore::new(3).available_permits(), 3);
    /// ```
    pub const fn new(permits: usize) -> Self {
        Self::limited(permits, usize::MAX)
    }

    const fn limited(permits: usize, limit: usize) -> Self {
        Self {
            permits: Cell::new(permits),
            limit,
            waiters: WaitList::new(),
        }
    }

    /// Waits for a permit. If one is free and no task waits, this does not suspend.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait. A permit that had been granted to it goes to the next waiter.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let semaphore = callsoon::sync::Semaphore::new(1);
    /// let permit = semaphore.acquire().await;
    /// assert!(semaphore.locked());
    /// drop(permit);
    /// assert!(!semaphore.locked());
    /// # }).unwrap();
    /// ```
    #[inline]
    pub fn acquire(&self) -> impl Future<Output = SemaphoreGuard<'_>> {
        Wait::new(self, 1)
    }

    /// Waits until `n` permits are free at the same time. Later callers wait behind it, even if they want fewer. `n ==
    /// 0` succeeds at once.
    ///
    /// # Panics
    /// If `n` is more than the limit of a [`BoundedSemaphore`].
    ///
    /// # Cancellation
    /// As with [`acquire`](Self::acquire).
    ///
    /// ```
    /// # callsoon::run(async {
    /// let semaphore = callsoon::sync::Semaphore::new(3);
    /// let permits = semaphore.acquire_many(3).await;
    /// assert_eq!(semaphore.available_permits(), 0);
    /// # drop(permits);
    /// # }).unwrap();
    /// ```
    pub fn acquire_many(&self, n: usize) -> impl Future<Output = SemaphoreGuard<'_>> {
        assert!(
            n <= self.limit,
            "{n} permits are more than this semaphore can ever have: {}",
            self.limit
        );
        Wait::new(self, n)
    }

    /// Takes a permit if one is free and no task waits.
    ///
    /// ```
    /// let semaphore = callsoon::sync::Semaphore::new(1);
    /// let permit = semaphore.try_acquire().unwrap();
    /// assert!(semaphore.try_acquire().is_none());
    /// # drop(permit);
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Option<SemaphoreGuard<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits if they are free and no task waits.
    ///
    /// ```
    /// let semaphore = callsoon::sync::Semaphore::new(3);
    /// assert!(semaphore.try_acquire_many(4).is_none());
    /// assert!(semaphore.try_acquire_many(3).is_some());
    /// ```
    #[inline]
    pub fn try_acquire_many(&self, n: usize) -> Option<SemaphoreGuard<'_>> {
        self.try_take(n).then(|| self.guard(n))
    }

    /// Adds one permit. It may be one that was [leaked](SemaphoreGuard::leak), or a new one.
    ///
    /// # Errors
    /// [`TooManyPermits`] if the semaphore is at its limit: `usize::MAX` permits, or the initial number of a
    /// [`BoundedSemaphore`]. The permit is not added then.
    ///
    /// ```
    /// let semaphore = callsoon::sync::Semaphore::new(0);
    /// semaphore.release().unwrap();
    /// assert_eq!(semaphore.available_permits(), 1);
    /// ```
    #[inline]
    pub fn release(&self) -> Result<(), TooManyPermits> {
        self.add_permits(1)
    }

    /// Adds `n` permits at once, and wakes every waiter for which there is enough then.
    ///
    /// # Errors
    /// [`TooManyPermits`] if that would exceed the limit of [`release`](Self::release). No permit is added then.
    ///
    /// ```
    /// let semaphore = callsoon::sync::Semaphore::new(1);
    /// semaphore.add_permits(2).unwrap();
    /// assert_eq!(semaphore.available_permits(), 3);
    /// assert!(semaphore.add_permits(usize::MAX).is_err());
    /// ```
    #[inline]
    pub fn add_permits(&self, n: usize) -> Result<(), TooManyPermits> {
        if n > self.limit - self.permits.get() {
            return Err(TooManyPermits);
        }
        self.permits.set(self.permits.get() + n);
        self.grant_waiters();
        Ok(())
    }

    /// Returns the number of free permits.
    ///
    /// ```
    /// assert_eq!(callsoon::sync::Semaphore::new(usize::MAX).available_permits(), usize::MAX);
    /// ```
    pub fn available_permits(&self) -> usize {
        self.permits.get()
    }

    /// Returns whether [`acquire`](Self::acquire) would wait: no permit is free, or a task waits for more permits than
    /// are free.
    ///
    /// ```
    /// assert!(callsoon::sync::Semaphore::new(0).locked());
    /// ```
    pub fn locked(&self) -> bool {
        self.permits.get() == 0 || !self.waiters.is_empty()
    }

    /// Takes back the permits of a guard.
    #[inline]
    fn restore(&self, n: usize) {
        let room = self.limit - self.permits.get();
        self.permits.set(self.permits.get() + n.min(room));
        self.grant_waiters();
    }

    /// Grants the first waiters their permits while there are enough.
    #[inline]
    fn grant_waiters(&self) {
        while let Some((n, first)) = self.waiters.take_first_if(|n| n <= self.permits.get()) {
            self.permits.set(self.permits.get() - n);
            first.wake();
        }
    }
}

impl Acquire for Semaphore {
    const KIND: WaitKind = WaitKind::Semaphore;

    type Amount = usize;
    type Guard<'a> = SemaphoreGuard<'a>;

    #[inline]
    fn wait_list(&self) -> &WaitList<usize> {
        &self.waiters
    }

    #[inline]
    fn try_take(&self, n: usize) -> bool {
        let free = self.permits.get();
        let enters = n <= free && (n == 0 || self.waiters.is_empty());
        if enters {
            self.permits.set(free - n);
        }
        enters
    }

    #[inline]
    fn guard(&self, permits: usize) -> SemaphoreGuard<'_> {
        SemaphoreGuard {
            semaphore: self,
            permits,
        }
    }

    fn give_up(&self, n: usize, granted: bool) {
        self.restore(if granted { n } else { 0 });
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("locked", &self.locked())
            .field("permits", &self.available_permits())
            .field("waiters", &self.waiters.len())
            .finish_non_exhaustive()
    }
}

/// Holds permits of a [`Semaphore`]. Dropping it gives them back.
///
/// ```
/// # callsoon::run(async {
/// let semaphore = callsoon::sync::Semaphore::new(1);
/// {
///     let _permit = semaphore.acquire().await;
/// }
/// assert_eq!(semaphore.available_permits(), 1);
/// # }).unwrap();
/// ```
#[must_use = "the permits are given back when the guard is dropped"]
pub struct SemaphoreGuard<'s> {
    semaphore: &'s Semaphore,
    permits: usize,
}

impl SemaphoreGuard<'_> {
    /// Returns the number of permits that this guard holds.
    ///
    /// ```
    /// let semaphore = callsoon::sync::Semaphore::new(3);
    /// assert_eq!(semaphore.try_acquire_many(2).unwrap().permits(), 2);
    /// ```
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// Keeps the permits until [`Semaphore::release`] or [`Semaphore::add_permits`] is called: asyncio's bare
    /// `acquire`, for permits that are acquired in one place and released in another.
    ///
    /// ```
    /// use callsoon::sync::{Semaphore, SemaphoreGuard};
    /// let semaphore = Semaphore::new(1);
    /// SemaphoreGuard::leak(semaphore.try_acquire().unwrap());
    /// assert!(semaphore.locked());
    /// semaphore.release().unwrap();
    /// ```
    pub fn leak(guard: Self) {
        std::mem::forget(guard);
    }
}

impl Drop for SemaphoreGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.restore(self.permits);
    }
}

impl fmt::Debug for SemaphoreGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphoreGuard")
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}

/// A [`Semaphore`] that never has more permits than it began with: asyncio's `BoundedSemaphore`. Releasing more than
/// was acquired is an error, [`TooManyPermits`]. It has all methods of [`Semaphore`].
///
/// ```
/// use callsoon::sync::{BoundedSemaphore, TooManyPermits};
/// # callsoon::run(async {
/// let semaphore = BoundedSemaphore::new(1);
/// drop(semaphore.acquire().await);
/// assert_eq!(semaphore.release(), Err(TooManyPermits));
/// # }).unwrap();
/// ```
pub struct BoundedSemaphore {
    semaphore: Semaphore,
}

impl BoundedSemaphore {
    /// Creates a semaphore with `permits` permits, which is also its limit.
    ///
    /// ```
    /// assert_eq!(callsoon::sync::BoundedSemaphore::new(3).available_permits(), 3);
    /// ```
    pub const fn new(permits: usize) -> Self {
        Self {
            semaphore: Semaphore::limited(permits, permits),
        }
    }
}

impl Deref for BoundedSemaphore {
    type Target = Semaphore;

    #[inline]
    fn deref(&self) -> &Semaphore {
        &self.semaphore
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedSemaphore")
            .field("locked", &self.locked())
            .field("permits", &self.available_permits())
            .field("limit", &self.semaphore.limit)
            .field("waiters", &self.semaphore.waiters.len())
            .finish_non_exhaustive()
    }
}

/// The error of a release that would exceed the semaphore's limit.
///
/// ```
/// let semaphore = callsoon::sync::Semaphore::new(usize::MAX);
/// assert_eq!(semaphore.release(), Err(callsoon::sync::TooManyPermits));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyPermits;

impl fmt::Display for TooManyPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was released too many times")
    }
}

impl Error for TooManyPermits {}
