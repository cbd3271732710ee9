//! Lists of waiters, in order of arrival.
//!
//! [`waiters`] is the list: it stores wakers or callbacks and never calls them. Its second to last waiters are in a
//! [`numbered`] queue, which each of them may leave at any time. [`queue`] is built on the list: a wait for a condition,
//! whose waiters are all woken whenever the condition may have changed. Primitives that grant something to one waiter at
//! a time have a list of their own, in `sync/wait_list`.

mod numbered;
pub(crate) mod queue;
pub(crate) mod waiters;
