//! What a program does with datagrams, a protocol, and what its callbacks are given, a transport.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use crate::kernel::callback::TimerHandle;
use crate::kernel::callee::Reported;
use crate::kernel::context::Context;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::net::datagram::{DatagramKind, DatagramSocket};
use crate::net::udp::Udp;
use crate::socket::backoff::Backoff;
use crate::transport::buffer::WaterMarks;
use crate::transport::connection::State;

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
    /// Begins: the endpoint is open.
    fn connection_made(&self, transport: &DatagramTransport<K>) {}

    /// Takes a datagram, whole. One of more than 256 KiB, which only a Unix socket can send, is dropped, and
    /// `error_received` is called with `InvalidData`.
    fn datagram_received(&self, transport: &DatagramTransport<K>, data: &[u8], from: K::Address) {}

    /// Takes an error: an earlier datagram could not be sent or received, or was too long. The endpoint stays open.
    ///
    /// Called from within the `sendto` that failed, but never from within itself: an error that its own `sendto`
    /// causes is queued. One that names an address has a [`SendError`](crate::net::SendError) inside. An endpoint with a
    /// peer gets the system's errors as they are.
    fn error_received(&self, transport: &DatagramTransport<K>, error: io::Error) {}

    /// Asks the program to stop sending: more is buffered than the high-water mark.
    fn pause_writing(&self, transport: &DatagramTransport<K>) {}

    /// Asks the program to go on sending: no more is buffered than the low-water mark.
    fn resume_writing(&self, transport: &DatagramTransport<K>) {}

    /// Ends: the endpoint is closed. `error` is `None` after `close` and `abort`, and otherwise a failure inside the
    /// crate.
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

/// A datagram, and its address if that is not the peer's.
pub(crate) type Waiting<A> = (Vec<u8>, Option<A>);

/// An endpoint. The reactor calls it when its socket is ready.
pub(crate) struct Endpoint<K: DatagramKind> {
    pub(crate) handle: LoopHandle,
    /// `None` once closed.
    pub(crate) socket: RefCell<Option<Rc<DatagramSocket<K>>>>,
    pub(crate) protocol: RefCell<Option<Rc<dyn DatagramProtocol<K>>>>,
    /// The address that the socket is connected to.
    pub(crate) peer: Option<K::Address>,
    /// The address that the program named. The system may call it otherwise: 0.0.0.0 is this machine.
    pub(crate) asked: Option<K::Address>,
    /// Datagrams that the system has not taken yet.
    pub(crate) waiting: RefCell<VecDeque<Waiting<K::Address>>>,
    /// The size of `waiting`: its bytes, and [`OVERHEAD`](super::endpoint::OVERHEAD) for each datagram.
    pub(crate) size: Cell<usize>,
    pub(crate) marks: RefCell<WaterMarks>,
    /// Written by `endpoint.rs` alone: `begin_close`, `lose_soon` and `release`.
    pub(crate) state: Cell<State>,
    pub(crate) refused: Cell<u32>,
    /// How long to pause while a receiver's queue is full.
    pub(crate) retry: Cell<Backoff>,
    /// Ends such a pause, while there is one.
    pub(crate) retry_timer: RefCell<Option<TimerHandle>>,
    /// `error_received` runs.
    pub(crate) in_error_received: Cell<bool>,
    /// The context in which the protocol is called.
    pub(crate) context: Option<Context>,
    pub(crate) location: &'static Location<'static>,
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
#[derive(Clone)]
pub struct DatagramTransport<K: DatagramKind = Udp> {
    pub(crate) endpoint: Rc<Endpoint<K>>,
}

impl<K: DatagramKind> Reported for DatagramTransport<K> {
    #[cold]
    fn reported(&self) -> Rc<dyn Any> {
        Rc::new(self.clone())
    }
}

impl ExceptionContext {
    /// Returns the transport of datagrams whose protocol has panicked, if its sockets are of the kind `K`:
    /// [`Udp`] or `Unix`.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// event_loop.set_exception_handler(|_, context| {
    ///     if let Some(transport) = context.datagram_transport::<callsoon::net::Udp>() {
    ///         transport.abort();
    ///     }
    /// });
    /// ```
    pub fn datagram_transport<K: DatagramKind>(&self) -> Option<&DatagramTransport<K>> {
        self.about_transport.as_ref()?.downcast_ref()
    }
}
