//! A running endpoint: what it does when its socket is ready, and how it ends.
//!
//! Every callback runs from the ready queue or from within a call of the program, with nothing borrowed. One event
//! receives a limited number of datagrams: an endpoint that is flooded goes to the end of the ready queue, and others
//! have their turn.
//!
//! ```text
//!        begin_close           everything is sent            release
//!   Open ───────────► Closing ───────────────────► Lost ───────────► Closed
//!     │                  │       lose_soon           ▲
//!     └──────────────────┴─── force_close ───────────┘
//! ```
//!
//! `connection_lost` is queued when `Lost` is entered. A loop that closes releases the endpoint from any state.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use crate::error::LoopClosed;
use crate::kernel::callee::Callee;
use crate::kernel::enter::{Entry, InContext};
use crate::kernel::io::readiness::{Direction, Observer};
use crate::kernel::io::source::Io;
use crate::kernel::local::LoopLocal;
use crate::net::datagram::{DatagramKind, DatagramSocket};
use crate::socket::backoff::Backoff;
use crate::socket::nonblocking::Watchable;
use crate::sys::source::Pollable;
use crate::transport::connection::State;
use crate::transport::datagram::datagram_protocol::{
    DatagramProtocol, DatagramTransport, Endpoint,
};

/// What a waiting datagram counts besides its bytes, so that many empty ones count too. asyncio's figure.
pub(crate) const OVERHEAD: usize = 8;

/// The longest datagram that is received whole: four times what UDP can carry, and more than a Unix socket sends
/// unless its buffer was enlarged.
const LONGEST: usize = 256 * 1024;

/// The most datagrams that are received for one event: enough that the event is a small part of their cost, and few
/// enough that they take well under a millisecond.
const MOST_AT_ONCE: usize = 64;

/// A queue of this capacity is kept when it is empty: a kilobyte.
const MOST_PLACES_KEPT: usize = 16;

/// What all endpoints of a loop receive into. It is taken out while a protocol reads it.
static RECEIVE_BUFFER: LoopLocal<Cell<Vec<u8>>> = LoopLocal::new(|| Cell::new(Vec::new()));

impl<K: DatagramKind> DatagramTransport<K> {
    /// Calls the protocol. A panic is reported.
    pub(crate) fn enter(&self, call: &'static str, f: impl FnOnce(&dyn DatagramProtocol<K>)) {
        let endpoint = &self.endpoint;
        let Some(protocol) = endpoint.protocol.borrow().clone() else {
            return;
        };
        let entry = Entry {
            state: &endpoint.handle.state,
            callee: Callee::Protocol(call, self),
            location: endpoint.location,
        };
        let context = InContext::Of(&endpoint.context);
        // It was reported, and costs the protocol this call only.
        let _ = entry.run_on(context, protocol, f);
    }

    /// Calls `connection_made`. Receiving begins after it.
    pub(crate) fn begin(&self) {
        self.enter("connection_made", |protocol| protocol.connection_made(self));
        let observer = Rc::clone(&self.endpoint);
        if self.endpoint.with_io(|io| io.observe(observer)) == Some(Err(LoopClosed)) {
            return self.endpoint.release();
        }
        self.endpoint.requeue_if_readable();
    }

    /// Receives after an event: up to a limit, until nothing is there.
    fn receive_ready(&self) {
        let endpoint = &self.endpoint;
        let Some(socket) = endpoint.socket.borrow().clone() else {
            return;
        };
        RECEIVE_BUFFER.with(&endpoint.handle, |place| {
            let mut buffer = place.take();
            if buffer.is_empty() {
                buffer = vec![0; LONGEST + 1];
            }
            for _ in 0..MOST_AT_ONCE {
                if endpoint.has_reached(State::Closing) || !self.receive(&socket, &mut buffer) {
                    break;
                }
            }
            place.set(buffer);
        });
        drop(socket);
        endpoint.requeue_if_readable();
    }

