//! A running server: its listening sockets, the protocols that it makes, and the connections that it has accepted.
//!
//! It owns its listening sockets and tracks its connections, which live on after it has closed. Tasks that wait for
//! it are woken when it closes, and when its last connection has closed after that.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;
use socket2::Socket;

use crate::kernel::callee::Callee;
use crate::kernel::enter::{Entry, Failed, InContext};
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::kernel::wait::list::WaitList;
use crate::kernel::wait::wait_kind::WaitKind;
use crate::socket::acceptor::{Acceptor, Host};
use crate::socket::address::Address;
use crate::socket::socket_file::SocketFile;
use crate::socket::stream_socket::StreamSocket;
use crate::transport::connection::Tracked;
use crate::transport::protocol::{Protocol, Transport};
use crate::transport::tls::handshake::Timeouts;
use crate::transport::tls::options::TlsOptions;

/// Makes a protocol for each client, or says why it cannot.
pub(crate) type Factory = Rc<dyn Fn() -> Result<Rc<dyn Protocol>, Arc<dyn Error + Send + Sync>>>;

/// What a report says of a factory that has failed.
const FACTORY: &str = "Exception in a protocol factory";

/// One listening socket.
pub(crate) struct Listening {
    pub(crate) address: Option<Address>,
    /// Bound, until serving starts.
    pub(crate) socket: Option<Socket>,
    /// Accepts clients, from then on.
    pub(crate) acceptor: Option<Rc<Acceptor>>,
    /// What is removed after the socket has closed.
    pub(crate) file: Option<SocketFile>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// The sockets are bound and do not listen.
    Bound,
    Serving,
    Closed,
}

/// What a [`Server`](crate::transport::Server) and its acceptors share.
pub(crate) struct Serving {
    pub(crate) handle: LoopHandle,
    /// The sockets are lent to the program: they are closed afterwards, and do not begin to listen.
    pub(crate) lent: Cell<bool>,
    /// `None` once the server is closed.
    pub(crate) factory: RefCell<Option<Factory>>,
    pub(crate) listening: RefCell<Vec<Listening>>,
    pub(crate) backlog: i32,
    pub(crate) keep_alive: bool,
    pub(crate) tls: TlsOptions,
    pub(crate) location: &'static Location<'static>,
    pub(crate) phase: Cell<Phase>,
    /// The connections that have not closed.
    pub(crate) clients: RefCell<Slab<Transport>>,
    /// Tasks that wait for the server to close, or for its last client to close after that. All are woken at either
    /// event.
    pub(crate) waiting: WaitList,
    /// A `serve_forever` runs.
    pub(crate) forever: Cell<bool>,
}

impl Serving {
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

    /// Makes every bound socket listen.
    pub(crate) fn listen(self: Rc<Self>) -> io::Result<()> {
        let mut listening = self.listening.borrow_mut();
        for place in listening.iter_mut() {
            let Some(socket) = place.socket.take() else {
                continue;
            };
            socket.listen(self.backlog)?;
            place.file.as_ref().map_or(Ok(()), SocketFile::check)?;
            let host = Rc::clone(&self) as Rc<dyn Host>;
            place.acceptor = Some(Acceptor::start(&self.handle, socket, host, self.location)?);
        }
        self.phase.set(Phase::Serving);
        Ok(())
    }

    pub(crate) fn stop(&self) {
        if self.phase.replace(Phase::Closed) == Phase::Closed {
            return;
        }
        self.close_sockets();
        let factory = self.factory.take();
        let what = "Exception in the destructor of a protocol factory";
        self.handle.state.catch_panic(what, || drop(factory));
        self.waiting.grant_all_on(&self.handle.state);
    }

    /// Lends the sockets to the program, one after the other. Nothing is borrowed that the program could ask for meanwhile:
    /// a server that is closed inside closes its sockets at the end.
    pub(crate) fn lend_sockets<R>(&self, mut each: impl FnMut(&Socket) -> R) -> Vec<R> {
        if self.lent.replace(true) {
            return Vec::new();
        }
        let returned = Returned { serving: self };
        let listening = self.listening.borrow();
        let lent = listening.iter().filter_map(|place| match &place.socket {
            Some(socket) => Some(each(socket)),
            None => place.acceptor.as_ref()?.lend(&mut each),
        });
        let results = lent.collect();
        drop(listening);
        drop(returned);
        results
    }

