//! What can be asked of any descriptor: its mode, and whether anybody is at the other end.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Switches to non-blocking mode, and says whether it was in the other one. The mode belongs to the open file: whoever
/// shares it shares the mode.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    change_mode(fd, |flags| flags | libc::O_NONBLOCK)
}

/// Switches to blocking mode, and says whether it was in the other one.
pub(crate) fn set_blocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    change_mode(fd, |flags| flags & !libc::O_NONBLOCK)
}

fn change_mode(
    fd: BorrowedFd<'_>,
    change: impl FnOnce(libc::c_int) -> libc::c_int,
) -> io::Result<bool> {
    // SAFETY: the call takes numbers; the descriptor is borrowed, so it is open for the time of the call.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    let wanted = change(flags);
    if flags == wanted {
        return Ok(false);
    }
    // SAFETY: as above.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(true)
}

/// Whether nobody is left at the other end, or the descriptor has failed.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: the pointer is to one live entry, as the count says, which the call fills; the descriptor is borrowed, so it
    // is open. Without a timeout the call does not wait.
    let found = unsafe { libc::poll(&mut asked, 1, 0) };
    found > 0 && asked.revents & (libc::POLLERR | libc::POLLHUP) != 0
}
