//! The lock and the flag that the inbox is made of, and the count of forks, named in one place so that a model checker can take that place:
//! the loom test includes `inbox.rs` next to a `sync` module of its own, and the file under test is the file that
//! ships.

pub(super) use crate::sys::fork::generation as forks;
pub(super) use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
