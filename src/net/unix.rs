//! Unix sockets: streams and listeners named by a path, by an abstract name, or by nothing.
//!
//! An address that begins with a NUL byte is an abstract name, which Linux keeps beside the file system. Any other is a
//! path. One that is too long for the system is an error and is never cut. A short read proves nothing here: a segment
//! that carries descriptors, or two writers under `SO_PASSCRED`, end a read early. So only EAGAIN ends readiness.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::path::Path;

use socket2::{Domain, Type};

use crate::event_loop::free::get_running_loop;
use crate::kernel::proceed::proceed;
use crate::net::listen_options::ListenOptions;
use crate::net::listener::SocketListener;
use crate::net::stream::{SocketStream, StreamKind};
use crate::socket::address::{NetAddress as _, address_of};
use crate::socket::bind_error::BindError;
use crate::socket::connect::connect_unix;
use crate::socket::connect_error::ConnectError;
use crate::socket::connect_to::ConnectTo;
use crate::socket::nonblocking::new_socket;
use crate::socket::socket_file::{SocketFile, bind};
use crate::sys::socket::peer_cred;

/// The kind of stream that goes over a Unix socket.
///
/// ```
/// fn same_type(stream: callsoon::net::UnixStream) -> callsoon::net::SocketStream<callsoon::net::Unix> {
///     stream
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Unix {}

/// A connection between two ends on one machine.
///
/// ```
/// use callsoon::net::UnixStream;
/// callsoon::run(async {
///     let (near, far) = UnixStream::pair()?;
///     near.write_all(b"ping").await?;
///     let mut buffer = [0; 4];
///     far.read_exact(&mut buffer).await?;
///     assert_eq!(&buffer, b"ping");
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixStream = SocketStream<Unix>;

/// A listening Unix socket. Its file is removed when the listener is dropped.
///
/// ```
/// use callsoon::net::{UnixListener, UnixStream};
/// callsoon::run(async {
///     let name = format!("\0callsoon-doc-{}", std::process::id());
///     let listener = UnixListener::bind(&name).await?;
///     let client = UnixStream::connect(&name).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     server.read_exact(&mut [0; 5]).await
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixListener = SocketListener<Unix>;

impl StreamKind for Unix {
    type Address = SocketAddr;
    type Std = StdStream;
    type StdListener = std::os::unix::net::UnixListener;
    const IS_UNIX: bool = true;
}

/// Process, user and group of a peer: what `SO_PEERCRED` says.
///
/// ```
/// # callsoon::doctest::run(async {
/// let (near, _far) = callsoon::net::UnixStream::pair()?;
/// let cred: callsoon::net::UCred = near.peer_cred()?;
/// assert_eq!(cred.pid, Some(std::process::id() as i32));
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UCred {
    /// The process that connected, where the system knows it.
    pub pid: Option<i32>,
    /// The user it ran as.
    pub uid: u32,
    /// The group it ran as.
    pub gid: u32,
}

impl UCred {
    pub(crate) fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let (pid, uid, gid) = peer_cred(socket)?;
        let pid = (pid > 0).then_some(pid);
        Ok(Self { pid, uid, gid })
    }
}

/// For a connection that goes on as a reader and a writer, or as a transport.
///
/// ```
/// # callsoon::doctest::run(async {
/// let (near, far) = callsoon::net::UnixStream::pair()?;
/// far.write_all(b"hello\n").await?;
/// let (mut reader, _writer) = callsoon::open_connection(near).await?;
/// assert_eq!(reader.readline().await?, b"hello\n");
/// # Ok(()) });
/// ```
impl From<UnixStream> for ConnectTo {
    fn from(stream: UnixStream) -> Self {
        stream.into_std().into()
    }
}

