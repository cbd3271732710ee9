//! Making an endpoint: of addresses, or of a socket that exists already.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use socket2::{Domain, Socket, Type};

use crate::error::invalid_input;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::net::datagram::{DatagramKind, DatagramSocket};
use crate::net::udp::UdpSocket;
use crate::socket::backoff::Backoff;
use crate::socket::bind_error::BindError;
use crate::socket::connect_error::ConnectError;
use crate::socket::dns::{Target, ToSocketAddrs, first_of};
use crate::socket::nonblocking::new_socket;
use crate::transport::buffer::WaterMarks;
use crate::transport::connection::State;
use crate::transport::datagram::datagram_protocol::{
    DatagramProtocol, DatagramTransport, Endpoint,
};
use crate::transport::try_factory::TryFactory;

impl LoopHandle {
    /// Makes a UDP endpoint: asyncio's `create_datagram_endpoint`. Name a local address, a remote one, both, or a
    /// family alone, then await it. `factory` is called when there is a socket, and `connection_made` before the
    /// await returns.
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host), of `bind(2)`, such as `AddrInUse`, and of `connect(2)`.
    /// `InvalidInput` if neither address nor family is named, and if the two addresses are of different families;
    /// `NotFound` if no address is of the family.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the socket.
    ///
    /// # Panics
    /// If it is polled after it was ready.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let (transport, protocol) = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0").await?;
    /// transport.close();
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn create_datagram_endpoint<F, P>(&self, factory: F) -> CreateDatagramEndpoint<F>
    where
        F: FnOnce() -> P,
        P: DatagramProtocol,
    {
        CreateDatagramEndpoint::new(self.clone(), factory, Location::caller())
    }

    /// Makes an endpoint as [`create_datagram_endpoint`](Self::create_datagram_endpoint) does. The factory may fail: then the
    /// socket is closed, and awaiting gives the error.
    ///
    /// # Errors
    /// Those of [`create_datagram_endpoint`](Self::create_datagram_endpoint), and that of the factory. An `io::Error` comes as
    /// it is; another error is inside one of kind `Other`.
    ///
    /// # Cancellation
    /// As [`create_datagram_endpoint`](Self::create_datagram_endpoint).
    ///
    /// # Panics
    /// If it is polled after it was ready.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let factory = || Err::<Idle, _>("no licence");
    /// let endpoint = event_loop.try_create_datagram_endpoint(factory).local_addr("127.0.0.1:0");
    /// assert_eq!(endpoint.await.map(drop).unwrap_err().to_string(), "no licence");
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn try_create_datagram_endpoint<F, P, E>(
        &self,
        factory: F,
    ) -> CreateDatagramEndpoint<TryFactory<F>>
    where
        F: FnOnce() -> Result<P, E>,
        P: DatagramProtocol,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        CreateDatagramEndpoint::new(self.clone(), TryFactory(factory), Location::caller())
    }

    /// Makes an endpoint of a UDP or Unix socket that exists already, connected or not. asyncio has its parameter
    /// `sock` for it.
    ///
    /// ```
    /// # use callsoon::transport::DatagramProtocol;
    /// # use callsoon::net::{Unix, UnixDatagram};
    /// # struct Nothing; impl DatagramProtocol<Unix> for Nothing {}
    /// # callsoon::doctest::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let (near, far) = UnixDatagram::pair()?;
    /// let (transport, _) = event_loop.create_datagram_endpoint_on(near, || Nothing);
    /// transport.sendto(b"hello", None)?;
    /// assert_eq!(far.recv(&mut [0; 16]).await?, 5);
    /// transport.close();
    /// # Ok(()) });
    /// ```
    #[track_caller]
    pub fn create_datagram_endpoint_on<K: DatagramKind, P: DatagramProtocol<K>>(
        &self,
        socket: DatagramSocket<K>,
        factory: impl FnOnce() -> P,
    ) -> (DatagramTransport<K>, Rc<P>) {
        self.open_endpoint(socket, None, factory(), Location::caller())
    }

    fn open_endpoint<K: DatagramKind, P: DatagramProtocol<K>>(
        &self,
        socket: DatagramSocket<K>,
        asked: Option<K::Address>,
        protocol: P,
        location: &'static Location<'static>,
    ) -> (DatagramTransport<K>, Rc<P>) {
        let protocol = Rc::new(protocol);
        let own: Rc<dyn DatagramProtocol<K>> = Rc::clone(&protocol) as _;
        let transport = DatagramTransport {
            endpoint: Rc::new(Endpoint {
                handle: self.clone(),
                peer: socket.peer_addr().ok(),
                asked,
                socket: RefCell::new(Some(Rc::new(socket))),
                protocol: RefCell::new(Some(own)),
                waiting: RefCell::new(VecDeque::new()),
                size: Cell::new(0),
                marks: RefCell::new(WaterMarks::default()),
                state: Cell::new(State::Open),
                refused: Cell::new(0),
                retry: Cell::new(Backoff::new()),
                retry_timer: RefCell::new(None),
                in_error_received: Cell::new(false),
                context: self.state.copy_context(),
                location,
            }),
        };
        transport.begin();
        (transport, protocol)
    }
}

