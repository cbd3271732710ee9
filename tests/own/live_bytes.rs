//! An allocator that counts the live bytes and their maximum, for programs that have one test.
//!
//! The thread of `main` is not counted: there the test harness keeps its records of a test that has begun, at a time that the
//! scheduler chooses, while the test runs on a thread of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Far from zero, since a thread may free what that of `main` has allocated.
const BEGINNING: usize = 1 << 40;

/// Bytes allocated and not freed, and [`BEGINNING`].
pub(crate) static LIVE: AtomicUsize = AtomicUsize::new(BEGINNING);

/// The maximum since it was reset.
pub(crate) static MOST: AtomicUsize = AtomicUsize::new(BEGINNING);

/// Calls that allocate.
pub(crate) static CALLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is counted, once it is known.
    static COUNTED: Cell<Option<bool>> = const { Cell::new(None) };
}

fn is_counted() -> bool {
    COUNTED.get().unwrap_or_else(|| {
        // SAFETY: both calls take nothing and always succeed.
        let counted = unsafe { libc::gettid() != libc::getpid() };
        COUNTED.set(Some(counted));
        counted
    })
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes on to the system's allocator with the arguments it came with, so its contract is kept by that
// one; counting does not allocate, since the thread's variable needs no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_counted() {
            let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
            MOST.fetch_max(live, Ordering::Relaxed);
            CALLS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`, which is the same there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_counted() {
            LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the block came from `alloc` above with this layout, hence from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}
