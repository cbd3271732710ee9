//! In what TCP and Unix streams differ: the seam below [`SocketStream`](crate::net::SocketStream) and its listener.
//!
//! Nobody outside can implement it, so that what it asks for may change. Sockets are in non-blocking mode throughout, and
//! no write raises SIGPIPE.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};

use mio::Interest;
use socket2::{Domain, SockRef, Socket, Type};

use crate::sys::epoll::Numbered;
use crate::sys::source::Pollable;

/// Which sockets a [`SocketStream`](crate::net::SocketStream) or a [`SocketListener`](crate::net::SocketListener) is made of: [`Tcp`](crate::net::Tcp)
/// or [`Unix`](crate::net::Unix). Nobody else can implement it.
pub trait StreamKind: Kind {}

/// In what kinds of streams differ, for this crate only.
pub trait Kind: Sized + 'static {
    /// What names an end of a stream.
    type Address;
    /// The connected socket, in non-blocking mode.
    type Socket: Pollable + Numbered + fmt::Debug;
    /// The same in the standard library.
    type Std;
    /// The listening socket.
    type Listener: Pollable + Numbered + fmt::Debug;
    /// The same in the standard library.
    type StdListener;
    /// What a listener leaves behind; its drop clears that away.
    type Cleanup;
    /// The name of the stream's type.
    const STREAM: &'static str;
    /// The name of the listener's type.
    const LISTENER: &'static str;

    /// What a stream is registered for.
    fn interest() -> Interest {
        Interest::READABLE | Interest::WRITABLE
    }
    /// Switches to non-blocking mode.
    fn adopt(socket: Self::Std) -> io::Result<Self::Socket>;
    /// Whether a read that fills less than its buffer, and more than nothing, proves the socket drained.
    fn short_read_drains(socket: &Self::Socket) -> bool;
    /// The way back; the mode stays.
    fn release(socket: Self::Socket) -> Self::Std;
    /// The socket, for what is asked of all kinds alike.
    fn as_ref(socket: &Self::Socket) -> SockRef<'_>;
    fn read(socket: &Self::Socket, buffer: &mut [u8]) -> io::Result<usize>;
    fn read_vectored(socket: &Self::Socket, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
    fn peek(socket: &Self::Socket, buffer: &mut [u8]) -> io::Result<usize>;
    /// Must not raise SIGPIPE.
    fn write(socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;
    /// Does not raise SIGPIPE; takes any number of buffers.
    fn write_vectored(socket: &Self::Socket, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let buffers = &buffers[..buffers.len().min(MOST_BUFFERS)];
        Self::as_ref(socket).send_vectored_with_flags(buffers, SEND_FLAGS)
    }
    fn peer_addr(socket: &Self::Socket) -> io::Result<Self::Address>;
    fn local_addr(socket: &Self::Socket) -> io::Result<Self::Address>;
    fn accept(listener: &Self::Listener) -> io::Result<(Self::Socket, Self::Address)>;
    fn listener_addr(listener: &Self::Listener) -> io::Result<Self::Address>;
    fn adopt_listener(listener: Self::StdListener) -> io::Result<(Self::Listener, Self::Cleanup)>;
    fn release_listener(listener: Self::Listener, cleanup: Self::Cleanup) -> Self::StdListener;
}

/// A socket of a family and a type, by their usual protocol.
pub(crate) fn new_socket(family: Domain, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(family, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The most buffers that one system call takes, on every system that Rust knows.
pub(crate) const MOST_BUFFERS: usize = 1024;

/// With these flags a write to a closed connection does not raise SIGPIPE, which would end a process that has not ignored
/// it, and no write blocks, whatever mode the socket is in.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(crate) const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
/// Where there is no flag against the signal, sockets are made with an option that does the same.
#[cfg(all(
    unix,
    not(any(target_os = "linux", target_os = "android", target_os = "freebsd"))
))]
pub(crate) const SEND_FLAGS: i32 = libc::MSG_DONTWAIT;
/// There is no such signal, and the mode is nobody else's.
#[cfg(not(unix))]
pub(crate) const SEND_FLAGS: i32 = 0;
