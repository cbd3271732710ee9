//! Processes that the loop has started: watched by descriptor, awaited by any number, never left as zombies.

pub(crate) mod child;

pub use child::{Process, spawn};
