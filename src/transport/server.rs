//! The server that a program starts, waits for and closes.
//!
//! Waiting for a server means waiting for two things: that it has closed, and that the last of its connections has
//! closed. They may come in either order.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use socket2::Socket;

use crate::kernel::proceed::proceed;
use crate::socket::address::Address;
use crate::time::sleep;
use crate::transport::serving::{Phase, Serving};

/// A server. Dropping it closes it, as [`close`](Self::close) does, where asyncio's goes on; [`detach`](Self::detach)
/// lets it serve as long as the loop lives.
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
    pub(crate) serving: Rc<Serving>,
    pub(crate) closes_on_drop: bool,
}

impl Server {
    /// Begins to listen, if the server does not yet.
    ///
    /// # Errors
    /// [`ServeError::Closed`] on a closed server. [`ServeError::Io`] if listening fails, after which the server is
    /// closed: `AddrInUse` if another socket listens there by now. A Unix socket that does not listen yet refuses
    /// clients, so another server may have taken its path: `AddrInUse` then, and `NotFound` if its file is gone.
    /// `ResourceBusy` inside [`with_sockets`](Self::with_sockets), which closes nothing.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).start_serving(false).await?;
    /// assert!(!server.is_serving());
    /// server.start_serving().unwrap();
    /// assert!(server.is_serving());
    /// # Ok(()) });
    /// ```
    pub fn start_serving(&self) -> Result<(), ServeError> {
        match self.serving.phase.get() {
            Phase::Serving => Ok(()),
            Phase::Closed => Err(ServeError::Closed),
            Phase::Bound if self.serving.lent.get() => {
                Err(ServeError::Io(io::ErrorKind::ResourceBusy.into()))
            }
            Phase::Bound => self.listen().map_err(ServeError::Io),
        }
    }

    /// Listens for the first time. A failure closes the server.
    pub(crate) fn listen(&self) -> io::Result<()> {
        let listening = Rc::clone(&self.serving).listen();
        if listening.is_err() {
            self.close();
        }
        listening
    }

    /// Serves until [`close`](Self::close) is called.
    ///
    /// # Errors
    /// [`ServeError::AlreadyServing`] while another call runs; otherwise those of
    /// [`start_serving`](Self::start_serving).
    ///
    /// # Cancellation
    /// Dropped before it is done it closes the server. Its connections live on.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = std::rc::Rc::new(event_loop.create_server(|| Idle, anywhere).await?);
    /// let closer = server.clone();
    /// event_loop.call_soon(move || closer.close());
    /// server.serve_forever().await.unwrap();
    /// # Ok(()) });
    /// ```
    pub async fn serve_forever(&self) -> Result<(), ServeError> {
        proceed().await;
        if self.serving.forever.get() {
            return Err(ServeError::AlreadyServing);
        }
        self.start_serving()?;
        self.serving.forever.set(true);
        let forever = Forever { server: self };
        self.serving.wait(|serving| serving.is_closed()).await;
        drop(forever);
        Ok(())
    }

    /// Stops listening and closes the listening sockets. Connections live on. Calling it again changes nothing.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// server.close();
    /// assert!(server.sockets().is_empty());
    /// # Ok(()) });
    /// ```
    pub fn close(&self) {
        self.serving.stop();
    }

    /// Waits until the server and the last of its connections have closed. After that it returns at once.
    ///
    /// A client that does not leave makes it wait for ever; [`shutdown`](Self::shutdown) has a deadline.
    ///
    /// # Cancellation
    /// Dropped before it is done it changes nothing.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// server.close();
    /// server.wait_closed().await;
    /// # Ok(()) });
    /// ```
    pub async fn wait_closed(&self) {
        proceed().await;
        self.serving.wait(|serving| serving.is_over()).await;
    }

