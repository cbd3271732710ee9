//! Listening sockets that call back for every client: the `accept` of servers.
//!
//! ```text
//! ready -> accept, up to 100 clients -> WouldBlock: wait for an event
//!    ^                               -> 100 reached: queued again behind other sources
//!    +-- a timer, after one second <- pause
//! ```
//!
//! While accepting pauses no event is awaited: the poller has reported the waiting client already and does not report it
//! again. The timer queues the listener as if it were ready. `socket/accept.rs` has the rules.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd as _;
use std::panic::Location;
use std::rc::Rc;

use socket2::Socket;

use crate::kernel::callback::TimerHandle;
use crate::kernel::callee::Callee;
use crate::kernel::context::Context;
use crate::kernel::enter::{Entry, InContext};
use crate::kernel::io::readiness::{Direction, Observer};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::accept::{
    ACCEPT_RETRY, AcceptRetry, AfterError, Listener, accept, watch_listener,
};
use crate::socket::accept_error::FAILURES_IN_A_ROW;
use crate::socket::address::Address;
use crate::socket::stream_socket::StreamSocket;

/// How many clients are accepted, or fail, before other sources run: asyncio's usual backlog.
const ACCEPT_AT_ONCE: u32 = FAILURES_IN_A_ROW;

/// The server of listening sockets and of their clients. Its calls may enter user code, whose panics it catches.
pub(crate) trait Host {
    /// Takes a client that was accepted.
    fn take_in(self: Rc<Self>, socket: StreamSocket, peer: Option<Address>);

    /// The connection of a client has closed; the number is the one that it was given.
    fn closed(self: Rc<Self>, number: usize);

    /// The loop closes, and no more clients come.
    fn abandon(self: Rc<Self>);
}

/// One listening socket that accepts.
pub(crate) struct Acceptor {
    handle: LoopHandle,
    /// `None` once it has stopped.
    io: RefCell<Option<Io<Listener>>>,
    is_unix: bool,
    host: RefCell<Option<Rc<dyn Host>>>,
    /// Ends the pause after an error, while there is one.
    retry: RefCell<Option<TimerHandle>>,
    /// What follows after an error of `accept`.
    failed: AcceptRetry,
    /// The values of context variables for what clients call, as they were where serving began.
    context: Option<Context>,
    location: &'static Location<'static>,
}

impl Acceptor {
    /// Makes a socket that listens already call back. Its location is that of the caller who began to serve.
    pub(crate) fn start(
        handle: &LoopHandle,
        socket: Socket,
        host: Rc<dyn Host>,
        location: &'static Location<'static>,
    ) -> io::Result<Rc<Self>> {
        let is_unix = socket.local_addr()?.is_unix();
        let io = watch_listener(handle, socket)?;
        let acceptor = Rc::new(Self {
            handle: handle.clone(),
            io: RefCell::new(Some(io)),
            is_unix,
            host: RefCell::new(Some(host)),
            retry: RefCell::new(None),
            failed: AcceptRetry::default(),
            context: handle.state.copy_context(),
            location,
        });
        let observer = Rc::clone(&acceptor);
        let observed = acceptor.with_io(|io| io.observe(observer));
        observed.unwrap_or(Ok(()))?;
        Ok(acceptor)
    }

    fn with_io<R>(&self, f: impl FnOnce(&Io<Listener>) -> R) -> Option<R> {
        self.io.borrow().as_ref().map(f)
    }

    /// Accepts the clients that wait, up to a limit.
    fn accept(self: &Rc<Self>) {
        let mut failures = 0;
        for _ in 0..ACCEPT_AT_ONCE {
            let host = self.host.borrow().clone();
            let take = |listener: &Listener| {
                let (socket, peer) = accept(listener.as_fd())?;
                let socket = StreamSocket::new(socket.into(), self.is_unix);
                Ok((socket, Address::from(peer)))
            };
            let accepted = self.with_io(|io| io.attempt(Direction::Read, take));
            let (Some(host), Some(accepted)) = (host, accepted) else {
                return;
            };
            match accepted {
                Ok((socket, peer)) => {
                    self.failed.accepted();
                    host.take_in(socket, Some(peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match self.failed.after(&error, &mut failures) {
                    AfterError::Next => {}
                    AfterError::Pause | AfterError::Broken => return self.pause(error),
                },
            }
        }
        self.with_io(Io::queue);
    }

    /// Reports an error, once until a client is accepted, and sets the timer that resumes accepting.
    fn pause(self: &Rc<Self>, error: io::Error) {
        self.failed.report(&self.handle, error, Some(self.location));
        // The exception handler may have stopped this listener.
        if self.io.borrow().is_none() {
            return;
        }
        let deadline = self.handle.state.clock.after(ACCEPT_RETRY);
        let acceptor = Rc::clone(self);
        let resume = move || {
            *acceptor.retry.borrow_mut() = None;
            // Queued and not called from here, so that a panic in it reaches `panicked`.
            acceptor.with_io(Io::queue);
        };
        let handle = &self.handle;
        let timer = handle.queue_timer(deadline, resume, self.location, "accept");
        if let Some(former) = self.retry.replace(Some(timer)) {
            former.cancel();
        }
    }

    /// Stops listening and closes the socket.
    pub(crate) fn stop(&self) {
        drop(self.io.take());
        drop(self.host.take());
        if let Some(retry) = self.retry.take() {
            retry.cancel();
        }
    }
}

impl Observer for Acceptor {
    fn ready(self: Rc<Self>) {
        if self.retry.borrow().is_some() {
            return;
        }
        let entry = Entry {
            state: &self.handle.state,
            callee: Callee::Listener,
            location: self.location,
        };
        // User code is entered separately. A panic that gets here is in the crate's own code; it was reported.
        let context = InContext::Of(&self.context);
        if entry.run(context, || self.accept()).is_err() {
            self.panicked(io::Error::other("the code that accepts clients panicked"));
        }
    }

    fn panicked(self: Rc<Self>, error: io::Error) {
        // The client was dropped in the unwinding. Others are accepted after a pause.
        self.pause(error);
    }

    fn abandon(self: Rc<Self>) {
        if let Some(host) = self.host.take() {
            host.abandon();
        }
        self.stop();
    }
}
