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
use std::panic::Location;
use std::rc::Rc;

use mio::Interest;
use mio::event::Source;

use crate::kernel::callback::TimerHandle;
use crate::kernel::context::Context;
use crate::kernel::enter::{Callee, Entry, InContext};
use crate::kernel::io::readiness::Observer;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::socket::accept::{ACCEPT_RETRY, AcceptRetry, AfterError, accept_tcp, accept_unix};
use crate::socket::accept_error::FAILURES_IN_A_ROW;
use crate::socket::address::Address;
use crate::socket::stream_socket::StreamSocket;
use crate::sys::epoll::Numbered;

/// How many clients are accepted, or fail, before other sources run: asyncio's usual backlog.
const ACCEPT_AT_ONCE: u32 = FAILURES_IN_A_ROW;

/// A listening socket in non-blocking mode.
pub(crate) trait Listener: Source + Numbered + 'static {
    /// Accepts a client without waiting.
    fn take(&self) -> io::Result<(StreamSocket, Option<Address>)>;
}

impl Listener for mio::net::TcpListener {
    fn take(&self) -> io::Result<(StreamSocket, Option<Address>)> {
        let (socket, address) = accept_tcp(self)?;
        Ok((StreamSocket::Tcp(socket), Some(address.into())))
    }
}

impl Listener for mio::net::UnixListener {
    fn take(&self) -> io::Result<(StreamSocket, Option<Address>)> {
        let (socket, address) = accept_unix(self)?;
        Ok((StreamSocket::Unix(socket), Some(address.into())))
    }
}

/// The server of a listening socket. Its calls may enter user code, whose panics it catches.
pub(crate) trait Host {
    /// Takes a client that was accepted.
    fn take_in(self: Rc<Self>, socket: StreamSocket, peer: Option<Address>);

    /// The loop closes, and no more clients come.
    fn abandon(self: Rc<Self>);
}

/// A listening socket that accepts, of any kind.
pub(crate) trait Accepts {
    /// Stops listening and closes the socket.
    fn stop(&self);
}

/// Makes a socket that listens already call back. Its location is that of the caller who began to serve.
pub(crate) fn accept(
    handle: &LoopHandle,
    socket: socket2::Socket,
    host: Rc<dyn Host>,
    location: &'static Location<'static>,
) -> io::Result<Rc<dyn Accepts>> {
    if socket.local_addr()?.is_unix() {
        let listener = std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket));
        let listener = mio::net::UnixListener::from_std(listener);
        return Ok(Acceptor::start(handle, listener, host, location)?);
    }
    let listener = std::net::TcpListener::from(socket);
    let listener = mio::net::TcpListener::from_std(listener);
    Ok(Acceptor::start(handle, listener, host, location)?)
}

/// One listening socket that accepts.
struct Acceptor<L: Listener> {
    handle: LoopHandle,
    /// `None` once it has stopped.
    io: RefCell<Option<Io<L>>>,
    host: RefCell<Option<Rc<dyn Host>>>,
    /// Ends the pause after an error, while there is one.
    retry: RefCell<Option<TimerHandle>>,
    /// What follows after an error of `accept`.
    failed: AcceptRetry,
    /// The values of context variables for what clients call, as they were where serving began.
    context: Option<Context>,
    location: &'static Location<'static>,
}

impl<L: Listener> Acceptor<L> {
    fn start(
        handle: &LoopHandle,
        socket: L,
        host: Rc<dyn Host>,
        location: &'static Location<'static>,
    ) -> io::Result<Rc<Self>> {
        let readiness = Readiness::new(false, false);
        let io = Io::new(handle, socket, Interest::READABLE, readiness)?;
        let acceptor = Rc::new(Self {
            handle: handle.clone(),
            io: RefCell::new(Some(io)),
            host: RefCell::new(Some(host)),
            retry: RefCell::new(None),
            failed: AcceptRetry::default(),
            context: handle.state.copy_context(),
            location,
        });
        let observer = Rc::clone(&acceptor);
        acceptor
            .with_io(|io| io.observe(observer))
            .unwrap_or(Ok(()))?;
        Ok(acceptor)
    }

    fn with_io<R>(&self, f: impl FnOnce(&Io<L>) -> R) -> Option<R> {
        self.io.borrow().as_ref().map(f)
    }

    /// Accepts the clients that wait, up to a limit.
    fn accept(self: &Rc<Self>) {
        let mut failures = 0;
        for _ in 0..ACCEPT_AT_ONCE {
            let host = self.host.borrow().clone();
            let accepted = self.with_io(|io| io.attempt(Direction::Read, L::take));
            let (Some(host), Some(accepted)) = (host, accepted) else {
                return;
            };
            match accepted {
                Ok((socket, peer)) => {
                    self.failed.accepted();
                    host.take_in(socket, peer);
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
        let timer = self
            .handle
            .queue_timer(deadline, resume, self.location, "accept");
        let former = self.retry.borrow_mut().replace(timer);
        if let Some(former) = former {
            former.cancel();
        }
    }
}

impl<L: Listener> Accepts for Acceptor<L> {
    fn stop(&self) {
        let io = self.io.borrow_mut().take();
        drop(io);
        let host = self.host.borrow_mut().take();
        drop(host);
        let retry = self.retry.borrow_mut().take();
        if let Some(retry) = retry {
            retry.cancel();
        }
    }
}

impl<L: Listener> Observer for Acceptor<L> {
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
        if entry
            .run(InContext::Of(&self.context), || self.accept())
            .is_err()
        {
            self.panicked(io::Error::other("the code that accepts clients panicked"));
        }
    }

    fn panicked(self: Rc<Self>, error: io::Error) {
        // The client was dropped in the unwinding. Others are accepted after a pause.
        self.pause(error);
    }

    fn abandon(self: Rc<Self>) {
        let host = self.host.borrow_mut().take();
        if let Some(host) = host {
            host.abandon();
        }
        self.stop();
    }
}
