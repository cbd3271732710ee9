//! Children of the process, which belong to all of it: a test that starts some leaves none behind, dead or alive.

use crate::support::{audited, watched};

/// A test under audit, which leaves no child behind.
#[track_caller]
pub(crate) fn tested(test: impl FnOnce() + Send + 'static) {
    audited(watched(move || {
        test();
        assert!(!has_children(), "a child was left behind");
    }));
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
