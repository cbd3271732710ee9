//! How a TCP connection is made by name or address: options, and `TcpStream::connect`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::Socket;

use crate::error::invalid_input;
use crate::event_loop::free::get_running_loop;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::net::tcp::TcpStream;
use crate::socket::bind_error::BindError;
use crate::socket::connect::{finish, start};
use crate::socket::connect_error::ConnectError;
use crate::socket::dns::{Target, ToSocketAddrs};
use crate::socket::happy_eyeballs::HappyEyeballs;
use crate::socket::stream_socket::keep_alive;

/// How a connection is made.
///
/// ```
/// use callsoon::net::{ConnectOptions, TcpListener};
/// callsoon::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let options = ConnectOptions::new().local_addr("127.0.0.2:0".parse().unwrap()).nodelay(true);
///     let client = options.connect(listener.local_addr()?).await?;
///     assert!(client.local_addr()?.to_string().starts_with("127.0.0.2:"));
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default, Debug)]
#[must_use = "options connect nothing until `connect()`"]
pub struct ConnectOptions {
    local_addr: Option<SocketAddr>,
    nodelay: bool,
    keepalive: Option<Duration>,
    eyeballs: HappyEyeballs,
}

impl ConnectOptions {
    /// Returns the defaults: any local address, the next address after 250 ms, families in turn.
    ///
    /// ```
    /// let options = callsoon::net::ConnectOptions::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds to this address before connecting. An address of the other family then fails with `InvalidInput`, and the
    /// next one is tried.
    ///
    /// ```
    /// let options = callsoon::net::ConnectOptions::new().local_addr("127.0.0.1:0".parse().unwrap());
    /// ```
    pub fn local_addr(mut self, address: SocketAddr) -> Self {
        self.local_addr = Some(address);
        self
    }

    /// Sends small writes at once (`TCP_NODELAY`). Off by default.
    ///
    /// ```
    /// let options = callsoon::net::ConnectOptions::new().nodelay(true);
    /// ```
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Makes the system probe a peer that has sent nothing for `idle`. Off by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// let options = callsoon::net::ConnectOptions::new().keepalive(Some(Duration::from_secs(60)));
    /// ```
    pub fn keepalive(mut self, idle: Option<Duration>) -> Self {
        self.keepalive = idle;
        self
    }

    /// Sets how long an attempt goes on alone before the next address is tried beside it. With `None` the next address
    /// is tried only when the one before has failed.
    ///
    /// 250 ms by default, as RFC 8305 recommends. In asyncio the default is `None`.
    ///
    /// ```
    /// let options = callsoon::net::ConnectOptions::new().happy_eyeballs_delay(None);
    /// ```
    pub fn happy_eyeballs_delay(mut self, delay: Option<Duration>) -> Self {
        self.eyeballs.delay = delay;
        self
    }

    /// Sets how many addresses of the first family are tried before the families take turns. 0 keeps the resolver's
    /// order.
    ///
    /// 1 by default, as in asyncio when it is given a delay.
    ///
    /// ```
    /// let options = callsoon::net::ConnectOptions::new().interleave(2);
    /// ```
    pub fn interleave(mut self, first_family: usize) -> Self {
        self.eyeballs.interleave = first_family;
        self
    }

    /// Connects to the first of the target's addresses that answers.
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host). If all attempts fail: an error with a
    /// [`ConnectError`] inside, which has the addresses and the errors of all; its kind is
    /// that of the attempts if they agree, and `Other` if not. The kinds of an attempt: `ConnectionRefused`,
    /// `TimedOut`, `NetworkUnreachable`, `HostUnreachable`, `AddrNotAvailable`, `AddrInUse`, `PermissionDenied`, and an
    /// error with `EMFILE` inside if there are no descriptors left. `NotConnected` if the loop is closed.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it closes all sockets and abandons the look-up.
    ///
    /// ```
    /// # use callsoon::net::{ConnectOptions, TcpListener};
    /// # callsoon::doctest::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let port = listener.local_addr()?.port();
    /// // Most systems have ::1 for this name too, on which no server listens.
    /// let client = ConnectOptions::new().connect(("localhost", port)).await?;
    /// # Ok(()) });
    /// ```
    pub async fn connect(&self, target: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let handle = get_running_loop();
        proceed().await;
        let target = target.into_target()?;
        // Without a box for the attempt.
        if let Target::Address(address) = target {
            let connected = self.connect_one(&handle, address).await;
            return connected.map_err(ConnectError::naming(address));
        }
        let addresses = target.addresses(&handle).await?;
        let attempt = |address| self.connect_one(&handle, address);
        self.eyeballs.race(addresses, attempt).await
    }

    async fn connect_one(&self, handle: &LoopHandle, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = start(address, |socket| self.prepare(socket, address))?;
        Ok(TcpStream::new(finish(handle, socket).await?))
    }

    /// Sets what has to be set before the attempt begins.
    fn prepare(&self, socket: &Socket, address: SocketAddr) -> io::Result<()> {
        if let Some(local) = self.local_addr {
            if local.is_ipv6() != address.is_ipv6() {
                return Err(invalid_input("the local address is of another family"));
            }
            let bound = socket.bind(&local.into());
            bound.map_err(BindError::naming(local))?;
        }
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        match self.keepalive {
            Some(idle) => keep_alive(socket, idle),
            None => Ok(()),
        }
    }
}

impl TcpStream {
    /// Connects to an address, or to the first address of a host that answers, with the default [`ConnectOptions`].
    ///
    /// # Errors
    /// Those of [`ConnectOptions::connect`].
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it closes all sockets and abandons the look-up.
    ///
    /// ```
    /// use callsoon::net::TcpStream;
    /// let error = callsoon::run(async { TcpStream::connect(("127.0.0.1", 1)).await });
    /// assert_eq!(error.unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    /// ```
    pub async fn connect(target: impl ToSocketAddrs) -> io::Result<Self> {
        ConnectOptions::new().connect(target).await
    }
}
