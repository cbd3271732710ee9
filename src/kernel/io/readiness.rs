//! The cached readiness of one source, and the operations that wait for it.
//!
//! Events are edges, so readiness is cached. An event sets a bit. An operation that meets EAGAIN clears it, and so does
//! a short read, if that proves that the socket is empty. Only some sources promise this (a plain TCP stream), and only
//! until the peer has closed, failed or sent an urgent mark: after those a short read may leave data for which no
//! further edge comes. EAGAIN clears every bit of its direction, also `closed`: a socket that is registered before
//! `connect` reports itself closed at once, and a bit that survived EAGAIN would spin.
//!
//! An async operation is a waiter of its own, which its drop removes. The poll functions of one direction are one waiter
//! together, whose number is kept here: a call that finds it still queued replaces its waker. Nothing tells that such a
//! call is not going to be repeated, so its waker stays until the next event or the end of the source, and no other
//! waiter depends on what its task does.

use std::io;
use std::rc::Rc;
use std::task::Waker;

use mio::event::Event;

use crate::kernel::wait::wait_kind::WaitKind;
use crate::kernel::wait::waiters::{WaiterId, Waiters};

/// The two ways in which a source can be ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// Readable, or there is something to accept.
    Read,
    /// Writable, or connected.
    Write,
}

impl Direction {
    /// Returns what a task that waits for it is said to wait for.
    pub(crate) fn kind(self) -> WaitKind {
        match self {
            Self::Read => WaitKind::Readable,
            Self::Write => WaitKind::Writable,
        }
    }
}

/// One direction of one source.
struct Half {
    /// An operation is worth trying.
    ready: bool,
    /// The peer closed or the socket failed, so a short read proves nothing. Only EAGAIN clears it.
    closed: bool,
}

impl Half {
    fn new(ready: bool) -> Self {
        Self {
            ready,
            closed: false,
        }
    }
}

/// The operations that wait to write.
struct Writers {
    waiters: Waiters<Waker>,
    polled: WaiterId,
}

impl Default for Writers {
    fn default() -> Self {
        Self {
            waiters: Waiters::new(),
            polled: WaiterId::NONE,
        }
    }
}

/// A source's cached readiness, and the operations that wait for it.
pub(crate) struct Readiness {
    readers: Waiters<Waker>,
    /// The waiter of the poll functions among the readers, if it still waits.
    polled: WaiterId,
    /// One word for an idle connection: made for the first operation that waits to write. It stays, since it counts them.
    writers: Option<Box<Writers>>,
    read: Half,
    write: Half,
    /// Whether a short read proves that nothing is left. Switched off for good by an urgent mark.
    short_read_drains: bool,
}

impl Readiness {
    /// Makes the readiness of a new source. With `writable` it is assumed to be writable: its first write is tried at
    /// once and at worst meets EAGAIN. It is not assumed to be readable, since registering reports at once what can be
    /// read.
    pub(crate) fn new(short_read_drains: bool, writable: bool) -> Self {
        Self {
            readers: Waiters::new(),
            polled: WaiterId::NONE,
            writers: None,
            read: Half::new(false),
            write: Half::new(writable),
            short_read_drains,
        }
    }

    /// Assumes that the source is readable before any event: it never blocks, or its event may still come.
    pub(crate) fn assume_readable(&mut self) {
        self.read.ready = true;
    }

    fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Returns whether an operation waits to read.
    #[inline]
    pub(crate) fn has_reader(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Notes an event. Calls `woken` with the wakers to be woken, in order.
    #[inline]
    pub(crate) fn note(&mut self, event: &Event, mut woken: impl FnMut(Waker)) {
        if event.is_priority() {
            self.short_read_drains = false;
        }
        // An error or a hang-up concerns both directions: each must see it from its own system call.
        let failed = event.is_error();
        if event.is_readable() || event.is_read_closed() || event.is_priority() || failed {
            self.read.ready = true;
            self.read.closed |= event.is_read_closed() || failed;
            wake_all(&mut self.readers, &mut woken);
        }
        if event.is_writable() || event.is_write_closed() || failed {
            self.write.ready = true;
            self.write.closed |= event.is_write_closed() || failed;
            if let Some(writers) = &mut self.writers {
                wake_all(&mut writers.waiters, &mut woken);
            }
        }
    }

    pub(crate) fn is_ready(&mut self, direction: Direction) -> bool {
        self.half(direction).ready
    }

    /// Notes that an operation met EAGAIN.
    pub(crate) fn blocked(&mut self, direction: Direction) {
        let half = self.half(direction);
        half.ready = false;
        half.closed = false;
    }

    /// Notes that a read filled a part of its buffer.
    pub(crate) fn short_read(&mut self) {
        if self.short_read_drains && !self.read.closed {
            self.read.ready = false;
        }
    }

    /// Waits for the direction to become ready: see [`Waiters::wait`]. Takes the waker out of `waker`, and leaves the
    /// replaced one there, for the caller to drop with nothing borrowed.
    pub(crate) fn wait(
        &mut self,
        direction: Direction,
        id: &mut Option<WaiterId>,
        waker: &mut Option<Waker>,
    ) {
        let waiters = match direction {
            Direction::Read => &mut self.readers,
            Direction::Write => &mut self.writers.get_or_insert_default().waiters,
        };
        match waker.take() {
            // What nearly every wait is, since a wake removes its waiter.
            Some(newest) if id.is_none() => *id = Some(waiters.join(newest)),
            Some(newest) => *waker = waiters.wait(id, newest),
            None => {}
        }
    }

    /// Waits as the one waiter that the poll functions of this direction have. It replaces the former waker if that
    /// still waits, and keeps its place then. Takes the waker out of `waker`, and leaves the replaced one there, for the
    /// caller to drop with nothing borrowed.
    pub(crate) fn wait_polled(&mut self, direction: Direction, waker: &mut Option<Waker>) {
        let (waiters, polled) = match direction {
            Direction::Read => (&mut self.readers, &mut self.polled),
            Direction::Write => {
                let writers = self.writers.get_or_insert_default();
                (&mut writers.waiters, &mut writers.polled)
            }
        };
        let Some(newest) = waker.take() else { return };
        let mut id = Some(*polled);
        *waker = waiters.wait(&mut id, newest);
        *polled = id.unwrap_or(WaiterId::NONE);
    }

    /// Ends a wait. Returns its waker, for the caller to drop with nothing borrowed.
    pub(crate) fn leave(&mut self, direction: Direction, id: WaiterId) -> Option<Waker> {
        match direction {
            Direction::Read => self.readers.leave(id),
            Direction::Write => self.writers.as_mut()?.waiters.leave(id),
        }
    }

    /// Calls `f` with the waker of each waiter. `f` must not run user code.
    pub(crate) fn each_waiter(&mut self, mut f: impl FnMut(Direction, &Waker)) {
        self.readers
            .iter_mut()
            .for_each(|waker| f(Direction::Read, waker));
        if let Some(writers) = &mut self.writers {
            let writers = writers.waiters.iter_mut();
            writers.for_each(|waker| f(Direction::Write, waker));
        }
    }

    /// Takes all waiters of both directions: the source is being removed.
    pub(crate) fn take_waiters(&mut self, woken: &mut Vec<Waker>) {
        self.readers.take_all(woken);
        if let Some(writers) = &mut self.writers {
            writers.waiters.take_all(woken);
        }
    }
}

#[inline]
fn wake_all(waiters: &mut Waiters<Waker>, woken: &mut impl FnMut(Waker)) {
    while let Some(waker) = waiters.take_first() {
        woken(waker);
    }
}

/// What the turn calls when an observed source becomes ready. An observer may enter user code, and catches its panics
/// itself: it knows what a failure means for its connection, and the turn does not.
pub(crate) trait Observer {
    /// Called when the source's cached readiness may have changed, or
    /// [`Io::queue`](crate::kernel::io::source::Io::queue) has asked for this call. Either direction may be ready, or
    /// none.
    fn ready(self: Rc<Self>);

    /// Called when [`ready`](Self::ready) has panicked, in the crate's own code or in a dependency. The observer ends
    /// its connection with `error`. The panic was reported.
    fn panicked(self: Rc<Self>, error: io::Error);

    /// Called when the loop closes. The source was removed from the reactor, and no call follows. The observer releases
    /// all that it holds, its descriptor first, so that a remaining reference to the observer keeps nothing else alive.
    fn abandon(self: Rc<Self>);
}
