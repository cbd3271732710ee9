//! Datagram endpoints: a socket of whole messages by callbacks, UDP's or a Unix socket's.
//!
//! A program has few of them, so each has a task of its own that receives and flushes; what it calls stands in the loop's
//! line where the task does. A datagram is sent at once where the system takes it, and copied behind those that wait
//! otherwise. Every callback runs with nothing borrowed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Panicked;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::report::{ExceptionContext, run_quietly};
use crate::net::datagram::{DatagramKind, DatagramSocket};
use crate::net::dns::{Target, ToSocketAddrs};
use crate::net::udp::{Udp, UdpSocket};

/// asyncio's marks: the protocol is paused above the high one and resumed at the low one.
const HIGH: usize = 64 * 1024;
const LOW: usize = HIGH / 4;

/// What a waiting datagram counts for besides its bytes, so that many empty ones count too. asyncio's figure.
const OVERHEAD: usize = 8;

/// The longest datagram that is received whole: four times what UDP can carry, and more than a Unix socket sends unless its
/// buffer was made larger.
const LONGEST: usize = 256 * 1024;

/// Datagrams to a lost endpoint of which nothing is said. asyncio's figure.
const QUIET_SENDS: u32 = 4;

/// Callbacks for a socket of whole messages: asyncio's `DatagramProtocol`.
///
/// `connection_made` comes first and once, `connection_lost` once and last; `pause_writing` and `resume_writing` alternate.
/// A panic in one of them goes to the exception handler, and the endpoint stays open.
///
/// ```
/// use std::net::SocketAddr;
/// use callsoon::transport::{DatagramProtocol, DatagramTransport};
///
/// struct Echo;
///
/// impl DatagramProtocol for Echo {
///     fn datagram_received(&self, transport: &DatagramTransport, data: &[u8], from: SocketAddr) {
///         transport.sendto(data, Some(from)).unwrap();
///     }
/// }
/// ```
#[allow(
    unused_variables,
    reason = "a default does nothing with what it is given"
)]
pub trait DatagramProtocol<K: DatagramKind = Udp>: 'static {
    /// The endpoint is open.
    fn connection_made(&self, transport: &DatagramTransport<K>) {}

    /// A datagram came, whole. One of more than 256 KiB, which only a Unix socket can send, is dropped, and `error_received`
    /// told of it as `InvalidData`.
    fn datagram_received(&self, transport: &DatagramTransport<K>, data: &[u8], from: K::Address) {}

    /// The system says that an earlier datagram could not be sent or received, or one was too long. The endpoint stays open.
    fn error_received(&self, transport: &DatagramTransport<K>, error: io::Error) {}

    /// More is buffered than the high-water mark: stop sending.
    fn pause_writing(&self, transport: &DatagramTransport<K>) {}

    /// No more than the low-water mark is buffered: go on.
    fn resume_writing(&self, transport: &DatagramTransport<K>) {}

    /// The endpoint is closed. `error` is `None` where the program has closed it.
    fn connection_lost(&self, transport: &DatagramTransport<K>, error: Option<io::Error>) {}
}

impl<K: DatagramKind, P: DatagramProtocol<K> + ?Sized> DatagramProtocol<K> for Rc<P> {
    fn connection_made(&self, transport: &DatagramTransport<K>) {
        (**self).connection_made(transport);
    }

    fn datagram_received(&self, transport: &DatagramTransport<K>, data: &[u8], from: K::Address) {
        (**self).datagram_received(transport, data, from);
    }

    fn error_received(&self, transport: &DatagramTransport<K>, error: io::Error) {
        (**self).error_received(transport, error);
    }

    fn pause_writing(&self, transport: &DatagramTransport<K>) {
        (**self).pause_writing(transport);
    }

    fn resume_writing(&self, transport: &DatagramTransport<K>) {
        (**self).resume_writing(transport);
    }

    fn connection_lost(&self, transport: &DatagramTransport<K>, error: Option<io::Error>) {
        (**self).connection_lost(transport, error);
    }
}

/// A datagram, and whom it is for where that is not the peer.
type Waiting<A> = (Vec<u8>, Option<A>);

