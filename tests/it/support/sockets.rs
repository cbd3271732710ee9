//! Loopback sockets, and futures that tell how often they were polled.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use callsoon::net::TcpStream;

/// `127.0.0.1`, any port.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// An address at which nobody listens: its port was free a moment ago, and nobody gets it from the system again so soon.
pub(crate) fn nobody() -> SocketAddr {
    let listener = StdListener::bind(loopback()).unwrap();
    listener.local_addr().unwrap()
}

/// Two connected sockets in blocking mode, which give up after a while instead of hanging.
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

/// A stream of the running loop, and its peer in blocking mode.
pub(crate) fn stream_and_peer() -> (TcpStream, StdStream) {
    let (ours, peer) = std_pair();
    (TcpStream::from_std(ours).unwrap(), peer)
}

/// Two connected streams of the running loop.
pub(crate) fn stream_pair() -> (TcpStream, TcpStream) {
    let (one, other) = std_pair();
    (
        TcpStream::from_std(one).unwrap(),
        TcpStream::from_std(other).unwrap(),
    )
}

/// Closes with a reset instead of a FIN.
pub(crate) fn reset(socket: StdStream) {
    socket2::SockRef::from(&socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(socket);
}

/// Writes until the system takes no more, and says how much it took.
pub(crate) fn fill(stream: &TcpStream) -> usize {
    let chunk = [b'f'; 16 * 1024];
    let mut total = 0;
    // A fresh stream counts as writable, so the first attempt that blocks is the system's own word.
    while let Ok(count) = stream.try_write(&chunk) {
        total += count;
    }
    total
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

/// Polls a future once; `None` where it is not ready.
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
