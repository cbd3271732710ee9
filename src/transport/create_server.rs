//! Making a server: options, then one bound socket for each address.
//!
//! Either all sockets are bound or none is: a failure closes those that were. Only an address that this machine does
//! not have may be left out, as long as another one can be bound.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::Location;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};

use crate::error::invalid_input;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::kernel::wait::list::WaitList;
use crate::net::listen_options::ListenOptions;
use crate::socket::address::Address;
use crate::socket::bind_error::BindError;
use crate::socket::dns::{Target, no_address};
use crate::socket::listen_on::{ListenOn, Site};
use crate::socket::nonblocking::{adopt_stream, new_socket};
use crate::socket::socket_file::{SocketFile, bind};
use crate::transport::protocol::Protocol;
use crate::transport::server::Server;
use crate::transport::serving::{Factory, Listening, Phase, Serving};
use crate::transport::tls::options::TlsOptions;

impl LoopHandle {
    /// Makes a server that calls `factory` for every client and connects the protocol that it returns to the client's
    /// socket.
    ///
    /// `on` is an address, a host and a port, several hosts and a port, or a bound socket: see [`ListenOn`]. A host
    /// is looked up off the loop. Awaiting the call gives the server; the methods of [`CreateServer`] set options
    /// before. An IPv6 socket accepts IPv6 clients only.
    ///
    /// An address that this machine does not have is left out, as in asyncio, if another one can be bound:
    /// [`Server::sockets`] says which are.
    ///
    /// # Errors
    /// `AddrInUse` if another socket has an address, `AddrNotAvailable` if this machine has none of them,
    /// `PermissionDenied` for a port that is reserved: the [`BindError`] inside has the address and the system's number.
    /// `InvalidInput` for an empty list,
    /// and for a socket that is no stream. Those of [`lookup_host`](crate::net::lookup_host).
    ///
    /// # Cancellation
    /// Dropped before it is done it closes what was bound.
    ///
    /// ```
    /// use callsoon::transport::{Protocol, Transport};
    /// struct Shout;
    /// impl Protocol for Shout {
    ///     fn data_received(&self, transport: &Transport, data: &[u8]) {
    ///         transport.write(&data.to_ascii_uppercase());
    ///     }
    /// }
    /// callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    ///     let server = event_loop.create_server(|| Shout, anywhere).backlog(16).await?;
    ///     let client = callsoon::net::TcpStream::connect(server.local_addr().unwrap()).await?;
    ///     client.write_all(b"hello").await?;
    ///     let mut answer = [0; 5];
    ///     client.read_exact(&mut answer).await?;
    ///     assert_eq!(&answer, b"HELLO");
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn create_server<F, P>(&self, factory: F, on: impl Into<ListenOn>) -> CreateServer
    where
        F: Fn() -> P + 'static,
        P: Protocol,
    {
        let factory: Factory = Rc::new(move || Ok(Rc::new(factory())));
        self.serve_with(factory, on.into().0, Location::caller())
    }

