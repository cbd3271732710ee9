//! Calls on sockets that never block, whatever mode the socket is in; and for every kind of descriptor, what keeps a call
//! on it from blocking the loop.
//!
//! `O_NONBLOCK` is a property of the open file description. Every holder of a copy of the descriptor shares it: the shell
//! that started the program, a child that inherited it, another part of the program. Each can switch it back while the
//! loop runs. So a mode that was set once proves nothing where the description is not our own:
//!
//! | what | which call | why it does not block | where | otherwise |
//! |---|---|---|---|---|
//! | socket, ours or handed in | read, write | `MSG_DONTWAIT` with each call | every Unix | the mode, set once |
//! | socket | `sendfile` | the mode is checked right before; in blocking mode the file is read and sent with `MSG_DONTWAIT` | Linux | |
//! | listener | accept | `poll` finds a client and the mode is set, right before | every Unix | |
//! | socket of the program's | `sock_connect` | the mode is set right before | every Unix | |
//! | pipe of a child's, made here | read, write | the description is ours, and no one else has it | Linux | |
//! | pipe or FIFO handed in | read, write | a description of our own, by opening `/proc/thread-self/fd/N` again | Linux 3.17 | next row |
//! | the same, if that is refused: another user's, no `/proc`, no descriptor left | read, write | `RWF_NOWAIT` with each call | Linux 6.4, pipes only | the mode |
//! | terminal | read, write | a description of our own, likewise | Linux 3.17 | the mode |
//! | the controlling side of a pseudo-terminal, `/dev/tty`, other devices | read, write | the mode, checked right before each call | every Unix | |
//! | `AsyncFd` | the program's own calls | the mode, checked right before each call | every Unix | |
//! | `add_reader`, `add_writer` | the program's own calls | nothing: the program must see to it | | |
//!
//! A socket, the controlling side of a pseudo-terminal and most devices cannot be opened again: that would fail, or give
//! another one. A mode that is checked right before a call leaves a gap of a microsecond. In that gap another process
//! would have to switch the mode and also take what was there. No thread is needed, since every kind has one of these. A
//! device whose driver ignores `O_NONBLOCK` blocks, as it does everywhere; use it in a thread.
//!
//! Where the mode of a pipe's end is changed at all, it is changed back when the last end in this process that shares the
//! description is dropped: `socket/shared_mode.rs`.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use mio::unix::SourceFd;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::error::invalid_input;
#[cfg(callsoon_faults)]
use crate::sys::fault::{self, Call};
use crate::sys::fault::{may_be_short, may_fail};
use crate::sys::fd;
use crate::sys::socket;
use crate::sys::source::{Act, Pollable};

/// The most buffers that one system call takes, on every system that Rust knows.
pub(crate) const MOST_BUFFERS: usize = 1024;

/// With these flags a write to a closed connection does not raise SIGPIPE, which would end a process that has not ignored
/// it, and no write blocks, whatever mode the socket is in.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
/// Where there is no flag against the signal, sockets are made with an option that does the same.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(crate) const SEND_FLAGS: i32 = libc::MSG_DONTWAIT;

/// Makes a socket of a family and a type, in non-blocking mode, with their usual protocol.
pub(crate) fn new_socket(family: Domain, kind: Type) -> io::Result<Socket> {
    may_fail!(Socket, -1);
    #[cfg(not(target_os = "macos"))]
    let socket = Socket::new(family, kind.nonblocking(), None)?;
    #[cfg(target_os = "macos")]
    let socket = Socket::new(family, kind, None)?;
    #[cfg(target_os = "macos")]
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Switches a stream socket of the program's to non-blocking mode.
///
/// # Errors
/// `InvalidInput` if it is of another type.
pub(crate) fn adopt_stream(socket: Socket) -> io::Result<Socket> {
    if socket.r#type()? != Type::STREAM {
        let why = "a stream socket is expected, and this is of another type";
        return Err(invalid_input(why));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Makes what stands for a socket of the program's from each type that such a socket may have.
macro_rules! from_sockets {
    ($target:ty, $make:path; $($socket:ty),+) => {
        $(impl From<$socket> for $target {
            fn from(socket: $socket) -> Self {
                $make(socket2::Socket::from(socket))
            }
        })+
    };
}
pub(crate) use from_sockets;

/// A socket that the poller can register.
#[derive(Debug)]
pub(crate) struct Watchable<S>(pub(crate) S);

impl<S: AsFd> AsFd for Watchable<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<S: AsRawFd> AsRawFd for Watchable<S> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl<S: AsRawFd> Pollable for Watchable<S> {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        act(&mut SourceFd(&self.as_raw_fd()))
    }
}

/// Sends what the system takes now.
#[inline]
pub(crate) fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    may_fail!(Send, socket.as_fd().as_raw_fd());
    may_be_short!(Send, socket.as_fd().as_raw_fd(), bytes);
    SockRef::from(socket).send_with_flags(bytes, SEND_FLAGS)
}

/// Sends what the system takes now of several buffers, of which there may be any number.
#[inline]
pub(crate) fn send_vectored(socket: &impl AsFd, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let buffers = &buffers[..buffers.len().min(MOST_BUFFERS)];
    may_fail!(Send, socket.as_fd().as_raw_fd());
    #[cfg(callsoon_faults)]
    if let Some(part) = fault::piece(Call::Send, socket.as_fd().as_raw_fd(), buffers) {
        return SockRef::from(socket).send_with_flags(part, SEND_FLAGS);
    }
    SockRef::from(socket).send_vectored_with_flags(buffers, SEND_FLAGS)
}

/// Sends a datagram to an address.
pub(crate) fn send_to(socket: &impl AsFd, bytes: &[u8], address: &SockAddr) -> io::Result<usize> {
    may_fail!(Send, socket.as_fd().as_raw_fd());
    SockRef::from(socket).send_to_with_flags(bytes, address, SEND_FLAGS)
}

/// Reads what has come.
#[inline]
pub(crate) fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    socket::recv(socket.as_fd(), buffer, 0)
}

/// Reads what has come into several buffers.
pub(crate) fn receive_vectored(
    socket: &impl AsFd,
    buffers: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    let most = buffers.len().min(MOST_BUFFERS);
    socket::recv_vectored(socket.as_fd(), &mut buffers[..most])
}

/// Reads what has come and leaves it there.
pub(crate) fn peek(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    socket::recv(socket.as_fd(), buffer, libc::MSG_PEEK)
}

/// Prepares a listener for `accept`, which has no flag against blocking. Call it right before. A listener that another
/// process has switched to blocking mode is switched back and stays so: two loops that each switched it there and back
/// would meet each other's mode in between.
///
/// # Errors
/// `WouldBlock` if no client waits.
pub(crate) fn expect_client(listener: BorrowedFd<'_>) -> io::Result<()> {
    if !fd::is_readable(listener) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    fd::set_nonblocking(listener).map(drop)
}

/// Returns whether a read that fills less than its buffer proves the socket drained. It does on TCP, and on nothing
/// else that a program may have wrapped in the type of a TCP socket: SCTP and packets end a read early, and so does a
/// Unix socket if descriptors come with the bytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn short_read_drains(socket: &impl AsFd) -> bool {
    let protocol = SockRef::from(socket).protocol();
    matches!(protocol, Ok(Some(socket2::Protocol::TCP)))
}

/// Elsewhere no call says which protocol it is, and the type is believed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn short_read_drains<S>(_: &S) -> bool {
    true
}
