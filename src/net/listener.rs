//! Listeners, TCP's and Unix sockets', which outlive the want of descriptors.
//!
//! When the process or the system is out of descriptors, `accept` neither fails nor spins. The poller has told of the
//! waiting client and will not tell again, so the retry goes by timer: the listener says so once, sleeps, and tries
//! until a descriptor is free.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;

use crate::event_loop::free::get_running_loop;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::net::accept_error::{AcceptError, FAILURES_IN_A_ROW, what_failed};
use crate::net::stream::SocketStream;
use crate::net::stream_kind::StreamKind;
use crate::time::sleep;

/// How long `accept` waits for a free descriptor before it tries again. asyncio waits a second; half of one serves the
/// client well before a second has passed and costs two turns a second.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// A listening socket: a [`TcpListener`](crate::net::TcpListener) or a [`UnixListener`](crate::net::UnixListener).
///
/// ```
/// use callsoon::net::{SocketListener, StreamKind, TcpListener, TcpStream};
///
/// async fn serve_one<K: StreamKind>(listener: &SocketListener<K>) -> std::io::Result<()> {
///     let (client, _) = listener.accept().await?;
///     client.write_all(b"welcome").await
/// }
///
/// callsoon::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     serve_one(&listener).await?;
///     client.read_exact(&mut [0; 7]).await
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SocketListener<K: StreamKind> {
    io: Io<K::Listener>,
    /// What is cleared away after the socket has closed.
    cleanup: K::Cleanup,
    /// `accept` has reported why it pauses, and has not succeeded since.
    starved: Cell<bool>,
}

impl<K: StreamKind> SocketListener<K> {
    /// Registers a socket that listens already, in non-blocking mode.
    pub(super) fn watch(
        handle: &LoopHandle,
        listener: K::Listener,
        cleanup: K::Cleanup,
    ) -> io::Result<Self> {
        let readiness = Readiness::new(false, false);
        Ok(Self {
            io: Io::new(handle, listener, Interest::READABLE, readiness)?,
            cleanup,
            starved: Cell::new(false),
        })
    }

    /// A listener that exists already, made by other means; it is switched to non-blocking mode.
    ///
    /// # Errors
    /// What the system says of switching the mode and of registering.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// callsoon::run(async move {
    ///     let listener = callsoon::net::TcpListener::from_std(socket)?;
    ///     assert!(listener.local_addr()?.port() > 0);
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn from_std(listener: K::StdListener) -> io::Result<Self> {
        let handle = get_running_loop();
        let (listener, cleanup) = K::adopt_listener(listener)?;
        Self::watch(&handle, listener, cleanup)
    }

    /// The socket without its loop, still in non-blocking mode.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let listener = callsoon::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let socket: std::net::TcpListener = listener.into_std();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_std(self) -> K::StdListener {
        K::release_listener(self.io.into_source(), self.cleanup)
    }

    /// Waits for the next client and gives its connection and address.
    ///
    /// A client whose connection has failed before it was accepted is skipped: it gave up, a firewall refused it, or its
    /// network is down. While there are no descriptors left (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`) this reports so once
    /// to the exception handler and tries again every half second; likewise after 100 failed clients in a row.
    ///
    /// # Errors
    /// What the system says, if it is none of these.
    ///
    /// # Cancellation
    /// Dropped before it is done it has accepted nobody.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, address) = listener.accept().await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn accept(&self) -> io::Result<(SocketStream<K>, K::Address)> {
        let mut failures = 0;
        loop {
            let accepted = self.io.operate(Direction::Read, K::accept, |_| false).await;
            match accepted {
                Ok((socket, address)) => {
                    self.starved.set(false);
                    return Ok((SocketStream::from_mio(&self.io.handle(), socket)?, address));
                }
                Err(error) => match AcceptError::of(&error) {
                    AcceptError::Client if failures < FAILURES_IN_A_ROW => failures += 1,
                    AcceptError::Client | AcceptError::Exhausted => self.pause(error).await,
                    AcceptError::Listener => return Err(error),
                },
            }
        }
    }

    /// Reports an error, once until a client is accepted, and waits before the next try.
    async fn pause(&self, error: io::Error) {
        if !self.starved.replace(true) {
            let what = what_failed(&error);
            self.io.handle().call_exception_handler(&ExceptionContext {
                message: format!("{what}; trying again every half second"),
                exception: Some(Rc::new(error)),
                ..ExceptionContext::default()
            });
        }
        sleep(ACCEPT_RETRY).await;
    }

    /// Accepts without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where nobody waits; else what the system says, also of clients that are gone and of descriptors that
    /// have run out.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let listener = callsoon::net::TcpListener::bind("127.0.0.1:0").await?;
    /// assert_eq!(listener.try_accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_accept(&self) -> io::Result<(SocketStream<K>, K::Address)> {
        let (socket, address) = self.io.attempt(Direction::Read, K::accept)?;
        self.starved.set(false);
        Ok((SocketStream::from_mio(&self.io.handle(), socket)?, address))
    }

    /// The address that the listener is bound to, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let listener = callsoon::net::TcpListener::bind("127.0.0.1:0").await?;
    /// assert!(listener.local_addr()?.port() > 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<K::Address> {
        K::listener_addr(self.io.source())
    }
}

#[cfg(unix)]
impl<K: StreamKind> std::os::fd::AsFd for SocketListener<K>
where
    K::Listener: std::os::fd::AsFd,
{
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

#[cfg(unix)]
impl<K: StreamKind> std::os::fd::AsRawFd for SocketListener<K>
where
    K::Listener: std::os::fd::AsRawFd,
{
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.io.source().as_raw_fd()
    }
}

impl<K: StreamKind> fmt::Debug for SocketListener<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(K::LISTENER).field(self.io.source()).finish()
    }
}
