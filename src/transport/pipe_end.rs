//! One end of a pipe, as a transport stands on it: a FIFO, a terminal or another character device, a socket.
//!
//! The end is switched to non-blocking mode and back when it is let go: standard input shares its mode with the shell that
//! gave it. A device that the poller refuses because it never blocks, such as `/dev/null`, is always ready. A regular file
//! is refused, since reading it blocks the loop for as long as a disk takes.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use mio::Interest;
use mio::unix::SourceFd;

use crate::error::LoopClosed;
use crate::kernel::readiness::Direction;
use crate::sys::fd::{is_hung_up, set_blocking, set_nonblocking};
use crate::sys::fork::generation;
#[cfg(target_os = "linux")]
use crate::sys::sigpipe::sigpipe_is_deadly;
use crate::sys::sigpipe::without_sigpipe;
use crate::sys::source::{Act, Pollable};

/// One end of a pipe in non-blocking mode.
pub(crate) struct PipeEnd {
    file: File,
    /// Which of the two ends.
    pub(crate) direction: Direction,
    /// Whether it has to be switched back.
    was_blocking: bool,
    /// Whose it is: a forked child shares the pipe and its mode with its parent.
    forks: u32,
    /// SIGPIPE has to be held back.
    deadly: bool,
    /// A character device, which may be a terminal.
    device: bool,
    /// The poller has refused it.
    pub(crate) always_ready: bool,
}

impl PipeEnd {
    /// # Errors
    /// `InvalidInput` for what is no pipe, socket or character device.
    pub(crate) fn new(pipe: OwnedFd, direction: Direction) -> io::Result<Self> {
        let file = File::from(pipe);
        let kind = file.metadata()?.file_type();
        let device = kind.is_char_device();
        if !(device || kind.is_fifo() || kind.is_socket()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a pipe, a socket or a character device is expected; read and write files in a thread",
            ));
        }
        let was_blocking = set_nonblocking(file.as_fd())?;
        Ok(Self {
            file,
            direction,
            was_blocking,
            forks: generation(),
            deadly: true,
            device,
            always_ready: false,
        })
    }

    /// One end of a pipe that this process has made for a child, and whose mode is nobody else's affair.
    #[cfg(target_os = "linux")]
    pub(crate) fn own(pipe: OwnedFd, direction: Direction) -> io::Result<Self> {
        set_nonblocking(pipe.as_fd())?;
        Ok(Self {
            file: File::from(pipe),
            direction,
            was_blocking: false,
            forks: generation(),
            deadly: direction == Direction::Write && sigpipe_is_deadly(),
            device: false,
            always_ready: false,
        })
    }

    /// The other end is reported whatever is asked for.
    pub(crate) fn interest(&self) -> Interest {
        match self.direction {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        }
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check_owner()?;
        let mut file = &self.file;
        match file.read(buffer) {
            // How a terminal says that nobody has it open on the other side.
            Err(error) if self.device && error.raw_os_error() == Some(libc::EIO) => Ok(0),
            result => result,
        }
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(|mut file| file.write(bytes))
    }

    pub(crate) fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(|mut file| file.write_vectored(pieces))
    }

    fn write(&self, write: impl FnOnce(&File) -> io::Result<usize>) -> io::Result<usize> {
        self.check_owner()?;
        if self.deadly {
            without_sigpipe(|| write(&self.file))
        } else {
            write(&self.file)
        }
    }

    /// In a forked child the bytes are the parent's.
    fn check_owner(&self) -> Result<(), LoopClosed> {
        if self.forks == generation() {
            Ok(())
        } else {
            Err(LoopClosed)
        }
    }

    /// Whether nobody will ever read what is written.
    pub(crate) fn is_hung_up(&self) -> bool {
        is_hung_up(self.file.as_fd())
    }
}

impl AsFd for PipeEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if self.was_blocking && self.forks == generation() {
            // A file that refuses is one that nobody reads any more.
            let _ = set_blocking(self.file.as_fd());
        }
    }
}

impl Pollable for PipeEnd {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        if self.always_ready {
            return Ok(());
        }
        match act(&mut SourceFd(&self.file.as_raw_fd())) {
            Err(error) if self.device && error.kind() == io::ErrorKind::PermissionDenied => {
                self.always_ready = true;
                Ok(())
            }
            result => result,
        }
    }
}
