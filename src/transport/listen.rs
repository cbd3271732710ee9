//! Listening sockets that call back for every client.
//!
//! When the process or the system is out of descriptors, the poller has told of the waiting client and will not tell
//! again. So accepting pauses and is taken up by timer, not by an event, and that goes for every error that is not about
//! one client alone: a listener that is tried again once a second neither spins nor goes deaf.

use std::cell::{Cell, RefCell};
use std::io;
#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;

use crate::kernel::callback::TimerHandle;
use crate::kernel::context::Context;
use crate::kernel::io::Io;
use crate::kernel::loop_state::LoopHandle;
use crate::kernel::readiness::{Direction, Readiness};
use crate::kernel::report::ExceptionContext;
use crate::kernel::watch::Watch;
use crate::net::listener::{is_about_the_client, is_exhaustion};
use crate::sys::source::{Act, Pollable};
use crate::transport::address::Address;
use crate::transport::socket::StreamSocket;

/// How long accepting pauses after an error: asyncio's second.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// How many clients are accepted before others have their turn: asyncio's usual backlog.
const ACCEPT_AT_ONCE: u32 = 100;

/// A listening socket in non-blocking mode.
pub(crate) enum ListenSocket {
    Tcp(mio::net::TcpListener),
    #[cfg(unix)]
    Unix(mio::net::UnixListener),
}

impl ListenSocket {
    /// A socket that listens already.
    pub(crate) fn new(socket: socket2::Socket) -> io::Result<Self> {
        #[cfg(unix)]
        if socket.local_addr()?.is_unix() {
            let listener =
                std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket));
            return Ok(Self::Unix(mio::net::UnixListener::from_std(listener)));
        }
        let listener = std::net::TcpListener::from(socket);
        Ok(Self::Tcp(mio::net::TcpListener::from_std(listener)))
    }

    fn accept(&self) -> io::Result<(StreamSocket, Option<Address>)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, address) = listener.accept()?;
                Ok((StreamSocket::Tcp(socket), Some(address.into())))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (socket, _) = listener.accept()?;
                let socket = StreamSocket::Unix(socket);
                let peer = Address::of(socket.peer());
                Ok((socket, peer))
            }
        }
    }
}

#[cfg(unix)]
impl AsRawFd for ListenSocket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        }
    }
}

impl Pollable for ListenSocket {
    fn by_source(&mut self, act: Act<'_>) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => act(listener),
            #[cfg(unix)]
            Self::Unix(listener) => act(listener),
        }
    }
}

/// Who takes clients in. Its calls may enter foreign code, whose panics it catches.
pub(crate) trait Host {
    fn take_in(self: Rc<Self>, socket: StreamSocket, peer: Option<Address>);

    /// The loop closes.
    fn abandon(self: Rc<Self>);
}

/// One listening socket at work.
pub(crate) struct Acceptor {
    handle: LoopHandle,
    /// `None` once it has stopped.
    io: RefCell<Option<Io<ListenSocket>>>,
    host: RefCell<Option<Rc<dyn Host>>>,
    /// Ends the pause after an error, while there is one.
    retry: RefCell<Option<TimerHandle>>,
    /// An error was reported, and no client accepted since.
    reported: Cell<bool>,
    /// The values of context variables for what clients call, as they were where serving began.
    context: Option<Context>,
    location: &'static Location<'static>,
}

impl Acceptor {
    pub(crate) fn start(
        handle: &LoopHandle,
        socket: ListenSocket,
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
            reported: Cell::new(false),
            context: handle.state.peek_context().map(|context| context.copy()),
            location,
        });
        let watcher = Rc::clone(&acceptor);
        acceptor.with_io(|io| io.watch(watcher)).unwrap_or(Ok(()))?;
        Ok(acceptor)
    }

    fn with_io<R>(&self, f: impl FnOnce(&Io<ListenSocket>) -> R) -> Option<R> {
        self.io.borrow().as_ref().map(f)
    }

    /// Stops listening and closes the socket.
    pub(crate) fn stop(&self) {
        let io = self.io.borrow_mut().take();
        drop(io);
        let host = self.host.borrow_mut().take();
        drop(host);
        let retry = self.retry.borrow_mut().take();
        if let Some(retry) = retry {
            retry.cancel();
        }
    }

    /// Accepts those who wait, up to a limit.
    fn accept(self: &Rc<Self>) {
        for _ in 0..ACCEPT_AT_ONCE {
            let host = self.host.borrow().clone();
            let accepted = self.with_io(|io| io.attempt(Direction::Read, ListenSocket::accept));
            let (Some(host), Some(accepted)) = (host, accepted) else {
                return;
            };
            match accepted {
                Ok((socket, peer)) => {
                    self.reported.set(false);
                    host.take_in(socket, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_about_the_client(&error) => {}
                Err(error) => return self.pause(error),
            }
        }
        self.with_io(Io::queue);
    }

    /// Reports an error, once until a client is accepted, and sees to it that accepting is taken up again.
    fn pause(self: &Rc<Self>, error: io::Error) {
        if !self.reported.replace(true) {
            let what = if is_exhaustion(&error) {
                "Out of system resources in accept"
            } else {
                "Error in accept"
            };
            self.handle.state.report(ExceptionContext {
                message: format!("{what}; trying again every second"),
                exception: Some(Rc::new(error)),
                location: Some(self.location),
                ..ExceptionContext::default()
            });
        }
        // What listens to the report may have stopped us.
        if self.io.borrow().is_none() {
            return;
        }
        let deadline = self.handle.state.clock.after(ACCEPT_RETRY);
        let acceptor = Rc::clone(self);
        let resume = move || {
            *acceptor.retry.borrow_mut() = None;
            acceptor.ready();
        };
        let timer = self
            .handle
            .queue_timer(deadline, resume, self.location, "accept");
        *self.retry.borrow_mut() = Some(timer);
    }
}

impl Watch for Acceptor {
    fn ready(self: Rc<Self>) {
        if self.retry.borrow().is_some() {
            return;
        }
        let state = &self.handle.state;
        if !state.careful.get() {
            return self.accept();
        }
        let outer = state.swap_context(self.context.clone());
        self.accept();
        let own = state.swap_context(outer);
        state.shielded("Exception in the destructor of a context", || drop(own));
    }

    fn abandon(self: Rc<Self>) {
        let host = self.host.borrow_mut().take();
        if let Some(host) = host {
            host.abandon();
        }
        self.stop();
    }
}
