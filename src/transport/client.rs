//! Connections that this side makes, or takes over.
//!
//! `socket/connector.rs` finds and reaches the peer. Here a connected socket gets its protocol. The protocol is made when
//! there is a connection for it. If the future is dropped after that, the connection closes and `connection_lost` is called.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use socket2::Domain;

use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::proceed::proceed;
use crate::socket::connect_to::{AcceptedSocket, ConnectTo};
use crate::socket::connector::Connector;
use crate::socket::dns::ToSocketAddrs;
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::tls::handshake::Unconnected;
use crate::transport::tls::options::TlsOptions;

type Place = &'static Location<'static>;

/// The transport, and the protocol that the factory has made.
pub(crate) type Connected<P> = io::Result<(Transport, Rc<P>)>;

impl LoopHandle {
    /// Connects, and gives the transport and the protocol once `connection_made` has run. Nothing is read before.
    ///
    /// `to` is a host and a port, an address, several addresses, or a connected socket. A host is looked up off the
    /// loop. Its addresses are tried as in [`net::ConnectOptions`](crate::net::ConnectOptions): by RFC 8305, the next
    /// one beside the last when that has not answered in 250 ms, where asyncio waits for a failure unless told
    /// otherwise. The factory is called once, when there is a connection.
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::net::lookup_host), and those of `connect(2)`, such as `ConnectionRefused` and
    /// `TimedOut`. A [`ConnectError`](crate::net::ConnectError) inside has the addresses, and
    /// the errors of all attempts. `InvalidInput` for a socket that is no
    /// stream, `NotFound` if no address is of the [`family`](CreateConnection::family).
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the socket. If the protocol exists by then, its `connection_lost` is
    /// called.
    ///
    /// ```
    /// use callsoon::transport::{Protocol, Transport};
    /// struct Greet;
    /// impl Protocol for Greet {
    ///     fn connection_made(&self, transport: &Transport) {
    ///         transport.write(b"hello");
    ///     }
    /// }
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// callsoon::run(async move {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let (transport, _protocol) = event_loop.create_connection(|| Greet, address).await?;
    ///     assert_eq!(transport.peername().unwrap().internet(), Some(address));
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn create_connection<F: FnOnce() -> P + 'static, P: Protocol>(
        &self,
        factory: F,
        to: impl Into<ConnectTo>,
    ) -> CreateConnection<F> {
        CreateConnection::new(self.clone(), factory, to.into(), Location::caller())
    }

    /// Makes a transport of a connected socket that was accepted or made elsewhere.
    ///
    /// # Errors
    /// `InvalidInput` for a socket that is no stream.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// let (here, there) = std::os::unix::net::UnixStream::pair()?;
    /// callsoon::run(async move {
    ///     let event_loop = callsoon::get_running_loop();
    ///     let (transport, _) = event_loop.connect_accepted_socket(|| Idle, here).await?;
    ///     transport.write(b"hello");
    ///     Ok::<(), std::io::Error>(())
    /// }).unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect_accepted_socket<F: FnOnce() -> P + 'static, P: Protocol>(
        &self,
        factory: F,
        socket: impl Into<AcceptedSocket>,
    ) -> CreateConnection<F> {
        self.create_connection(factory, socket.into())
    }

    /// Connects to the Unix socket at a path, or of an abstract name, which begins with a zero byte.
    ///
    /// If the backlog of the server is full, it is tried again at growing intervals, until it has room.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `ConnectionRefused` if nobody listens, `PermissionDenied` if it may not
    /// be opened. `InvalidInput` for a path that is empty, too long or has a zero byte inside.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// let error = callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     event_loop.create_unix_connection(|| Idle, "/nobody/is/here").await.map(drop).unwrap_err()
    /// }).unwrap();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    #[track_caller]
    pub fn create_unix_connection<F: FnOnce() -> P + 'static, P: Protocol>(
        &self,
        factory: F,
        path: impl AsRef<std::path::Path>,
    ) -> CreateConnection<F> {
        let path = path.as_ref().to_owned();
        self.create_connection(factory, ConnectTo::path(path))
    }
}

/// A connection that is about to be made. Await it. [`LoopHandle::create_connection`] and
/// [`open_connection`](crate::open_connection) give it.
///
/// ```
/// # use callsoon::doctest::Idle;
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// callsoon::run(async move {
///     let event_loop = callsoon::get_running_loop();
///     let from = std::net::SocketAddr::from(([127, 0, 0, 2], 0));
///     let (transport, _) = event_loop.create_connection(|| Idle, address).local_addr(from).await?;
///     assert_eq!(transport.sockname().unwrap().internet().unwrap().ip(), from.ip());
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "nothing is connected until it is awaited"]
pub struct CreateConnection<F> {
    handle: LoopHandle,
    /// Makes the protocol.
    pub(crate) factory: F,
    to: ConnectTo,
    connector: Connector,
    pub(crate) tls: TlsOptions,
    location: Place,
}

