//! `Event`: a flag that tasks can wait for.
//!
//! Setting the flag grants all waiters. They stay granted even if the flag is cleared before they run, so `set`
//! followed by `clear` is a pulse.

use std::cell::Cell;
use std::fmt;
use std::future::Future;

use crate::kernel::wait::list::WaitList;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::sync::acquire::{Acquire, Wait};

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
    /// Creates an event that is not set.
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

    /// Sets the flag and wakes all waiters, in FIFO order.
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

    /// Clears the flag. A waiter that was woken by [`set`](Self::set) still returns.
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

    /// Returns whether the flag is set.
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
    /// Dropping the future ends the wait.
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
    const KIND: WaitKind = WaitKind::Event;

    type Amount = ();
    type Guard<'a> = ();

    fn wait_list(&self) -> &WaitList {
        &self.waiters
    }

    fn try_take(&self, (): ()) -> bool {
        self.set.get()
    }

    fn guard(&self, (): ()) {}
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
