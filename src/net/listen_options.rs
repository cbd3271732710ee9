//! How a listener is set up, and `TcpListener::bind`.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use crate::event_loop::free::get_running_loop;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::net::tcp::TcpListener;
use crate::socket::bind_error::BindError;
use crate::socket::dns::ToSocketAddrs;
use crate::socket::nonblocking::new_socket;

/// How many clients may wait. asyncio has 100. With 1024 the system does not drop the SYNs of a thousand clients that
/// come at once.
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
    pub(crate) cleanup_socket: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            reuse_address: true,
            reuse_port: false,
            backlog: BACKLOG,
            cleanup_socket: true,
        }
    }
}

impl ListenOptions {
    /// Returns the defaults: `SO_REUSEADDR`, no `SO_REUSEPORT`, a backlog of 1024.
    ///
    /// ```
    /// let options = callsoon::net::ListenOptions::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `SO_REUSEADDR`: binds although old connections of the same port linger; for a Unix socket, although a dead
    /// server's file is there. On by default.
    ///
    /// ```
    /// let options = callsoon::net::ListenOptions::new().reuse_address(false);
    /// ```
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Sets `SO_REUSEPORT`: several listeners share the port, and the system spreads clients over them. Off by default.
    ///
    /// ```
    /// let options = callsoon::net::ListenOptions::new().reuse_port(true);
    /// ```
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Sets how many clients may wait to be accepted. The system may cap the number, and decides what a negative one
    /// means. 1024 by default; asyncio has 100.
    ///
    /// ```
    /// let options = callsoon::net::ListenOptions::new().backlog(64);
    /// ```
    pub fn backlog(mut self, clients: i32) -> Self {
        self.backlog = clients;
        self
    }

    /// Sets whether the file of a Unix socket is removed with its listener. On by default.
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
    /// It takes an address and no name, because it does not wait, and so it can be called in callbacks too.
    /// [`lookup_host`](crate::net::lookup_host) finds the addresses of a name; [`TcpListener::bind`] takes names
    /// itself.
    ///
    /// # Errors
    /// `AddrInUse` if another socket has the address, `AddrNotAvailable` if the machine does not have it,
    /// `PermissionDenied` if the port is reserved, an error with `EMFILE` inside if there are no descriptors left,
    /// `NotConnected` if the loop is closed. A [`BindError`] inside has the address.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let listener = callsoon::net::ListenOptions::new().bind("127.0.0.1:0".parse().unwrap())?;
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn bind(&self, address: SocketAddr) -> io::Result<TcpListener> {
        self.listen(&get_running_loop(), address)
    }

    fn listen(&self, handle: &LoopHandle, address: SocketAddr) -> io::Result<TcpListener> {
        let listen = || {
            let socket = self.bound(address)?;
            socket.listen(self.backlog)?;
            TcpListener::watch(handle, socket, None)
        };
        listen().map_err(BindError::naming(address))
    }

    /// Returns a socket that is bound and does not listen yet.
    pub(crate) fn bound(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(self.reuse_address)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    }
}

impl TcpListener {
    /// Binds and listens with the default [`ListenOptions`]. With port 0 the system chooses a port.
    ///
    /// Of several addresses, those of a list or of a name, it takes the first that can be bound.
    /// [`create_server`](crate::LoopHandle::create_server) makes a server that listens on all of them.
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host), and those of [`ListenOptions::bind`] for the last address.
    /// `NotFound` if the list is empty.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it has bound nothing, and it abandons the look-up.
    ///
    /// ```
    /// use callsoon::net::TcpListener;
    /// # callsoon::doctest::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let by_name = TcpListener::bind(("localhost", 0)).await?;
    /// let taken = listener.local_addr()?;
    /// let second_choice = TcpListener::bind([taken, "127.0.0.2:0".parse().unwrap()]).await?;
    /// # Ok(()) });
    /// ```
    pub async fn bind(place: impl ToSocketAddrs) -> io::Result<Self> {
        let handle = get_running_loop();
        proceed().await;
        let options = ListenOptions::new();
        let listen = |address| options.listen(&handle, address);
        place.into_target()?.try_each(&handle, listen).await
    }
}
