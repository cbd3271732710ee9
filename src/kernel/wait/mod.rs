//! Waiting for one thing, first come first served.
//!
//! [`waiters`] is the list: it stores who waits and runs no code of theirs. [`queue`] is a wait on top of it whose waiters
//! are all woken whenever a condition may have changed. Primitives that hand something to one waiter at a time have a
//! list of their own, in `sync/wait_list`.

pub(crate) mod queue;
pub(crate) mod waiters;