/// What the endpoint's owner and its task share.
struct Endpoint<K: DatagramKind> {
    handle: LoopHandle,
    /// `None` once lost.
    socket: RefCell<Option<Rc<DatagramSocket<K>>>>,
    protocol: RefCell<Option<Rc<dyn DatagramProtocol<K>>>>,
    /// The address that the socket is connected to.
    peer: Option<K::Address>,
    /// Datagrams that wait for the system to take them.
    waiting: RefCell<VecDeque<Waiting<K::Address>>>,
    /// Their bytes and what they count for besides.
    size: Cell<usize>,
    paused: Cell<bool>,
    /// Nothing is received any more, and what waits is sent.
    closing: Cell<bool>,
    /// `connection_lost` has come, or will next.
    lost: Cell<bool>,
    refused: Cell<u32>,
    /// Wakes the task, to find a datagram waiting or the endpoint closing.
    task: Cell<Option<Waker>>,
    location: &'static Location<'static>,
}

/// A datagram endpoint: asyncio's `DatagramTransport`. Clones are the same endpoint, and dropping them closes nothing.
///
/// ```
/// use std::net::SocketAddr;
/// use callsoon::transport::{DatagramProtocol, DatagramTransport};
///
/// struct Once;
/// impl DatagramProtocol for Once {
///     fn datagram_received(&self, transport: &DatagramTransport, data: &[u8], _: SocketAddr) {
///         assert_eq!(data, b"hello");
///         transport.close();
///     }
///     fn connection_lost(&self, _: &DatagramTransport, _: Option<std::io::Error>) {
///         callsoon::get_running_loop().stop();
///     }
/// }
///
/// let event_loop = callsoon::EventLoop::new()?;
/// let (transport, _protocol) = event_loop.run_until_complete(
///     event_loop.create_datagram_endpoint(|| Once).local_addr("127.0.0.1:0"),
/// ).unwrap()?;
/// transport.sendto(b"hello", Some(transport.local_addr()?))?;
/// event_loop.run_forever().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DatagramTransport<K: DatagramKind = Udp> {
    endpoint: Rc<Endpoint<K>>,
}

impl<K: DatagramKind> Clone for DatagramTransport<K> {
    fn clone(&self) -> Self {
        Self {
            endpoint: Rc::clone(&self.endpoint),
        }
    }
}

