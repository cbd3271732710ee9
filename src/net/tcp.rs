//! TCP: connections, listeners, and the options that only they have.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use mio::Interest;
use socket2::{SockRef, Socket, TcpKeepalive};

use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::net::listener::SocketListener;
use crate::net::nonblocking;
use crate::net::stream::SocketStream;
use crate::net::stream_kind::{Kind, SEND_FLAGS, StreamKind};

/// The kind of stream that goes over TCP.
///
/// ```
/// fn same_type(stream: callsoon::net::TcpStream) -> callsoon::net::SocketStream<callsoon::net::Tcp> {
///     stream
/// }
/// ```
#[derive(Debug)]
pub enum Tcp {}

/// A TCP connection.
///
/// ```
/// use callsoon::net::{TcpListener, TcpStream};
/// callsoon::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"ping").await?;
///     let mut buffer = [0; 4];
///     server.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"ping");
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<callsoon::net::TcpStream>();
/// ```
pub type TcpStream = SocketStream<Tcp>;

/// A listening TCP socket.
///
/// ```
/// use callsoon::net::{TcpListener, TcpStream};
/// callsoon::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (_server, address) = listener.accept().await?;
///     assert_eq!(address, client.local_addr()?);
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type TcpListener = SocketListener<Tcp>;

impl StreamKind for Tcp {}

impl Kind for Tcp {
    type Address = SocketAddr;
    type Socket = mio::net::TcpStream;
    type Std = std::net::TcpStream;
    type Listener = mio::net::TcpListener;
    type StdListener = std::net::TcpListener;
    type Cleanup = ();
    const STREAM: &'static str = "TcpStream";
    const LISTENER: &'static str = "TcpListener";

    // An urgent mark spoils the proof by short reads, so the poller has to tell of it.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn interest() -> Interest {
        Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY
    }

    fn adopt(socket: Self::Std) -> io::Result<Self::Socket> {
        socket.set_nonblocking(true)?;
        Ok(mio::net::TcpStream::from_std(socket))
    }

    fn short_read_drains(socket: &Self::Socket) -> bool {
        nonblocking::short_read_drains(socket)
    }

    fn release(socket: Self::Socket) -> Self::Std {
        socket.into()
    }

    fn as_ref(socket: &Self::Socket) -> SockRef<'_> {
        socket.into()
    }

    fn read(socket: &Self::Socket, buffer: &mut [u8]) -> io::Result<usize> {
        nonblocking::receive(socket, buffer)
    }

    fn read_vectored(socket: &Self::Socket, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        nonblocking::receive_vectored(socket, buffers)
    }

    fn peek(socket: &Self::Socket, buffer: &mut [u8]) -> io::Result<usize> {
        nonblocking::peek(socket, buffer)
    }

    fn write(socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(socket).send_with_flags(bytes, SEND_FLAGS)
    }

    fn peer_addr(socket: &Self::Socket) -> io::Result<SocketAddr> {
        socket.peer_addr()
    }

    fn local_addr(socket: &Self::Socket) -> io::Result<SocketAddr> {
        socket.local_addr()
    }

    fn accept(listener: &Self::Listener) -> io::Result<(Self::Socket, SocketAddr)> {
        #[cfg(unix)]
        nonblocking::expect_client(std::os::fd::AsFd::as_fd(listener))?;
        listener.accept()
    }

    fn listener_addr(listener: &Self::Listener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    fn adopt_listener(listener: Self::StdListener) -> io::Result<(Self::Listener, ())> {
        listener.set_nonblocking(true)?;
        Ok((mio::net::TcpListener::from_std(listener), ()))
    }

    fn release_listener(listener: Self::Listener, (): ()) -> Self::StdListener {
        listener.into()
    }
}