    /// Receives one datagram, or an error instead. Returns false when nothing is there.
    fn receive(&self, socket: &DatagramSocket<K>, buffer: &mut [u8]) -> bool {
        match socket.try_recv_from(buffer) {
            Ok((count, _)) if count > LONGEST => {
                let what = "a datagram of more than 256 KiB was cut, and is dropped";
                self.report_error(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            Ok((count, from)) => self.enter("datagram_received", |protocol| {
                protocol.datagram_received(self, &buffer[..count], from);
            }),
            Err(error) if is_passing(&error) => return false,
            Err(error) => self.report_error(error),
        }
        true
    }

    /// Calls `error_received`. An error that this very call causes is queued: a protocol that sends again whenever
    /// sending has failed would never return.
    pub(crate) fn report_error(&self, error: io::Error) {
        let endpoint = &self.endpoint;
        if endpoint.in_error_received.replace(true) {
            let transport = self.clone();
            let later = move || transport.report_error(error);
            endpoint.handle.queue_call(later, endpoint.location);
            return;
        }
        self.enter("error_received", |protocol| {
            protocol.error_received(self, error);
        });
        endpoint.in_error_received.set(false);
    }

    /// Sends what waits now, until the system takes no more. Returns true if it took not all. What is added meanwhile
    /// is sent later.
    fn flush(&self) -> bool {
        let endpoint = &self.endpoint;
        let waiting = endpoint.waiting.borrow().len();
        let mut blocked = false;
        for _ in 0..waiting {
            let Some((data, address)) = endpoint.waiting.borrow_mut().pop_front() else {
                break;
            };
            match endpoint.send(&data, address.as_ref()) {
                Err(error) if is_passing(&error) => {
                    endpoint.waiting.borrow_mut().push_front((data, address));
                    blocked = true;
                    break;
                }
                result => {
                    endpoint.retry.set(Backoff::new());
                    let sent = data.len() + OVERHEAD;
                    endpoint.size.set(endpoint.size.get().saturating_sub(sent));
                    if let Err(error) = result {
                        self.report_error(error);
                    }
                }
            }
        }
        endpoint.forget_burst();
        // An `error_received` may have aborted the endpoint.
        let size = endpoint.size.get();
        if !endpoint.has_reached(State::Lost) && endpoint.marks.borrow_mut().may_resume(size) {
            self.enter("resume_writing", |protocol| protocol.resume_writing(self));
        }
        blocked
    }

    /// Has what waits sent when there is room. If the receiver's queue is full, no event tells of room, so it is
    /// tried again after a pause.
    pub(crate) fn wait_for_room(&self) {
        let endpoint = &self.endpoint;
        if endpoint.retry_timer.borrow().is_some() {
            return;
        }
        let addressed = matches!(endpoint.waiting.borrow().front(), Some((_, Some(_))));
        if K::ROOM_IS_TOLD || !addressed {
            return endpoint.queue_for_writing();
        }
        let mut retry = endpoint.retry.get();
        let deadline = endpoint.handle.state.clock.after(retry.pause());
        endpoint.retry.set(retry);
        let transport = self.clone();
        let again = move || {
            *transport.endpoint.retry_timer.borrow_mut() = None;
            // Not called from here: a panic is survived only where the turn calls an observer.
            transport.endpoint.with_io(Io::queue);
        };
        let handle = &endpoint.handle;
        let timer = handle.queue_timer(deadline, again, endpoint.location, "sendto");
        *endpoint.retry_timer.borrow_mut() = Some(timer);
    }

    /// Sends after an event.
    fn send_ready(&self) {
        let endpoint = &self.endpoint;
        let pauses = endpoint.retry_timer.borrow().is_some();
        if pauses || endpoint.has_reached(State::Lost) || endpoint.waiting.borrow().is_empty() {
            return;
        }
        let blocked = self.flush();
        if endpoint.has_reached(State::Lost) {
            return;
        }
        if blocked {
            return self.wait_for_room();
        }
        if !endpoint.waiting.borrow().is_empty() {
            return endpoint.queue_for_writing();
        }
        endpoint.with_io(|io| io.set_writes(false));
        if endpoint.has_reached(State::Closing) {
            self.lose_soon(None);
        }
    }

    /// Drops what waits to be sent and loses the endpoint: any state → `Lost`.
    pub(crate) fn force_close(&self, error: Option<io::Error>) {
        drop(self.endpoint.waiting.take());
        self.endpoint.size.set(0);
        self.lose_soon(error);
    }

    /// Queues `connection_lost`, once.
    pub(crate) fn lose_soon(&self, error: Option<io::Error>) {
        let endpoint = &self.endpoint;
        if endpoint.has_reached(State::Lost) {
            return;
        }
        endpoint.state.set(State::Lost);
        if endpoint.handle.is_closed() {
            // A loop that closes releases its endpoints by itself.
            return;
        }
        let transport = self.clone();
        let over = move || {
            transport.enter("connection_lost", |protocol| {
                protocol.connection_lost(&transport, error);
            });
            transport.endpoint.release();
        };
        endpoint.handle.queue_call(over, endpoint.location);
    }
}

/// Returns whether the call is to be tried again later.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted)
}

impl<K: DatagramKind> Endpoint<K> {
    /// Returns whether the state is this one or a later one.
    pub(crate) fn has_reached(&self, state: State) -> bool {
        self.state.get() >= state
    }