impl<K: DatagramKind> DatagramTransport<K> {
    /// Sends a datagram, an empty one too: to `address`, or to the peer of a connected endpoint. It never waits; what the
    /// system does not take at once is copied and sent later, and what it refuses goes to `error_received`. After the
    /// endpoint is lost it is dropped.
    ///
    /// # Errors
    /// `InvalidInput` without an address where the endpoint is not connected, and with another than its peer's where it is.
    ///
    /// ```
    /// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # callsoon::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Nothing).local_addr("127.0.0.1:0").await?;
    /// assert!(transport.sendto(b"to whom?", None).is_err());
    /// transport.sendto(b"to myself", Some(transport.local_addr()?))?;
    /// transport.close();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn sendto(&self, data: &[u8], address: Option<K::Address>) -> io::Result<()> {
        let endpoint = &self.endpoint;
        match (&endpoint.peer, &address) {
            (None, None) => return Err(invalid("the endpoint has no peer: an address is wanted")),
            (Some(peer), Some(address)) if !K::is_same(peer, address) => {
                return Err(invalid("the endpoint sends to its peer only"));
            }
            _ => {}
        }
        if endpoint.lost.get() || endpoint.closing.get() {
            endpoint.refuse();
            return Ok(());
        }
        let address = address.filter(|_| endpoint.peer.is_none());
        if endpoint.waiting.borrow().is_empty() {
            match endpoint.send(data, address.as_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.enter("error_received", |protocol| {
                        protocol.error_received(self, error);
                    });
                    return Ok(());
                }
                Ok(_) => return Ok(()),
            }
        }
        let mut waiting = endpoint.waiting.borrow_mut();
        waiting.push_back((data.to_vec(), address));
        drop(waiting);
        let size = endpoint.size.get() + data.len() + OVERHEAD;
        endpoint.size.set(size);
        endpoint.wake();
        if size > HIGH && !endpoint.paused.replace(true) {
            self.enter("pause_writing", |protocol| protocol.pause_writing(self));
        }
        Ok(())
    }

    /// Receives nothing more, sends what waits, and ends with `connection_lost(None)`. Again, it does nothing.
    ///
    /// ```
    /// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Nothing).local_addr("127.0.0.1:0").await?;
    /// transport.close();
    /// assert!(transport.is_closing());
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn close(&self) {
        if !self.endpoint.closing.replace(true) {
            self.endpoint.wake();
        }
    }

    /// Closes without sending what waits.
    ///
    /// ```
    /// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Nothing).local_addr("127.0.0.1:0").await?;
    /// transport.abort();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn abort(&self) {
        let left = self.endpoint.waiting.take();
        drop(left);
        self.endpoint.size.set(0);
        self.close();
        self.endpoint.wake();
    }

    /// Whether the endpoint is closed or is being closed.
    ///
    /// ```
    /// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Nothing).local_addr("127.0.0.1:0").await?;
    /// assert!(!transport.is_closing());
    /// # transport.close();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn is_closing(&self) -> bool {
        self.endpoint.closing.get() || self.endpoint.lost.get()
    }

    /// How much waits to be sent: the bytes, and eight more for each datagram.
    ///
    /// ```
    /// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Nothing).local_addr("127.0.0.1:0").await?;
    /// assert_eq!(transport.write_buffer_size(), 0);
    /// # transport.close();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn write_buffer_size(&self) -> usize {
        self.endpoint.size.get()
    }

    /// The address that the endpoint is bound to.
    ///
    /// # Errors
    /// What the system says; `NotConnected` once the endpoint is lost.
    ///
    /// ```
    /// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Nothing).local_addr("127.0.0.1:0").await?;
    /// assert!(transport.local_addr()?.port() > 0);
    /// # transport.close();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<K::Address> {
        let socket = self.endpoint.socket.borrow().clone();
        socket.ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// The address that the endpoint is connected to, if it is.
    ///
    /// ```
    /// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # callsoon::run(async {
    /// # let event_loop = callsoon::get_running_loop();
    /// let (transport, _) = event_loop.create_datagram_endpoint(|| Nothing).remote_addr("127.0.0.1:9").await?;
    /// assert_eq!(transport.peer_addr(), "127.0.0.1:9".parse().ok().as_ref());
    /// # transport.close();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_addr(&self) -> Option<&K::Address> {
        self.endpoint.peer.as_ref()
    }

    /// Calls the protocol; a panic becomes a report.
    fn enter(&self, call: &str, f: impl FnOnce(&dyn DatagramProtocol<K>)) {
        let endpoint = &self.endpoint;
        let protocol = endpoint.protocol.borrow().clone();
        let Some(protocol) = protocol else { return };
        let state = &endpoint.handle.state;
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| f(&*protocol))) {
            state.report(ExceptionContext {
                message: format!("Exception in a protocol's {call}"),
                panic: Some(Panicked::new(payload)),
                location: Some(endpoint.location),
                ..ExceptionContext::default()
            });
        }
        state.shielded("Exception in the destructor of a protocol", || {
            drop(protocol)
        });
    }

    /// What the endpoint's task does.
    async fn drive(self) {
        // However the task ends, the protocol hears of it.
        let ending = Ending(self);
        let transport = &ending.0;
        let Some(socket) = transport.endpoint.socket.borrow().clone() else {
            return;
        };
        let mut buffer = vec![0; LONGEST + 1];
        while let Some(ready) = transport.endpoint.next(&socket).await {
            match ready {
                Ready::ToReceive => transport.receive(&socket, &mut buffer),
                Ready::ToSend => transport.flush(),
            }
        }
    }

    /// Receives one datagram, so that others have their turn between two.
    fn receive(&self, socket: &DatagramSocket<K>, buffer: &mut [u8]) {
        match socket.try_recv_from(buffer) {
            Ok((count, _)) if count > LONGEST => self.enter("error_received", |protocol| {
                let what = "a datagram of more than 256 KiB was cut, and is dropped";
                protocol.error_received(self, io::Error::new(io::ErrorKind::InvalidData, what));
            }),
            Ok((count, from)) => self.enter("datagram_received", |protocol| {
                protocol.datagram_received(self, &buffer[..count], from);
            }),
            Err(error) if is_passing(&error) => {}
            Err(error) => self.enter("error_received", |protocol| {
                protocol.error_received(self, error);
            }),
        }
    }

    /// Sends what waits, until the system takes no more.
    fn flush(&self) {
        let endpoint = &self.endpoint;
        loop {
            let Some((data, address)) = endpoint.waiting.borrow_mut().pop_front() else {
                break;
            };
            match endpoint.send(&data, address.as_ref()) {
                Err(error) if is_passing(&error) => {
                    endpoint.waiting.borrow_mut().push_front((data, address));
                    break;
                }
                result => {
                    let size = endpoint.size.get();
                    endpoint
                        .size
                        .set(size.saturating_sub(data.len() + OVERHEAD));
                    if let Err(error) = result {
                        self.enter("error_received", |protocol| {
                            protocol.error_received(self, error);
                        });
                    }
                }
            }
        }
        if endpoint.size.get() <= LOW && endpoint.paused.replace(false) {
            self.enter("resume_writing", |protocol| protocol.resume_writing(self));
        }
    }
}

