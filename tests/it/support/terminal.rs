//! Terminals, and the mode of what is shared.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd as _};

/// A new terminal: the side of its emulator, and the side of its programs.
pub(crate) fn terminal() -> (File, File) {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: the two numbers are live and filled by the call; null means "not wanted" or "as usual" for the rest. On
    // success both are new descriptors of nobody else.
    unsafe {
        let null = std::ptr::null_mut();
        let (no_name, no_mode, no_size) = (null, std::ptr::null(), std::ptr::null());
        assert_eq!(
            libc::openpty(&mut master, &mut slave, no_name, no_mode, no_size),
            0
        );
        for fd in [master, slave] {
            assert_eq!(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC), 0);
        }
        (File::from_raw_fd(master), File::from_raw_fd(slave))
    }
}

/// Whether calls on the descriptor wait.
pub(crate) fn is_blocking(fd: &impl AsRawFd) -> bool {
    // SAFETY: the call takes numbers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert!(flags >= 0);
    flags & libc::O_NONBLOCK == 0
}

/// What a child does that wants to wait in its reads: the mode of all who share the descriptor changes.
pub(crate) fn make_blocking(fd: &impl AsRawFd) {
    // SAFETY: the calls take numbers.
    unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        let result = libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK);
        assert_eq!(result, 0);
    }
}
