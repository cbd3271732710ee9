//! Servers: listening sockets, the protocols they make, and the connections that live on them.
//!
//! A server owns its listening sockets and knows its connections, which live on after it has closed. Waiting for a server
//! means waiting for both: that it has closed, and that the last of its connections is over, in either order.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use crate::kernel::io::Io;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::readiness::Readiness;
use crate::kernel::report::ExceptionContext;
use crate::kernel::waiters::{WaiterId, Waiters};
use crate::time::sleep;
use crate::transport::address::Address;
use crate::transport::listen::{Acceptor, Host, ListenSocket};
use crate::transport::membership::{Members, Membership};
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::socket::StreamSocket;

/// What a server does for each client.
pub(crate) type Factory = Rc<dyn Fn() -> Rc<dyn Protocol>>;

/// What a listening socket leaves behind when it closes, and how to take that away.
pub(crate) type Cleanup = Box<dyn FnOnce()>;

/// One listening socket.
pub(crate) struct Listening {
    pub(crate) address: Option<Address>,
    /// Bound, until serving starts.
    pub(crate) socket: Option<socket2::Socket>,
    /// At work, from then on.
    pub(crate) acceptor: Option<Rc<Acceptor>>,
    pub(crate) cleanup: Option<Cleanup>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The sockets are bound and do not listen.
    Bound,
    Serving,
    Closed,
}

/// What a server is made of.
pub(crate) struct Plan {
    pub(crate) handle: LoopHandle,
    pub(crate) factory: Factory,
    pub(crate) listening: Vec<Listening>,
    pub(crate) backlog: i32,
    pub(crate) keep_alive: bool,
    pub(crate) location: &'static Location<'static>,
}

struct Shared {
    handle: LoopHandle,
    /// `None` once closed: the connections have what it made.
    factory: RefCell<Option<Factory>>,
    listening: RefCell<Vec<Listening>>,
    backlog: i32,
    keep_alive: bool,
    location: &'static Location<'static>,
    phase: Cell<Phase>,
    /// The connections that are not over.
    clients: RefCell<Slab<Transport>>,
    /// Who waits for the server to close, or for that and for the last client's end. All are woken at either event.
    waiting: RefCell<Waiters<Waker>>,
    /// Somebody is in `serve_forever`.
    forever: Cell<bool>,
}

