//! Terminals, and the mode of a file that is shared.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd as _};

/// Returns the two sides of a new terminal: the emulator's and the program's.
pub(crate) fn terminal() -> (File, File) {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: the two numbers are live and filled by the call; null means "not wanted" or "as usual" for the rest. On
    // success both are new descriptors that nothing else owns.
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

/// Returns whether the descriptor is in blocking mode.
pub(crate) fn is_blocking(fd: &impl AsRawFd) -> bool {
    // SAFETY: the call takes numbers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert!(flags >= 0);
    flags & libc::O_NONBLOCK == 0
}

/// Sets blocking mode, as a child does that wants to wait in its reads. The mode changes for every process that shares
/// it.
pub(crate) fn make_blocking(fd: &impl AsRawFd) {
    // SAFETY: the calls take numbers.
    unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        let result = libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK);
        assert_eq!(result, 0);
    }
}