/// Whether trying again later is the answer.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// What an endpoint can do next.
enum Ready {
    ToReceive,
    ToSend,
}

impl<K: DatagramKind> Endpoint<K> {
    fn send(&self, data: &[u8], address: Option<&K::Address>) -> io::Result<usize> {
        let socket = self.socket.borrow().clone();
        let socket = socket.ok_or(io::ErrorKind::NotConnected)?;
        match address {
            Some(address) => socket.try_send_to_address(data, address),
            None => socket.try_send(data),
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.task.take() {
            waker.wake();
        }
    }

    /// Waits for something to do; `None` is the end.
    async fn next(&self, socket: &DatagramSocket<K>) -> Option<Ready> {
        let mut readable = pin!(socket.readable());
        let mut writable = pin!(socket.writable());
        poll_fn(|context| {
            let former = self.task.replace(Some(context.waker().clone()));
            drop(former);
            let waits = !self.waiting.borrow().is_empty();
            if self.closing.get() && !waits {
                return Poll::Ready(None);
            }
            if waits && writable.as_mut().poll(context).is_ready() {
                return Poll::Ready(Some(Ready::ToSend));
            }
            if !self.closing.get() && readable.as_mut().poll(context).is_ready() {
                return Poll::Ready(Some(Ready::ToReceive));
            }
            Poll::Pending
        })
        .await
    }

    /// Counts a datagram that comes too late, and says so from the fifth on.
    fn refuse(&self) {
        let refused = self.refused.get();
        self.refused.set(refused.saturating_add(1));
        if refused >= QUIET_SENDS {
            let location = self.location;
            run_quietly(
                || tracing::warn!(target: "callsoon", %location, "sendto on an endpoint that is closed"),
            );
        }
    }
}

/// Ends the endpoint when its task does, whatever ended that.
struct Ending<K: DatagramKind>(DatagramTransport<K>);

impl<K: DatagramKind> Drop for Ending<K> {
    fn drop(&mut self) {
        let transport = self.0.clone();
        let endpoint = Rc::clone(&transport.endpoint);
        endpoint.lost.set(true);
        let left = (endpoint.task.take(), endpoint.waiting.take());
        drop(left);
        endpoint.size.set(0);
        let over = move || {
            transport.enter("connection_lost", |protocol| {
                protocol.connection_lost(&transport, None);
            });
            let closed = (
                transport.endpoint.protocol.take(),
                transport.endpoint.socket.take(),
            );
            let state = &transport.endpoint.handle.state;
            state.shielded("Exception in the destructor of a protocol", || drop(closed));
        };
        if endpoint.handle.is_closed() {
            // The loop goes, and calls nobody any more.
            let closed = (endpoint.protocol.take(), endpoint.socket.take());
            let state = &endpoint.handle.state;
            state.shielded("Exception in the destructor of a protocol", || drop(closed));
        } else {
            let (handle, location) = (endpoint.handle.clone(), endpoint.location);
            handle.queue_call(over, location);
        }
    }
}

impl<K: DatagramKind> fmt::Debug for DatagramTransport<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("socket", &self.endpoint.socket.borrow().as_deref())
            .field("closing", &self.is_closing())
            .field("waiting", &self.endpoint.size.get())
            .finish()
    }
}

