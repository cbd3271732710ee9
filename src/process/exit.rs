//! `Exit`: the descriptor that becomes readable when a child exits. It is a pidfd, or the end of a pipe.
//!
//! Kernels before 5.3 have no pidfd, and a sandbox may forbid it. Then a thread waits for the child without reaping it, and
//! closes the writing end of a pipe when the child has exited. One thread for each child is expensive, but it does not
//! interfere with the program: a SIGCHLD handler would replace the program's own, and a thread that waits for any child
//! would reap children of other libraries. The number of a child that has not been reaped cannot belong to another process,
//! so signals by number are safe.
//!
//! If SIGCHLD is ignored, or other code waits for any child, a child may have been reaped before it is watched. Its number
//! may then belong to another process. So the child counts as exited, and no signal is ever sent.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::thread;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::unix::pipe::{self, Receiver};

use crate::sys::child_exit::{kill, reap, wait_without_reaping};
use crate::sys::fd::wait_readable;
use crate::sys::pidfd::PidFd;
use crate::sys::source::{Act, Pollable};

/// The stack of the waiting thread, which makes two system calls.
const STACK: usize = 64 * 1024;

/// Becomes readable when a child has exited.
pub(crate) enum Exit {
    PidFd(PidFd),
    /// A thread waits for the child. The pipe is at its end, and so readable, when the thread has ended.
    Thread {
        ended: Receiver,
        pid: u32,
    },
    /// The child was reaped by other code. The pipe has no writing end, so it is readable.
    Reaped(Receiver),
}

impl Exit {
    /// Watches a child that this process has started.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        match PidFd::open(pid) {
            Ok(pidfd) => Ok(Self::PidFd(pidfd)),
            Err(error) if is_refused(&error) => Self::by_thread(pid),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                let (_, ended) = pipe::new()?;
                Ok(Self::Reaped(ended))
            }
            Err(error) => Err(error),
        }
    }

    /// Watches a child by a thread.
    fn by_thread(pid: u32) -> io::Result<Self> {
        let (writing_end, ended) = pipe::new()?;
        thread::Builder::new()
            .name("callsoon-child".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                wait_without_reaping(pid);
                drop(writing_end);
            })?;
        Ok(Self::Thread { ended, pid })
    }

    /// Sends a signal to the child, which must not have been reaped.
    pub(crate) fn send_signal(&self, signum: i32) -> io::Result<()> {
        match self {
            Self::PidFd(pidfd) => pidfd.send_signal(signum),
            Self::Thread { pid, .. } => kill(*pid, signum),
            Self::Reaped(_) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// Blocks until the child has exited, but no longer than `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        wait_readable(self.as_fd(), limit);
    }
}

/// Reaps a child as soon as it exits, by a thread, where no loop can wait for that any more.
pub(crate) fn reap_by_thread(pid: u32) {
    let reaper = thread::Builder::new()
        .name("callsoon-child".to_owned())
        .stack_size(STACK)
        .spawn(move || reap(pid));
    // Without a thread it stays in the system's table until this process ends.
    drop(reaper);
}

/// Returns whether the system refuses pidfds in general, and not only for lack of a descriptor.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES)
    )
}

impl AsFd for Exit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::PidFd(pidfd) => pidfd.as_fd(),
            Self::Thread { ended, .. } | Self::Reaped(ended) => ended.as_fd(),
        }
    }
}

impl AsRawFd for Exit {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Pollable for Exit {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        act(&mut SourceFd(&self.as_raw_fd()))
    }
}