    pub(crate) fn send(&self, data: &[u8], address: Option<&K::Address>) -> io::Result<usize> {
        let socket = self.socket.borrow().clone();
        let socket = socket.ok_or(io::ErrorKind::NotConnected)?;
        match address {
            Some(address) => socket.try_send_to_address(data, address),
            None => socket.try_send(data),
        }
    }

    /// Borrows the socket's place in the loop, while there is one. `f` must not run user code.
    fn with_io<R>(&self, f: impl FnOnce(&Io<Watchable<K::Std>>) -> R) -> Option<R> {
        self.socket.borrow().as_ref().map(|socket| f(&socket.io))
    }

    /// Puts the endpoint at the end of the ready queue if there may be more to receive.
    fn requeue_if_readable(&self) {
        if !self.has_reached(State::Closing) {
            self.with_io(|io| queue_if_ready(io, Direction::Read));
        }
    }

    /// Has the endpoint called when the system takes more.
    pub(crate) fn queue_for_writing(&self) {
        self.with_io(|io| {
            io.set_writes(true);
            queue_if_ready(io, Direction::Write);
        });
    }

    /// Frees the memory of a queue that a burst has made long.
    fn forget_burst(&self) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() && waiting.capacity() > MOST_PLACES_KEPT {
            *waiting = VecDeque::new();
        }
    }

    /// Deregisters and closes the socket, then drops the protocol with nothing borrowed.
    fn release(&self) {
        self.state.set(State::Closed);
        self.size.set(0);
        if let Some(timer) = self.retry_timer.take() {
            timer.cancel();
        }
        drop((self.socket.take(), self.waiting.take()));
        let protocol = self.protocol.take();
        let what = "Exception in the destructor of a protocol";
        self.handle.state.catch_panic(what, || drop(protocol));
    }
}

fn queue_if_ready<S: Pollable>(io: &Io<S>, direction: Direction) {
    if io.readiness(|readiness| readiness.is_ready(direction)) == Ok(true) {
        io.queue();
    }
}

impl<K: DatagramKind> Observer for Endpoint<K> {
    fn ready(self: Rc<Self>) {
        let transport = DatagramTransport { endpoint: self };
        transport.receive_ready();
        transport.send_ready();
    }

    fn panicked(self: Rc<Self>, error: io::Error) {
        DatagramTransport { endpoint: self }.force_close(Some(error));
    }

    fn abandon(self: Rc<Self>) {
        if !self.has_reached(State::Closing) {
            let state = &self.handle.state;
            state.warn_unclosed("a datagram transport", self.location);
        }
        self.release();
    }
}
