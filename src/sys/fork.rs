//! Whether this process is the one in which a loop was made.
//!
//! A forked child shares the poller's set, the notifier and the timer descriptor with its parent: a socket that the
//! child deregisters is deregistered for the parent too. So a loop stores the fork generation of its process, and a
//! child has another one. `pthread_atfork` counts in the child, before `fork` returns; reading the count costs one
//! load.
//!
//! A lock of the whole process is copied too. If another thread holds it during the fork, it stays locked in the child
//! for ever. So the few locks that a child's own loops need are taken before a fork and released in both processes.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a fork waits for a lock. It is held for a few instructions only, but by a thread that a busy machine may
/// not run for a while. The wait is limited because a thread that forks in a signal handler may hold the lock itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many forks lie between this process and the first one that called [`watch`]. It has a cache line of its own:
/// every post reads it, and beside data that another thread writes, each read would cost as much as the post.
static FORKS: Alone = Alone(AtomicU32::new(0));

#[repr(align(64))]
struct Alone(AtomicU32);

/// Called first in the child, by its only thread.
static HOOK: OnceLock<fn()> = OnceLock::new();

/// Returns the fork generation: how many forks this process has come from, since the first call of [`watch`].
pub(crate) fn generation() -> u32 {
    FORKS.0.load(Ordering::Relaxed)
}

/// Begins to count, and calls `hook` in every child from now on; only the first call counts. The hook runs in the
/// thread that forked, which is the child's only one, and must touch nothing but that thread's own memory.
pub(crate) fn watch(hook: fn()) {
    HOOK.get_or_init(|| {
        // What `child` does is allowed between fork and exec: it adds to an atomic, reads a lock that is written before
        // this call returns and never again, and calls a hook that keeps to its thread.
        at_fork(None, None, Some(child));
        hook
    });
}

/// Has functions called before each fork, after it in the parent, and after it in the child. What they do must be allowed
/// between fork and exec: no lock may be taken but by [`lock`], and no memory allocated. A failure (no memory) has the same
/// effect as not calling this.
pub(crate) fn at_fork(
    before: Option<extern "C" fn()>,
    parent: Option<extern "C" fn()>,
    child: Option<extern "C" fn()>,
) {
    let [before, parent, child] =
        [before, parent, child].map(|function| function.map(|function| function as _));
    // SAFETY: null functions are allowed and mean "none". The others are plain functions without arguments that live as
    // long as the process, and are safe to call from any thread.
    unsafe { libc::pthread_atfork(before, parent, child) };
}

/// Has `before` called in the thread that forks, and `after` in that thread and in its copy in the child. `before`
/// takes locks by [`lock`], and `after` releases them.
pub(crate) fn hold(before: extern "C" fn(), after: extern "C" fn()) {
    at_fork(Some(before), Some(after), Some(after));
}

/// Takes a lock for the time of a fork. Poison is ignored, as everywhere for these locks.
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

extern "C" fn child() {
    FORKS.0.fetch_add(1, Ordering::Relaxed);
    if let Some(hook) = HOOK.get() {
        hook();
    }
}
