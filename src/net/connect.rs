//! Connecting by name or address, to the first of several that answers.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Type};

use crate::event_loop::free::get_running_loop;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::net::dns::{Target, ToSocketAddrs, no_address, resolve};
use crate::net::happy_eyeballs::{interleave, staggered_race};
use crate::net::stream_kind::new_socket;
use crate::net::tcp::{TcpStream, finish_connecting, keep_alive};

/// How long an attempt goes on alone, by RFC 8305.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

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

/// When the next of several addresses is tried, and in which order they stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HappyEyeballs {
    pub(crate) delay: Option<Duration>,
    pub(crate) interleave: usize,
}

impl Default for HappyEyeballs {
    fn default() -> Self {
        Self {
            delay: Some(ATTEMPT_DELAY),
            interleave: 1,
        }
    }
}

impl HappyEyeballs {
    /// Makes an attempt on each address until one succeeds, and gives what it gave.
    pub(crate) async fn connect<T, F>(
        self,
        mut addresses: Vec<SocketAddr>,
        attempt: impl Fn(SocketAddr) -> F,
    ) -> io::Result<T>
    where
        F: Future<Output = io::Result<T>>,
    {
        if let [address] = addresses[..] {
            return attempt(address).await;
        }
        addresses = interleave(addresses, self.interleave);
        let attempts = addresses.iter().map(|&address| attempt(address));
        match staggered_race(attempts, self.delay).await {
            Ok((_, connected)) => Ok(connected),
            Err(errors) => Err(together(addresses.into_iter().zip(errors).collect())),
        }
    }
}

impl ConnectOptions {
    /// The defaults: any local address, happy eyeballs after 250 ms, families by turns.
    ///
    /// ```
    /// let options = callsoon::net::ConnectOptions::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds to this address before connecting; addresses of the other family are then not tried.
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

    /// Asks a peer that says nothing for `idle` whether it is there. Off by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// let options = callsoon::net::ConnectOptions::new().keepalive(Some(Duration::from_secs(60)));
    /// ```
    pub fn keepalive(mut self, idle: Option<Duration>) -> Self {
        self.keepalive = idle;
        self
    }

    /// After how long the next address is tried beside one that has not answered; with `None` only when it has failed.
    /// 250 ms by default.
    ///
    /// ```
    /// let options = callsoon::net::ConnectOptions::new().happy_eyeballs_delay(None);
    /// ```
    pub fn happy_eyeballs_delay(mut self, delay: Option<Duration>) -> Self {
        self.eyeballs.delay = delay;
        self
    }

    /// How many addresses of the first family are tried before the families take turns; 0 keeps the resolver's order. 1 by
    /// default.
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
    /// Those of [`lookup_host`](crate::net::lookup_host). If all attempts fail: their error where it is one and the same,
    /// else one with a [`ConnectError`] inside that has them all.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes all sockets and gives up the look-up.
    ///
    /// ```
    /// # use callsoon::net::{ConnectOptions, TcpListener};
    /// # callsoon::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let port = listener.local_addr()?.port();
    /// // Most systems have ::1 for this name too, where nobody listens.
    /// let client = ConnectOptions::new().connect(("localhost", port)).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect(&self, target: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let handle = get_running_loop();
        proceed().await;
        let addresses = match target.into_target()? {
            Target::Address(address) => return self.connect_one(&handle, address).await,
            Target::Addresses(addresses) => addresses,
            Target::Host(host, port) => resolve(&handle, host, port).await?,
        };
        self.connect_any(&handle, addresses).await
    }

    async fn connect_any(
        &self,
        handle: &LoopHandle,
        addresses: Vec<SocketAddr>,
    ) -> io::Result<TcpStream> {
        let attempt = |address| self.connect_one(handle, address);
        self.eyeballs.connect(addresses, attempt).await
    }

    async fn connect_one(&self, handle: &LoopHandle, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = new_socket(Domain::for_address(address), Type::STREAM)?;
        if let Some(local) = self.local_addr {
            if local.is_ipv6() != address.is_ipv6() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the local address is of another family",
                ));
            }
            socket.bind(&local.into())?;
        }
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(idle) = self.keepalive {
            keep_alive(&socket, idle)?;
        }
        match socket.connect(&address.into()) {
            Err(error) if !is_under_way(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        finish_connecting(handle, mio::net::TcpStream::from_std(socket.into())).await
    }
}

/// Whether an attempt goes on in the background.
pub(crate) fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// One error for all attempts.
fn together(mut attempts: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let Some((_, first)) = attempts.first() else {
        return no_address();
    };
    let (kind, text) = (first.kind(), first.to_string());
    let same = attempts.iter().all(|(_, error)| error.to_string() == text);
    if same {
        return attempts.remove(0).1;
    }
    let one_kind = attempts.iter().all(|(_, error)| error.kind() == kind);
    let kind = if one_kind { kind } else { io::ErrorKind::Other };
    io::Error::new(kind, ConnectError { attempts })
}

/// Why none of several addresses could be connected to. It comes inside an [`io::Error`].
///
/// ```
/// use callsoon::net::{ConnectError, TcpStream};
/// let targets = ["127.0.0.1:1".parse().unwrap(), "255.255.255.255:1".parse().unwrap()];
/// let error = callsoon::run(async { TcpStream::connect(&targets[..]).await }).unwrap().unwrap_err();
/// let all = error.get_ref().and_then(|inner| inner.downcast_ref::<ConnectError>()).unwrap();
/// assert_eq!(all.attempts()[0].0, targets[0]);
/// ```
#[derive(Debug)]
pub struct ConnectError {
    attempts: Vec<(SocketAddr, io::Error)>,
}

impl ConnectError {
    /// Each address and what became of it, in the order in which they were tried.
    ///
    /// ```
    /// # use callsoon::net::{ConnectError, TcpStream};
    /// # let targets = ["127.0.0.1:1".parse().unwrap(), "255.255.255.255:1".parse().unwrap()];
    /// # let error = callsoon::run(async { TcpStream::connect(&targets[..]).await }).unwrap().unwrap_err();
    /// let all: &ConnectError = error.get_ref().unwrap().downcast_ref().unwrap();
    /// assert_eq!(all.attempts().len(), 2);
    /// ```
    pub fn attempts(&self) -> &[(SocketAddr, io::Error)] {
        &self.attempts
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no address could be connected to")?;
        for (number, (address, error)) in self.attempts.iter().enumerate() {
            let separator = if number == 0 { ": " } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

impl Error for ConnectError {}

impl TcpStream {
    /// Connects to an address, or to the first address of a host that answers, with the default [`ConnectOptions`].
    ///
    /// # Errors
    /// What the system says of the attempt: refused, unreachable, out of descriptors …; see [`ConnectOptions::connect`].
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the socket.
    ///
    /// ```
    /// use callsoon::net::TcpStream;
    /// let error = callsoon::run(async { TcpStream::connect(("127.0.0.1", 1)).await });
    /// assert_eq!(error.unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    /// ```
    pub async fn connect(target: impl ToSocketAddrs) -> io::Result<Self> {
        let handle = get_running_loop();
        proceed().await;
        match target.into_target()? {
            // Without a look-up and without a box.
            Target::Address(address) => {
                finish_connecting(&handle, mio::net::TcpStream::connect(address)?).await
            }
            Target::Addresses(addresses) => {
                let options = ConnectOptions::new();
                options.connect_any(&handle, addresses).await
            }
            Target::Host(host, port) => {
                let addresses = resolve(&handle, host, port).await?;
                let options = ConnectOptions::new();
                options.connect_any(&handle, addresses).await
            }
        }
    }
}