impl UnixStream {
    /// Connects to the server at `path`, or at the abstract name after a NUL byte.
    ///
    /// While the backlog of the server is full, this tries again after 1, 2, 4 … 64 ms. asyncio takes the
    /// refusal for an attempt that goes on, and reports a connection that is none.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `ConnectionRefused` if no server listens on it, `PermissionDenied` if this
    /// user may not write to it, an error with `EMFILE` inside if there are no descriptors left, `NotConnected` if the
    /// loop is closed. `InvalidInput` if the path is empty or too long; `Unsupported` for an abstract name on a system
    /// that has none.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it closes the socket.
    ///
    /// ```
    /// use callsoon::net::UnixStream;
    /// let error = callsoon::run(async { UnixStream::connect("/nobody/here").await });
    /// assert_eq!(error.unwrap().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    /// ```
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        proceed().await;
        let path = path.as_ref();
        let connected = match address_of(path) {
            Ok(address) => Self::connected_to(&address).await,
            Err(error) => Err(error),
        };
        connected.map_err(ConnectError::naming_unix(path.display()))
    }

    /// Connects to an address, as [`connect`](Self::connect) does.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect). `InvalidInput` for the address of a socket without a name.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// # Cancellation
    /// If it is dropped before it is done, it closes the socket.
    ///
    /// ```
    /// # use callsoon::net::{UnixListener, UnixStream};
    /// # callsoon::doctest::run(async {
    /// # let name = format!("\0callsoon-doc-addr-{}", std::process::id());
    /// let listener = UnixListener::bind(&name).await?;
    /// let client = UnixStream::connect_addr(&listener.local_addr()?).await?;
    /// # Ok(()) });
    /// ```
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        let connected = Self::connected_to(address).await;
        connected.map_err(|error| match address.to_system() {
            Ok(address) => ConnectError::wrap(&address, error),
            Err(_) => error,
        })
    }

    async fn connected_to(address: &SocketAddr) -> io::Result<Self> {
        let handle = get_running_loop();
        proceed().await;
        Self::watch(&handle, connect_unix(address).await?)
    }

    /// Returns two connected streams without names.
    ///
    /// # Errors
    /// An error with `EMFILE` or `ENFILE` inside if there are no descriptors left, `NotConnected` if the loop is
    /// closed.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, far) = callsoon::net::UnixStream::pair()?;
    /// drop(near);
    /// assert_eq!(far.read(&mut [0; 8]).await?, 0);
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn pair() -> io::Result<(Self, Self)> {
        let handle = get_running_loop();
        let (one, other) = mio::net::UnixStream::pair()?;
        let watch = |socket| Self::watch(&handle, StdStream::from(socket).into());
        Ok((watch(one)?, watch(other)?))
    }

    /// Returns who the peer was when it connected. The system vouches for it.
    ///
    /// # Errors
    /// `NotConnected` if the connection has ended; `Unsupported` on systems that do not say.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let (near, _far) = callsoon::net::UnixStream::pair()?;
    /// assert_eq!(near.peer_cred()?.pid, Some(std::process::id() as i32));
    /// # Ok(()) });
    /// ```
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of(self.as_fd())
    }
}

impl UnixListener {
    /// Binds and listens with the default [`ListenOptions`]: see [`ListenOptions::bind_unix`].
    ///
    /// # Errors
    /// Those of [`ListenOptions::bind_unix`].
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let name = format!("\0callsoon-doc-bind-{}", std::process::id());
    /// let listener = callsoon::net::UnixListener::bind(&name).await?;
    /// # Ok(()) });
    /// ```
    pub async fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        proceed().await;
        ListenOptions::new().bind_unix(path)
    }
}

impl ListenOptions {
    /// Binds to a path, or to the abstract name after a NUL byte, and listens.
    ///
    /// With [`reuse_address`](Self::reuse_address), which is the default, a socket file on which no server answers is
    /// replaced. To find that out, this connects to it; a live server sees a client that leaves at once. asyncio
    /// removes the file without asking.
    ///
    /// The file is removed when the listener is dropped, if it is still the same one.
    /// [`cleanup_socket(false)`](Self::cleanup_socket) leaves it.
    ///
    /// # Errors
    /// `AddrInUse` if a server listens there or the file is no socket, `PermissionDenied` if this user may not write to
    /// the folder, `NotFound` if the folder does not exist, `InvalidInput` if the path is empty or too long,
    /// `Unsupported` for an abstract name on a system that has none, an error with `EMFILE` inside if there are no
    /// descriptors left, `NotConnected` if the loop is closed. A [`BindError`] inside has
    /// the path.
    ///
    /// # Panics
    /// Outside a running loop.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// let name = format!("\0callsoon-doc-options-{}", std::process::id());
    /// let listener = callsoon::net::ListenOptions::new().backlog(8).bind_unix(&name)?;
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn bind_unix(&self, path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let handle = get_running_loop();
        let path = path.as_ref();
        let listen = || {
            let socket = new_socket(Domain::UNIX, Type::STREAM)?;
            bind(&socket, path, self.reuse_address)?;
            let file = SocketFile::at(path, self.cleanup_socket);
            socket.listen(self.backlog)?;
            file.as_ref().map_or(Ok(()), SocketFile::check)?;
            UnixListener::watch(&handle, socket, file)
        };
        listen().map_err(BindError::naming(path.display()))
    }
}