impl LoopHandle {
    /// Makes a UDP endpoint: asyncio's `create_datagram_endpoint`. Await what it gives, after naming a local address, a
    /// remote one, or both; `factory` is called when the socket is there, and `connection_made` before this returns.
    ///
    /// ```
    /// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # callsoon::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let (transport, protocol) = event_loop.create_datagram_endpoint(|| Nothing).local_addr("127.0.0.1:0").await?;
    /// transport.close();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn create_datagram_endpoint<F, P>(&self, factory: F) -> CreateDatagramEndpoint<F>
    where
        F: FnOnce() -> P + 'static,
        P: DatagramProtocol,
    {
        CreateDatagramEndpoint {
            handle: self.clone(),
            factory,
            local: None,
            remote: None,
            reuse_port: false,
            allow_broadcast: false,
            location: Location::caller(),
        }
    }

    /// Makes an endpoint of a socket that exists already, UDP's or a Unix socket's, connected or not.
    ///
    /// ```
    /// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
    /// # use callsoon::net::{Unix, UnixDatagram};
    /// # struct Nothing; impl DatagramProtocol<Unix> for Nothing {}
    /// # callsoon::run(async {
    /// let event_loop = callsoon::get_running_loop();
    /// let (near, far) = UnixDatagram::pair()?;
    /// let (transport, _) = event_loop.create_datagram_endpoint_on(near, || Nothing);
    /// transport.sendto(b"hello", None)?;
    /// assert_eq!(far.recv(&mut [0; 16]).await?, 5);
    /// transport.close();
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[track_caller]
    pub fn create_datagram_endpoint_on<K, P>(
        &self,
        socket: DatagramSocket<K>,
        factory: impl FnOnce() -> P,
    ) -> (DatagramTransport<K>, Rc<P>)
    where
        K: DatagramKind,
        P: DatagramProtocol<K>,
    {
        let location = Location::caller();
        self.open_endpoint(socket, factory, location)
    }

    fn open_endpoint<K, P>(
        &self,
        socket: DatagramSocket<K>,
        factory: impl FnOnce() -> P,
        location: &'static Location<'static>,
    ) -> (DatagramTransport<K>, Rc<P>)
    where
        K: DatagramKind,
        P: DatagramProtocol<K>,
    {
        let protocol = Rc::new(factory());
        let own: Rc<dyn DatagramProtocol<K>> = Rc::clone(&protocol) as _;
        let transport = DatagramTransport {
            endpoint: Rc::new(Endpoint {
                handle: self.clone(),
                peer: socket.peer_addr().ok(),
                socket: RefCell::new(Some(Rc::new(socket))),
                protocol: RefCell::new(Some(own)),
                waiting: RefCell::new(VecDeque::new()),
                size: Cell::new(0),
                paused: Cell::new(false),
                closing: Cell::new(false),
                lost: Cell::new(false),
                refused: Cell::new(0),
                task: Cell::new(None),
                location,
            }),
        };
        transport.enter("connection_made", |protocol| {
            protocol.connection_made(&transport);
        });
        let task = self.task_builder().name("datagram endpoint");
        task.spawn(transport.clone().drive()).detach();
        (transport, protocol)
    }
}

/// How a UDP endpoint is made. See [`LoopHandle::create_datagram_endpoint`].
///
/// ```
/// # use callsoon::transport::{DatagramProtocol, DatagramTransport};
/// # struct Nothing; impl DatagramProtocol for Nothing {}
/// # callsoon::run(async {
/// let event_loop = callsoon::get_running_loop();
/// let endpoint = event_loop.create_datagram_endpoint(|| Nothing).local_addr("127.0.0.1:0");
/// let (transport, _) = endpoint.allow_broadcast(true).await?;
/// transport.close();
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[must_use = "it makes nothing until it is awaited"]
pub struct CreateDatagramEndpoint<F> {
    handle: LoopHandle,
    factory: F,
    local: Option<io::Result<Target>>,
    remote: Option<io::Result<Target>>,
    reuse_port: bool,
    allow_broadcast: bool,
    location: &'static Location<'static>,
}

impl<F> CreateDatagramEndpoint<F> {
    /// Binds to this address; a name is looked up.
    ///
    /// ```
    /// # use callsoon::transport::DatagramProtocol;
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let endpoint = event_loop.create_datagram_endpoint(|| Nothing).local_addr("127.0.0.1:0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn local_addr(mut self, address: impl ToSocketAddrs) -> Self {
        self.local = Some(address.into_target());
        self
    }

