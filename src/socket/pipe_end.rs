//! One end of a pipe, below a transport: a FIFO, a terminal or another character device, a socket, a regular file.
//!
//! No call on it blocks, and other users of the descriptor notice nothing where that is possible: standard input is
//! shared with the shell that gave it, and with children. A pipe, a FIFO and a terminal are opened again, which gives
//! an open file description of our own. What cannot be opened again has one of the other mechanisms of
//! `socket/nonblocking.rs`.
//!
//! A device that the poller refuses because it never blocks, such as `/dev/null`, is always ready. So is a regular file,
//! which a shell gives a program as its standard input or output: `prog < in > out` has to work. The poller is not asked
//! about a file, since kqueue would never report its end. A call on it takes as long as the disk does; it is not opened
//! again, since the position and the append mode belong to the description that others share.

use std::cell::OnceCell;
use std::fs::{File, Metadata};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use mio::Interest;
use mio::unix::SourceFd;

use crate::error::{LoopClosed, invalid_input};
use crate::kernel::io::readiness::Direction;
use crate::socket::nonblocking;
use crate::socket::shared_mode::SharedMode;
#[cfg(callsoon_faults)]
use crate::sys::fault::{self, Call};
use crate::sys::fault::{may_be_short, may_fail};
use crate::sys::fd::{is_hung_up, is_without_nowait, read_nowait, set_nonblocking, write_nowait};
use crate::sys::fork::generation;
use crate::sys::sigpipe::{is_broken_pipe, without_sigpipe};
use crate::sys::source::{Act, Pollable};

/// What keeps a call on an end from blocking.
enum Mechanism {
    /// The description is in non-blocking mode and ours alone, or of a regular file, for which there is no such mode.
    Own,
    /// A socket: each call has a flag.
    Socket,
    /// A pipe that others share: each call has a flag, until the system refuses it. From then on the mode is set, and checked
    /// before each call.
    Nowait(OnceCell<SharedMode>),
    /// The mode is checked before each call.
    Mode(SharedMode),
}

/// One end of a pipe.
pub(crate) struct PipeEnd {
    file: File,
    /// Which of the two ends.
    pub(crate) direction: Direction,
    mechanism: Mechanism,
    /// The process that it belongs to: a forked child shares the pipe with its parent.
    forks: u32,
    /// A character device, which may be a terminal.
    device: bool,
    /// A regular file, or the poller has refused it.
    always_ready: bool,
    /// All writers of a FIFO had gone before it was opened again, which the new description does not report.
    ended_before: bool,
}

impl PipeEnd {
    /// # Errors
    /// `InvalidInput` for anything but a pipe, a socket, a character device or a regular file.
    pub(crate) fn new(pipe: OwnedFd, direction: Direction) -> io::Result<Self> {
        let file = File::from(pipe);
        let data = file.metadata()?;
        let kind = data.file_type();
        let device = kind.is_char_device();
        let mut end = Self::with(file, direction, Mechanism::Socket);
        end.device = device;
        if kind.is_socket() {
            return Ok(end);
        }
        if kind.is_file() {
            end.mechanism = Mechanism::Own;
            end.always_ready = true;
            return Ok(end);
        }
        if !(device || kind.is_fifo()) {
            let why = "a pipe, a socket, a character device or a regular file is expected";
            return Err(invalid_input(why));
        }
        if let Some(own) = opened_again(&end.file, &data) {
            end.ended_before = kind.is_fifo() && is_hung_up(end.file.as_fd());
            end.file = own;
            end.mechanism = Mechanism::Own;
        } else if device {
            end.mechanism = Mechanism::Mode(SharedMode::join(&end.file, &data)?);
        } else {
            end.mechanism = Mechanism::Nowait(OnceCell::new());
        }
        Ok(end)
    }

    /// Makes one end of a pipe that this process has made for a child: nobody else depends on its mode.
    #[cfg(target_os = "linux")]
    pub(crate) fn own(pipe: OwnedFd, direction: Direction) -> io::Result<Self> {
        set_nonblocking(pipe.as_fd())?;
        Ok(Self::with(File::from(pipe), direction, Mechanism::Own))
    }

    fn with(file: File, direction: Direction, mechanism: Mechanism) -> Self {
        Self {
            file,
            direction,
            mechanism,
            forks: generation(),
            device: false,
            always_ready: false,
            ended_before: false,
        }
    }

    /// Returns whether a read is worth trying although no event has said so.
    pub(crate) fn may_be_read(&self) -> bool {
        self.always_ready || self.ended_before
    }

    /// Returns what to poll for. A hang-up of the other end is reported in any case.
    pub(crate) fn interest(&self) -> Interest {
        match self.direction {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        }
    }

