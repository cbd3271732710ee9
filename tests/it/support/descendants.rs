//! Processes that a test has started, and those that they have started in their turn, also after their parents have
//! ended.
//!
//! They are known by a mark that a process passes on to whatever it starts and that changes nothing: the soft limit of
//! the time that a thread under real-time scheduling may take without a pause, which is set to about 36 years and the
//! number of this process. The system shows it in `/proc`.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// In microseconds, which is the limit's unit.
const YEARS: u64 = 1 << 50;

/// Returns this process's mark, or `None` where a process cannot be marked.
fn mark() -> Option<u64> {
    static MARK: OnceLock<Option<u64>> = OnceLock::new();
    *MARK.get_or_init(set_mark)
}

#[cfg(target_os = "linux")]
fn set_mark() -> Option<u64> {
    let mark = YEARS + u64::from(std::process::id());
    // SAFETY: all zeros is a valid rlimit; both calls take a number and a pointer to one that outlives them.
    let marked = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_RTTIME, &mut limit) == 0 && {
            limit.rlim_cur = mark;
            limit.rlim_max >= mark && libc::setrlimit(libc::RLIMIT_RTTIME, &limit) == 0
        }
    };
    marked.then_some(mark)
}

#[cfg(not(target_os = "linux"))]
fn set_mark() -> Option<u64> {
    None
}

/// Returns the processes that descend from this one, by number, with their names.
pub(crate) fn descendants() -> BTreeMap<u32, String> {
    let Some(mark) = mark() else {
        return BTreeMap::new();
    };
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|pid| *pid != std::process::id() && mark_of(*pid) == Some(mark))
        .map(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            (pid, name.unwrap_or_default().trim_end().to_owned())
        })
        .collect()
}

/// The limit that serves as the mark. A process that ends meanwhile has none.
fn mark_of(pid: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max realtime timeout"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How much the children that have ended and were waited for have done, all together. Where it has not changed, and
/// there are no children, none was started.
pub(crate) fn work_of_children() -> libc::c_long {
    // SAFETY: all zeros is a valid rusage; the call writes to it and otherwise takes a number.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage.ru_minflt + usage.ru_majflt
    }
}

/// Whether this process has children, running or not reaped; reaps none.
pub(crate) fn has_children() -> bool {
    // SAFETY: all zeros is a valid siginfo; the call writes to it and otherwise takes numbers.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_ALL, 0, &mut info, options) == 0
    }
}
