//! How TCP and Unix streams differ, below [`SocketStream`](crate::net::SocketStream) and its listener.
//!
//! Reading, writing and options are the same for both and are not here. The trait is sealed, so what it asks for may
//! change. Sockets are in non-blocking mode throughout.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

use mio::Interest;

use crate::sys::epoll::Numbered;
use crate::sys::source::Pollable;

/// Which sockets a [`SocketStream`](crate::net::SocketStream) or a [`SocketListener`](crate::net::SocketListener) is
/// made of: [`Tcp`](crate::net::Tcp) or [`Unix`](crate::net::Unix). The trait is sealed: no other type can implement
/// it. Use it as a bound for code that serves both.
pub trait StreamKind: StreamParts {}

/// The parts of a kind of stream. The module is private, which seals [`StreamKind`].
pub trait StreamParts: Sized + 'static {
    /// What names an end of a stream.
    type Address;
    /// The connected socket, in non-blocking mode.
    type Socket: Pollable + Numbered + AsFd + fmt::Debug;
    /// The same in the standard library.
    type Std;
    /// The listening socket.
    type Listener: Pollable + Numbered + AsFd + fmt::Debug;
    /// The same in the standard library.
    type StdListener;
    /// What a listener leaves behind; its drop clears that away.
    type Cleanup;
    /// The name of the stream's type.
    const STREAM: &'static str;
    /// The name of the listener's type.
    const LISTENER: &'static str;
    /// What a stream is registered for.
    const INTEREST: Interest;

    /// Switches to non-blocking mode.
    fn adopt(socket: Self::Std) -> io::Result<Self::Socket>;
    /// Returns whether a read that fills less than its buffer, and more than nothing, proves the socket drained.
    fn short_read_drains(socket: &Self::Socket) -> bool;
    /// Converts back; the mode stays.
    fn release(socket: Self::Socket) -> Self::Std;
    /// Returns the peer's address.
    fn peer_addr(socket: &Self::Socket) -> io::Result<Self::Address>;
    /// Returns this end's address.
    fn local_addr(socket: &Self::Socket) -> io::Result<Self::Address>;
    /// Accepts a client without waiting.
    fn accept(listener: &Self::Listener) -> io::Result<(Self::Socket, Self::Address)>;
    /// Returns the address that a listener is bound to.
    fn listener_addr(listener: &Self::Listener) -> io::Result<Self::Address>;
    /// Switches a listener to non-blocking mode.
    fn adopt_listener(listener: Self::StdListener) -> io::Result<(Self::Listener, Self::Cleanup)>;
    /// Converts back; the mode and the socket's file stay.
    fn release_listener(listener: Self::Listener, cleanup: Self::Cleanup) -> Self::StdListener;
}
