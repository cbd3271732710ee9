//! Queues between the tasks of one loop: first in first out, last in first out, smallest first.
//!
//! A queue is a plain value with `&self` methods: keep it in an `Rc`, or borrow it. There is one kind of queue, with the
//! order of its items left to a [`QueueStore`], which is where asyncio has methods to be overridden.
//!
//! # Who gets what
//! `put` and `get` suspend only when the queue is full or empty, and then stand in line; else they never let other tasks
//! run ([`yield_now`](crate::yield_now) lists which operations do). Nothing is handed to a waiter
//! while it waits: somebody who stands in line may take an item as soon as there is one for it and for everybody before
//! it, so `get` never passes another `get` that came earlier. `get_nowait` and `put_nowait` help themselves whenever
//! [`is_empty`](Queue::is_empty) and [`is_full`](Queue::is_full) say that they can, as in asyncio; a waiter that finds
//! its item gone keeps its place. A future that is dropped while it waits has nothing that could be lost, except the
//! item that a `put` was given, which is dropped with it.

mod base;
mod calls;
mod error;
mod ordered;
mod store;
mod waits;

pub use base::Queue;
pub use error::{GetError, PutError, ShutDown, TooManyTasksDone};
pub use ordered::{LifoQueue, PriorityQueue};
pub use store::QueueStore;