/// A UDP endpoint that is about to be made. Await it. [`LoopHandle::create_datagram_endpoint`] gives it. After the first
/// poll its methods have no effect.
///
/// The factory may borrow, since it is called inside the await:
///
/// ```
/// # use callsoon::doctest::Idle;
/// # callsoon::doctest::run(async {
/// let made = std::cell::Cell::new(0);
/// let factory = || {
///     made.set(made.get() + 1);
///     Idle
/// };
/// let event_loop = callsoon::get_running_loop();
/// for _ in 0..2 {
///     let (transport, _) = event_loop.create_datagram_endpoint(factory).local_addr("127.0.0.1:0").await?;
///     transport.close();
/// }
/// assert_eq!(made.get(), 2);
/// # Ok(()) });
/// ```
///
/// With options:
///
/// ```
/// # use callsoon::doctest::Idle;
/// # callsoon::doctest::run(async {
/// let event_loop = callsoon::get_running_loop();
/// let endpoint = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0");
/// let (transport, _) = endpoint.allow_broadcast(true).await?;
/// transport.close();
/// # Ok(()) });
/// ```
#[must_use = "it makes nothing until it is awaited"]
pub struct CreateDatagramEndpoint<F> {
    handle: LoopHandle,
    /// What the program asks for; the first poll takes it.
    options: Options,
    /// Makes the socket, from the first poll on. The factory is not a part of it, so that the factory may borrow.
    making: Option<MakesSocket>,
    /// Called when there is a socket.
    factory: Option<F>,
    location: &'static Location<'static>,
}

/// The factory is called, never polled.
impl<F> Unpin for CreateDatagramEndpoint<F> {}

/// Gives the socket, and the address that it is connected to.
type MakesSocket = Pin<Box<dyn Future<Output = io::Result<(UdpSocket, End)>>>>;

/// What the socket is to be.
#[derive(Default)]
struct Options {
    local: Option<io::Result<Target>>,
    remote: Option<io::Result<Target>>,
    family: Option<Domain>,
    reuse_port: bool,
    allow_broadcast: bool,
}

impl<F> CreateDatagramEndpoint<F> {
    fn new(handle: LoopHandle, factory: F, location: &'static Location<'static>) -> Self {
        Self {
            handle,
            options: Options::default(),
            making: None,
            factory: Some(factory),
            location,
        }
    }

    /// Makes the socket, then the protocol, and with both the endpoint. If `make` fails, the socket is closed.
    fn poll_with<P: DatagramProtocol>(
        &mut self,
        context: &mut Context<'_>,
        make: impl FnOnce(F) -> io::Result<P>,
    ) -> Poll<io::Result<(DatagramTransport, Rc<P>)>> {
        let making = self.making.get_or_insert_with(|| {
            Box::pin(mem::take(&mut self.options).into_socket(self.handle.clone()))
        });
        // After it was ready, this panics.
        let (socket, asked) = ready!(making.as_mut().poll(context))?;
        let factory = self.factory.take();
        let protocol =
            make(factory.expect("a socket is made once, and then the factory is called"))?;
        let opened = self
            .handle
            .open_endpoint(socket, asked, protocol, self.location);
        Poll::Ready(Ok(opened))
    }

    /// Binds to this address. A name is looked up.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let endpoint = event_loop.create_datagram_endpoint(|| Idle).local_addr("127.0.0.1:0");
    /// ```
    pub fn local_addr(mut self, address: impl ToSocketAddrs) -> Self {
        self.options.local = Some(address.into_target());
        self
    }

    /// Connects to this address: datagrams from other addresses do not arrive, and none can be sent there. A name is
    /// looked up.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let endpoint = event_loop.create_datagram_endpoint(|| Idle).remote_addr("127.0.0.1:9");
    /// ```
    pub fn remote_addr(mut self, address: impl ToSocketAddrs) -> Self {
        self.options.remote = Some(address.into_target());
        self
    }

