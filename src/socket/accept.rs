//! One `accept`, and what follows when it fails: the same for the listeners of `net` and the servers of `transport`. Calls that
//! do not wait, `try_accept` and `sock_accept`, return each error.
//!
//! ```text
//! accept -> a client            it is taken
//!        -> WouldBlock          wait for an event
//!        -> an error of one client, by `accept_error`
//!                               the next client, at once; a pause after 100 failures in a row
//!        -> no descriptors, no memory
//!                               one report, a pause of one second, then again
//!        -> any other error     net: `accept` returns it; transport: as above
//! ```
//!
//! The retry goes by timer, since the poller has reported the waiting client already and does not report it again. The
//! pause is asyncio's `ACCEPT_RETRY_DELAY`. asyncio stops watching the listener for that time; a server
//! here ignores its events.

use std::cell::Cell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use mio::Interest;
use socket2::{SockAddr, Socket};

use crate::kernel::io::readiness::Readiness;
use crate::kernel::io::source::Io;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::report::ExceptionContext;
use crate::socket::accept_error::{FAILURES_IN_A_ROW, is_exhaustion, is_of_client};
use crate::socket::nonblocking::{Watchable, expect_client};
use crate::sys::socket;

/// How long accepting pauses after an error: asyncio's second. A descriptor that becomes free within that time is found
/// by the next try; a listener that cannot accept at all costs one turn a second.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// Accepts a client of a socket, in non-blocking mode.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    expect_client(listener)?;
    socket::accept(listener)
}

/// A listening socket in non-blocking mode.
pub(crate) type Listener = Watchable<Socket>;

/// Registers a socket that listens already.
pub(crate) fn watch_listener(handle: &LoopHandle, socket: Socket) -> io::Result<Io<Listener>> {
    let readiness = Readiness::new(false, false);
    Io::new(handle, Watchable(socket), Interest::READABLE, readiness)
}

/// What a listener does after an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum AfterError {
    /// It accepts the next client at once.
    Next,
    /// It reports the error and pauses for [`ACCEPT_RETRY`].
    Pause,
    /// The listener itself is at fault: `net` gives the error to its caller, `transport` pauses.
    Broken,
}

/// What one listener remembers of its failures.
#[derive(Debug, Default)]
pub(crate) struct AcceptRetry {
    /// An error was reported, and no client was accepted since.
    reported: Cell<bool>,
}

impl AcceptRetry {
    /// Notes that a client was accepted: the next pause is reported again.
    #[inline]
    pub(crate) fn accepted(&self) {
        self.reported.set(false);
    }

    /// Decides what follows an error other than `WouldBlock` and `Interrupted`. `failures` counts the clients that have
    /// failed one after the other.
    pub(crate) fn after(&self, error: &io::Error, failures: &mut u32) -> AfterError {
        if is_exhaustion(error) {
            return AfterError::Pause;
        }
        if !is_of_client(error) {
            return AfterError::Broken;
        }
        *failures = failures.saturating_add(1);
        match *failures < FAILURES_IN_A_ROW {
            true => AfterError::Next,
            false => AfterError::Pause,
        }
    }

    /// Reports why accepting pauses, once until a client is accepted. The exception handler is user code.
    pub(crate) fn report(
        &self,
        handle: &LoopHandle,
        error: io::Error,
        location: Option<&'static Location<'static>>,
    ) {
        if self.reported.replace(true) {
            return;
        }
        let what = match is_exhaustion(&error) {
            true => "Out of system resources in accept",
            false => "Error in accept",
        };
        handle.state.report(ExceptionContext {
            message: format!("{what}; trying again every second"),
            exception: Some(Arc::new(error)),
            location,
            ..ExceptionContext::default()
        });
    }
}
