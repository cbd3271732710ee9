//! A server at work: its listening sockets, the protocols that it makes, and the connections that live on them.
//!
//! It owns its listening sockets and knows its connections, which live on after it has closed. Who waits for it is woken
//! when it closes, and when the last of its connections is over after that.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::rc::Rc;

use slab::Slab;

use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::kernel::wait::queue::WaitQueue;
use crate::transport::address::Address;
use crate::transport::listen::{Accepts, Host, accept};
use crate::transport::membership::{Members, Membership};
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::socket::StreamSocket;

/// What a server does for each client.
pub(crate) type Factory = Rc<dyn Fn() -> Rc<dyn Protocol>>;

/// What a listening socket leaves behind when it closes; its drop clears that away.
pub(crate) trait Remains {
    /// Whether it is still there, so that clients find the socket.
    fn check(&self) -> io::Result<()>;
}

/// Remains of any kind.
pub(crate) type Cleanup = Box<dyn Remains>;

/// One listening socket.
pub(crate) struct Listening {
    pub(crate) address: Option<Address>,
    /// Bound, until serving starts.
    pub(crate) socket: Option<socket2::Socket>,
    /// At work, from then on.
    pub(crate) acceptor: Option<Rc<dyn Accepts>>,
    pub(crate) cleanup: Option<Cleanup>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
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

/// What a [`Server`](crate::transport::Server) and its acceptors share.
pub(crate) struct Serving {
    handle: LoopHandle,
    /// `None` once closed: the connections have what it made.
    factory: RefCell<Option<Factory>>,
    pub(crate) listening: RefCell<Vec<Listening>>,
    backlog: i32,
    keep_alive: bool,
    location: &'static Location<'static>,
    pub(crate) phase: Cell<Phase>,
    /// The connections that are not over.
    pub(crate) clients: RefCell<Slab<Transport>>,
    /// Who waits for the server to close, or for that and for the last client's end. All are woken at either event.
    waiting: WaitQueue,
    /// Somebody is in `serve_forever`.
    pub(crate) forever: Cell<bool>,
}

impl Serving {
    pub(crate) fn new(plan: Plan) -> Rc<Self> {
        Rc::new(Self {
            handle: plan.handle,
            factory: RefCell::new(Some(plan.factory)),
            listening: RefCell::new(plan.listening),
            backlog: plan.backlog,
            keep_alive: plan.keep_alive,
            location: plan.location,
            phase: Cell::new(Phase::Bound),
            clients: RefCell::new(Slab::new()),
            waiting: WaitQueue::new(),
            forever: Cell::new(false),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.phase.get() == Phase::Closed
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_closed() && self.clients.borrow().is_empty()
    }

    pub(crate) fn clients(&self) -> Vec<Transport> {
        let clients = self.clients.borrow();
        clients.iter().map(|(_, client)| client.clone()).collect()
    }

    /// Has every bound socket listen.
    pub(crate) fn listen(self: Rc<Self>) -> io::Result<()> {
        let mut listening = self.listening.borrow_mut();
        for place in listening.iter_mut() {
            let Some(socket) = place.socket.take() else {
                continue;
            };
            socket.listen(self.backlog)?;
            if let Some(cleanup) = &place.cleanup {
                cleanup.check()?;
            }
            let host = Rc::clone(&self) as Rc<dyn Host>;
            place.acceptor = Some(accept(&self.handle, socket, host, self.location)?);
        }
        self.phase.set(Phase::Serving);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        if self.phase.replace(Phase::Closed) == Phase::Closed {
            return;
        }
        let listening = std::mem::take(&mut *self.listening.borrow_mut());
        for place in listening {
            if let Some(acceptor) = place.acceptor {
                acceptor.stop();
            }
            drop(place.cleanup);
        }
        let factory = self.factory.borrow_mut().take();
        self.handle
            .state
            .catch_panic("Exception in the destructor of a protocol factory", || {
                drop(factory);
            });
        self.waiting.wake_all(&self.handle.state);
    }

    /// Waits until `is_so`, which changes when the server closes, or when its last client leaves after that.
    pub(crate) async fn wait(&self, is_so: impl Fn(&Self) -> bool) {
        self.waiting.wait_until(|| is_so(self)).await;
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
        let io = socket.watched(&self.handle)?;
        let mut protocol = None;
        self.handle
            .state
            .catch_panic("Exception in a protocol factory", || {
                protocol = Some(factory());
            });
        let Some(protocol) = protocol else {
            return Ok(());
        };
        let transport = Transport::new(io, protocol, peer, self.location)?;
        let number = self.clients.borrow_mut().insert(transport.clone());
        let of = Rc::clone(self) as Rc<dyn Members>;
        transport.join(Membership { of, number });
        transport.announce();
        transport.begin_reading();
        Ok(())
    }
}

impl Host for Serving {
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

impl Members for Serving {
    fn left(self: Rc<Self>, number: usize) {
        let transport = self.clients.borrow_mut().try_remove(number);
        drop(transport);
        if self.is_over() {
            self.waiting.wake_all(&self.handle.state);
        }
    }
}