    /// Makes a server as [`create_server`](Self::create_server) does, whose factory can fail.
    ///
    /// An error of the factory closes the client's connection and goes to the exception handler, as
    /// [`exception`](crate::ExceptionContext::exception). The server goes on. A panic of a factory, also of one that cannot
    /// fail, does the same.
    ///
    /// # Errors
    /// Those of [`create_server`](Self::create_server).
    ///
    /// # Cancellation
    /// As [`create_server`](Self::create_server).
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let reported = event_loop.create_future();
    /// let report = reported.clone();
    /// event_loop.set_exception_handler(move |_, context| report.set_result(context.message.clone()).unwrap());
    /// let server = event_loop.try_create_server(|| Err::<Idle, _>("no licence"), anywhere).await?;
    /// let client = callsoon::net::TcpStream::connect(server.local_addr().unwrap()).await?;
    /// assert_eq!(client.read(&mut [0]).await?, 0, "closed");
    /// assert_eq!(reported.await.unwrap(), "Exception in a protocol factory");
    /// assert!(server.is_serving());
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_create_server<F, P, E>(&self, factory: F, on: impl Into<ListenOn>) -> CreateServer
    where
        F: Fn() -> Result<P, E> + 'static,
        P: Protocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.serve_with(try_factory(factory), on.into().0, Location::caller())
    }

    /// Makes a server on a Unix socket at a path, or of an abstract name, which begins with a zero byte.
    ///
    /// If the path is a socket at which nobody answers, its file is removed first, where asyncio removes any socket.
    /// The file of a live server, and what is no socket, is not removed. The server's own file is removed when it
    /// closes, unless another has taken its place.
    ///
    /// # Errors
    /// `AddrInUse` if a server answers there or the path is no socket, `NotFound` if a folder of the path does not
    /// exist, `PermissionDenied` if it may not be written. `InvalidInput` for a path that is empty, too long or has a
    /// zero byte inside.
    ///
    /// # Cancellation
    /// As [`create_server`](Self::create_server).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// let path = std::env::temp_dir().join(format!("callsoon-doc-{}", std::process::id()));
    /// let server_path = path.clone();
    /// callsoon::run(async move {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let server = event_loop.create_unix_server(|| Idle, &server_path).await?;
    ///     event_loop.create_unix_connection(|| Idle, &server_path).await?;
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// assert!(!path.exists());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn create_unix_server<F, P>(&self, factory: F, path: impl AsRef<Path>) -> CreateServer
    where
        F: Fn() -> P + 'static,
        P: Protocol,
    {
        let factory: Factory = Rc::new(move || Ok(Rc::new(factory())));
        let site = Site::Path(path.as_ref().to_owned());
        self.serve_with(factory, site, Location::caller())
    }

    /// Makes a server as [`create_unix_server`](Self::create_unix_server) does, whose factory can fail as that of
    /// [`try_create_server`](Self::try_create_server) can.
    ///
    /// # Errors
    /// Those of [`create_unix_server`](Self::create_unix_server).
    ///
    /// # Cancellation
    /// As [`create_server`](Self::create_server).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let path = format!("\0callsoon-doc-try-{}", std::process::id());
    /// let server = event_loop.try_create_unix_server(|| Ok::<_, std::io::Error>(Idle), &path).await?;
    /// event_loop.create_unix_connection(|| Idle, &path).await?;
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_create_unix_server<F, P, E>(
        &self,
        factory: F,
        path: impl AsRef<Path>,
    ) -> CreateServer
    where
        F: Fn() -> Result<P, E> + 'static,
        P: Protocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let site = Site::Path(path.as_ref().to_owned());
        self.serve_with(try_factory(factory), site, Location::caller())
    }

    pub(crate) fn serve_with(
        &self,
        factory: Factory,
        site: Site,
        location: &'static Location<'static>,
    ) -> CreateServer {
        CreateServer {
            handle: self.clone(),
            factory,
            site,
            options: ListenOptions::new(),
            keep_alive: false,
            start_serving: true,
            family: None,
            tls: TlsOptions::default(),
            location,
        }
    }
}

/// Makes a factory of one that can fail.
fn try_factory<F, P, E>(factory: F) -> Factory
where
    F: Fn() -> Result<P, E> + 'static,
    P: Protocol,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    Rc::new(move || match factory() {
        Ok(protocol) => Ok(Rc::new(protocol)),
        Err(error) => Err(Arc::from(error.into())),
    })
}

/// A server that is about to be made. Await it. [`LoopHandle::create_server`] and [`LoopHandle::create_unix_server`]
/// give it.
///
/// ```
/// # use callsoon::doctest::{Idle, anywhere};
/// # callsoon::doctest::with_loop(async |event_loop| {
/// let server = event_loop
///     .create_server(|| Idle, anywhere)
///     .reuse_port(true)
///     .keep_alive(true)
///     .start_serving(false)
///     .await?;
/// # Ok(()) });
/// ```
#[must_use = "nothing is bound until it is awaited"]
pub struct CreateServer {
    handle: LoopHandle,
    factory: Factory,
    site: Site,
    options: ListenOptions,
    keep_alive: bool,
    start_serving: bool,
    family: Option<Domain>,
    pub(crate) tls: TlsOptions,
    location: &'static Location<'static>,
}

impl CreateServer {
    /// Sets how many clients may wait to be accepted. 1024 by default, where asyncio has 100.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let server = event_loop.create_server(|| Idle, anywhere).backlog(64);
    /// # drop(server);
    /// ```
    pub fn backlog(mut self, clients: i32) -> Self {
        self.options = self.options.backlog(clients);
        self
    }

