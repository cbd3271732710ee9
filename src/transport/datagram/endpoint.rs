//! An endpoint at work: it receives and flushes in a task of its own, since a program has few of them.
//!
//! What the task calls stands in the loop's line where the task does. Every callback runs with nothing borrowed.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::error::Panicked;
use crate::kernel::report::ExceptionContext;
use crate::net::datagram::{DatagramKind, DatagramSocket};
use crate::transport::datagram::protocol::{DatagramProtocol, DatagramTransport, Endpoint};

/// asyncio's marks: the protocol is paused above the high one and resumed at the low one.
pub(crate) const HIGH: usize = 64 * 1024;
const LOW: usize = HIGH / 4;

/// What a waiting datagram counts for besides its bytes, so that many empty ones count too. asyncio's figure.
pub(crate) const OVERHEAD: usize = 8;

/// The longest datagram that is received whole: four times what UDP can carry, and more than a Unix socket sends unless its
/// buffer was made larger.
const LONGEST: usize = 256 * 1024;

impl<K: DatagramKind> DatagramTransport<K> {
    /// Calls the protocol; a panic becomes a report.
    pub(crate) fn enter(&self, call: &str, f: impl FnOnce(&dyn DatagramProtocol<K>)) {
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
    pub(crate) async fn drive(self) {
        // However the task ends, the protocol hears of it.
        let ending = Ending(self);
        let transport = &ending.0;
        let Some(socket) = transport.endpoint.socket.borrow().clone() else {
            return;
        };
        let mut buffer = vec![0; LONGEST + 1];
        while let Some(ready) = transport.endpoint.next(&socket).await {
            match ready {
                Ready::ToReceive => {
                    while transport.receive(&socket, &mut buffer)
                        && transport.endpoint.may_receive_on()
                    {}
                }
                Ready::ToSend => transport.flush(),
            }
        }
    }

    /// Receives one datagram, or an error in its place; `false` when nothing is there.
    fn receive(&self, socket: &DatagramSocket<K>, buffer: &mut [u8]) -> bool {
        match socket.try_recv_from(buffer) {
            Ok((count, _)) if count > LONGEST => {
                let what = "a datagram of more than 256 KiB was cut, and is dropped";
                self.tell(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            Ok((count, from)) => self.enter("datagram_received", |protocol| {
                protocol.datagram_received(self, &buffer[..count], from);
            }),
            Err(error) if is_passing(&error) => return false,
            Err(error) => self.tell(error),
        }
        true
    }

    /// Tells the protocol of an error. One that comes of what it does about another is told in the loop's line: who sends
    /// again whenever sending has failed would never come to an end here.
    pub(crate) fn tell(&self, error: io::Error) {
        let endpoint = &self.endpoint;
        if endpoint.telling.replace(true) {
            let transport = self.clone();
            let later = move || transport.tell(error);
            endpoint.handle.queue_call(later, endpoint.location);
            return;
        }
        self.enter("error_received", |protocol| {
            protocol.error_received(self, error);
        });
        endpoint.telling.set(false);
    }

    /// Sends what waits now, until the system takes no more. What is added meanwhile has its turn later.
    fn flush(&self) {
        let endpoint = &self.endpoint;
        let waiting = endpoint.waiting.borrow().len();
        for _ in 0..waiting {
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
                        self.tell(error);
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
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// What an endpoint can do next.
enum Ready {
    ToReceive,
    ToSend,
}

impl<K: DatagramKind> Endpoint<K> {
    pub(crate) fn send(&self, data: &[u8], address: Option<&K::Address>) -> io::Result<usize> {
        let socket = self.socket.borrow().clone();
        let socket = socket.ok_or(io::ErrorKind::NotConnected)?;
        match address {
            Some(address) => socket.try_send_to_address(data, address),
            None => socket.try_send(data),
        }
    }

    /// Whether the next datagram may be received without waiting for it: nothing else is to be done first, and the others'
    /// turn has not come. It has when this task's budget is used up, as with any operation.
    fn may_receive_on(&self) -> bool {
        let budget = &self.handle.state.budget;
        if self.closing.get() || !self.waiting.borrow().is_empty() || budget.get() == 0 {
            return false;
        }
        budget.set(budget.get() - 1);
        true
    }

    pub(crate) fn wake(&self) {
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
