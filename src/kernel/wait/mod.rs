//! Lists of waiters, in order of arrival.
//!
//! [`waiters`] is the list: it stores wakers or callbacks and never calls them. [`queue`] is built on it: a wait for a
//! condition, whose waiters are all woken whenever the condition may have changed. Primitives that grant something to
//! one waiter at a time have a list of their own, in `sync/wait_list`.

pub(crate) mod queue;
pub(crate) mod waiters;
