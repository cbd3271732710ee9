//! A connected socket, or a pipe, below a stream transport; and the options of connections.
//!
//! One type instead of a type parameter: a protocol need not know what it talks over, and its code exists once. The
//! streams of `net` use it too, and have a type parameter only for addresses and conversions. No write raises SIGPIPE,
//! whatever the process does with that signal, and no call blocks, whatever mode the descriptor is in.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;
use socket2::{SockRef, Socket, TcpKeepalive};

use crate::error::invalid_input;
use crate::kernel::io::readiness::Readiness;
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::nonblocking;
use crate::socket::pipe_end::PipeEnd;
use crate::sys::result::uninterrupted;
use crate::sys::source::{Act, Pollable};

/// A connected stream socket, or one end of a pipe, in non-blocking mode.
pub(crate) enum StreamSocket {
    Tcp(Socket),
    Unix(Socket),
    Pipe(PipeEnd),
}

/// Both directions of a socket.
pub(crate) const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// What the poller watches a TCP socket for. An urgent mark spoils the proof by short reads, so the poller reports it too.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const TCP_INTEREST: Interest = BOTH.add(Interest::PRIORITY);
/// What the poller watches a TCP socket for. Elsewhere it does not report urgent marks.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const TCP_INTEREST: Interest = BOTH;

/// The most bytes that the system takes in one call. If more were offered, a short write does not mean that the socket is
/// full.
pub(crate) const MOST_AT_ONCE: usize = 0x7fff_f000;

impl StreamSocket {
    /// Makes one of a connected socket in non-blocking mode.
    pub(crate) fn new(socket: Socket, is_unix: bool) -> Self {
        match is_unix {
            true => Self::Unix(socket),
            false => Self::Tcp(socket),
        }
    }

    /// Returns the socket. A pipe is never asked for one.
    pub(crate) fn into_socket(self) -> Socket {
        match self {
            Self::Tcp(socket) | Self::Unix(socket) => socket,
            Self::Pipe(_) => unreachable!("`net` has no pipes"),
        }
    }

    /// Registers it.
    pub(crate) fn watched(self, handle: &LoopHandle) -> io::Result<Io<Self>> {
        let (interest, short_read_drains) = match &self {
            Self::Tcp(socket) => (TCP_INTEREST, nonblocking::short_read_drains(socket)),
            // A short read of a Unix socket proves nothing anyway, so no urgent mark can spoil the proof.
            Self::Unix(_) => (BOTH, false),
            Self::Pipe(pipe) => (pipe.interest(), false),
        };
        let readiness = Readiness::new(short_read_drains, true);
        Io::new(handle, self, interest, readiness)
    }

    /// Returns whether a write that is taken in part proves that no more is taken now. It does on a socket. A
    /// terminal's write also ends early when a signal arrives, and a pipe's when memory is short; no event follows
    /// either of them.
    pub(crate) fn short_write_fills(&self) -> bool {
        !matches!(self, Self::Pipe(_))
    }

    /// Sets `TCP_NODELAY`, so that a small message does not wait for more.
    pub(crate) fn send_at_once(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_tcp_nodelay(true),
            Self::Unix(_) | Self::Pipe(_) => Ok(()),
        }
    }

    /// Reads what has come. 0 is the end.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Tcp(socket) | Self::Unix(socket) => nonblocking::receive(socket, buffer),
            Self::Pipe(pipe) => pipe.receive(buffer),
        })
    }

    /// Writes what the system takes now.
    #[inline]
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Tcp(socket) | Self::Unix(socket) => nonblocking::send(socket, bytes),
            Self::Pipe(pipe) => pipe.send(bytes),
        })
    }

    /// Writes what the system takes now of several pieces.
    pub(crate) fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Tcp(socket) | Self::Unix(socket) => nonblocking::send_vectored(socket, pieces),
            Self::Pipe(pipe) => pipe.send_vectored(pieces),
        })
    }

    /// Returns the pipe, if it is one.
    pub(crate) fn pipe(&self) -> Option<&PipeEnd> {
        match self {
            Self::Pipe(pipe) => Some(pipe),
            _ => None,
        }
    }

    /// Lends the socket to a program that wants to set an option.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Socket) -> R) -> R {
        f(&SockRef::from(self))
    }
}

impl AsFd for StreamSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) | Self::Unix(socket) => socket.as_fd(),
            Self::Pipe(pipe) => pipe.as_fd(),
        }
    }
}

impl AsRawFd for StreamSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Pollable for StreamSocket {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        match self {
            Self::Tcp(socket) | Self::Unix(socket) => act(&mut SourceFd(&socket.as_raw_fd())),
            Self::Pipe(pipe) => pipe.by_source(act),
        }
    }
}

/// The longest idle time before a probe that the system takes, in seconds.
const LONGEST_IDLE: u32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    32_767
} else {
    i32::MAX as u32
};

/// Switches keepalive on after so much idle time, or changes nothing and fails.
pub(crate) fn keep_alive(socket: &Socket, idle: Duration) -> io::Result<()> {
    let seconds = whole_seconds(idle);
    if !(1..=LONGEST_IDLE).contains(&seconds) {
        let why = "the idle time before a keepalive probe is zero, or longer than the system takes";
        return Err(invalid_input(why));
    }
    let before = socket.keepalive()?;
    // This sets two options. If the second fails, the first must not stay.
    let idle = Duration::from_secs(seconds.into());
    let set = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle));
    if set.is_err() && !before {
        socket.set_keepalive(false)?;
    }
    set
}

/// Returns a time in the whole seconds that the system counts in: rounded up, since zero means something else, and at
/// most what its type can hold.
pub(crate) fn whole_seconds(time: Duration) -> u32 {
    let more = u64::from(time.subsec_nanos() > 0);
    let seconds = time.as_secs().saturating_add(more);
    seconds.min(i32::MAX as u64) as u32
}
