//! Listeners of TCP and of Unix sockets.
//!
//! `accept` neither fails nor spins while there are no descriptors left. `socket/accept.rs` has the rules, which servers
//! follow too.

use std::cell::Cell;
use std::fmt;
use std::future::Future as _;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::{SockRef, Socket};

use crate::event_loop::free::get_running_loop;
use crate::kernel::io::readiness::Direction;
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::net::stream::{SocketStream, StreamKind};
use crate::socket::accept::{
    ACCEPT_RETRY, AcceptRetry, AfterError, Listener, accept, watch_listener,
};
use crate::socket::address::{Address, NetAddress as _};
use crate::socket::socket_file::SocketFile;
use crate::sys::fd::set_nonblocking;
use crate::time::sleep::{Sleep, sleep};

/// A listening socket: a [`TcpListener`](crate::net::TcpListener) or a [`UnixListener`](crate::net::UnixListener).
///
/// `K` is as in [`SocketStream`], and `K::StdListener` is the listener of the standard library.
///
/// ```
/// use callsoon::net::{SocketListener, Tcp, TcpListener, TcpStream};
///
/// callsoon::run(async {
///     let listener: SocketListener<Tcp> = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     server.write_all(b"welcome").await?;
///     client.read_exact(&mut [0; 7]).await
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SocketListener<K> {
    io: Io<Listener>,
    /// What is removed after the socket has closed.
    file: Option<SocketFile>,
    /// What follows after an error of `accept`.
    failed: AcceptRetry,
    /// What [`poll_accept`](Self::poll_accept) remembers: how many clients have failed in a row, and a pause.
    failures: Cell<u32>,
    pause: Cell<Option<Sleep>>,
    kind: PhantomData<K>,
}

impl<K: StreamKind> SocketListener<K> {
    /// Registers a socket in non-blocking mode that listens already.
    pub(super) fn watch(
        handle: &LoopHandle,
        socket: Socket,
        file: Option<SocketFile>,
    ) -> io::Result<Self> {
        Ok(Self {
            io: watch_listener(handle, socket)?,
            file,
            failed: AcceptRetry::default(),
            failures: Cell::new(0),
            pause: Cell::new(None),
            kind: PhantomData,
        })
    }

