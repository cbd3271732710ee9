//! What becomes readable when a child exits: its pidfd, and where the system refuses one, the end of a pipe.
//!
//! Kernels before 5.3 have no pidfd, and a sandbox may forbid it. Then a thread waits for the child, without reaping it, and
//! lets go of the other end of the pipe when it is over. A thread a child is dear, but it needs nothing of the program:
//! one SIGCHLD handler for all would be the program's, and one thread that waits for any child would steal those of
//! others. The number of a child that was not reaped is nobody else's, so its signals are safe also then.
//!
//! Where SIGCHLD is ignored, or somebody waits for any child, this one may be gone before it is looked at. Then its number
//! is anybody's: what is left is an end that has come, and no signal is ever sent.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::thread;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::unix::pipe::{self, Receiver};

use crate::sys::child_exit::{kill, wait_without_reaping};
use crate::sys::pidfd::{PidFd, wait_readable};
use crate::sys::source::{Act, Pollable};

/// What the waiting thread needs: it makes two system calls.
const STACK: usize = 64 * 1024;

pub(crate) enum Exit {
    PidFd(PidFd),
    /// Readable, for it has ended, when the thread has.
    Thread {
        ended: Receiver,
        pid: u32,
    },
    /// Readable, for there is no other end.
    Gone(Receiver),
}

impl Exit {
    /// Watches a child that was not reaped.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        match PidFd::open(pid) {
            Ok(pidfd) => Ok(Self::PidFd(pidfd)),
            Err(error) if is_refused(&error) => Self::by_thread(pid),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                let (_, ended) = pipe::new()?;
                Ok(Self::Gone(ended))
            }
            Err(error) => Err(error),
        }
    }

    fn by_thread(pid: u32) -> io::Result<Self> {
        let (held, ended) = pipe::new()?;
        thread::Builder::new()
            .name("callsoon-child".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                wait_without_reaping(pid);
                drop(held);
            })?;
        Ok(Self::Thread { ended, pid })
    }

    /// Sends the child a signal, which must not have been reaped.
    pub(crate) fn send_signal(&self, signum: i32) -> io::Result<()> {
        match self {
            Self::PidFd(pidfd) => pidfd.send_signal(signum),
            Self::Thread { pid, .. } => kill(*pid, signum),
            Self::Gone(_) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// Blocks until the child has exited, for so long at the most.
    pub(crate) fn wait(&self, limit: Duration) {
        wait_readable(self.fd(), limit);
    }

    fn fd(&self) -> RawFd {
        match self {
            Self::PidFd(pidfd) => pidfd.as_raw_fd(),
            Self::Thread { ended, .. } | Self::Gone(ended) => ended.as_raw_fd(),
        }
    }
}

/// Whether the system has no pidfd for us at all, rather than no room for one more.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES)
    )
}

impl AsRawFd for Exit {
    fn as_raw_fd(&self) -> RawFd {
        self.fd()
    }
}

impl Pollable for Exit {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        act(&mut SourceFd(&self.fd()))
    }
}