    /// Sets `SO_REUSEADDR`: binds although old connections of the same port linger. On by default on Unix.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let server = event_loop.create_server(|| Idle, anywhere).reuse_address(false);
    /// # drop(server);
    /// ```
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.options = self.options.reuse_address(reuse);
        self
    }

    /// Sets `SO_REUSEPORT`: several servers share the port and the system spreads clients over them. Off by default.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let server = event_loop.create_server(|| Idle, anywhere).reuse_port(true);
    /// # drop(server);
    /// ```
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.options = self.options.reuse_port(reuse);
        self
    }

    /// Sets `SO_KEEPALIVE` for every client's socket: a peer that vanished is noticed after the system's time. Off by
    /// default.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let server = event_loop.create_server(|| Idle, anywhere).keep_alive(true);
    /// # drop(server);
    /// ```
    pub fn keep_alive(mut self, keep_alive: bool) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets whether the server listens when it is made. On by default; otherwise [`Server::start_serving`] begins.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let server = event_loop.create_server(|| Idle, anywhere).start_serving(false);
    /// # drop(server);
    /// ```
    pub fn start_serving(mut self, start: bool) -> Self {
        self.start_serving = start;
        self
    }

    /// Binds to addresses of this family only: `Domain::IPV4` or `Domain::IPV6`. If there are none, awaiting fails with
    /// `NotFound`. A path and a bound socket have their family already.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, ("", 0)).family(socket2::Domain::IPV4).await?;
    /// assert_eq!(server.sockets().len(), 1);
    /// assert!(server.local_addr().unwrap().is_ipv4());
    /// # Ok(()) });
    /// ```
    pub fn family(mut self, family: Domain) -> Self {
        self.family = Some(family);
        self
    }

    /// Sets whether the file of a Unix socket is removed when the server closes. On by default.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let server = event_loop.create_unix_server(|| Idle, "/run/some.sock").cleanup_socket(false);
    /// # drop(server);
    /// ```
    pub fn cleanup_socket(mut self, cleanup: bool) -> Self {
        self.options = self.options.cleanup_socket(cleanup);
        self
    }

    async fn make(self) -> io::Result<Server> {
        proceed().await;
        self.tls.check()?;
        let listening = match self.site {
            Site::Named(target) => {
                let addresses = target?.addresses(&self.handle).await?;
                bind_all(&self.options, of_family(addresses, self.family)?)?
            }
            Site::Hosts(hosts, port) => {
                let addresses = addresses(&self.handle, hosts, port).await?;
                bind_all(&self.options, of_family(addresses, self.family)?)?
            }
            Site::Socket(socket) => vec![Listening::new(adopt_stream(socket)?, None)],
            Site::Path(path) => vec![bind_path(&self.options, &path)?],
        };
        let serving = Serving {
            handle: self.handle,
            lent: Cell::new(false),
            factory: RefCell::new(Some(self.factory)),
            listening: RefCell::new(listening),
            backlog: self.options.backlog,
            keep_alive: self.keep_alive,
            tls: self.tls,
            location: self.location,
            phase: Cell::new(Phase::Bound),
            clients: RefCell::default(),
            waiting: WaitList::new(),
            forever: Cell::new(false),
        };
        let server = Server {
            serving: Rc::new(serving),
            closes_on_drop: true,
        };
        if self.start_serving {
            server.listen()?;
        }
        Ok(server)
    }
}

impl IntoFuture for CreateServer {
    type Output = io::Result<Server>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<Server>>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl fmt::Debug for CreateServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateServer")
            .field("on", &self.site)
            .field("options", &self.options)
            .field("keep_alive", &self.keep_alive)
            .field("start_serving", &self.start_serving)
            .finish_non_exhaustive()
    }
}

impl Listening {
    fn new(socket: Socket, file: Option<SocketFile>) -> Self {
        Self {
            address: Address::of(socket.local_addr()),
            socket: Some(socket),
            acceptor: None,
            file,
        }
    }
}

/// Returns all addresses of some hosts, in their order. The empty host stands for all interfaces.
async fn addresses(
    handle: &LoopHandle,
    hosts: Vec<String>,
    port: u16,
) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for host in hosts {
        if host.is_empty() {
            found.push((Ipv4Addr::UNSPECIFIED, port).into());
            found.push((Ipv6Addr::UNSPECIFIED, port).into());
        } else {
            found.extend(Target::Host(host, port).addresses(handle).await?);
        }
    }
    Ok(found)
}

/// Returns those addresses that are of the family, if there is one.
fn of_family(
    mut addresses: Vec<SocketAddr>,
    family: Option<Domain>,
) -> io::Result<Vec<SocketAddr>> {
    let Some(family) = family else {
        return Ok(addresses);
    };
    addresses.retain(|address| Domain::for_address(*address) == family);
    if addresses.is_empty() {
        return Err(no_address());
    }
    Ok(addresses)
}

/// Returns whether this machine does not have the address, or does not support its family.
fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// Binds one socket for each address. An address that is given twice counts once.
fn bind_all(options: &ListenOptions, addresses: Vec<SocketAddr>) -> io::Result<Vec<Listening>> {
    let mut bound: Vec<Listening> = Vec::new();
    let mut seen = Vec::new();
    let mut absent = None;
    for address in addresses {
        if seen.contains(&address) {
            continue;
        }
        seen.push(address);
        match options.bound(address) {
            Ok(socket) => bound.push(Listening::new(socket, None)),
            Err(error) if is_absent(&error) => {
                absent.get_or_insert(BindError::naming(address)(error));
            }
            Err(error) => return Err(BindError::naming(address)(error)),
        }
    }
    if bound.is_empty() {
        return Err(absent.unwrap_or_else(|| invalid_input("no address to listen on")));
    }
    Ok(bound)
}

/// Binds to a path, or to an abstract name after a NUL byte.
fn bind_path(options: &ListenOptions, path: &Path) -> io::Result<Listening> {
    let bound = || {
        let socket = new_socket(Domain::UNIX, Type::STREAM)?;
        bind(&socket, path, true).map(|()| socket)
    };
    let socket = bound().map_err(BindError::naming(path.display()))?;
    let file = SocketFile::at(path, options.cleanup_socket);
    Ok(Listening::new(socket, file))
}