/// A server. Dropping it closes it, as [`close`](Self::close) does; [`detach`](Self::detach) lets it serve as long as the
/// loop lives.
///
/// ```
/// use callsoon::transport::{Protocol, Transport};
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&self, transport: &Transport, data: &[u8]) {
///         transport.write(data);
///     }
/// }
/// callsoon::run(async {
///     let event_loop = callsoon::get_running_loop();
///     let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
///     let server = event_loop.create_server(|| Echo, anywhere).await?;
///     assert!(server.is_serving());
///     server.close();
///     server.wait_closed().await;
///     Ok::<(), std::io::Error>(())
/// }).unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a server that is dropped closes"]
pub struct Server {
    shared: Rc<Shared>,
    closes_on_drop: bool,
}

impl Server {
    pub(crate) fn new(plan: Plan) -> Self {
        let shared = Rc::new(Shared {
            handle: plan.handle,
            factory: RefCell::new(Some(plan.factory)),
            listening: RefCell::new(plan.listening),
            backlog: plan.backlog,
            keep_alive: plan.keep_alive,
            location: plan.location,
            phase: Cell::new(Phase::Bound),
            clients: RefCell::new(Slab::new()),
            waiting: RefCell::new(Waiters::new()),
            forever: Cell::new(false),
        });
        Self {
            shared,
            closes_on_drop: true,
        }
    }

    /// Begins to listen, if it does not yet.
    ///
    /// # Errors
    /// [`ServeError::Closed`] on a closed server; what the system says, after which the server is closed.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).start_serving(false).await?;
    /// assert!(!server.is_serving());
    /// server.start_serving().unwrap();
    /// assert!(server.is_serving());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn start_serving(&self) -> Result<(), ServeError> {
        match self.shared.phase.get() {
            Phase::Serving => Ok(()),
            Phase::Closed => Err(ServeError::Closed),
            Phase::Bound => self.listen().map_err(ServeError::Io),
        }
    }

    /// Listens for the first time; a failure closes the server.
    pub(crate) fn listen(&self) -> io::Result<()> {
        let listening = Rc::clone(&self.shared).listen();
        if listening.is_err() {
            self.close();
        }
        listening
    }

    /// Serves until somebody calls [`close`](Self::close).
    ///
    /// # Errors
    /// [`ServeError::AlreadyServing`] while another call is under way, and what
    /// [`start_serving`](Self::start_serving) says.
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the server; its connections live on.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = std::rc::Rc::new(event_loop.create_server(|| Idle, anywhere).await?);
    /// let closer = server.clone();
    /// event_loop.call_soon(move || closer.close());
    /// server.serve_forever().await.unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn serve_forever(&self) -> Result<(), ServeError> {
        if self.shared.forever.get() {
            return Err(ServeError::AlreadyServing);
        }
        self.start_serving()?;
        self.shared.forever.set(true);
        let serving = Serving { server: self };
        self.shared.wait(|shared| shared.is_closed()).await;
        drop(serving);
        Ok(())
    }

    /// Stops listening and closes the listening sockets. Connections live on. Calling it again changes nothing.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// server.close();
    /// assert!(server.sockets().is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn close(&self) {
        self.shared.stop();
    }

    /// Waits until the server has closed and the last of its connections is over. After that it returns at once.
    ///
    /// A client that does not go makes it wait for ever; [`shutdown`](Self::shutdown) has a deadline.
    ///
    /// # Cancellation
    /// Dropped before it is done it changes nothing.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// server.close();
    /// server.wait_closed().await;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn wait_closed(&self) {
        self.shared.wait(|shared| shared.is_over()).await;
    }

    /// Closes the server and gives its connections so long to end by themselves; those that are left are aborted. Says
    /// how many these were, when the last one is over.
    ///
    /// # Cancellation
    /// Dropped before it is done it has closed the server and aborted nobody, or everybody.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// let aborted = server.shutdown(std::time::Duration::from_secs(1)).await;
    /// assert_eq!(aborted, 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn shutdown(&self, patience: Duration) -> usize {
        self.close();
        let mut closed = pin!(self.wait_closed());
        let mut deadline = pin!(sleep(patience));
        let in_time = poll_fn(|context| {
            if closed.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            deadline.as_mut().poll(context).map(|()| false)
        });
        if in_time.await {
            return 0;
        }
        let left = self.shared.clients.borrow().len();
        self.abort_clients();
        closed.await;
        left
    }

    /// Closes the transport of every connection: what is buffered is still sent.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// server.close();
    /// server.close_clients();
    /// server.wait_closed().await;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn close_clients(&self) {
        for client in self.shared.clients() {
            client.close();
        }
    }

    /// Aborts the transport of every connection.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// server.close();
    /// server.abort_clients();
    /// server.wait_closed().await;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn abort_clients(&self) {
        for client in self.shared.clients() {
            client.abort();
        }
    }

    /// Where the server listens, or will: one address for each of its sockets, none once it is closed.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// println!("listening on {}", server.sockets()[0]);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn sockets(&self) -> Vec<Address> {
        let listening = self.shared.listening.borrow();
        listening
            .iter()
            .filter_map(|listening| listening.address.clone())
            .collect()
    }

    /// The first IP address that the server listens on, with the port that the system chose for port 0.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// assert_ne!(server.local_addr().unwrap().port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.sockets().iter().find_map(Address::internet)
    }

    /// Whether it listens.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// assert!(server.is_serving());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn is_serving(&self) -> bool {
        self.shared.phase.get() == Phase::Serving
    }

    /// Lets the server serve until the loop closes: nothing can close it any more.
    ///
    /// ```
    /// # use callsoon::transport::Protocol;
    /// # struct Idle;
    /// # impl Protocol for Idle {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// let address = server.local_addr().unwrap();
    /// server.detach();
    /// callsoon::net::TcpStream::connect(address).await?;
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn detach(mut self) {
        // The acceptors, which the reactor holds, hold the rest.
        self.closes_on_drop = false;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.closes_on_drop {
            self.shared.stop();
        }
    }
}

