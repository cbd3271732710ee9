//! From `connection_made` to `connection_lost`: what is done at each end of a connection, and how its protocol is called.
//!
//! `connection.rs` decides which state follows; this file acts on what it says. Every callback of the protocol but those of
//! a read is entered through [`Transport::enter`], with nothing borrowed, since it may call anything here.

use std::fmt::Display;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use socket2::Socket;

use crate::kernel::callee::Callee;
use crate::kernel::enter::{Entry, Failed, InContext};
use crate::kernel::events::connection_begins;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::address::Address;
use crate::transport::any_layer::AnyLayer;
use crate::transport::connection::{Close, Connection};
use crate::transport::layer::Layer as _;
use crate::transport::protocol::{Protocol, Transport};

impl Transport {
    /// Makes a connection of a socket that is connected. The loop keeps it from here on. `connection_made` comes with
    /// [`announce`](Self::announce), reading with [`begin_reading`](Self::begin_reading).
    pub(crate) fn new(
        layer: impl Into<AnyLayer>,
        protocol: Rc<dyn Protocol>,
        peer: Option<Address>,
        location: &'static Location<'static>,
    ) -> io::Result<Self> {
        let layer = layer.into();
        let handle = layer.io().handle();
        let connection = Rc::new(Connection::new(
            handle,
            Some((layer, protocol)),
            peer,
            location,
        ));
        let observer = Rc::clone(&connection);
        let observed = connection.with_io(|io| {
            // Small writes are sent at once. A socket that has no such option never waits either.
            let _ = io.source().send_at_once();
            io.observe(observer)
        });
        observed.unwrap_or(Ok(()))?;
        Ok(Self { connection })
    }

    /// Makes one that is closed from the start and has never had a socket, for a reader that the program itself feeds.
    pub(crate) fn closed(handle: LoopHandle, location: &'static Location<'static>) -> Self {
        let connection = Rc::new(Connection::new(handle, None, None, location));
        Self { connection }
    }

    /// Calls `connection_made`, once.
    pub(crate) fn announce(&self) {
        let connection = &self.connection;
        if connection.handle.state.debug.get() {
            let unnamed: &dyn Display = &"no address";
            let peer = connection.peer.as_ref().map_or(unnamed, |peer| peer);
            connection_begins(peer, connection.location);
        }
        self.enter_or_abort("connection_made", |protocol| protocol.connection_made(self));
    }

    /// Calls the protocol, with nothing borrowed and in the connection's context. A panic is reported.
    pub(crate) fn enter<R>(
        &self,
        method: &'static str,
        f: impl FnOnce(&dyn Protocol) -> R,
    ) -> Result<R, Failed> {
        let connection = &self.connection;
        let protocol = connection.protocol.borrow().clone().ok_or(Failed)?;
        let entry = Entry {
            state: &connection.handle.state,
            callee: Callee::Protocol(method, self),
            location: connection.location,
        };
        let context = InContext::Of(&connection.context);
        entry.run_on(context, protocol, f)
    }

    /// Calls the protocol as [`enter`](Self::enter) does. The connection does not survive a panic.
    pub(crate) fn enter_or_abort<R>(
        &self,
        method: &'static str,
        f: impl FnOnce(&dyn Protocol) -> R,
    ) -> Option<R> {
        match self.enter(method, f) {
            Ok(value) => Some(value),
            Err(Failed) => {
                self.fail_of_panic(method);
                None
            }
        }
    }

    /// Ends the connection since its protocol has panicked, which was reported.
    #[cold]
    pub(crate) fn fail_of_panic(&self, method: &'static str) {
        let what = format!("the protocol's {method} panicked");
        self.fail(io::Error::other(what));
    }

    /// Ends the connection because of an error, which `connection_lost` is given.
    pub(crate) fn fail(&self, error: io::Error) {
        self.force_close(Some(error));
    }

    /// Ends the connection and drops what is buffered.
    pub(crate) fn force_close(&self, error: Option<io::Error>) {
        self.after_close(self.connection.force_close(), error);
    }

    /// Does what a transition asks for. The error is that of the connection's end.
    pub(crate) fn after_close(&self, close: Close, error: Option<io::Error>) {
        match close {
            Close::Lose => self.lose_soon(error),
            Close::Wait => {}
        }
    }

    /// Queues `connection_lost`, since the state has become `Lost`.
    fn lose_soon(&self, error: Option<io::Error>) {
        self.connection.wake_file_sender();
        self.call_soon(|transport| transport.lose(error));
    }

    /// Calls `connection_lost`, then closes the socket and drops everything.
    pub(crate) fn lose(&self, error: Option<io::Error>) {
        // A panic was reported, and changes nothing.
        let _ = self.enter("connection_lost", |protocol| {
            protocol.connection_lost(self, error);
        });
        self.connection.release();
    }

    /// Queues a call for this connection. A loop that is closed has dropped its connections, and a forked child's are its
    /// parent's: then nothing is queued.
    pub(crate) fn call_soon(&self, call: impl FnOnce(&Self) + 'static) {
        let connection = &self.connection;
        if !connection.handle.is_closed() {
            let transport = self.clone();
            connection
                .handle
                .queue_call(move || call(&transport), connection.location);
        }
    }
}

impl<P: ?Sized> Connection<P> {
    /// Keeps this end's name for the time after the socket is closed. Called once.
    pub(crate) fn keep_name(&self) {
        if let Some(name) = self.name() {
            // It was not set before.
            let _ = self.local.set(Box::new(name));
        }
    }

    /// Returns this end's name: from the socket, or as it was when the socket closed.
    pub(crate) fn name(&self) -> Option<Address> {
        if let Some(kept) = self.local.get() {
            return Some((**kept).clone());
        }
        let asked = self.with_io(|io| io.source().with(Socket::local_addr))?;
        Address::of(asked)
    }
}
