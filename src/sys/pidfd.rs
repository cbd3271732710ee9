//! A child by descriptor: readable once the child has exited, and never another process's, as a number may become.
//!
//! Waiting for it needs neither SIGCHLD, which a program may have other plans for, nor a thread for each child; and a
//! signal that is sent by it reaches this child or no process.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use crate::sys::fault::may_fail;
use crate::sys::result::{number, opened};

/// A child of this process that has not been reaped when this is made.
#[derive(Debug)]
pub(crate) struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// Opens a child. Linux has it from 5.3 on; the descriptor is closed on exec.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        may_fail!(PidfdOpen, -1);
        let pid = pid as libc::pid_t;
        // SAFETY: the call takes numbers, and the descriptor that it opens is known here alone.
        let fd = unsafe { opened(libc::syscall(libc::SYS_pidfd_open, pid, 0) as RawFd)? };
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
        number(sent as libc::c_int).map(drop)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
