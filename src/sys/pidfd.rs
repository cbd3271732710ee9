//! A child by descriptor: readable once the child has exited, and never another process's, as a number may become.
//!
//! Waiting for it needs neither SIGCHLD, which a program may have other plans for, nor a thread for each child; and a
//! signal that is sent by it reaches this child or no process.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// A child of this process that has not been reaped when this is made.
#[derive(Debug)]
pub(crate) struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// Opens a child. Linux has it from 5.3 on; the descriptor is closed on exec.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let pid = pid as libc::pid_t;
        // SAFETY: the call takes numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let Ok(fd @ 0..) = RawFd::try_from(fd) else {
            return Err(io::Error::last_os_error());
        };
        // SAFETY: the descriptor was made by the successful call above and nothing else knows its number.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Sends the child a signal. One that has exited but was not reaped takes it without effect.
    pub(crate) fn send_signal(&self, signum: i32) -> io::Result<()> {
        let info: *const libc::siginfo_t = ptr::null();
        // SAFETY: `fd` is a live pidfd that `self` owns; the null pointer is allowed and means that the signal comes
        // from this process, as `kill`'s do.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signum,
                info,
                0,
            )
        };
        if sent == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Blocks until a descriptor is readable, for so long at the most.
pub(crate) fn wait_readable(fd: RawFd, limit: Duration) {
    let mut polled = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // Rounded up: zero would not wait at all.
    let limit = limit.as_nanos().div_ceil(1_000_000);
    let limit = libc::c_int::try_from(limit).unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer is to one initialised pollfd, which is what the count says, and it outlives the call. An
    // error or an interruption ends the wait early, which the caller finds out.
    unsafe { libc::poll(&mut polled, 1, limit) };
}
