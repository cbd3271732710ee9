//! Forgetting things on purpose, where a leak checker does not take it for an accident.

use std::mem::ManuallyDrop;
use std::sync::Mutex;

/// Addresses of what was forgotten: what a static leads to has not leaked.
static GRAVES: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// `mem::forget`, for all that the value can notice.
pub(crate) fn forget<T>(value: T) {
    let grave = Box::into_raw(Box::new(ManuallyDrop::new(value)));
    GRAVES.lock().unwrap().push(grave.expose_provenance());
}