    /// Takes over a listener that was made by other means, and switches it to non-blocking mode.
    ///
    /// # Errors
    /// `OutOfMemory` or `StorageFull` if the poller has no room for another descriptor, `AlreadyExists` if it has this
    /// one already, `NotConnected` if the loop is closed.
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
        let socket = listener.into();
        set_nonblocking(socket.as_fd())?;
        // A socket's file belongs to the program that has made it.
        Self::watch(&handle, socket, None)
    }

    /// Returns the socket without its loop, still in non-blocking mode.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let listener = callsoon::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let socket: std::net::TcpListener = listener.into_std();
    /// # Ok(()) });
    /// ```
    pub fn into_std(self) -> K::StdListener {
        SocketFile::forget(self.file);
        self.io.into_source().0.into()
    }

    /// Waits for the next client, and returns its connection and address.
    ///
    /// A client whose connection has failed before it was accepted is skipped: it has given up, a firewall has refused
    /// it, or its network is down. While there are no descriptors or no memory left (`EMFILE`, `ENFILE`, `ENOBUFS`,
    /// `ENOMEM`), this reports so to the exception handler, once, and tries again every second, which is asyncio's
    /// pause. It does the same after 100 failed clients in a row.
    ///
    /// asyncio's `sock_accept` gives all these errors to its caller; its servers pause for a second, as here.
    ///
    /// # Errors
    /// `InvalidInput` if the socket does not listen, `NotConnected` if the loop is closed; any other error of `accept`
    /// that is neither about one client nor about a want of resources. `OutOfMemory` or `StorageFull` if the poller has no
    /// room for the client, which is closed then.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has accepted no client.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, address) = listener.accept().await?;
    /// # Ok(()) });
    /// ```
    pub async fn accept(&self) -> io::Result<(SocketStream<K>, K::Address)> {
        let mut failures = 0;
        loop {
            match self.io.operate(Direction::Read, take::<K>, |_| false).await {
                Ok(client) => return self.connected(client),
                Err(error) => match self.failed.after(&error, &mut failures) {
                    AfterError::Next => {}
                    AfterError::Pause => {
                        failures = 0;
                        self.failed.report(&self.io.handle(), error, None);
                        sleep(ACCEPT_RETRY).await;
                    }
                    AfterError::Broken => return Err(error),
                },
            }
        }
    }

    /// Polls for the next client: [`accept`](Self::accept) as a poll function. Of all calls for one listener that are
    /// pending, the last has its task woken.
    ///
    /// # Errors
    /// Those of [`accept`](Self::accept).
    ///
    /// ```
    /// # use std::future::poll_fn;
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, address) = poll_fn(|context| listener.poll_accept(context)).await?;
    /// # Ok(()) });
    /// ```
    pub fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(SocketStream<K>, K::Address)>> {
        loop {
            ready!(self.poll_pause(context));
            let accepted = self
                .io
                .poll_operate(Direction::Read, context, take::<K>, |_| false);
            let error = match ready!(accepted) {
                Ok(client) => {
                    self.failures.set(0);
                    return Poll::Ready(self.connected(client));
                }
                Err(error) => error,
            };
            let mut failures = self.failures.get();
            let after = self.failed.after(&error, &mut failures);
            self.failures.set(failures);
            match after {
                AfterError::Next => {}
                AfterError::Pause => {
                    self.failures.set(0);
                    let handle = self.io.handle();
                    self.failed.report(&handle, error, None);
                    let former = self
                        .pause
                        .replace(Some(Sleep::after(&handle, ACCEPT_RETRY)));
                    drop(former);
                }
                AfterError::Broken => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Polls the pause after an error, if there is one. On a closed loop it would never end, and the next try fails.
    fn poll_pause(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(mut pause) = self.pause.take() else {
            return Poll::Ready(());
        };
        if self.io.handle().is_closed() {
            return Poll::Ready(());
        }
        let polled = Pin::new(&mut pause).poll(context);
        if polled.is_pending() {
            let former = self.pause.replace(Some(pause));
            drop(former);
        }
        polled
    }

    /// Accepts a client without waiting. It does not skip and does not retry.
    ///
    /// # Errors
    /// `WouldBlock` if no client waits; `ConnectionAborted` and others if the client has failed; an error with `EMFILE`
    /// and others inside if resources have run out; `NotConnected` if the loop is closed.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let listener = callsoon::net::TcpListener::bind("127.0.0.1:0").await?;
    /// assert_eq!(listener.try_accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok(()) });
    /// ```
    pub fn try_accept(&self) -> io::Result<(SocketStream<K>, K::Address)> {
        self.connected(self.io.attempt(Direction::Read, take::<K>)?)
    }

    fn connected(&self, (socket, address): Client<K>) -> io::Result<(SocketStream<K>, K::Address)> {
        self.failed.accepted();
        let stream = SocketStream::watch(&self.io.handle(), socket)?;
        Ok((stream, address))
    }

    /// Returns the address that the listener is bound to, with the port that the system has chosen for port 0.
    ///
    /// # Errors
    /// `PermissionDenied` if a sandbox denies the call.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let listener = callsoon::net::TcpListener::bind("127.0.0.1:0").await?;
    /// assert!(listener.local_addr()?.port() > 0);
    /// # Ok(()) });
    /// ```
    pub fn local_addr(&self) -> io::Result<K::Address> {
        K::Address::local(self.as_fd())
    }
}

/// A client's socket and address. The latter is converted at once: what the system gives is long, and is not copied on.
type Client<K> = (Socket, <K as StreamKind>::Address);

fn take<K: StreamKind>(listener: &Listener) -> io::Result<Client<K>> {
    let (socket, address) = accept(listener.as_fd())?;
    let address = K::Address::accepted(&address, socket.as_fd())?;
    Ok((socket.into(), address))
}

impl<K> AsFd for SocketListener<K> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.source().as_fd()
    }
}

impl<K> AsRawFd for SocketListener<K> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<K> fmt::Debug for SocketListener<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = SockRef::from(self).local_addr();
        f.debug_struct("SocketListener")
            .field("local", &Address::of(local))
            .finish_non_exhaustive()
    }
}
