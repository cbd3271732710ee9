//! Opening streams: by connecting, or by a server that accepts.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;

use crate::event_loop::free::get_running_loop;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::connect_to::ConnectTo;
use crate::socket::listen_on::{ListenOn, Site};
use crate::stream::client_task::{ClientResult, serve};
use crate::stream::protocol::{LIMIT, StreamProtocol};
use crate::stream::reader::StreamReader;
use crate::stream::writer::StreamWriter;
use crate::transport::client::CreateConnection;
use crate::transport::create_server::CreateServer;
use crate::transport::protocol::Protocol;
use crate::transport::server::Server;

type Opened = io::Result<(StreamReader, StreamWriter)>;

/// Connects, and gives both ends of the stream.
///
/// `to` is a host and a port, an address, several addresses, or a connected socket: see [`ConnectTo`]. A line may
/// have 64 KiB unless [`limit`](OpenConnection::limit) sets another length.
///
/// # Errors
/// As [`create_connection`](LoopHandle::create_connection).
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// Dropped before it is done it closes the socket.
///
/// ```
/// use callsoon::stream::{open_connection, start_server};
/// callsoon::run(async {
///     let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
///     let server = start_server(async |mut reader, writer| {
///         let line = reader.readline().await?;
///         writer.write(&line);
///         writer.drain().await
///     }, anywhere).await?;
///     let (mut reader, writer) = open_connection(server.local_addr().unwrap()).await?;
///     writer.write(b"hello\n");
///     assert_eq!(reader.readline().await?, b"hello\n");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
#[track_caller]
pub fn open_connection(to: impl Into<ConnectTo>) -> OpenConnection {
    let ends = BothEnds { limit: LIMIT };
    OpenConnection::new(get_running_loop(), ends, to.into(), Location::caller())
}

/// Connects to the Unix socket at a path, or of an abstract name, which begins with a zero byte.
///
/// # Errors
/// As [`create_unix_connection`](LoopHandle::create_unix_connection).
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// Dropped before it is done it closes the socket.
///
/// ```
/// let error = callsoon::run(async {
///     callsoon::stream::open_unix_connection("/nobody/is/here").await.map(drop).unwrap_err()
/// }).unwrap();
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// ```
#[track_caller]
pub fn open_unix_connection(path: impl AsRef<std::path::Path>) -> OpenConnection {
    open_connection(ConnectTo::path(path.as_ref()))
}

/// A stream that is about to be opened. Await it. [`open_connection`] gives it. It has all options of
/// [`CreateConnection`].
///
/// ```
/// # callsoon::doctest::run(async {
/// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
/// let limit = std::num::NonZeroUsize::new(1 << 20).unwrap();
/// let (reader, writer) = callsoon::stream::open_connection(here).limit(limit).await?;
/// # Ok(()) });
/// ```
pub type OpenConnection = CreateConnection<BothEnds>;

/// What [`open_connection`] makes of a connection. For this crate only.
#[derive(Debug)]
pub struct BothEnds {
    limit: NonZeroUsize,
}

impl OpenConnection {
    /// Sets how long a line may be, in bytes. 64 KiB by default. When the reader keeps more than twice as much,
    /// reading is paused, so that the peer has to wait.
    ///
    /// ```
    /// # callsoon::doctest::run(async {
    /// # let (here, _there) = std::os::unix::net::UnixStream::pair()?;
    /// let limit = std::num::NonZeroUsize::new(1 << 20).unwrap();
    /// let (reader, writer) = callsoon::stream::open_connection(here).limit(limit).await?;
    /// # Ok(()) });
    /// ```
    pub fn limit(mut self, bytes: NonZeroUsize) -> Self {
        self.factory.limit = bytes;
        self
    }
}

impl IntoFuture for OpenConnection {
    type Output = Opened;
    type IntoFuture = Pin<Box<dyn Future<Output = Opened>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let make = |handle: &LoopHandle, ends: BothEnds| {
                Ok(StreamProtocol::new(handle, ends.limit, None))
            };
            let (transport, protocol) = self.connect(make).await?;
            transport.begin_reading();
            let reader = StreamReader::new(&protocol, &transport);
            let writer = StreamWriter::new(&protocol, &transport);
            Ok((reader, writer))
        })
    }
}