/// Waits for a connection attempt that is under way on `socket` to end.
pub(crate) async fn finish_connecting(
    handle: &LoopHandle,
    socket: mio::net::TcpStream,
) -> io::Result<TcpStream> {
    // Not writable until the system says so: that is how a connection announces itself.
    let readiness = Readiness::new(true, false);
    let io = Io::new(handle, socket, Tcp::interest(), readiness)?;
    let connected = |socket: &mio::net::TcpStream| connected(&SockRef::from(socket));
    io.operate(Direction::Write, connected, |()| false).await?;
    Ok(TcpStream { io })
}

/// Whether a connection attempt has ended, and how.
pub(super) fn connected(socket: &Socket) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        // The event was not about the attempt: it goes on.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}

impl TcpStream {
    /// Whether small writes are sent at once (`TCP_NODELAY`). Off until it is set.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_nodelay(true)?;
    /// assert!(client.nodelay()?);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.source().nodelay()
    }

    /// Sets `TCP_NODELAY`. See [`nodelay`](Self::nodelay).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_nodelay(true)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.source().set_nodelay(nodelay)
    }

    /// How long closing waits for data on its way; `None` is the system's way, in the background.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.linger()?, None);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self.io.source()).linger()
    }

    /// Sets `SO_LINGER`. Zero closes with a reset. Anything longer makes the drop of the stream block the loop for up to
    /// that time, rounded up to whole seconds; better `shutdown` and read to the end.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.set_linger(Some(std::time::Duration::ZERO))?;
    /// drop(client);
    /// assert_eq!(server.read(&mut [0; 1]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let linger = linger.map(|time| Duration::from_secs(whole_seconds(time).into()));
        SockRef::from(self.io.source()).set_linger(linger)
    }

    /// How many routers a packet may pass.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_ttl(9)?;
    /// assert_eq!(client.ttl()?, 9);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.source().ttl()
    }

    /// Sets `IP_TTL`. See [`ttl`](Self::ttl).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_ttl(64)?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.source().set_ttl(ttl)
    }

    /// Whether the system looks after a silent peer (`SO_KEEPALIVE`).
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(!client.keepalive()?);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn keepalive(&self) -> io::Result<bool> {
        SockRef::from(self.io.source()).keepalive()
    }

    /// Sees to it that a peer that says nothing for `idle` is asked whether it is there; `None` switches that off. The time
    /// is rounded up to whole seconds.
    ///
    /// # Errors
    /// `InvalidInput` for zero, and for more than the system takes: 32,767 seconds on Linux. Else what the system says.
    /// Nothing has changed then.
    ///
    /// ```
    /// # use callsoon::net::{TcpListener, TcpStream};
    /// # callsoon::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_keepalive(Some(std::time::Duration::from_secs(60)))?;
    /// assert!(client.keepalive()?);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        let socket = SockRef::from(self.io.source());
        match idle {
            Some(idle) => keep_alive(&socket, idle),
            None => socket.set_keepalive(false),
        }
    }
}

/// The longest idle time before a probe that the system takes, in seconds.
const LONGEST_IDLE: u32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    32_767
} else {
    i32::MAX as u32
};

/// Switches keepalive on after so much idle time, or changes nothing and fails.
pub(super) fn keep_alive(socket: &Socket, idle: Duration) -> io::Result<()> {
    let seconds = whole_seconds(idle);
    if !(1..=LONGEST_IDLE).contains(&seconds) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the idle time before a keepalive probe is zero, or longer than the system takes",
        ));
    }
    let before = socket.keepalive()?;
    // Two options, one after the other.
    let idle = Duration::from_secs(seconds.into());
    let set = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle));
    if set.is_err() && !before {
        socket.set_keepalive(false)?;
    }
    set
}

/// A time in the whole seconds that the system counts in: rounded up, since zero means something else, and at most what
/// its type can hold.
fn whole_seconds(time: Duration) -> u32 {
    let more = u64::from(time.subsec_nanos() > 0);
    let seconds = time.as_secs().saturating_add(more);
    seconds.min(i32::MAX as u64) as u32
}