    /// Connects to this address: others are neither heard nor sent to. A name is looked up.
    ///
    /// ```
    /// # use callsoon::transport::DatagramProtocol;
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let endpoint = event_loop.create_datagram_endpoint(|| Nothing).remote_addr("127.0.0.1:9");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remote_addr(mut self, address: impl ToSocketAddrs) -> Self {
        self.remote = Some(address.into_target());
        self
    }

    /// `SO_REUSEPORT`: several sockets share the port. Off by default.
    ///
    /// ```
    /// # use callsoon::transport::DatagramProtocol;
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let endpoint = event_loop.create_datagram_endpoint(|| Nothing).reuse_port(true);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// `SO_BROADCAST`: datagrams may go to everybody in the network. Off by default.
    ///
    /// ```
    /// # use callsoon::transport::DatagramProtocol;
    /// # struct Nothing; impl DatagramProtocol for Nothing {}
    /// # let event_loop = callsoon::EventLoop::new()?;
    /// let endpoint = event_loop.create_datagram_endpoint(|| Nothing).allow_broadcast(true);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_broadcast(mut self, allow: bool) -> Self {
        self.allow_broadcast = allow;
        self
    }

    /// A socket for the first pair of addresses of one family that can be bound and connected.
    async fn socket(&mut self) -> io::Result<UdpSocket> {
        let local = addresses(&self.handle, self.local.take()).await?;
        let remote = addresses(&self.handle, self.remote.take()).await?;
        if local.is_empty() && remote.is_empty() {
            return Err(invalid("a local or a remote address is wanted"));
        }
        let mut last = None;
        for (local, remote) in pairs(&local, &remote) {
            match self.bound(local, remote) {
                Ok(socket) => {
                    let socket = mio::net::UdpSocket::from_std(socket.into());
                    return UdpSocket::watch(&self.handle, socket, ());
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| invalid("the two addresses are of different families")))
    }

    fn bound(&self, local: Option<SocketAddr>, remote: Option<SocketAddr>) -> io::Result<Socket> {
        let Some(family) = local.or(remote).map(Domain::for_address) else {
            return Err(invalid("a local or a remote address is wanted"));
        };
        let socket = Socket::new(family, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if self.reuse_port {
            crate::net::listen_options::reuse_port(&socket)?;
        }
        socket.set_broadcast(self.allow_broadcast)?;
        if let Some(local) = local {
            socket.bind(&local.into())?;
        }
        if let Some(remote) = remote {
            socket.connect(&remote.into())?;
        }
        Ok(socket)
    }
}

async fn addresses(
    handle: &LoopHandle,
    target: Option<io::Result<Target>>,
) -> io::Result<Vec<SocketAddr>> {
    match target.transpose()? {
        None => Ok(Vec::new()),
        Some(target) => target.addresses(handle).await,
    }
}

/// What can be tried: every address where there is one kind, and pairs of one family where there are both.
fn pairs(
    local: &[SocketAddr],
    remote: &[SocketAddr],
) -> Vec<(Option<SocketAddr>, Option<SocketAddr>)> {
    if remote.is_empty() {
        return local.iter().map(|&local| (Some(local), None)).collect();
    }
    if local.is_empty() {
        return remote.iter().map(|&remote| (None, Some(remote))).collect();
    }
    let mut pairs = Vec::new();
    for &local in local {
        let fitting = remote.iter().filter(|it| it.is_ipv6() == local.is_ipv6());
        pairs.extend(fitting.map(|&remote| (Some(local), Some(remote))));
    }
    pairs
}

impl<F, P> IntoFuture for CreateDatagramEndpoint<F>
where
    F: FnOnce() -> P + 'static,
    P: DatagramProtocol,
{
    type Output = io::Result<(DatagramTransport, Rc<P>)>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let socket = self.socket().await?;
            let Self {
                handle,
                factory,
                location,
                ..
            } = self;
            Ok(handle.open_endpoint(socket, factory, location))
        })
    }
}

impl<F> fmt::Debug for CreateDatagramEndpoint<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateDatagramEndpoint")
            .field("reuse_port", &self.reuse_port)
            .field("allow_broadcast", &self.allow_broadcast)
            .finish_non_exhaustive()
    }
}
