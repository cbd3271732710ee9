//! The lock, the flag and the count of forks that the inbox is made of. They are named in one place, so that a model
//! checker can replace them: the loom test includes `kernel/inbox.rs` beside a `sys::sync` of its own. The file under
//! test is the file that ships.

pub(crate) use super::fork::generation as forks;
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
