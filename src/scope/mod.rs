//! Parts of a task that are cancelled by themselves.
//!
//! Each of these futures holds an inner future pinned, together with its node in the tree of the task that polls it
//! (see `kernel/cancel`), and decides what a cancellation does to the inner future.

mod catch;

pub use catch::catch_cancelled;
