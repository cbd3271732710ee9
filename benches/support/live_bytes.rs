//! An allocator that counts live bytes while it is told to, and the process's resident memory: for the `idle_task` row.
//!
//! It counts what was asked for, not what malloc rounds it to. While it is off it costs one predicted branch a call,
//! the same for every peer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

use super::rounds::Failure;

/// The system's allocator, counted.
pub(crate) struct LiveBytes;

/// Set for the whole of the one row that counts, in its own process.
static COUNTING: AtomicBool = AtomicBool::new(false);
/// Bytes allocated less bytes freed since counting began.
static LIVE: AtomicI64 = AtomicI64::new(0);

/// Begins to count.
pub(crate) fn start_counting() {
    COUNTING.store(true, Relaxed);
}

/// Bytes allocated less bytes freed since counting began.
pub(crate) fn live() -> i64 {
    LIVE.load(Relaxed)
}

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> Result<i64, Failure> {
    // SAFETY: `sysconf` takes a number and returns one.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: i64 = pages
        .split_whitespace()
        .nth(1)
        .ok_or("no resident pages in statm")?
        .parse()?;
    Ok(pages * page)
}

/// Adds `bytes` if anybody counts.
fn count(bytes: i64) {
    if COUNTING.load(Relaxed) {
        LIVE.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every method hands its arguments to `System` unchanged and returns what that gives; the counters allocate
// nothing and cannot unwind.
unsafe impl GlobalAlloc for LiveBytes {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: `block` came from `System` with this layout, by the caller's contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: `block` came from `System` with this layout, by the caller's contract.
        unsafe { System.realloc(block, layout, size) }
    }
}