/// Makes a server that runs `client_connected` in a task for every client.
///
/// `on` is a host and a port, an address, several of either, or a bound socket: see [`ListenOn`]. The connection
/// closes when the function ends and drops its writer. An error that it
/// returns, or its panic, goes to the exception handler.
///
/// # Errors
/// As [`create_server`](LoopHandle::create_server).
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// As [`create_server`](LoopHandle::create_server).
///
/// ```
/// use callsoon::stream::{open_connection, start_server};
/// callsoon::run(async {
///     let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
///     let server = start_server(async |_reader, writer| writer.write(b"bye\n"), anywhere).await?;
///     let (mut reader, _writer) = open_connection(server.local_addr().unwrap()).await?;
///     assert_eq!(reader.read_to_end().await?, b"bye\n");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
#[track_caller]
pub fn start_server<F, R>(client_connected: F, on: impl Into<ListenOn>) -> StartServer
where
    F: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
    R: ClientResult + 'static,
{
    StartServer::new(client_connected, on.into().0, Location::caller())
}

/// Makes a server like [`start_server`] on a Unix socket. [`create_unix_server`](LoopHandle::create_unix_server) says
/// what happens to its file.
///
/// # Errors
/// As [`create_unix_server`](LoopHandle::create_unix_server).
///
/// # Panics
/// Outside a running loop.
///
/// # Cancellation
/// As [`create_server`](LoopHandle::create_server).
///
/// ```
/// use callsoon::stream::{open_unix_connection, start_unix_server};
/// let path = std::env::temp_dir().join(format!("callsoon-doc-stream-{}", std::process::id()));
/// callsoon::run(async move {
///     let server = start_unix_server(async |_reader, writer| writer.write(b"bye\n"), &path).await?;
///     let (mut reader, _writer) = open_unix_connection(&path).await?;
///     assert_eq!(reader.read_to_end().await?, b"bye\n");
///     Ok::<(), std::io::Error>(())
/// }).unwrap().unwrap();
/// ```
#[track_caller]
pub fn start_unix_server<F, R>(
    client_connected: F,
    path: impl AsRef<std::path::Path>,
) -> StartServer
where
    F: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
    R: ClientResult + 'static,
{
    let site = Site::Path(path.as_ref().to_owned());
    StartServer::new(client_connected, site, Location::caller())
}

/// A server that is about to be made. Await it. [`start_server`] gives it.
///
/// ```
/// # use callsoon::doctest::anywhere;
/// # use callsoon::stream::start_server;
/// # callsoon::doctest::run(async {
/// let server = start_server(async |_, writer| writer.write(b"bye\n"), anywhere)
///     .options(|server| server.backlog(16).reuse_port(true))
///     .await?;
/// # Ok(()) });
/// ```
#[must_use = "nothing is bound until it is awaited"]
pub struct StartServer {
    server: CreateServer,
    limit: Rc<Cell<NonZeroUsize>>,
}

impl StartServer {
    fn new<F, R>(client_connected: F, site: Site, location: &'static Location<'static>) -> Self
    where
        F: AsyncFn(StreamReader, StreamWriter) -> R + 'static,
        R: ClientResult + 'static,
    {
        let handle = get_running_loop();
        let on_connect = serve(&handle, client_connected, location);
        let limit = Rc::new(Cell::new(LIMIT));
        let (of_clients, home) = (Rc::clone(&limit), handle.clone());
        let factory = Rc::new(move || {
            let on_connect = Some(Rc::clone(&on_connect));
            let protocol = StreamProtocol::new(&home, of_clients.get(), on_connect);
            Ok(protocol as Rc<dyn Protocol>)
        });
        Self {
            server: handle.serve_with(factory, site, location),
            limit,
        }
    }

    /// Sets how long a line of a client may be, in bytes. 64 KiB by default.
    ///
    /// ```
    /// # use callsoon::doctest::anywhere;
    /// # use callsoon::stream::start_server;
    /// # callsoon::doctest::run(async {
    /// let limit = std::num::NonZeroUsize::new(1024).unwrap();
    /// let server = start_server(async |_, writer| writer.write(b"bye\n"), anywhere).limit(limit).await?;
    /// # Ok(()) });
    /// ```
    pub fn limit(self, bytes: NonZeroUsize) -> Self {
        self.limit.set(bytes);
        self
    }

    /// Sets the options that every server has, such as the backlog.
    ///
    /// ```
    /// # use callsoon::doctest::anywhere;
    /// # use callsoon::stream::start_server;
    /// # callsoon::doctest::run(async {
    /// let server = start_server(async |_, writer| writer.write(b"bye\n"), anywhere)
    ///     .options(|server| server.start_serving(false))
    ///     .await?;
    /// assert!(!server.is_serving());
    /// # Ok(()) });
    /// ```
    pub fn options(mut self, set: impl FnOnce(CreateServer) -> CreateServer) -> Self {
        self.server = set(self.server);
        self
    }
}

impl IntoFuture for StartServer {
    type Output = io::Result<Server>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<Server>>>>;

    fn into_future(self) -> Self::IntoFuture {
        self.server.into_future()
    }
}

impl fmt::Debug for StartServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartServer")
            .field("server", &self.server)
            .field("limit", &self.limit.get())
            .finish()
    }
}