    /// Takes addresses of this family only: `Domain::IPV4` or `Domain::IPV6`. Without any address, the endpoint is
    /// one of this family, and the system binds it when it first sends.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # callsoon::doctest::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let endpoint = event_loop.create_datagram_endpoint(|| Idle).family(socket2::Domain::IPV4);
    /// let (transport, _) = endpoint.await?;
    /// assert_eq!(transport.local_addr()?.port(), 0);
    /// transport.close();
    /// # Ok(()) });
    /// ```
    pub fn family(mut self, family: Domain) -> Self {
        self.options.family = Some(family);
        self
    }

    /// Sets `SO_REUSEPORT`: several sockets share the port. Off by default.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let endpoint = event_loop.create_datagram_endpoint(|| Idle).reuse_port(true);
    /// ```
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.options.reuse_port = reuse;
        self
    }

    /// Sets `SO_BROADCAST`: datagrams may be sent to all hosts of a network. Off by default.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let endpoint = event_loop.create_datagram_endpoint(|| Idle).allow_broadcast(true);
    /// ```
    pub fn allow_broadcast(mut self, allow: bool) -> Self {
        self.options.allow_broadcast = allow;
        self
    }
}

impl Options {
    /// Makes a socket for the first pair of addresses of one family that can be bound and connected, and returns the
    /// remote one.
    async fn into_socket(mut self, handle: LoopHandle) -> io::Result<(UdpSocket, End)> {
        proceed().await;
        let local = addresses(&handle, self.local.take(), self.family).await?;
        let remote = addresses(&handle, self.remote.take(), self.family).await?;
        if local.is_empty() || remote.is_empty() {
            let why = "there is no address of the family that is wanted";
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        let bound = first_of(pairs(&local, &remote), |(local, remote)| {
            Ok((self.bound(local, remote)?, remote))
        });
        let unfit = || invalid_input("the two addresses are of different families");
        let (socket, remote) = bound.map_err(|refusal| refusal.unwrap_or_else(unfit))?;
        Ok((UdpSocket::watch(&handle, socket, None)?, remote))
    }

    fn bound(&self, local: End, remote: End) -> io::Result<Socket> {
        let of_address = local.or(remote).map(Domain::for_address);
        let Some(family) = of_address.or(self.family) else {
            return Err(invalid_input("an address or a family is wanted"));
        };
        let socket = new_socket(family, Type::DGRAM)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.set_broadcast(self.allow_broadcast)?;
        if let Some(local) = local {
            let bound = socket.bind(&local.into());
            bound.map_err(BindError::naming(local))?;
        }
        if let Some(remote) = remote {
            let connected = socket.connect(&remote.into());
            connected.map_err(ConnectError::naming(remote))?;
        }
        Ok(socket)
    }
}

/// One end of an endpoint, or `None` where the program has named no place for it.
type End = Option<SocketAddr>;

/// Returns the addresses that one end may have.
async fn addresses(
    handle: &LoopHandle,
    target: Option<io::Result<Target>>,
    family: Option<Domain>,
) -> io::Result<Vec<End>> {
    match target {
        Some(target) => {
            let found = target?.of_family(family, handle).await?;
            Ok(found.into_iter().map(Some).collect())
        }
        None => Ok(vec![None]),
    }
}

/// Returns all pairs of a local and a remote address of the same family.
fn pairs(local: &[End], remote: &[End]) -> Vec<(End, End)> {
    let fits = |one: End, other: End| match (one, other) {
        (Some(one), Some(other)) => one.is_ipv6() == other.is_ipv6(),
        _ => true,
    };
    let mut pairs = Vec::new();
    for &local in local {
        let fitting = remote.iter().filter(|&&remote| fits(local, remote));
        pairs.extend(fitting.map(|&remote| (local, remote)));
    }
    pairs
}

impl<F: FnOnce() -> P, P: DatagramProtocol> Future for CreateDatagramEndpoint<F> {
    type Output = io::Result<(DatagramTransport, Rc<P>)>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_with(context, |factory| Ok(factory()))
    }
}

impl<F, P, E> Future for CreateDatagramEndpoint<TryFactory<F>>
where
    F: FnOnce() -> Result<P, E>,
    P: DatagramProtocol,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = io::Result<(DatagramTransport, Rc<P>)>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_with(context, TryFactory::make)
    }
}

impl<F> fmt::Debug for CreateDatagramEndpoint<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateDatagramEndpoint")
            .field("reuse_port", &self.options.reuse_port)
            .field("allow_broadcast", &self.options.allow_broadcast)
            .finish_non_exhaustive()
    }
}
