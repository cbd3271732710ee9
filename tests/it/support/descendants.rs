//! Processes that a test has started, and those that they have started in their turn, also after their parents have
//! ended.
//!
//! They are known by a mark that a process passes on to whatever it starts and that changes nothing: the soft limit of
//! the time that a thread under real-time scheduling may take without a pause, which is set to about 36 years and the
//! number of this process. The system shows it in `/proc`.
//!
//! A test process that is killed half-way ends none of its children itself. So a guard, which is no child of it and has
//! no mark, waits until it is gone and then kills whatever has its mark.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
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
    start_guard(mark);
    change_limit(mark).then_some(mark)
}

/// Whether the limit that is the mark could be changed. Allocates nothing.
#[cfg(target_os = "linux")]
fn change_limit(to: u64) -> bool {
    // SAFETY: all zeros is a valid rlimit; both calls take a number and a pointer to one that outlives them.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_RTTIME, &mut limit) == 0 && {
            limit.rlim_cur = to;
            limit.rlim_max >= to && libc::setrlimit(libc::RLIMIT_RTTIME, &limit) == 0
        }
    }
}

/// Starts the guard, in a session of its own, so that what the terminal or a time limit kills together does not take it
/// along. Where it cannot be started, children of a killed test live on.
#[cfg(target_os = "linux")]
fn start_guard(mark: u64) {
    // `tail` returns when the process is gone; it looks every second.
    let line = r#"
        tail -s 1 --pid="$1" -f /dev/null || exit
        for process in /proc/[0-9]*; do
            if grep -q "^Max realtime timeout *$2 " "$process/limits" 2>/dev/null; then kill -9 "${process##*/}"; fi
        done"#;
    let mut guard = Command::new("setsid");
    guard.args(["-f", "sh", "-c", line, "guard"]);
    guard.args([std::process::id().to_string(), mark.to_string()]);
    guard
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: the closure calls the system and does nothing else, so it may run between fork and exec.
    unsafe {
        guard.pre_exec(|| {
            change_limit(libc::RLIM_INFINITY);
            Ok(())
        });
    }
    let _ = guard.status();
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
