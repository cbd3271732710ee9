//! Parts of a task that are cancelled by themselves.
//!
//! Each of these futures holds another one in place, together with its node in the tree of the task that polls it (see
//! `kernel/cancel`), and decides what a cancellation does to what it holds.

mod catch;

pub use catch::catch_cancelled;
