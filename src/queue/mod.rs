//! Queues between tasks of one thread: first in first out, last in first out, smallest first.
//!
//! A queue is a plain value with `&self` methods. Keep it in an `Rc`, or borrow it. There is one kind of queue. The
//! order of its items is that of its [`QueueStore`]; in asyncio a subclass overrides methods for that.
//!
//! # Order of getters and putters
//! `put` suspends only if the queue is full, and `get` only if it is empty. The task is then queued. Otherwise they
//! never let other tasks run ([`yield_now`](crate::yield_now) lists which operations do).
//!
//! Nothing is given to a waiter while it waits. A waiting getter may take an item when there is one for it and for
//! every getter before it, so `get` never overtakes an earlier `get`. `get_nowait` and `put_nowait` succeed whenever
//! [`is_empty`](Queue::is_empty) and [`is_full`](Queue::is_full) allow it, as in asyncio. They may take the item that a
//! waiter was woken for; that waiter keeps its position.
//!
//! A future that is dropped while it waits holds no item, so no item is lost. The exception is the item that was passed
//! to `put`: it is dropped with the future.

mod base;
mod calls;
mod error;
#[cfg(feature = "futures")]
mod items;
mod ordered;
#[cfg(feature = "futures")]
mod owned_items;
mod store;
mod waits;

pub use base::Queue;
pub use error::{GetError, PutError, ShutDown, TooManyTasksDone};
#[cfg(feature = "futures")]
#[cfg_attr(docsrs, doc(cfg(feature = "futures")))]
pub use items::{Items, Puts};
pub use ordered::{LifoQueue, PriorityQueue};
#[cfg(feature = "futures")]
#[cfg_attr(docsrs, doc(cfg(feature = "futures")))]
pub use owned_items::OwnedItems;
pub use store::QueueStore;
