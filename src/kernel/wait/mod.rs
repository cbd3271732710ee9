//! Waiters, in order of arrival.
//!
//! [`waiters`] stores wakers or callbacks and never calls them. Its second to last waiters are in a [`numbered`] queue,
//! which each of them may leave at any time. [`list`] is built on it: the wait queue of locks, semaphores, queues and
//! whatever else tasks wait for. [`wait_kind`] names all that a task may wait for.

pub(crate) mod list;
mod numbered;
pub(crate) mod wait_kind;
pub(crate) mod waiters;
