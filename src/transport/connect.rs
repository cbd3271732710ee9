//! Connections that this side makes, or takes over.
//!
//! Addresses are tried one after another, each on a socket of its own, which is closed before the next is tried; the
//! protocol is made when there is a connection for it. Finding addresses by name, and trying several at a time, can be
//! put in front of [`connect`] without a change here.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;

use socket2::{Domain, Socket, Type};

use crate::kernel::io::Io;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::readiness::{Direction, Readiness};
use crate::transport::address::Address;
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::socket::StreamSocket;
use crate::transport::target::{AcceptedSocket, ConnectTo, Destination};

type Place = &'static Location<'static>;

/// What a connection gives: the transport, and the protocol that the factory has made.
type Connected<P> = io::Result<(Transport, Rc<P>)>;

impl LoopHandle {
    /// Connects, and gives the transport and the protocol once `connection_made` has run.
    ///
    /// `to` is an address, a list of addresses that are tried in their order, or a connected socket. The factory is
    /// called once, when there is a connection.
    ///
    /// # Errors
    /// What the system says of the only attempt; of several, one error that tells of each. Awaiting gives it.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the socket; if the protocol exists by then, it hears of the end.
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
    pub fn create_connection<F, P>(
        &self,
        factory: F,
        to: impl Into<ConnectTo>,
    ) -> CreateConnection<F>
    where
        F: FnOnce() -> P + 'static,
        P: Protocol,
    {
        CreateConnection {
            handle: self.clone(),
            factory,
            to: to.into(),
            local: None,
            location: Location::caller(),
        }
    }

    /// Makes a transport of a connected socket that somebody else has accepted or made.
    ///
    /// # Errors
    /// What the system says of the socket; `InvalidInput` for one that is no stream.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
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
    pub fn connect_accepted_socket<F, P>(
        &self,
        factory: F,
        socket: impl Into<AcceptedSocket>,
    ) -> CreateConnection<F>
    where
        F: FnOnce() -> P + 'static,
        P: Protocol,
    {
        self.create_connection(factory, socket.into())
    }

    /// Connects to the Unix socket at a path, or of an abstract name, which begins with a zero byte.
    ///
    /// A server whose backlog is full is asked again and again, at growing intervals, until it has room.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` for a path that is empty, too long or has a zero byte inside.
    ///
    /// # Cancellation
    /// As [`create_connection`](Self::create_connection).
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// let error = callsoon::run(async {
    ///     let event_loop = callsoon::get_running_loop();
    ///     event_loop.create_unix_connection(|| Idle, "/nobody/is/here").await.map(drop).unwrap_err()
    /// }).unwrap();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    #[cfg(unix)]
    #[track_caller]
    pub fn create_unix_connection<F, P>(
        &self,
        factory: F,
        path: impl AsRef<std::path::Path>,
    ) -> CreateConnection<F>
    where
        F: FnOnce() -> P + 'static,
        P: Protocol,
    {
        let path = path.as_ref().to_owned();
        self.create_connection(factory, ConnectTo(Destination::Path(path)))
    }

    /// What all of these come to.
    pub(crate) async fn create_connection_at<P: Protocol>(
        &self,
        factory: impl FnOnce() -> Rc<P>,
        to: ConnectTo,
        local: Option<SocketAddr>,
        location: Place,
    ) -> Connected<P> {
        let (io, peer) = connect(self, to, local).await?;
        establish(io, peer, factory(), location).await
    }
}

/// A connection about to be made: await it. [`LoopHandle::create_connection`] gives it.
///
/// ```
/// # use callsoon::transport::Protocol;
/// # struct Idle;
/// # impl Protocol for Idle {}
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
    factory: F,
    to: ConnectTo,
    local: Option<SocketAddr>,
    location: Place,
}

impl<F> CreateConnection<F> {
    /// Binds the socket to this address first. It must be of the same family as the one that is connected to.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// let event_loop = callsoon::EventLoop::new()?;
    /// let to = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    /// let from = std::net::SocketAddr::from(([127, 0, 0, 2], 0));
    /// let refused = event_loop.create_connection(|| Idle, to).local_addr(from);
    /// assert!(event_loop.run_until_complete(refused).unwrap().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn local_addr(mut self, address: SocketAddr) -> Self {
        self.local = Some(address);
        self
    }
}

impl<F, P> IntoFuture for CreateConnection<F>
where
    F: FnOnce() -> P + 'static,
    P: Protocol,
{
    type Output = Connected<P>;
    type IntoFuture = Pin<Box<dyn Future<Output = Connected<P>>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let factory = self.factory;
            let shared = move || Rc::new(factory());
            let handle = self.handle;
            handle
                .create_connection_at(shared, self.to, self.local, self.location)
                .await
        })
    }
}

