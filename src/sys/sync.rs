//! The lock, the atomics and the count of forks that the inbox is made of. They are named in one place, so that a model
//! checker can replace them: the loom test includes `kernel/inbox.rs` beside a `sys::sync` of its own. The file under
//! test is the file that ships.

pub(crate) use super::fork::generation as forks;
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Whether rules are checked that no type enforces: in debug builds, in the crate's unit tests, and wherever the build
/// says that it is sanitized.
pub(crate) const CHECKED: bool =
    cfg!(any(debug_assertions, test)) || option_env!("CALLSOON_SANITIZED").is_some();

/// Whether these are a model checker's, which exist in its models alone: unit tests of what uses them run without it.
#[cfg(test)]
pub(crate) const MODEL: bool = false;
