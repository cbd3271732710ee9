//! What tasks of one loop share: locks, events, conditions, semaphores and barriers.
//!
//! A primitive is a plain value with `&self` methods: keep it in an `Rc`, or borrow it. It needs no loop to be made, and
//! its waiters may belong to any loop of the thread. Whatever can be had at once is had without suspending; everybody
//! else stands in one line, first come first served, and nobody who comes later passes those who wait.
//!
//! What can be had at once never lets other tasks run, however often it is had: [`yield_now`](crate::yield_now) lists which
//! operations do.
//!
//! There are no timeouts and no cancel methods: dropping the future that waits is how a wait ends early. It leaves the
//! line, and what it had been given in the same moment goes to the next one. Forgetting a future or a guard
//! (`mem::forget`) keeps what it held for ever, and does no other harm.

mod barrier;
mod condition;
mod event;
pub(crate) mod lock;
pub(crate) mod semaphore;
pub(crate) mod wait_list;

pub use barrier::{Barrier, BrokenBarrier};
pub use condition::Condition;
pub use event::Event;
pub use lock::{Lock, LockGuard, NotLocked};
pub use semaphore::{BoundedSemaphore, Semaphore, SemaphoreGuard, TooManyPermits};