impl<F> CreateConnection<F> {
    pub(crate) fn new(handle: LoopHandle, factory: F, to: ConnectTo, location: Place) -> Self {
        Self {
            handle,
            factory,
            to,
            connector: Connector::default(),
            tls: TlsOptions::default(),
            location,
        }
    }

    /// Connects, and makes the protocol when there is a connection for it, which is closed if that fails. Nothing is
    /// read yet.
    pub(crate) async fn connect<P: Protocol>(
        self,
        make: impl FnOnce(&LoopHandle, F) -> io::Result<Rc<P>>,
    ) -> Connected<P> {
        proceed().await;
        let session = self.tls.session(Some(&self.to))?;
        let (io, peer) = self.connector.connect(&self.handle, self.to).await?;
        let (handle, location) = (self.handle, self.location);
        if let Some((session, timeouts)) = session {
            let transport = Transport::encrypted(io, session, timeouts, peer, location)?;
            let unconnected = Unconnected::shaken(transport, timeouts).await?;
            let protocol = make(&handle, self.factory)?;
            let transport = unconnected.connect(Some(Rc::clone(&protocol) as Rc<dyn Protocol>))?;
            return announced(handle, transport, protocol, location).await;
        }
        let protocol = make(&handle, self.factory)?;
        let transport =
            Transport::new(io, Rc::clone(&protocol) as Rc<dyn Protocol>, peer, location)?;
        announced(handle, transport, protocol, location).await
    }

    /// Binds the socket to this address first. Addresses of the other family then fail.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let to = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    /// let from = std::net::SocketAddr::from(([127, 0, 0, 2], 0));
    /// let refused = event_loop.create_connection(|| Idle, to).local_addr(from);
    /// assert!(event_loop.run_until_complete(refused).unwrap().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn local_addr(mut self, address: impl ToSocketAddrs) -> Self {
        self.connector.local = Some(address.into_target());
        self
    }

    /// Tries addresses of this family only: `Domain::IPV4` or `Domain::IPV6`.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let connecting = event_loop.create_connection(|| Idle, ("127.0.0.1", 1)).family(socket2::Domain::IPV6);
    /// let error = event_loop.run_until_complete(connecting).unwrap().map(drop).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn family(mut self, family: Domain) -> Self {
        self.connector.family = Some(family);
        self
    }

    /// Sets after how long the next address is tried beside one that has not answered. With `None` it is tried only
    /// after a failure. 250 ms by default, where asyncio has `None`.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let one_by_one = event_loop.create_connection(|| Idle, ("localhost", 80)).happy_eyeballs_delay(None);
    /// ```
    pub fn happy_eyeballs_delay(mut self, delay: Option<Duration>) -> Self {
        self.connector.eyeballs.delay = delay;
        self
    }

    /// Sets how many addresses of the first family are tried before the families alternate. 0 keeps the resolver's
    /// order. 1 by default.
    ///
    /// ```
    /// # use callsoon::doctest::Idle;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let as_found = event_loop.create_connection(|| Idle, ("localhost", 80)).interleave(0);
    /// ```
    pub fn interleave(mut self, first_family: usize) -> Self {
        self.connector.eyeballs.interleave = first_family;
        self
    }
}

impl<F: FnOnce() -> P + 'static, P: Protocol> IntoFuture for CreateConnection<F> {
    type Output = Connected<P>;
    type IntoFuture = Pin<Box<dyn Future<Output = Connected<P>>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let connected = self.connect(|_, factory| Ok(Rc::new(factory()))).await?;
            connected.0.begin_reading_soon();
            Ok(connected)
        })
    }
}

impl<F> fmt::Debug for CreateConnection<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateConnection")
            .field("to", &self.to)
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

/// Gives the transport once `connection_made` has run.
async fn announced<P>(
    handle: LoopHandle,
    transport: Transport,
    protocol: Rc<P>,
    location: Place,
) -> Connected<P> {
    let mut unless_taken = CloseUnlessTaken(Some(transport.clone()));
    let made = handle.create_future();
    let announce = made.clone();
    handle.queue_call(
        move || {
            transport.announce();
            // The caller may have been dropped.
            let _ = announce.set_result(());
        },
        location,
    );
    // It fails only if the loop closes, and then nobody polls.
    let _ = made.take().await;
    let transport = unless_taken.0.take();
    Ok((transport.ok_or(io::ErrorKind::NotConnected)?, protocol))
}

/// Closes the transport, unless the caller is given it.
struct CloseUnlessTaken(Option<Transport>);

impl Drop for CloseUnlessTaken {
    fn drop(&mut self) {
        if let Some(transport) = self.0.take() {
            transport.close();
            // If a write has failed, `connection_lost` has waited for reading to begin.
            transport.begin_reading();
        }
    }
}
