//! The audit that ends every test: no descriptor, thread or process is left.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Patience;
use super::descendants::{descendants, has_children, work_of_children};

/// Held by each test, so that tests run one after another: descriptors belong to the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Keeps every audited test from running until it is dropped. For code that opens descriptors outside an audit.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test in a thread of its own and fails it if, afterwards, descriptors are open that were not before, or
/// threads live that it started, or processes do, its children's children among them. A pending task lives in a loop,
/// and a loop has three descriptors. The fresh thread has no loop, no leftovers in its thread-locals, and its name is
/// inherited by every thread that it starts, which is how those are found.
pub(crate) fn audited(test: impl FnOnce() + Send + 'static) {
    audited_box(Box::new(test));
}

/// One function for all tests, because starting a thread is much code to compile a thousand times.
fn audited_box(test: Box<dyn FnOnce() + Send>) {
    static SERIAL: AtomicUsize = AtomicUsize::new(0);
    let _alone = alone();
    super::quiet_panics();
    let name = format!("audit-{}", SERIAL.fetch_add(1, Ordering::Relaxed));
    // Descriptors that the process opens once for all, the registry's among them, are not a test's.
    let before = open_fds();
    let (others, worked) = (descendants(), work_of_children());
    let tested = std::thread::Builder::new()
        .name(name.clone())
        .spawn(test)
        .unwrap()
        .join();
    if let Err(panic) = tested {
        resume_unwind(panic);
    }
    // A joined thread may still be in the process table for a moment. One that is not joined may have ended the test's
    // wait before it closes its descriptors, as a resolver thread does when it has woken its loop.
    let mut patience = Patience::new();
    while threads(|comm| comm == name || comm.starts_with("callsoon-dns")) > 0 {
        assert!(patience.lets_others_run(), "threads left running");
    }
    if has_children() || work_of_children() != worked {
        wait_for_descendants(&others);
    }
    let left: Vec<_> = open_fds().difference(&before).cloned().collect();
    assert!(left.is_empty(), "descriptors left open: {left:?}");
}

/// Waits for the processes that were started since `others` was noted. All of them are about to end.
fn wait_for_descendants(others: &BTreeMap<u32, String>) {
    let mut patience = Patience::new();
    loop {
        let mut left = descendants();
        left.retain(|pid, _| !others.contains_key(pid));
        if left.is_empty() {
            return;
        }
        assert!(
            patience.lets_others_run(),
            "processes left running: {left:?}"
        );
    }
}

/// Returns how many descriptors the process has open.
pub(crate) fn counted_fds() -> usize {
    open_fds().len()
}

/// Returns `number -> file`, so that a number that was closed and opened again as another file is noticed.
fn open_fds() -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            let target = target.display().to_string();
            // The directory that is being read is itself a descriptor.
            (!target.ends_with("/fd"))
                .then(|| format!("{} {target}", entry.file_name().to_string_lossy()))
        })
        .collect()
}

fn threads(counts: impl Fn(&str) -> bool) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| {
            std::fs::read_to_string(entry.path().join("comm"))
                .is_ok_and(|comm| counts(comm.trim_end()))
        })
        .count()
}
