//! Leaks that are made on purpose, and that a leak checker does not report.

use std::mem::ManuallyDrop;
use std::sync::Mutex;

/// Addresses of the values that were forgotten. A leak checker does not report what a static points to.
static LEAKED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Forgets a value, as `mem::forget` does: its destructor does not run.
pub(crate) fn forget<T>(value: T) {
    let leaked = Box::into_raw(Box::new(ManuallyDrop::new(value)));
    LEAKED.lock().unwrap().push(leaked.expose_provenance());
}

/// Leaks a value, as `Box::leak` does.
pub(crate) fn leak<T>(value: T) -> &'static T {
    let leaked: &'static T = Box::leak(Box::new(value));
    LEAKED
        .lock()
        .unwrap()
        .push(std::ptr::from_ref(leaked).expose_provenance());
    leaked
}
