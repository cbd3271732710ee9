//! Whether this process is the one that a loop was made in.
//!
//! A forked child shares the poller's set, the wake-up descriptor and the alarm with its parent: taking a socket out of
//! the set there takes it out of the parent's. So a loop remembers how many forks its process had come from when it was
//! made, and a child finds another number. `pthread_atfork` counts, in the child and at once; asking costs one load.
//!
//! A lock of the whole process is copied as well, and where another thread holds it at that moment, nobody in the child
//! ever opens it. So the few that a child's own loops need are taken before a fork and given back on both sides.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a fork waits for a lock that is held for a few instructions only, by a thread that a busy machine may not run
/// for a while. It gives up for the sake of one that forks in a signal handler, and may hold the lock itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many forks lie between this process and the first one that watched. On a cache line of its own: every post looks at
/// it, and beside something that another thread writes, each look would cost as much as the post.
static FORKS: Alone = Alone(AtomicU32::new(0));

#[repr(align(64))]
struct Alone(AtomicU32);

/// What the child's one thread does first.
static HOOK: OnceLock<fn()> = OnceLock::new();

/// How many forks this process has come from, since the first call of [`watch`].
pub(crate) fn generation() -> u32 {
    FORKS.0.load(Ordering::Relaxed)
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

/// Has `before` called in the thread that forks, and `after` in that and in the child's, which is its copy: the one takes
/// what no other thread may be in the midst of, by [`lock`], and the other lets go of it.
#[cfg(unix)]
pub(crate) fn hold(before: extern "C" fn(), after: extern "C" fn()) {
    // SAFETY: the functions live as long as the process. What they do between fork and exec is to give back a lock that
    // this very thread has taken, which writes to an atomic. A failure is as in `watch`.
    unsafe {
        libc::pthread_atfork(Some(before), Some(after), Some(after));
    }
}

/// A lock for the time of a fork. Poison is ignored, as by all who take such locks.
#[cfg(unix)]
pub(crate) fn lock<T>(mutex: &'static Mutex<T>) -> Option<MutexGuard<'static, T>> {
    let begun = Instant::now();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => return None,
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    }
}

#[cfg(unix)]
extern "C" fn child() {
    FORKS.0.fetch_add(1, Ordering::Relaxed);
    if let Some(hook) = HOOK.get() {
        hook();
    }
}
