//! Which core a thread runs on, so that two threads that are measured do not share one.

#[cfg(target_os = "linux")]
use std::sync::OnceLock;

/// The cores that this process may use, as they were at the first question: a thread inherits its parent's pin.
#[cfg(target_os = "linux")]
fn allowed_cores() -> &'static [usize] {
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    ALLOWED.get_or_init(|| {
        // SAFETY: a `cpu_set_t` is an array of integers, for which zero is a value: the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is valid, writable and of the size given; 0 is this thread. On failure the set stays empty.
        unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
        // SAFETY: CPU_ISSET reads a bit of `set`, within its length.
        (0..libc::CPU_SETSIZE as usize)
            .filter(|core| unsafe { libc::CPU_ISSET(*core, &set) })
            .collect()
    })
}

/// Keeps this thread on the `index`th of the cores that this process may use, if there are that many.
#[cfg(target_os = "linux")]
pub(crate) fn pin(index: usize) {
    let Some(core) = allowed_cores().get(index) else {
        return;
    };
    // SAFETY: as in `allowed_cores`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` came from such a set, so its bit is within the set's length.
    unsafe { libc::CPU_SET(*core, &mut set) };
    // SAFETY: `set` is valid and of the size given. A refusal leaves the thread where it was, which is no error here.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
}

/// Other systems have no way to say so, or another one.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_index: usize) {}
