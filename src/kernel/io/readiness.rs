//! What the kernel believes about one source: may it be read, may it be written, and who waits to hear of it.
//!
//! Events are edges, so the belief is cached: a bit is set by an event and cleared by the operation that met EAGAIN, or
//! by a read that filled less than its buffer where that proves the socket empty. The proof holds only for a source
//! that promises it (a plain TCP stream), and not once the peer has closed, failed or sent an urgent mark: after those a
//! short read may leave something behind for which no further edge comes. EAGAIN clears every bit of its direction, also
//! the sticky ones: a socket registered before `connect` reports itself closed at once, and a bit that outlived EAGAIN
//! would spin.

use std::io;
use std::rc::Rc;
use std::task::Waker;

use mio::event::Event;

use crate::kernel::wait::waiters::{WaiterId, Waiters};

/// The two ways in which a source can be ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// Readable, or there is something to accept.
    Read,
    /// Writable, or connected.
    Write,
}

/// One direction of one source.
struct Half {
    /// An operation is worth trying.
    ready: bool,
    /// The peer closed or the socket failed: a short read proves nothing. Cleared by EAGAIN only.
    closed: bool,
    /// Who waits for `ready`.
    waiters: Waiters<Waker>,
}

impl Half {
    fn new(ready: bool) -> Self {
        Self {
            ready,
            closed: false,
            waiters: Waiters::new(),
        }
    }

    #[inline]
    fn wake_all(&mut self, woken: &mut impl FnMut(Waker)) {
        while let Some(waker) = self.waiters.take_first() {
            woken(waker);
        }
    }
}

/// A source's cached readiness and waiters.
pub(crate) struct Readiness {
    read: Half,
    write: Half,
    /// Whether a short read proves that nothing is left. Off for good after an urgent mark.
    short_read_drains: bool,
}

impl Readiness {
    /// A fresh source is taken as writable: its first write is tried at once and meets EAGAIN at worst. It is not taken
    /// as readable, since registering reports at once what is there to be read.
    pub(crate) fn new(short_read_drains: bool, writable: bool) -> Self {
        Self {
            read: Half::new(false),
            write: Half::new(writable),
            short_read_drains,
        }
    }

    /// Takes the source for readable although no event has said so: it is one that never blocks, or the event may be still to
    /// come.
    pub(crate) fn assume_readable(&mut self) {
        self.read.ready = true;
    }

    fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Whether anybody waits to read.
    #[inline]
    pub(crate) fn has_reader(&self) -> bool {
        !self.read.waiters.is_empty()
    }

    /// Notes an event; `woken` is given those who must be woken, in order.
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
            self.read.wake_all(&mut woken);
        }
        if event.is_writable() || event.is_write_closed() || failed {
            self.write.ready = true;
            self.write.closed |= event.is_write_closed() || failed;
            self.write.wake_all(&mut woken);
        }
    }

    pub(crate) fn is_ready(&mut self, direction: Direction) -> bool {
        self.half(direction).ready
    }

    /// An operation met EAGAIN.
    pub(crate) fn blocked(&mut self, direction: Direction) {
        let half = self.half(direction);
        half.ready = false;
        half.closed = false;
    }

    /// A read filled less than its buffer, and more than nothing.
    pub(crate) fn short_read(&mut self) {
        if self.short_read_drains && !self.read.closed {
            self.read.ready = false;
        }
    }

    /// Waits for the direction to become ready, as the waiter `id` where it is in line already. Takes the waker out of
    /// `waker`; one that it replaces is there afterwards, to be dropped with no borrow held.
    pub(crate) fn wait(
        &mut self,
        direction: Direction,
        id: &mut Option<WaiterId>,
        waker: &mut Option<Waker>,
    ) {
        let waiters = &mut self.half(direction).waiters;
        if let Some(newest) = waker.take() {
            *waker = waiters.wait(id, newest);
        }
    }

    /// Gives up waiting.
    pub(crate) fn leave(&mut self, direction: Direction, id: WaiterId) -> Option<Waker> {
        self.half(direction).waiters.leave(id)
    }

    /// Takes all waiters of both directions: the source goes away.
    pub(crate) fn take_waiters(&mut self, woken: &mut Vec<Waker>) {
        self.read.waiters.take_all(woken);
        self.write.waiters.take_all(woken);
    }
}

/// What a watched source calls. Both calls may enter user code and catch its panics themselves: a observer knows what a
/// failure means for its connection, the turn does not.
pub(crate) trait Observer {
    /// The source's cached readiness may have changed, or [`Io::queue`](crate::kernel::io::source::Io::queue) asked for this
    /// call. It may be about either direction or about neither.
    fn ready(self: Rc<Self>);

    /// [`ready`](Self::ready) panicked, in the crate's own code or in a dependency: the observer ends its connection because
    /// of `error`. The panic was reported.
    fn panicked(self: Rc<Self>, error: io::Error);

    /// The loop closes. The source is gone from the reactor and no call follows: the observer lets go of everything, its
    /// descriptor first, so that whoever still holds the observer keeps nothing else alive.
    fn abandon(self: Rc<Self>);
}
