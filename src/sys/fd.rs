//! Questions about any descriptor: its mode, whether it is ready, whether two of them are the same open file. And reads
//! and writes that never block, whatever the mode.

#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
#[cfg(target_os = "linux")]
use std::time::Duration;

#[cfg(target_os = "linux")]
use crate::sys::fault::{may_be_short, may_fail};
#[cfg(target_os = "linux")]
use crate::sys::result::count;
use crate::sys::result::number;

/// Switches to non-blocking mode, and returns whether the mode has changed. The mode belongs to the open file: all
/// descriptors of the file share it.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    change_mode(fd, |flags| flags | libc::O_NONBLOCK)
}

/// Switches to blocking mode, and returns whether the mode has changed.
pub(crate) fn set_blocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    change_mode(fd, |flags| flags & !libc::O_NONBLOCK)
}

/// Returns whether calls on the descriptor block.
pub(crate) fn is_blocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(status(fd)? & libc::O_NONBLOCK == 0)
}

/// Returns how the file was opened, and its mode: the bits of `F_GETFL`.
pub(crate) fn status(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // The number that the other command takes is ignored.
    flags(fd, libc::F_GETFL, 0)
}

/// Reads or sets the bits of `F_GETFL`.
fn flags(fd: BorrowedFd<'_>, command: libc::c_int, bits: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: both commands take a number; the descriptor is borrowed, so it is open for the time of the call.
    number(unsafe { libc::fcntl(fd.as_raw_fd(), command, bits) })
}

fn change_mode(
    fd: BorrowedFd<'_>,
    change: impl FnOnce(libc::c_int) -> libc::c_int,
) -> io::Result<bool> {
    let present = status(fd)?;
    let wanted = change(present);
    if wanted != present {
        flags(fd, libc::F_SETFL, wanted)?;
    }
    Ok(wanted != present)
}

/// Returns whether the other end is closed, or the descriptor has failed.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    poll(fd, 0, 0) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Returns whether there is something to read or to accept, or an error to report; true if the system cannot say.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    poll(fd, libc::POLLIN, 0) != 0
}

/// Blocks until a descriptor is readable, for so long at the most. An error or an interruption ends the wait early.
#[cfg(target_os = "linux")]
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, limit: Duration) {
    // Rounded up: zero would not wait at all.
    let limit = limit.as_nanos().div_ceil(1_000_000);
    let limit = libc::c_int::try_from(limit).unwrap_or(libc::c_int::MAX);
    poll(fd, libc::POLLIN, limit);
}

/// Returns which of the requested events a descriptor has, and which of those that are always reported, once it has any,
/// or when so many milliseconds have passed.
fn poll(fd: BorrowedFd<'_>, events: libc::c_short, limit: libc::c_int) -> libc::c_short {
    let mut asked = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: the pointer is to one live entry, as the count says, which the call fills; the descriptor is borrowed, so
    // it is open.
    let found = unsafe { libc::poll(&mut asked, 1, limit) };
    match found {
        // An interrupted or failed call reports nothing.
        ..0 => events,
        _ => asked.revents,
    }
}

/// Returns whether two descriptors of this process are one open file description, and so share one mode. `None` if the
/// system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn is_same_description(one: RawFd, other: RawFd) -> Option<bool> {
    /// From the kernel's `linux/kcmp.h`.
    const KCMP_FILE: libc::c_int = 0;
    let process = std::process::id() as libc::pid_t;
    // SAFETY: the call takes numbers and changes nothing; one that is no descriptor is an error.
    let order = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            process,
            process,
            KCMP_FILE,
            one as libc::c_ulong,
            other as libc::c_ulong,
        )
    };
    (order >= 0).then_some(order == 0)
}

/// Other systems do not say.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_same_description(_: RawFd, _: RawFd) -> Option<bool> {
    None
}

/// `preadv2(2)` with `RWF_NOWAIT`, where the file is: `WouldBlock` where the call would have to wait, whatever the
/// mode.
#[cfg(target_os = "linux")]
pub(crate) fn read_nowait(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    may_fail!(Preadv2, fd.as_raw_fd());
    may_be_short!(Preadv2, fd.as_raw_fd(), mut buffer);
    let piece = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: `piece` is one live entry, as the count says, and names `buffer`, which is live and writable for its
    // whole length. The descriptor is borrowed, so it is open. A position of -1 is the file's own, in both halves.
    count(unsafe { nowait(libc::SYS_preadv2, fd, &raw const piece, 1) })
}

/// `pwritev2(2)` with `RWF_NOWAIT`.
#[cfg(target_os = "linux")]
pub(crate) fn write_nowait(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    may_fail!(Pwritev2, fd.as_raw_fd());
    // SAFETY: an `IoSlice` has the layout of an `iovec`, as the standard library promises; all of them are live for the
    // time of the call, which only reads what they name.
    count(unsafe { nowait(libc::SYS_pwritev2, fd, pieces.as_ptr().cast(), pieces.len()) })
}

/// By number: the C library has the functions only since glibc 2.26.
///
/// # Safety
/// `pieces` are `count` live entries, whose memory the call may read, or write in case of a read.
#[cfg(target_os = "linux")]
unsafe fn nowait(
    call: libc::c_long,
    fd: BorrowedFd<'_>,
    pieces: *const libc::iovec,
    count: usize,
) -> libc::ssize_t {
    let own_position: libc::c_long = -1;
    // SAFETY: the caller vouches for the memory; the rest are numbers, each as wide as a register.
    unsafe {
        libc::syscall(
            call,
            libc::c_long::from(fd.as_raw_fd()),
            pieces,
            count,
            own_position,
            own_position,
            libc::c_long::from(libc::RWF_NOWAIT),
        ) as libc::ssize_t
    }
}

/// Elsewhere there is no such flag.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_nowait(_: BorrowedFd<'_>, _: &mut [u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Elsewhere there is no such flag.
#[cfg(not(target_os = "linux"))]
pub(crate) fn write_nowait(_: BorrowedFd<'_>, _: &[IoSlice<'_>]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns whether an error of [`read_nowait`] or [`write_nowait`] means that this file, this kernel or this sandbox
/// does not support the call. An error that means something else is returned by the plain call too.
pub(crate) fn is_without_nowait(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            error.raw_os_error(),
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM)
        )
}