    #[inline(never)]
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check_owner()?;
        if matches!(self.mechanism, Mechanism::Socket) {
            return nonblocking::receive(&self.file, buffer);
        }
        if let Some(result) = self.by_flag(|fd| read_nowait(fd, buffer)) {
            return result;
        }
        self.check_mode()?;
        if !self.always_ready {
            may_fail!(Read, self.file.as_raw_fd());
        }
        may_be_short!(Read, self.file.as_raw_fd(), mut buffer);
        let mut file = &self.file;
        match file.read(buffer) {
            // A terminal says so that nobody has its other side open.
            Err(error) if self.device && error.raw_os_error() == Some(libc::EIO) => Ok(0),
            result => result,
        }
    }

    #[inline(never)]
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send_vectored(&[IoSlice::new(bytes)])
    }

    pub(crate) fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check_owner()?;
        if matches!(self.mechanism, Mechanism::Socket) {
            return nonblocking::send_vectored(&self.file, pieces);
        }
        let write =
            |fd: BorrowedFd<'_>| without_sigpipe(|| write_nowait(fd, pieces), is_broken_pipe);
        if let Some(result) = self.by_flag(write) {
            return result;
        }
        self.check_mode()?;
        if !self.always_ready {
            may_fail!(Write, self.file.as_raw_fd());
        }
        let mut file = &self.file;
        #[cfg(callsoon_faults)]
        if let Some(part) = fault::piece(Call::Write, self.file.as_raw_fd(), pieces) {
            return without_sigpipe(|| file.write(part), is_broken_pipe);
        }
        without_sigpipe(|| file.write_vectored(pieces), is_broken_pipe)
    }

    /// Makes a call that has a flag against blocking. `None` if that is not the mechanism, or no longer.
    fn by_flag(
        &self,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Option<io::Result<usize>> {
        let Mechanism::Nowait(mode) = &self.mechanism else {
            return None;
        };
        if mode.get().is_some() {
            return None;
        }
        let refusal = match call(self.file.as_fd()) {
            Err(error) if is_without_nowait(&error) => error,
            result => return Some(result),
        };
        let join = |data: Metadata| SharedMode::join(&self.file, &data);
        match self.file.metadata().and_then(join) {
            // It was not set before, since this end belongs to one thread.
            Ok(joined) => drop(mode.set(joined)),
            Err(_) => return Some(Err(refusal)),
        }
        None
    }

    /// Makes sure that a call without a flag does not block.
    fn check_mode(&self) -> io::Result<()> {
        match &self.mechanism {
            Mechanism::Own | Mechanism::Socket => Ok(()),
            Mechanism::Nowait(mode) => mode.get().map_or(Ok(()), |mode| mode.check(&self.file)),
            Mechanism::Mode(mode) => mode.check(&self.file),
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

    /// Returns whether nobody can read what is written any more.
    pub(crate) fn is_hung_up(&self) -> bool {
        is_hung_up(self.file.as_fd())
    }
}

/// Opens the same pipe, FIFO or terminal again, in non-blocking mode. `None` if that is not possible.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn opened_again(file: &File, data: &Metadata) -> Option<File> {
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

    let status = crate::sys::fd::status(file.as_fd()).ok()?;
    // One that writes packets goes on doing so, and `open` does not take that flag.
    let packets = status & libc::O_DIRECT != 0;
    if packets || !(data.file_type().is_fifo() || is_terminal(file, data)) {
        return None;
    }
    let access = status & libc::O_ACCMODE;
    let again = std::fs::OpenOptions::new()
        .read(access != libc::O_WRONLY)
        .write(access != libc::O_RDONLY)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        // The thread's own table of descriptors, which need not be the process's.
        .open(format!("/proc/thread-self/fd/{}", file.as_raw_fd()))
        .ok()?;
    let own = again.metadata().ok()?;
    let identity = |data: &Metadata| (data.dev(), data.ino(), data.rdev());
    (identity(&own) == identity(data)).then_some(again)
}

/// Elsewhere `/dev/fd` gives a copy of the descriptor, or nothing.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn opened_again(_: &File, _: &Metadata) -> Option<File> {
    None
}

/// Returns whether it is a terminal whose device number is its own. To open the controlling side of a pseudo-terminal
/// again makes a new one; to open `/dev/tty` or the console again gives the one that is current then.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_terminal(file: &File, data: &Metadata) -> bool {
    use std::io::IsTerminal as _;
    use std::os::unix::fs::MetadataExt as _;

    /// The controlling sides, of BSD's kind.
    const CONTROLLERS: u32 = 2;
    /// `/dev/tty0` is the console that is shown.
    const CONSOLES: (u32, u32) = (4, 0);
    /// `/dev/tty`, `/dev/console`, `/dev/ptmx`.
    const ALIASES: u32 = 5;
    let (major, minor) = (libc::major(data.rdev()), libc::minor(data.rdev()));
    file.is_terminal() && !matches!(major, CONTROLLERS | ALIASES) && (major, minor) != CONSOLES
}

impl AsFd for PipeEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mode = match std::mem::replace(&mut self.mechanism, Mechanism::Own) {
            Mechanism::Own | Mechanism::Socket => None,
            Mechanism::Nowait(mode) => mode.into_inner(),
            Mechanism::Mode(mode) => Some(mode),
        };
        if let Some(mode) = mode {
            mode.leave(&self.file);
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
