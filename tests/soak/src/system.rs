//! What the programs ask of the system: limits of descriptors, their own memory and descriptors, and that a child ends with
//! its parent.

#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;

/// Raises the limit of descriptors as far as it goes, and returns the new limit.
pub(crate) fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limits` is a live `rlimit`, written by the first call and read by the second.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits) != 0 {
            return Err(io::Error::last_os_error());
        }
        limits.rlim_cur = limits.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limits) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limits.rlim_cur)
}

/// Has the system kill the child when the thread that starts it ends, even if that is killed.
pub(crate) fn end_with_parent(command: &mut std::process::Command) {
    let parent = std::process::id() as libc::pid_t;
    let ask = move || {
        // SAFETY: both calls take numbers alone, and may be made between fork and exec.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have ended before the request.
            if libc::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(ask) };
}

/// The resident memory of this process in KiB.
pub(crate) fn resident() -> f64 {
    status("VmRSS:")
}

/// The most resident memory that this process has had, in KiB.
pub(crate) fn most_resident() -> f64 {
    status("VmHWM:")
}

/// A line of the process's status, in KiB; not a number if the system has no such line.
fn status(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(f64::NAN)
}

/// How many descriptors this process has, without the one that counts them.
pub(crate) fn descriptors() -> f64 {
    match fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries.count() as f64 - 1.0,
        Err(_) => f64::NAN,
    }
}
