//! Whether this process is the one that a loop was made in.
//!
//! A forked child shares the poller's set, the wake-up descriptor and the alarm with its parent: taking a socket out of
//! the set there takes it out of the parent's. So a loop remembers how many forks its process had come from when it was
//! made, and a child finds another number. `pthread_atfork` counts, in the child and at once; asking costs one load.

#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many forks lie between this process and the first one that watched.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// What the child's one thread does first.
static HOOK: OnceLock<fn()> = OnceLock::new();

/// How many forks this process has come from, since the first call of [`watch`].
pub(crate) fn generation() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Begins to count, and calls `hook` in every child from now on; only the first call counts. The hook runs in the thread
/// that forked, which is the child's only one, and must touch nothing but that thread's own memory.
pub(crate) fn watch(hook: fn()) {
    HOOK.get_or_init(|| {
        #[cfg(unix)]
        // SAFETY: the two null handlers are allowed and mean "none". `child` is a plain function that lives as long as the
        // process, and what it does is allowed between fork and exec: it adds to an atomic, reads a lock that is written
        // before this call returns and never again, and calls a hook that keeps to its thread. A failure (no memory) is
        // as if nobody watched, which is how things stand without this call.
        unsafe {
            libc::pthread_atfork(None, None, Some(child));
        }
        hook
    });
}

#[cfg(unix)]
extern "C" fn child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    if let Some(hook) = HOOK.get() {
        hook();
    }
}