    /// Closes the server and lets its connections end by themselves for so long. Those that are left then are
    /// aborted. Returns how many these were, when the last one has closed. asyncio has no such method.
    ///
    /// # Cancellation
    /// Dropped before it is done it has closed the server, and aborted either all connections or none.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// let aborted = server.shutdown(std::time::Duration::from_secs(1)).await;
    /// assert_eq!(aborted, 0);
    /// # Ok(()) });
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
        let left = self.serving.clients.borrow().len();
        self.abort_clients();
        closed.await;
        left
    }

    /// Closes the transport of every connection. What is buffered is still sent.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// server.close();
    /// server.close_clients();
    /// server.wait_closed().await;
    /// # Ok(()) });
    /// ```
    pub fn close_clients(&self) {
        for client in self.serving.clients() {
            client.close();
        }
    }

    /// Aborts the transport of every connection.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// server.close();
    /// server.abort_clients();
    /// server.wait_closed().await;
    /// # Ok(()) });
    /// ```
    pub fn abort_clients(&self) {
        for client in self.serving.clients() {
            client.abort();
        }
    }

    /// Returns the addresses of the sockets that the server listens on, or will: one for each, and none once it is
    /// closed.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// println!("listening on {}", server.sockets()[0]);
    /// # Ok(()) });
    /// ```
    pub fn sockets(&self) -> Vec<Address> {
        let listening = self.serving.listening.borrow();
        let addresses = listening.iter().filter_map(|place| place.address.clone());
        addresses.collect()
    }

    /// Calls `f` with each of the sockets that the server listens on, or will, and returns what it returns: for options and
    /// numbers that the server has no method for. None once the server is closed.
    ///
    /// `f` must not close, accept from or shut down the socket, nor switch it to blocking mode. If it closes the server, the
    /// sockets close when it has returned. A call inside `f` finds no sockets.
    ///
    /// # Differences from asyncio
    /// There `Server.sockets` gives the sockets themselves, as `TransportSocket`.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// use std::os::fd::AsRawFd;
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// let numbers = server.with_sockets(|socket| socket.as_raw_fd());
    /// assert_eq!(numbers.len(), 1);
    /// # Ok(()) });
    /// ```
    #[doc(alias = "sockets")]
    pub fn with_sockets<R>(&self, f: impl FnMut(&Socket) -> R) -> Vec<R> {
        self.serving.lend_sockets(f)
    }

    /// Returns the first IP address that the server listens on, with the port that the system chose for port 0.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// assert_ne!(server.local_addr().unwrap().port(), 0);
    /// # Ok(()) });
    /// ```
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.sockets().iter().find_map(Address::internet)
    }

    /// Returns whether the server listens.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// assert!(server.is_serving());
    /// # Ok(()) });
    /// ```
    pub fn is_serving(&self) -> bool {
        self.serving.phase.get() == Phase::Serving
    }

    /// Lets the server serve until the loop closes. Nothing can close it any more.
    ///
    /// ```
    /// # use callsoon::doctest::{Idle, anywhere};
    /// # callsoon::doctest::with_loop(async |event_loop| {
    /// let server = event_loop.create_server(|| Idle, anywhere).await?;
    /// let address = server.local_addr().unwrap();
    /// server.detach();
    /// callsoon::net::TcpStream::connect(address).await?;
    /// # Ok(()) });
    /// ```
    pub fn detach(mut self) {
        // The reactor holds the acceptors, and these hold the rest.
        self.closes_on_drop = false;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.closes_on_drop {
            self.serving.stop();
        }
    }
}

/// Marks that a `serve_forever` runs. Its drop closes the server.
struct Forever<'a> {
    server: &'a Server,
}

impl Drop for Forever<'_> {
    fn drop(&mut self) {
        self.server.serving.forever.set(false);
        self.server.close();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("phase", &self.serving.phase.get())
            .field("sockets", &self.sockets())
            .field("clients", &self.serving.clients.borrow().len())
            .finish()
    }
}

/// Why a server does not serve.
///
/// ```
/// # use callsoon::doctest::{Idle, anywhere};
/// # use callsoon::transport::ServeError;
/// # callsoon::doctest::with_loop(async |event_loop| {
/// let server = event_loop.create_server(|| Idle, anywhere).await?;
/// server.close();
/// assert!(matches!(server.start_serving(), Err(ServeError::Closed)));
/// # Ok(()) });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The server was closed.
    Closed,
    /// Another `serve_forever` runs.
    AlreadyServing,
    /// Listening failed.
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

/// An error of the system's is that error, every other one is inside, as `Other`.
///
/// ```
/// let error = std::io::Error::from(callsoon::transport::ServeError::AlreadyServing);
/// assert_eq!(error.to_string(), "the server is in serve_forever already");
/// ```
impl From<ServeError> for io::Error {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Io(error) => error,
            error => Self::other(error),
        }
    }
}
