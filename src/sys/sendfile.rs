//! `sendfile(2)`: from a file to a socket without a copy through this process.
//!
//! The call takes no flags, so nothing keeps it from raising SIGPIPE for a closed connection but the thread's signal
//! mask: three more calls for each megabyte. One call sends piece after piece: where a later piece finds the connection
//! closed, the signal comes although the call succeeds, with the count of the pieces before.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys::fault::may_fail;
#[cfg(callsoon_faults)]
use crate::sys::fault::{Call, part};
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys::result::count as moved;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys::sigpipe::without_sigpipe;

/// Sends at most `count` bytes from `offset` on, and returns how many; 0 is the end of the file. The file's own
/// position stays where it is.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn sendfile(
    socket: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    count: usize,
) -> io::Result<usize> {
    may_fail!(Sendfile, socket.as_raw_fd());
    #[cfg(callsoon_faults)]
    let count = part(Call::Sendfile, socket.as_raw_fd(), count).end;
    let mut offset = libc::off64_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let send = || {
        // SAFETY: both descriptors are borrowed, so they are open for the time of the call; `offset` is a live,
        // writable number, the only memory that the call touches, and has the 64 bits that this form of the call asks
        // for.
        moved(unsafe { libc::sendfile64(socket.as_raw_fd(), file.as_raw_fd(), &mut offset, count) })
    };
    let all_sent = |result: &io::Result<usize>| matches!(result, Ok(sent) if *sent == count);
    without_sigpipe(send, |result| !all_sent(result))
}

/// Elsewhere the call has another form, or none.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn sendfile(_: BorrowedFd<'_>, _: &File, _: u64, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns whether an error means that this file, or this kind of socket, cannot be sent so.
pub(crate) fn is_impossible(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            error.raw_os_error(),
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ESPIPE | libc::EOVERFLOW)
        )
}
