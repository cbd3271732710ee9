//! Loopback sockets, and futures that count their polls.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use callsoon::net::TcpStream;
use socket2::{Domain, SockRef, Socket, Type};

use super::Patience;

/// Returns `127.0.0.1` with any port.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Returns the number of the system's error, also of one that is inside of an error that names a place.
pub(crate) fn os_error(error: &io::Error) -> Option<i32> {
    let mut inner: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = inner {
        let system = error.downcast_ref::<io::Error>();
        if let Some(number) = system.and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        inner = error.source();
    }
    None
}

/// Returns two connected sockets in blocking mode, whose calls fail after a while instead of hanging.
pub(crate) fn std_pair() -> (StdStream, StdStream) {
    let listener = StdListener::bind(loopback()).unwrap();
    let one = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    for socket in [&one, &other] {
        socket.set_nodelay(true).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        socket
            .set_write_timeout(Some(Duration::from_secs(60)))
            .unwrap();
    }
    (one, other)
}

/// Returns a stream of the running loop, and its peer in blocking mode.
pub(crate) fn stream_and_peer() -> (TcpStream, StdStream) {
    let (ours, peer) = std_pair();
    (TcpStream::from_std(ours).unwrap(), peer)
}

/// Returns two connected streams of the running loop.
pub(crate) fn stream_pair() -> (TcpStream, TcpStream) {
    let (one, other) = std_pair();
    (
        TcpStream::from_std(one).unwrap(),
        TcpStream::from_std(other).unwrap(),
    )
}

/// Closes with a reset instead of a FIN.
pub(crate) fn reset(socket: StdStream) {
    SockRef::from(&socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(socket);
}

/// Returns an address where every connection is refused for as long as the socket lives. The socket is bound, so that
/// no other socket gets the port, and does not listen.
pub(crate) fn refusing() -> (Socket, SocketAddr) {
    refusing_at(loopback())
}

/// Does the same at an address that the test chooses.
pub(crate) fn refusing_at(address: SocketAddr) -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Writes until the system accepts no more before the peer reads. Returns how much was written.
///
/// At the first refusal acknowledgements may still be on their way, and each of them makes room.
pub(crate) fn fill(stream: &TcpStream) -> usize {
    let chunk = [b'f'; 16 * 1024];
    let mut total = 0;
    let mut patience = Patience::new();
    loop {
        let before = total;
        while let Ok(count) = SockRef::from(stream).send(&chunk) {
            total += count;
        }
        // What is sent again and again is what the peer has no room for.
        let is_under_way = || {
            let info = tcp_info(stream);
            info.tcpi_unacked > 0 && info.tcpi_retransmits == 0
        };
        while is_under_way() {
            assert!(patience.lets_others_run(), "no acknowledgement comes");
        }
        if total == before {
            break;
        }
    }
    // A fresh stream counts as writable, and learns otherwise by an attempt.
    assert!(stream.try_write(&chunk).is_err());
    total
}

/// Waits until so many clients wait in the listener's queue. A client is connected before the listener sees it.
#[track_caller]
pub(crate) fn wait_until_queued(listener: &impl AsRawFd, clients: u32) {
    let mut patience = Patience::new();
    // For a listener the system counts them here.
    while tcp_info(listener).tcpi_unacked < clients {
        assert!(patience.lets_others_run(), "the clients do not come");
    }
}

/// Waits until everything that the peer has sent has arrived, and its end after that.
#[track_caller]
pub(crate) fn wait_until_ended(socket: &impl AsRawFd) {
    /// `TCP_CLOSE_WAIT` in the system's words: ended by the peer, open at this end.
    const ENDED_BY_PEER: u8 = 8;
    let mut patience = Patience::new();
    while tcp_info(socket).tcpi_state != ENDED_BY_PEER {
        assert!(patience.lets_others_run(), "the end does not come");
    }
}

/// Returns how many clients may wait in the listener's queue.
pub(crate) fn most_queued(listener: &impl AsRawFd) -> u32 {
    // For a listener the system has the length here.
    tcp_info(listener).tcpi_sacked
}

/// Returns what the system reports of a TCP socket.
fn tcp_info(socket: &impl AsRawFd) -> libc::tcp_info {
    // SAFETY: the structure is made of numbers, for which zero is a value. The call fills at most `size` bytes of it,
    // which is its size, and both outlive the call.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
        let place = (&raw mut info).cast();
        let (level, option) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        let result = libc::getsockopt(socket.as_raw_fd(), level, option, place, &mut size);
        assert_eq!(result, 0);
        info
    }
}

/// Counts the polls of a future.
#[derive(Clone, Default)]
pub(crate) struct Polls {
    count: Rc<Cell<usize>>,
}

impl Polls {
    pub(crate) fn get(&self) -> usize {
        self.count.get()
    }

    pub(crate) async fn of<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.count.set(self.count.get() + 1);
            future.as_mut().poll(context)
        })
        .await
    }
}

/// Polls a future once and returns its output, or `None` if it is pending.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