impl<F> fmt::Debug for CreateConnection<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateConnection")
            .field("to", &self.to)
            .field("local_addr", &self.local)
            .finish_non_exhaustive()
    }
}

/// A watched socket that is connected, and its peer.
async fn connect(
    handle: &LoopHandle,
    to: ConnectTo,
    local: Option<SocketAddr>,
) -> io::Result<(Io<StreamSocket>, Option<Address>)> {
    let addresses = match to.0 {
        Destination::Addresses(addresses) => addresses,
        Destination::Socket(socket) => {
            let socket = socket.into_stream()?;
            let peer = Address::of(socket.peer());
            let readiness = Readiness::new(socket.short_read_drains(), true);
            let interest = socket.interest();
            return Ok((Io::new(handle, socket, interest, readiness)?, peer));
        }
        #[cfg(unix)]
        Destination::Path(path) => {
            let address = crate::transport::unix_path::address(&path)?;
            return connect_unix(handle, address).await;
        }
    };
    let mut failures = Vec::new();
    for address in addresses {
        match connect_one(handle, address, local).await {
            Ok(io) => return Ok((io, Some(address.into()))),
            Err(error) => failures.push((address, error)),
        }
    }
    Err(sum_up(failures))
}

/// One attempt at one address.
pub(crate) async fn connect_one(
    handle: &LoopHandle,
    address: SocketAddr,
    local: Option<SocketAddr>,
) -> io::Result<Io<StreamSocket>> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(local) = local {
        if local.is_ipv4() != address.is_ipv4() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{local} is of another family than {address}"),
            ));
        }
        socket.bind(&local.into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    let socket = StreamSocket::from(std::net::TcpStream::from(socket));
    let interest = socket.interest();
    // Not writable until the system says so: that is how a connection announces itself.
    let io = Io::new(handle, socket, interest, Readiness::new(true, false))?;
    io.operate(Direction::Write, StreamSocket::connected, |_| false)
        .await?;
    Ok(io)
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(unix)]
async fn connect_unix(
    handle: &LoopHandle,
    address: socket2::SockAddr,
) -> io::Result<(Io<StreamSocket>, Option<Address>)> {
    use std::time::Duration;

    /// Between two attempts at a server whose backlog is full, of which no event tells when it has room.
    const RETRIES: [u64; 5] = [1, 2, 5, 10, 20];
    let mut attempts = 0;
    loop {
        let socket = crate::transport::unix_path::new_socket()?;
        match socket.connect(&address) {
            Ok(()) => {
                let socket =
                    std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(socket));
                let socket = StreamSocket::from(socket);
                let interest = socket.interest();
                let readiness = Readiness::new(socket.short_read_drains(), true);
                let io = Io::new(handle, socket, interest, readiness)?;
                return Ok((io, Some(Address::from(address))));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                drop(socket);
                let pause = RETRIES[RETRIES.len().min(attempts + 1) - 1];
                crate::time::sleep(Duration::from_millis(pause)).await;
                attempts += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// One error for several attempts. It is of the first one's kind, and the only one as it is.
fn sum_up(mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    match failures.len() {
        0 => io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to"),
        1 => failures.remove(0).1,
        _ => {
            let texts: Vec<_> = failures
                .iter()
                .map(|(address, error)| format!("{address}: {error}"))
                .collect();
            io::Error::new(failures[0].1.kind(), texts.join("; "))
        }
    }
}

/// Closes the transport of somebody who does not wait for it any more.
struct CloseUnlessTaken(Option<Transport>);

impl Drop for CloseUnlessTaken {
    fn drop(&mut self) {
        if let Some(transport) = self.0.take() {
            transport.close();
        }
    }
}

/// Brings a protocol together with its socket.
async fn establish<P: Protocol>(
    io: Io<StreamSocket>,
    peer: Option<Address>,
    protocol: Rc<P>,
    location: Place,
) -> Connected<P> {
    let handle = io.handle();
    let transport = Transport::new(io, Rc::clone(&protocol) as Rc<dyn Protocol>, peer, location)?;
    let mut unless_taken = CloseUnlessTaken(Some(transport.clone()));
    let made = handle.create_future();
    let announce = made.clone();
    handle.queue_call(
        move || {
            transport.begin();
            // Nobody may be waiting any more.
            let _ = announce.set_result(());
        },
        location,
    );
    // It fails only where the loop closes, and then nobody asks.
    let _ = made.take().await;
    let transport = unless_taken.0.take();
    match transport {
        Some(transport) => Ok((transport, protocol)),
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}
