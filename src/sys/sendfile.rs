//! `sendfile(2)`: from a file to a socket without a copy through this process.
//!
//! The call takes no flags, so nothing keeps it from raising SIGPIPE for a closed connection but the thread's signal mask:
//! the signal is held back for the time of the call and taken away if it came. Two more calls for each megabyte.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sends at most `count` bytes from `offset` on, and gives how many; 0 is the end of the file. The file's own position
/// stays where it is.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn sendfile(
    socket: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    let mut offset = libc::off64_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    without_sigpipe(|| {
        // SAFETY: both descriptors are borrowed, so they are open for the time of the call; `offset` is a live, writable
        // number, the only memory that the call touches, and has the 64 bits that this form of the call asks for.
        let sent =
            unsafe { libc::sendfile64(socket.as_raw_fd(), file.as_raw_fd(), &mut offset, count) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    })
}

/// Runs a call that may raise SIGPIPE in this thread; where it does, nobody hears of it but by the error.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn without_sigpipe<R>(call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    // SAFETY: the sets are zeroed, which is a valid value, and filled by the calls that are made for it; all are live and of
    // the right type for every call. A null `info` and a zeroed time are allowed. The mask is this thread's own: it is as
    // it was when this returns, and `call` does not unwind, since it consists of one system call and a conversion.
    unsafe {
        let mut pipe: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut pipe);
        libc::sigaddset(&mut pipe, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &pipe, &mut before);
        let result = call();
        // Where it was held back before this call, somebody else waits for it.
        let ours = libc::sigismember(&before, libc::SIGPIPE) == 0;
        let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        if ours && result.as_ref().is_err_and(broken) {
            let at_once: libc::timespec = std::mem::zeroed();
            libc::sigtimedwait(&pipe, std::ptr::null_mut(), &at_once);
        }
        if ours {
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        }
        result
    }
}

/// Elsewhere the call has another form, or none.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn sendfile(_: BorrowedFd<'_>, _: &File, _: u64, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether an error means that this file, or this kind of socket, cannot be sent so.
pub(crate) fn is_impossible(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            error.raw_os_error(),
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ESPIPE | libc::EOVERFLOW)
        )
}
