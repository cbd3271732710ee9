//! Synchronisation between the tasks of one thread: locks, events, conditions, semaphores and barriers.
//!
//! A primitive is a plain value with `&self` methods. Keep it in an `Rc`, or borrow it. It is made without a loop, and
//! its waiters may belong to any loop of the thread. An operation that can succeed at once does not suspend. Other
//! callers wait in one FIFO queue, and a later caller never overtakes a waiter.
//!
//! An operation that succeeds at once never lets other tasks run, no matter how often it is called.
//! [`yield_now`](crate::yield_now) lists these operations.
//!
//! No method takes a timeout, and none cancels a wait: to end a wait early, drop its future. The waiter then leaves the
//! queue, and anything that was granted to it in the same moment goes to the next waiter. Forgetting a future or a
//! guard (`mem::forget`) keeps what it held for ever, and does no other harm.

pub(crate) mod acquire;
mod barrier;
mod condition;
mod event;
pub(crate) mod lock;
pub(crate) mod semaphore;

pub use barrier::{Barrier, BrokenBarrier};
pub use condition::Condition;
pub use event::Event;
pub use lock::{Lock, LockGuard, NotLocked};
pub use semaphore::{BoundedSemaphore, Semaphore, SemaphoreGuard, TooManyPermits};
