//! TCP listeners, which outlive the want of descriptors.
//!
//! When the process or the system is out of descriptors, `accept` neither fails nor spins. The poller has told of the
//! waiting client and will not tell again, so the retry goes by timer: the listener says so once, sleeps, and tries
//! until a descriptor is free.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use socket2::{Domain, Protocol, Socket, Type};

use crate::event_loop::free::get_running_loop;
use crate::kernel::io::Io;
use crate::kernel::readiness::{Direction, Readiness};
use crate::kernel::report::ExceptionContext;
use crate::net::stream::TcpStream;
use crate::time::sleep;

/// How long `accept` waits for a free descriptor before it tries again. asyncio waits a second; half of one serves the
/// client well before a second has passed and costs two turns a second.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// asyncio's backlog is 100; a burst of a thousand clients should not see their SYNs dropped.
const BACKLOG: i32 = 1024;

/// How a listener is set up.
///
/// ```
/// use callsoon::net::ListenOptions;
/// callsoon::run(async {
///     let listener = ListenOptions::new().reuse_port(true).backlog(16).bind("127.0.0.1:0".parse().unwrap())?;
///     assert_ne!(listener.local_addr()?.port(), 0);
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options bind nothing until `bind()`"]
pub struct ListenOptions {
    reuse_address: bool,
    reuse_port: bool,
    pub(crate) backlog: i32,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            reuse_address: cfg!(unix),
            reuse_port: false,
            backlog: BACKLOG,
        }
    }
}

impl ListenOptions {
    /// The defaults: `SO_REUSEADDR` on Unix, no `SO_REUSEPORT`, a backlog of 1024.
    ///
    /// ```
    /// let options = callsoon::net::ListenOptions::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// `SO_REUSEADDR`: binds although old connections of the same port linger. On by default on Unix.
    ///
    /// ```
    /// let options = callsoon::net::ListenOptions::new().reuse_address(false);
    /// ```
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// `SO_REUSEPORT`: several listeners share the port and the system spreads clients over them. Off by default.
    ///
    /// ```
    /// let options = callsoon::net::ListenOptions::new().reuse_port(true);
    /// ```
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// How many clients may wait to be accepted; the system may cap it, and takes a negative number as it pleases.
    ///
    /// ```
    /// let options = callsoon::net::ListenOptions::new().backlog(64);
    /// ```
    pub fn backlog(mut self, clients: i32) -> Self {
        self.backlog = clients;
        self
    }

    /// Binds and listens. An IPv6 listener takes IPv6 clients only.
    ///
    /// # Errors
    /// What the system says: address in use, permission denied … `Unsupported` for `reuse_port` where there is none.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let listener = callsoon::net::ListenOptions::new().bind("127.0.0.1:0".parse().unwrap())?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn bind(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let handle = get_running_loop();
        let socket = self.bound(address)?;
        socket.listen(self.backlog)?;
        let listener = mio::net::TcpListener::from_std(socket.into());
        let io = Io::new(
            &handle,
            listener,
            Interest::READABLE,
            Readiness::new(false, false),
        )?;
        Ok(TcpListener {
            io,
            starved: Cell::new(false),
        })
    }

    /// A socket that is bound and does not listen yet.
    pub(crate) fn bound(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(self.reuse_address)?;
        if self.reuse_port {
            reuse_port(&socket)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    }
}

#[cfg(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
))]
fn reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
)))]
fn reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "SO_REUSEPORT does not exist on this system",
    ))
}

/// A listening TCP socket.
///
/// ```
/// use callsoon::net::{TcpListener, TcpStream};
/// callsoon::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (_server, address) = listener.accept().await?;
///     assert_eq!(address, client.local_addr()?);
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener {
    io: Io<mio::net::TcpListener>,
    /// `accept` has reported that there are no descriptors, and has not succeeded since.
    starved: Cell<bool>,
}

impl TcpListener {
    /// Binds and listens with the default [`ListenOptions`].
    ///
    /// # Errors
    /// What the system says: address in use, permission denied …
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let listener = callsoon::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        ListenOptions::new().bind(address)
    }

    /// Waits for the next client and gives its connection and address.
    ///
    /// A client that gave up before it was accepted is skipped. While there are no descriptors left (`EMFILE`, `ENFILE`,
    /// `ENOBUFS`, `ENOMEM`) it reports so once to the exception handler and tries again every half second.
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
    /// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (stream, address) = listener.accept().await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let accepted = self
                .io
                .operate(Direction::Read, mio::net::TcpListener::accept, |_| false)
                .await;
            match accepted {
                Ok((socket, address)) => {
                    self.starved.set(false);
                    return Ok((TcpStream::from_mio(&self.io.handle(), socket)?, address));
                }
                Err(error) if is_about_the_client(&error) => {}
                Err(error) if is_exhaustion(&error) => self.wait_for_descriptors(error).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait_for_descriptors(&self, error: io::Error) {
        if !self.starved.replace(true) {
            self.io.handle().call_exception_handler(&ExceptionContext {
                message: "Out of system resources in accept; trying again every half second"
                    .to_owned(),
                exception: Some(Rc::new(error)),
                ..ExceptionContext::default()
            });
        }
        sleep(ACCEPT_RETRY).await;
    }

    /// The address that the listener is bound to, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # callsoon::run(async {
    /// let listener = callsoon::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).await?;
    /// assert!(listener.local_addr()?.port() > 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.source().local_addr()
    }
}

/// Errors of one client, who is gone; the next one may be fine.
pub(crate) fn is_about_the_client(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EPROTO) {
        return true;
    }
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Errors of the process or the system, which pass.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    #[cfg(unix)]
    return matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    );
    #[cfg(not(unix))]
    return error.kind() == io::ErrorKind::OutOfMemory;
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.source().fmt(f)
    }
}