/// While it lives, somebody is in `serve_forever`; then the server is closed.
struct Serving<'a> {
    server: &'a Server,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.server.shared.forever.set(false);
        self.server.close();
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.phase.get() == Phase::Closed
    }

    fn is_over(&self) -> bool {
        self.is_closed() && self.clients.borrow().is_empty()
    }

    fn clients(&self) -> Vec<Transport> {
        let clients = self.clients.borrow();
        clients.iter().map(|(_, client)| client.clone()).collect()
    }

    /// Has every bound socket listen.
    fn listen(self: Rc<Self>) -> io::Result<()> {
        let mut listening = self.listening.borrow_mut();
        for place in listening.iter_mut() {
            let Some(socket) = place.socket.take() else {
                continue;
            };
            socket.listen(self.backlog)?;
            let host = Rc::clone(&self) as Rc<dyn Host>;
            let socket = ListenSocket::new(socket)?;
            place.acceptor = Some(Acceptor::start(&self.handle, socket, host, self.location)?);
        }
        self.phase.set(Phase::Serving);
        Ok(())
    }

    fn stop(&self) {
        if self.phase.replace(Phase::Closed) == Phase::Closed {
            return;
        }
        let listening = std::mem::take(&mut *self.listening.borrow_mut());
        for place in listening {
            if let Some(acceptor) = place.acceptor {
                acceptor.stop();
            }
            // A forked child's parent goes on serving at the same path.
            if let Some(cleanup) = place.cleanup.filter(|_| !self.handle.state.is_inherited()) {
                cleanup();
            }
        }
        let factory = self.factory.borrow_mut().take();
        self.handle
            .state
            .shielded("Exception in the destructor of a protocol factory", || {
                drop(factory);
            });
        self.wake_all();
    }

    fn wake_all(&self) {
        let mut woken = Vec::new();
        self.waiting.borrow_mut().take_all(&mut woken);
        for waker in woken {
            self.handle
                .state
                .shielded("Exception in a waker", || waker.wake());
        }
    }

    /// Waits until `is_so`, which changes only where `wake_all` is called.
    async fn wait(&self, is_so: impl Fn(&Self) -> bool) {
        let mut place = Place {
            shared: self,
            id: None,
        };
        poll_fn(|context| {
            if is_so(self) {
                return Poll::Ready(());
            }
            place.wait(context);
            // Cloning a foreign waker is foreign code.
            if is_so(self) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn connect(self: &Rc<Self>, socket: StreamSocket, peer: Option<Address>) -> io::Result<()> {
        let factory = self.factory.borrow().clone();
        let Some(factory) = factory else {
            return Ok(());
        };
        if self.keep_alive {
            // A socket that refuses is about to fail anyway, and its reader will say why.
            let _ = socket.with(|socket| socket.set_keepalive(true));
        }
        let interest = socket.interest();
        let readiness = Readiness::new(socket.short_read_drains(), true);
        let io = Io::new(&self.handle, socket, interest, readiness)?;
        let mut protocol = None;
        self.handle
            .state
            .shielded("Exception in a protocol factory", || {
                protocol = Some(factory());
            });
        let Some(protocol) = protocol else {
            return Ok(());
        };
        let transport = Transport::new(io, protocol, peer, self.location)?;
        let number = self.clients.borrow_mut().insert(transport.clone());
        let of = Rc::clone(self) as Rc<dyn Members>;
        transport.join(Membership { of, number });
        transport.begin();
        Ok(())
    }
}

impl Host for Shared {
    fn take_in(self: Rc<Self>, socket: StreamSocket, peer: Option<Address>) {
        if let Err(error) = self.connect(socket, peer) {
            self.handle.state.report(ExceptionContext {
                message: "A client that was accepted cannot be watched, and is dropped".to_owned(),
                exception: Some(Rc::new(error)),
                location: Some(self.location),
                ..ExceptionContext::default()
            });
        }
    }

    fn abandon(self: Rc<Self>) {
        self.stop();
    }
}

impl Members for Shared {
    fn left(self: Rc<Self>, number: usize) {
        let transport = self.clients.borrow_mut().try_remove(number);
        drop(transport);
        if self.is_over() {
            self.wake_all();
        }
    }
}

/// A place among those who wait for a server.
struct Place<'a> {
    shared: &'a Shared,
    id: Option<WaiterId>,
}

impl Place<'_> {
    fn wait(&mut self, context: &Context<'_>) {
        let waker = context.waker().clone();
        let mut waiting = self.shared.waiting.borrow_mut();
        let replaced = match self.id.and_then(|id| waiting.get_mut(id)) {
            Some(place) => Some(std::mem::replace(place, waker)),
            None => {
                self.id = Some(waiting.join(waker));
                None
            }
        };
        drop(waiting);
        drop(replaced);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let left = self.shared.waiting.borrow_mut().leave(id);
            drop(left);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("phase", &self.shared.phase.get())
            .field("sockets", &self.sockets())
            .field("clients", &self.shared.clients.borrow().len())
            .finish()
    }
}

/// Why a server does not serve.
///
/// ```
/// # use callsoon::transport::{Protocol, ServeError};
/// # struct Idle;
/// # impl Protocol for Idle {}
/// # callsoon::run(async {
/// # let event_loop = callsoon::get_running_loop();
/// # let anywhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
/// let server = event_loop.create_server(|| Idle, anywhere).await?;
/// server.close();
/// assert!(matches!(server.start_serving(), Err(ServeError::Closed)));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// It was closed.
    Closed,
    /// Another `serve_forever` is under way.
    AlreadyServing,
    /// What the system says of listening.
    Io(io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the server is closed"),
            Self::AlreadyServing => f.write_str("the server is in serve_forever already"),
            Self::Io(error) => write!(f, "the server cannot listen: {error}"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
