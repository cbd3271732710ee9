//! More descriptors than a process may have by default. Only for tests that have a process of their own.

#![allow(unsafe_code)]

/// Raises the limit to `wanted` descriptors, or as far as it goes, and returns the new limit.
pub(crate) fn raise_descriptor_limit(wanted: libc::rlim_t) -> usize {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limits` is a live `rlimit`, written by the first call and read by the second.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits), 0);
        limits.rlim_cur = limits.rlim_max.min(wanted);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limits), 0);
    }
    limits.rlim_cur as usize
}
