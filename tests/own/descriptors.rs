//! Running out of descriptors. Only for tests that have a process of their own.

#![allow(unsafe_code)]

use std::fs::File;

/// Limits the descriptors of the process to this many, and returns the former limit.
pub(crate) fn limit_descriptors(limit: libc::rlim_t) -> libc::rlim_t {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limits` is a live `rlimit`, written by the first call and read by the second.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limits), 0);
        let former = limits.rlim_cur;
        limits.rlim_cur = limit;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limits), 0);
        former
    }
}

/// Opens files until none can be opened.
pub(crate) fn exhaust() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                assert!(!files.is_empty(), "the limit leaves nothing to play with");
                return files;
            }
        }
    }
}
