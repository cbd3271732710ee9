//! One connection attempt, for both layers, and the retry while the backlog of a Unix server is full.
//!
//! ```text
//! start  -> the attempt is under way, or the connection is there
//! finish -> waits until the socket is writable, then asks whether there is a connection
//! ```
//!
//! A TCP client that finds a full backlog is kept waiting by the system. A Unix client is refused with `EAGAIN`, and no
//! event tells it when there is room. So [`connect_unix`] and [`while_backlog_is_full`] try again by timer, after 1 to
//! 64 ms. asyncio takes that refusal for an attempt that goes on, and reports a connection that is none.

use std::io;
use std::net::SocketAddr;
#[cfg(callsoon_faults)]
use std::os::fd::AsRawFd as _;
use std::os::unix::net as unix;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::address::NetAddress as _;
use crate::socket::backoff::Backoff;
use crate::socket::nonblocking::new_socket;
use crate::socket::stream_socket::{StreamSocket, TCP_INTEREST};
use crate::sys::fault::may_fail;
use crate::time::sleep::sleep;

/// Starts an attempt over TCP. `prepare` binds the socket and sets its options first.
pub(crate) fn start(
    address: SocketAddr,
    prepare: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<Socket> {
    let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
    prepare(&socket)?;
    match connect(&socket, &address.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        Ok(()) | Err(_) => Ok(socket),
    }
}

/// `connect(2)`: an attempt that is not over at once goes on, whatever the error says.
pub(crate) fn connect(socket: &Socket, address: &SockAddr) -> io::Result<()> {
    may_fail!(Connect, socket.as_raw_fd());
    let begun = socket.connect(address);
    if begun.as_ref().is_err_and(is_under_way) {
        may_fail!(Connecting, socket.as_raw_fd());
    }
    begun
}

/// Returns whether the error of a `connect` only says that the attempt goes on.
pub(crate) fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == io::ErrorKind::Interrupted
}

/// Waits for an attempt over TCP that was started on `socket` to end.
pub(crate) async fn finish(handle: &LoopHandle, socket: Socket) -> io::Result<Io<StreamSocket>> {
    // The socket counts as not writable until an event says so: that is how the end of an attempt is announced.
    let (socket, readiness) = (StreamSocket::Tcp(socket), Readiness::new(true, false));
    let io = Io::new(handle, socket, TCP_INTEREST, readiness)?;
    let connected = |socket: &StreamSocket| socket.with(connected);
    io.operate(Direction::Write, connected, |()| false).await?;
    Ok(io)
}

/// Returns whether an attempt has succeeded; `WouldBlock` while it goes on.
pub(crate) fn connected(socket: &Socket) -> io::Result<()> {
    may_fail!(Connected, socket.as_raw_fd());
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        // The event was not about the attempt.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}

/// Connects to a Unix socket, and waits while its server's backlog is full.
pub(crate) async fn connect_unix(address: &unix::SocketAddr) -> io::Result<Socket> {
    let address = address.to_system()?;
    let connect = || {
        let socket = new_socket(Domain::UNIX, Type::STREAM)?;
        connect(&socket, &address).map(|()| socket)
    };
    while_backlog_is_full(connect).await
}

/// Repeats a `connect` to a Unix socket while it fails because the server's backlog is full. An interrupted call is
/// repeated at once.
pub(crate) async fn while_backlog_is_full<T>(
    mut connect: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut backoff = Backoff::new();
    loop {
        match connect() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(backoff.pause()).await;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
