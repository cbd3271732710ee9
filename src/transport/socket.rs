//! The sockets, and pipes, that a stream transport can stand on, behind one type.
//!
//! One type instead of a type parameter: a protocol need not know over what it talks, and its code exists once. What is
//! sent never raises SIGPIPE, whatever the process has made of that signal, and no call blocks, whatever mode the
//! descriptor is in: `net/nonblocking.rs` says why.

use std::io::{self, IoSlice};
use std::net::Shutdown;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use mio::Interest;
use socket2::{SockAddr, SockRef};

use crate::kernel::io::readiness::Readiness;
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::net::nonblocking;
use crate::net::stream_kind::SEND_FLAGS;
use crate::sys::source::{Act, Pollable};
#[cfg(unix)]
use crate::transport::pipe_end::PipeEnd;

/// A connected stream socket, or one end of a pipe, in non-blocking mode.
pub(crate) enum StreamSocket {
    Tcp(mio::net::TcpStream),
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
    #[cfg(unix)]
    Pipe(PipeEnd),
}

/// The most bytes that the system takes in one call: less than that taken means that it takes no more now, more than
/// that offered means nothing.
pub(crate) const MOST_AT_ONCE: usize = 0x7fff_f000;

impl StreamSocket {
    #[inline]
    fn reference(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(socket) => SockRef::from(socket),
            #[cfg(unix)]
            Self::Unix(socket) => SockRef::from(socket),
            // What is asked of sockets alone is then an error of the system's.
            #[cfg(unix)]
            Self::Pipe(pipe) => SockRef::from(pipe),
        }
    }

    /// What the socket has to be watched for. An urgent mark spoils the proof by short reads, so the poller has to tell
    /// of it; a Unix socket has no proof to spoil.
    pub(crate) fn interest(&self) -> Interest {
        let both = Interest::READABLE | Interest::WRITABLE;
        #[cfg(unix)]
        if let Self::Pipe(pipe) = self {
            return pipe.interest();
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if matches!(self, Self::Tcp(_)) {
            return both | Interest::PRIORITY;
        }
        both
    }

    /// Has a connected socket watched.
    pub(crate) fn watched(self, handle: &LoopHandle) -> io::Result<Io<Self>> {
        let interest = self.interest();
        let short_read_drains = match &self {
            Self::Tcp(socket) => nonblocking::short_read_drains(socket),
            #[cfg(unix)]
            Self::Unix(_) | Self::Pipe(_) => false,
        };
        Io::new(
            handle,
            self,
            interest,
            Readiness::new(short_read_drains, true),
        )
    }

    /// Whether a write that is taken in part proves that no more is taken now. It does on a socket. A terminal's write also
    /// ends early when a signal arrives, and a pipe's when memory is short; no event follows either of them.
    pub(crate) fn short_write_fills(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            #[cfg(unix)]
            Self::Unix(_) => true,
            #[cfg(unix)]
            Self::Pipe(_) => false,
        }
    }

    /// Lets small messages go at once, where the socket would wait for more.
    pub(crate) fn send_at_once(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nodelay(true),
            #[cfg(unix)]
            Self::Unix(_) | Self::Pipe(_) => Ok(()),
        }
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Tcp(socket) => nonblocking::receive(socket, buffer),
            #[cfg(unix)]
            Self::Unix(socket) => nonblocking::receive(socket, buffer),
            #[cfg(unix)]
            Self::Pipe(pipe) => pipe.receive(buffer),
        })
    }

    /// How many bytes the system has received that were not read yet.
    pub(crate) fn unread(&self) -> usize {
        #[cfg(unix)]
        return crate::sys::socket::unread(self.as_fd()).unwrap_or(0);
        // Where that cannot be asked: as much as it keeps at most.
        #[cfg(not(unix))]
        return self.reference().recv_buffer_size().unwrap_or(0);
    }

    #[inline]
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(unix)]
        if let Self::Pipe(pipe) = self {
            return uninterrupted(|| pipe.send(bytes));
        }
        uninterrupted(|| self.reference().send_with_flags(bytes, SEND_FLAGS))
    }

    pub(crate) fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(unix)]
        if let Self::Pipe(pipe) = self {
            return uninterrupted(|| pipe.send_vectored(pieces));
        }
        uninterrupted(|| {
            self.reference()
                .send_vectored_with_flags(pieces, SEND_FLAGS)
        })
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.reference().shutdown(how)
    }

    pub(crate) fn peer(&self) -> io::Result<SockAddr> {
        self.reference().peer_addr()
    }

    pub(crate) fn local(&self) -> io::Result<SockAddr> {
        self.reference().local_addr()
    }

    /// What a connection attempt has come to; `WouldBlock` while it goes on.
    pub(crate) fn connected(&self) -> io::Result<()> {
        if let Some(error) = self.reference().take_error()? {
            return Err(error);
        }
        match self.peer() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    }

    /// The pipe, if it is one.
    #[cfg(unix)]
    pub(crate) fn pipe(&self) -> Option<&PipeEnd> {
        match self {
            Self::Pipe(pipe) => Some(pipe),
            _ => None,
        }
    }

    /// The socket for a program that wants to set an option.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&socket2::Socket) -> R) -> R {
        f(&self.reference())
    }
}

/// Tries again while signals get in the way.
fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(unix)]
impl AsFd for StreamSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
            Self::Pipe(pipe) => pipe.as_fd(),
        }
    }
}

#[cfg(unix)]
impl AsRawFd for StreamSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Pollable for StreamSocket {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => act(socket),
            #[cfg(unix)]
            Self::Unix(socket) => act(socket),
            #[cfg(unix)]
            Self::Pipe(pipe) => pipe.by_source(act),
        }
    }
}

impl From<std::net::TcpStream> for StreamSocket {
    fn from(socket: std::net::TcpStream) -> Self {
        Self::Tcp(mio::net::TcpStream::from_std(socket))
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixStream> for StreamSocket {
    fn from(socket: std::os::unix::net::UnixStream) -> Self {
        Self::Unix(mio::net::UnixStream::from_std(socket))
    }
}
