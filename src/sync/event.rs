//! `Event`: a flag that tasks can wait for.
//!
//! Setting it calls everybody who waits. They have been let through by that, whatever becomes of the flag before they
//! run, so a set that is followed by a clear is a pulse.

use std::cell::Cell;
use std::fmt;
use std::future::Future;

use crate::sync::wait_list::{Acquire, Wait, WaitList};

/// A flag that tasks can wait for: asyncio's `Event`.
///
/// ```
/// use std::rc::Rc;
/// use callsoon::sync::Event;
///
/// # callsoon::run(async {
/// let ready = Rc::new(Event::new());
/// let waiter = callsoon::create_task({
///     let ready = Rc::clone(&ready);
///     async move { ready.wait().await }
/// });
/// callsoon::yield_now().await;
/// ready.set();
/// waiter.await.unwrap();
/// # }).unwrap();
/// ```
pub struct Event {
    set: Cell<bool>,
    waiters: WaitList,
}

impl Event {
    /// An event that is not set.
    ///
    /// ```
    /// assert!(!callsoon::sync::Event::new().is_set());
    /// ```
    pub const fn new() -> Self {
        Self {
            set: Cell::new(false),
            waiters: WaitList::new(),
        }
    }

    /// Sets the flag and wakes all who wait, in the order in which they came.
    ///
    /// ```
    /// let event = callsoon::sync::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn set(&self) {
        if !self.set.replace(true) {
            self.waiters.grant(usize::MAX);
        }
    }

    /// Clears the flag. Whoever a `set` has woken is let through all the same.
    ///
    /// ```
    /// let event = callsoon::sync::Event::new();
    /// event.set();
    /// event.clear();
    /// assert!(!event.is_set());
    /// ```
    pub fn clear(&self) {
        self.set.set(false);
    }

    /// Whether the flag is set.
    ///
    /// ```
    /// let event = callsoon::sync::Event::new();
    /// event.set();
    /// assert!(event.is_set());
    /// ```
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// Waits until the flag is set. If it is, this does not suspend.
    ///
    /// # Cancellation
    /// Dropped, it leaves the line.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let event = callsoon::sync::Event::new();
    /// event.set();
    /// event.wait().await;
    /// # }).unwrap();
    /// ```
    #[inline]
    pub fn wait(&self) -> impl Future<Output = ()> {
        Wait::new(self, ())
    }
}

impl Acquire for Event {
    type Amount = ();
    type Guard<'a> = ();

    fn wait_list(&self) -> &WaitList {
        &self.waiters
    }

    fn try_take(&self, (): ()) -> bool {
        self.set.get()
    }

    fn guard(&self, (): ()) {}

    /// All are called at once, so nobody has to be told.
    fn give_up(&self, (): (), _granted: bool) {}
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiters", &self.waiters.len())
            .finish_non_exhaustive()
    }
}