    fn close_sockets(&self) {
        if self.lent.get() {
            return;
        }
        for place in self.listening.take() {
            if let Some(acceptor) = place.acceptor {
                acceptor.stop();
            }
            drop(place.file);
        }
    }

    /// Waits until `is_so`, which changes when the server closes, or when its last client leaves after that.
    pub(crate) async fn wait(&self, is_so: impl Fn(&Self) -> bool) {
        let is_so = || is_so(self);
        self.waiting.wait_until(WaitKind::Server, is_so).await;
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
        if let Some((session, timeouts)) = self.tls.session(None)? {
            let transport = Transport::encrypted(io, session, timeouts, peer, self.location)?;
            self.track(&transport);
            self.shake(transport, timeouts, factory);
            return Ok(());
        }
        let mut protocol = None;
        let state = &self.handle.state;
        state.catch_panic(FACTORY, || protocol = Some(factory()));
        let protocol = match protocol {
            Some(Ok(protocol)) => protocol,
            Some(Err(error)) => {
                drop(io);
                self.report_factory(error);
                return Ok(());
            }
            None => return Ok(()),
        };
        let transport = Transport::new(io, protocol, peer, self.location)?;
        self.track(&transport);
        transport.announce();
        transport.begin_reading();
        Ok(())
    }

    /// Reports an error of the factory. The client's connection has been closed.
    #[cold]
    fn report_factory(&self, error: Arc<dyn Error + Send + Sync>) {
        self.handle.state.report(ExceptionContext {
            message: FACTORY.to_owned(),
            exception: Some(error),
            location: Some(self.location),
            ..ExceptionContext::default()
        });
    }

    /// Notes a connection as one of this server's.
    fn track(self: &Rc<Self>, transport: &Transport) {
        let number = self.clients.borrow_mut().insert(transport.clone());
        let by = Rc::clone(self) as Rc<dyn Host>;
        transport
            .connection
            .tracked
            .set(Some(Tracked { by, number }));
    }

    /// Makes a client's protocol after the handshake, in the context in which clients are accepted. A handshake that fails
    /// is reported in debug mode only, since any client can make it fail.
    fn shake(self: &Rc<Self>, transport: Transport, timeouts: Timeouts, factory: Factory) {
        let (serving, client) = (Rc::clone(self), transport.clone());
        let done = move |shaken| {
            let state = &serving.handle.state;
            match shaken {
                Ok(()) => {
                    let entry = Entry {
                        state,
                        callee: Callee::Listener,
                        location: serving.location,
                    };
                    let context = InContext::Of(&client.connection.context);
                    match entry.run(context, || factory()) {
                        Ok(Err(error)) => {
                            client.abort();
                            serving.report_factory(error);
                        }
                        Ok(Ok(protocol)) => {
                            client.set_protocol(protocol);
                            client.announce();
                            client.begin_reading();
                        }
                        Err(Failed) => client.abort(),
                    }
                }
                Err(error) if state.debug.get() => state.report(ExceptionContext {
                    message: "The TLS handshake of a client failed".to_owned(),
                    exception: Some(Arc::new(error)),
                    location: Some(serving.location),
                    ..ExceptionContext::default()
                }),
                Err(_) => {}
            }
            // The server may have closed meanwhile, and this may be the last reference.
            let what = "Exception in the destructor of a protocol factory";
            state.catch_panic(what, || drop(factory));
        };
        transport.begin_handshake(timeouts, Box::new(done));
    }
}

/// Ends a loan of the sockets, also if the program panics: it is declared before the borrow of the list, so it is dropped after
/// that.
struct Returned<'a> {
    serving: &'a Serving,
}

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        self.serving.lent.set(false);
        if self.serving.is_closed() {
            self.serving.close_sockets();
        }
    }
}

impl Host for Serving {
    fn take_in(self: Rc<Self>, socket: StreamSocket, peer: Option<Address>) {
        if let Err(error) = self.connect(socket, peer) {
            self.handle.state.report(ExceptionContext {
                message: "A client that was accepted cannot be watched, and is dropped".to_owned(),
                exception: Some(Arc::new(error)),
                location: Some(self.location),
                ..ExceptionContext::default()
            });
        }
    }

    fn closed(self: Rc<Self>, number: usize) {
        let transport = self.clients.borrow_mut().try_remove(number);
        drop(transport);
        if self.is_over() {
            self.waiting.grant_all_on(&self.handle.state);
        }
    }

    fn abandon(self: Rc<Self>) {
        self.stop();
    }
}
