//! Forgetting things on purpose, where a leak checker does not take it for an accident.

use std::mem::ManuallyDrop;
use std::sync::Mutex;

/// Addresses of what was forgotten: what a static leads to has not leaked.
static LEAKED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// `mem::forget`, for all that the value can notice.
pub(crate) fn forget<T>(value: T) {
    let leaked = Box::into_raw(Box::new(ManuallyDrop::new(value)));
    LEAKED.lock().unwrap().push(leaked.expose_provenance());
}
