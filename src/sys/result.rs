//! What a system call returns, as a `Result`. A negative number means that the call has failed; why is in `errno`,
//! until the thread's next call.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Returns the number that a call has returned, which is 0 for most.
pub(crate) fn number(returned: libc::c_int) -> io::Result<libc::c_int> {
    match returned {
        0.. => Ok(returned),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns how many bytes a call has moved.
pub(crate) fn count(returned: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// Returns the descriptor that a call has opened.
///
/// # Safety
/// The number is what a call that opens a descriptor has just returned, and no other code has it.
pub(crate) unsafe fn opened(returned: RawFd) -> io::Result<OwnedFd> {
    let fd = number(returned)?;
    // SAFETY: the call has succeeded, so the number is an open descriptor, and the caller says that nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Repeats a call that a signal has interrupted.
pub(crate) fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
