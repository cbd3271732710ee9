//! TCP: connections, listeners, and the options that only they have.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;

use crate::net::listener::SocketListener;
use crate::net::stream::{SocketStream, StreamKind};
use crate::socket::connect_to::ConnectTo;
use crate::socket::stream_socket::{keep_alive, whole_seconds};

/// The kind of stream that goes over TCP.
///
/// ```
/// fn same_type(stream: callsoon::net::TcpStream) -> callsoon::net::SocketStream<callsoon::net::Tcp> {
///     stream
/// }
/// ```
#[derive(Clone, Copy, Debug)]
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

impl StreamKind for Tcp {
    type Address = SocketAddr;
    type Std = std::net::TcpStream;
    type StdListener = std::net::TcpListener;
    const IS_UNIX: bool = false;
}

/// For a connection that goes on as a reader and a writer, or as a transport.
///
/// ```
/// # callsoon::doctest::with_tcp(async |client, server| {
/// server.write_all(b"hello\n").await?;
/// let (mut reader, _writer) = callsoon::open_connection(client).await?;
/// assert_eq!(reader.readline().await?, b"hello\n");
/// # Ok(()) });
/// ```
impl From<TcpStream> for ConnectTo {
    fn from(stream: TcpStream) -> Self {
        stream.into_std().into()
    }
}

impl TcpStream {
    /// Returns whether small writes are sent at once (`TCP_NODELAY`). Off until it is set, unlike in asyncio, whose
    /// transports set it; so do those of [`transport`](crate::transport).
    ///
    /// # Errors
    /// `InvalidInput` on some systems if the peer has reset the connection, `PermissionDenied` if a sandbox denies the
    /// call.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_nodelay(true)?;
    /// assert!(client.nodelay()?);
    /// # Ok(()) });
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        SockRef::from(self).tcp_nodelay()
    }

    /// Sets `TCP_NODELAY`. See [`nodelay`](Self::nodelay).
    ///
    /// # Errors
    /// `InvalidInput` on some systems if the peer has reset the connection, `PermissionDenied` if a sandbox denies the
    /// call.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_nodelay(true)?;
    /// # Ok(()) });
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        SockRef::from(self).set_tcp_nodelay(nodelay)
    }

    /// Returns how long closing waits for data that the peer has not acknowledged. `None`: the system goes on sending
    /// in the background.
    ///
    /// # Errors
    /// `InvalidInput` on some systems if the peer has reset the connection, `PermissionDenied` if a sandbox denies the
    /// call.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(client.linger()?, None);
    /// # Ok(()) });
    /// ```
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self).linger()
    }

    /// Sets `SO_LINGER`. Zero closes with a reset. Anything longer makes the drop of the stream block the loop for up
    /// to that time, rounded up to whole seconds. It is better to call `shutdown` and to read to the end.
    ///
    /// # Errors
    /// `InvalidInput` on some systems if the peer has reset the connection, `PermissionDenied` if a sandbox denies the
    /// call.
    ///
    /// ```
    /// # callsoon::doctest::with_tcp(async |client, server| {
    /// client.set_linger(Some(std::time::Duration::ZERO))?;
    /// drop(client);
    /// assert_eq!(server.read(&mut [0; 1]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    /// # Ok(()) });
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let linger = linger.map(|time| Duration::from_secs(whole_seconds(time).into()));
        SockRef::from(self).set_linger(linger)
    }

    /// Returns how many routers a packet may pass (`IP_TTL`).
    ///
    /// # Errors
    /// `InvalidInput` on some systems if the peer has reset the connection, `PermissionDenied` if a sandbox denies the
    /// call.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_ttl(9)?;
    /// assert_eq!(client.ttl()?, 9);
    /// # Ok(()) });
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        SockRef::from(self).ttl_v4()
    }

    /// Sets `IP_TTL`. See [`ttl`](Self::ttl).
    ///
    /// # Errors
    /// `InvalidInput` if `ttl` is 0 or more than 255.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_ttl(64)?;
    /// # Ok(()) });
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        SockRef::from(self).set_ttl_v4(ttl)
    }

    /// Returns whether the system probes a silent peer (`SO_KEEPALIVE`).
    ///
    /// # Errors
    /// `InvalidInput` on some systems if the peer has reset the connection, `PermissionDenied` if a sandbox denies the
    /// call.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(!client.keepalive()?);
    /// # Ok(()) });
    /// ```
    pub fn keepalive(&self) -> io::Result<bool> {
        SockRef::from(self).keepalive()
    }

    /// Makes the system probe a peer that has sent nothing for `idle`, rounded up to whole seconds. `None` switches
    /// probes off.
    ///
    /// # Errors
    /// `InvalidInput` if `idle` is zero, or more than the system takes: 32,767 seconds on Linux. `PermissionDenied` if
    /// a sandbox denies the call. After an error nothing has changed.
    ///
    /// ```
    /// # use callsoon::net::TcpStream;
    /// # callsoon::doctest::with_listener(async |listener| {
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// client.set_keepalive(Some(std::time::Duration::from_secs(60)))?;
    /// assert!(client.keepalive()?);
    /// # Ok(()) });
    /// ```
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        let socket = SockRef::from(self);
        match idle {
            Some(idle) => keep_alive(&socket, idle),
            None => socket.set_keepalive(false),
        }
    }
}
