//! Waiting for tasks without being what a cancellation follows.
//!
//! Awaiting a [`Task`](crate::Task) says: this is part of what I do. What stands here says less. [`wait`] and
//! [`as_completed`] look at tasks from outside, and [`shield`] awaits one from behind a wall: whatever becomes of
//! whoever waits, a task that was waited for runs on. Giving up costs nothing either: no result is read here on the
//! caller's behalf, so none can be lost.
//!
//! A task tells of its end by itself, once: waiting for n tasks costs n steps altogether, however often anybody is
//! woken. Who waits for many tasks is [`Watch`](watch::Watch)'s business.

mod as_completed;
mod shield;
mod wait;
pub(crate) mod watch;

pub use as_completed::{AsCompleted, as_completed};
pub use shield::{Shield, shield};
pub use wait::{ReturnWhen, wait};
