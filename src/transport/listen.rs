//! Listening sockets that call back for every client.
//!
//! When the process or the system is out of descriptors, the poller has told of the waiting client and will not tell
//! again. So accepting pauses and is taken up by timer, not by an event, and that goes for every error that is not about
//! one client alone: a listener that is tried again once a second neither spins nor goes reader_dropped.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use mio::Interest;
use mio::event::Source;

use crate::kernel::callback::TimerHandle;
use crate::kernel::context::Context;
use crate::kernel::enter::{Callee, Entry, InContext};
use crate::kernel::io::readiness::Observer;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::net::accept_error::{AcceptError, FAILURES_IN_A_ROW, what_failed};
#[cfg(unix)]
use crate::net::nonblocking::expect_client;
use crate::sys::epoll::Numbered;
#[cfg(unix)]
use crate::sys::socket;
use crate::transport::address::Address;
use crate::transport::socket::StreamSocket;

/// How long accepting pauses after an error: asyncio's second.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// How many clients are accepted, or fail, before others have their turn: asyncio's usual backlog.
const ACCEPT_AT_ONCE: u32 = FAILURES_IN_A_ROW;

/// A listening socket in non-blocking mode.
pub(crate) trait Listener: Source + Numbered + 'static {
    fn take(&self) -> io::Result<(StreamSocket, Option<Address>)>;
}

impl Listener for mio::net::TcpListener {
    fn take(&self) -> io::Result<(StreamSocket, Option<Address>)> {
        #[cfg(unix)]
        expect_client(std::os::fd::AsFd::as_fd(self))?;
        let (socket, address) = self.accept()?;
        Ok((StreamSocket::Tcp(socket), Some(address.into())))
    }
}

#[cfg(unix)]
impl Listener for mio::net::UnixListener {
    fn take(&self) -> io::Result<(StreamSocket, Option<Address>)> {
        use std::os::fd::AsFd as _;

        expect_client(self.as_fd())?;
        let (socket, address) = socket::accept(self.as_fd())?;
        let socket = mio::net::UnixStream::from_std(socket.into());
        Ok((StreamSocket::Unix(socket), Some(address.into())))
    }
}

/// Who takes clients in. Its calls may enter foreign code, whose panics it catches.
pub(crate) trait Host {
    fn take_in(self: Rc<Self>, socket: StreamSocket, peer: Option<Address>);

    /// The loop closes.
    fn abandon(self: Rc<Self>);
}

/// A listening socket at work, of whatever kind.
pub(crate) trait Accepts {
    /// Stops listening and closes the socket.
    fn stop(&self);
}

/// Has a socket that listens already call back.
pub(crate) fn accept(
    handle: &LoopHandle,
    socket: socket2::Socket,
    host: Rc<dyn Host>,
    location: &'static Location<'static>,
) -> io::Result<Rc<dyn Accepts>> {
    #[cfg(unix)]
    if socket.local_addr()?.is_unix() {
        let listener = std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket));
        let listener = mio::net::UnixListener::from_std(listener);
        return Ok(Acceptor::start(handle, listener, host, location)?);
    }
    let listener = std::net::TcpListener::from(socket);
    let listener = mio::net::TcpListener::from_std(listener);
    Ok(Acceptor::start(handle, listener, host, location)?)
}

/// One listening socket at work.
struct Acceptor<L: Listener> {
    handle: LoopHandle,
    /// `None` once it has stopped.
    io: RefCell<Option<Io<L>>>,
    host: RefCell<Option<Rc<dyn Host>>>,
    /// Ends the pause after an error, while there is one.
    retry: RefCell<Option<TimerHandle>>,
    /// An error was reported, and no client accepted since.
    reported: Cell<bool>,
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
            reported: Cell::new(false),
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

    /// Accepts those who wait, up to a limit.
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
                    self.reported.set(false);
                    host.take_in(socket, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if failures + 1 < FAILURES_IN_A_ROW && is_about_a_client(&error) => {
                    failures += 1;
                }
                Err(error) => return self.pause(error),
            }
        }
        self.with_io(Io::queue);
    }

    /// Reports an error, once until a client is accepted, and sees to it that accepting is taken up again.
    fn pause(self: &Rc<Self>, error: io::Error) {
        if !self.reported.replace(true) {
            let what = what_failed(&error);
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
            // Not called from here: a panic is survived where the turn calls a observer.
            acceptor.with_io(Io::queue);
        };
        let timer = self
            .handle
            .queue_timer(deadline, resume, self.location, "accept");
        *self.retry.borrow_mut() = Some(timer);
    }
}

fn is_about_a_client(error: &io::Error) -> bool {
    AcceptError::of(error) == AcceptError::Client
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
        // What it calls is entered by itself. A panic that gets here is in the crate's own code; it was reported.
        if entry
            .run(InContext::Of(&self.context), || self.accept())
            .is_err()
        {
            self.panicked(io::Error::other("the code that accepts clients panicked"));
        }
    }

    fn panicked(self: Rc<Self>, error: io::Error) {
        // The client is gone with what was on the stack; others are accepted after a pause.
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
