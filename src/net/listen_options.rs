//! How a listener is set up, and `bind`.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use crate::event_loop::free::get_running_loop;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::net::dns::ToSocketAddrs;
use crate::net::stream_kind::new_socket;
use crate::net::tcp::TcpListener;

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
    pub(super) reuse_address: bool,
    reuse_port: bool,
    pub(crate) backlog: i32,
    pub(super) cleanup_socket: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            reuse_address: cfg!(unix),
            reuse_port: false,
            backlog: BACKLOG,
            cleanup_socket: true,
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

    /// `SO_REUSEADDR`: binds although old connections of the same port linger; for a Unix socket,
    /// although a dead server's file is there. On by default on Unix.
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

    /// Whether the file of a Unix socket is removed with its listener; on by default.
    ///
    /// ```
    /// let options = callsoon::net::ListenOptions::new().cleanup_socket(false);
    /// ```
    pub fn cleanup_socket(mut self, cleanup: bool) -> Self {
        self.cleanup_socket = cleanup;
        self
    }

    /// Binds and listens. An IPv6 listener takes IPv6 clients only.
    ///
    /// It takes an address, and no name, because it is no future: so it can be called in callbacks too. The addresses of a
    /// name are found by [`lookup_host`](crate::net::lookup_host); [`TcpListener::bind`] takes names itself.
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
        self.listen(&get_running_loop(), address)
    }

    fn listen(&self, handle: &LoopHandle, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = self.bound(address)?;
        socket.listen(self.backlog)?;
        let listener = mio::net::TcpListener::from_std(socket.into());
        TcpListener::watch(handle, listener, ())
    }

    /// A socket that is bound and does not listen yet.
    pub(crate) fn bound(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
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
pub(crate) fn reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
)))]
pub(crate) fn reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "SO_REUSEPORT does not exist on this system",
    ))
}

impl TcpListener {
    /// Binds and listens with the default [`ListenOptions`]. Port 0 lets the system choose.
    ///
    /// Of several addresses, a list's or a name's, the first that can be bound is; a server that listens on all of them is
    /// made by [`create_server`](crate::LoopHandle::create_server).
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host), and what the system says of the last address: in use, permission
    /// denied … `NotFound` where the list is empty.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it has bound nothing and gives up the look-up.
    ///
    /// ```
    /// use callsoon::net::TcpListener;
    /// # callsoon::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let by_name = TcpListener::bind(("localhost", 0)).await?;
    /// let taken = listener.local_addr()?;
    /// let second_choice = TcpListener::bind([taken, "127.0.0.2:0".parse().unwrap()]).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn bind(place: impl ToSocketAddrs) -> io::Result<Self> {
        let handle = get_running_loop();
        proceed().await;
        let options = ListenOptions::new();
        let listen = |address| options.listen(&handle, address);
        place.into_target()?.try_each(&handle, listen).await
    }
}
