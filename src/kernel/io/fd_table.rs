//! Users' own descriptors: the callbacks that are called while one is ready, and the operations that wait for one.
//!
//! They are registered level-triggered, because the user's code does the reading and only the system knows how much it
//! has left. Both directions of a descriptor share one registration, named by the descriptor's number: a number is all
//! that a user gives. Numbers can be closed and reused without our notice, so the data of a registration carries a
//! generation, which is new with every change. An event with an older generation comes from a file that only a copy of
//! the descriptor keeps open. No call can remove that registration, so the set is rebuilt without it.
//!
//! Callbacks and wakers are passed in and returned by value: no user code runs or is dropped here.

use std::io;
use std::panic::Location;
use std::task::Waker;

use mio::Token;
use mio::event::Event;

use crate::kernel::context::Context;
use crate::kernel::io::readiness::Direction;
use crate::kernel::wait::waiters::{WaiterId, Waiters};
use crate::sys::epoll::{self, Change, Descriptor, Place};

/// A bit in the index half of a token: it is a descriptor's number, not a slot of the slab, which never has 2³¹
/// entries.
const DESCRIPTOR: u32 = 1 << 31;

/// How many bits of a callback's number fit in an entry of the ready queue.
pub(crate) const NUMBER_BITS: u32 = 24;

/// A callback as the ready queue names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CallbackKey {
    pub(crate) fd: Descriptor,
    pub(crate) direction: Direction,
    /// Distinguishes the callback from those that it replaced.
    pub(crate) number: u32,
}

/// A callback that is called while a direction is ready.
pub(crate) struct Callback {
    /// `None` while it runs.
    pub(crate) call: Option<Box<dyn FnMut()>>,
    /// A copy of the context in which it was registered; it keeps the changes that the callback makes.
    pub(crate) context: Option<Context>,
    pub(crate) location: &'static Location<'static>,
    /// See [`CallbackKey`]; the table chooses it.
    number: u32,
    /// The ready queue holds its key.
    queued: bool,
}

impl Callback {
    pub(crate) fn new(
        call: Box<dyn FnMut()>,
        context: Option<Context>,
        location: &'static Location<'static>,
    ) -> Self {
        Self {
            call: Some(call),
            context,
            location,
            number: 0,
            queued: false,
        }
    }
}

/// One direction of a descriptor.
struct Side {
    callback: Option<Callback>,
    waiters: Waiters<Waker>,
}

impl Side {
    fn is_empty(&self) -> bool {
        self.callback.is_none() && self.waiters.is_empty()
    }
}

/// One descriptor. It exists exactly as long as its registration in the set.
struct FdEntry {
    /// The generation in the data of its registration.
    generation: u32,
    /// The registered events; 0 before the first registration, and after the system has refused a change.
    armed: u32,
    read: Side,
    write: Side,
}

impl FdEntry {
    fn new() -> Self {
        let side = || Side {
            callback: None,
            waiters: Waiters::new(),
        };
        Self {
            generation: 0,
            armed: 0,
            read: side(),
            write: side(),
        }
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Returns its registration, if it has one. The number comes from the system, so the cast is lossless.
    fn place(&self, fd: usize) -> Option<Place> {
        (self.armed != 0).then(|| Place {
            fd: fd as Descriptor,
            events: self.armed,
            data: word(self.generation, fd as Descriptor),
        })
    }

    /// Returns the events for which there is a callback or a waiter.
    fn wanted(&self) -> u32 {
        let mut wanted = 0;
        if !self.read.is_empty() {
            wanted |= epoll::READ;
        }
        if !self.write.is_empty() {
            wanted |= epoll::WRITE;
        }
        wanted
    }
}

/// Returns the data of a descriptor's registration.
fn word(generation: u32, fd: Descriptor) -> u64 {
    u64::from(generation) << 32 | u64::from(fd as u32 | DESCRIPTOR)
}

fn bit(direction: Direction) -> u32 {
    match direction {
        Direction::Read => epoll::READ,
        Direction::Write => epoll::WRITE,
    }
}

/// All descriptors of users that one loop polls.
pub(crate) struct Descriptors {
    /// Indexed by number: descriptors are small numbers, and each event reads this twice.
    entries: Vec<Option<Box<FdEntry>>>,
    /// How many there are.
    count: usize,
    /// The newest generation. Stays below `u32::MAX`, which the reactor's own tokens have.
    generation: u32,
    /// The number of the newest callback.
    number: u32,
    /// Callbacks that are to be queued, in the order of their events.
    fired: Vec<CallbackKey>,
    /// Descriptors with an unwanted event: their waiters were woken and do not wait again.
    unwanted: Vec<Descriptor>,
    /// An event came from a registration that no call can name any more.
    stale: bool,
}

impl Descriptors {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            count: 0,
            generation: 0,
            number: 0,
            fired: Vec::new(),
            unwanted: Vec::new(),
            stale: false,
        }
    }

    /// Returns whether a token is a user's descriptor.
    #[inline]
    pub(crate) fn owns(token: Token) -> bool {
        // The reactor's own tokens are the only ones whose generation is the highest.
        token.0 as u32 & DESCRIPTOR != 0 && token.0 as u64 >> 32 != u64::from(u32::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Sets a callback and returns the one that it replaces.
    ///
    /// # Errors
    /// What the system reports, with the callback; nothing has changed then.
    pub(crate) fn set_callback(
        &mut self,
        set: Set<'_>,
        fd: Descriptor,
        direction: Direction,
        mut callback: Callback,
    ) -> Result<Option<Callback>, (io::Error, Callback)> {
        let present = self.get(fd);
        let wanted = present.map_or(0, FdEntry::wanted) | bit(direction);
        if let Err(error) = self.arm(set, fd, wanted) {
            return Err((error, callback));
        }
        self.number = (self.number + 1) & ((1 << NUMBER_BITS) - 1);
        callback.number = self.number;
        let side = self.entry(fd).side(direction);
        Ok(side.callback.replace(callback))
    }

    /// Removes a callback.
    pub(crate) fn remove_callback(
        &mut self,
        set: Set<'_>,
        fd: Descriptor,
        direction: Direction,
    ) -> Option<Callback> {
        let callback = self.get_mut(fd)?.side(direction).callback.take();
        self.settle(set, fd);
        callback
    }

    /// Waits for a direction: see [`Waiters::wait`]. Takes the waker out of `waker`, and leaves the replaced one there,
    /// for the caller to drop with nothing borrowed.
    pub(crate) fn wait(
        &mut self,
        set: Set<'_>,
        fd: Descriptor,
        direction: Direction,
        id: &mut Option<WaiterId>,
        waker: &mut Option<Waker>,
    ) -> io::Result<()> {
        let present = self.get(fd);
        let armed = present.map_or(0, |entry| entry.armed);
        // The number may have been reused since the other waiters came, so a new operation always registers again. One
        // that was woken and waits again finds its registration unchanged.
        if id.is_none() || armed & bit(direction) == 0 {
            let wanted = present.map_or(0, FdEntry::wanted) | bit(direction);
            self.arm(set, fd, wanted)?;
        }
        let waiters = &mut self.entry(fd).side(direction).waiters;
        if let Some(newest) = waker.take() {
            *waker = waiters.wait(id, newest);
        }
        Ok(())
    }

    /// Ends an operation that has waited, whether or not it still waits.
    pub(crate) fn leave(
        &mut self,
        set: Set<'_>,
        fd: Descriptor,
        direction: Direction,
        id: WaiterId,
    ) -> Option<Waker> {
        let left = self.get_mut(fd)?.side(direction).waiters.leave(id);
        self.settle(set, fd);
        left
    }

    /// Notes an event: takes out the wakers for `wake`, and the callbacks to be queued.
    pub(crate) fn note(&mut self, event: &Event, mut wake: impl FnMut(Waker)) {
        let token = event.token().0 as u64;
        let fd = (token as u32 & !DESCRIPTOR) as Descriptor;
        let entry = self.entries.get_mut(fd as usize);
        let entry = entry.and_then(Option::as_deref_mut);
        let Some(entry) = entry.filter(|it| it.generation == (token >> 32) as u32) else {
            self.stale = true;
            return;
        };
        // An error or a hang-up concerns both directions: each must see it from its own system call.
        let failed = event.is_error();
        let read = event.is_readable() || event.is_read_closed() || failed;
        let write = event.is_writable() || event.is_write_closed() || failed;
        let mut wanted = false;
        for (direction, ready) in [(Direction::Read, read), (Direction::Write, write)] {
            let side = entry.side(direction);
            if !ready || side.is_empty() {
                continue;
            }
            wanted = true;
            while let Some(waker) = side.waiters.take_first() {
                wake(waker);
            }
            if let Some(callback) = side.callback.as_mut().filter(|callback| !callback.queued) {
                callback.queued = true;
                self.fired.push(CallbackKey {
                    fd,
                    direction,
                    number: callback.number,
                });
            }
        }
        if !wanted {
            self.unwanted.push(fd);
        }
    }

    /// Returns whether [`tidy`](Self::tidy) would do nothing.
    #[inline]
    pub(crate) fn is_tidy(&self) -> bool {
        self.unwanted.is_empty() && !self.stale
    }

    /// Stops the reports of unwanted events, after a batch of events.
    pub(crate) fn tidy(&mut self, set: Set<'_>) {
        while let Some(fd) = self.unwanted.pop() {
            self.settle(set, fd);
        }
        if std::mem::take(&mut self.stale) {
            let mut places = Vec::new();
            (set.visit)(&mut |place| places.push(place));
            let entry = self.entries.iter().enumerate();
            places.extend(entry.filter_map(|(fd, entry)| entry.as_ref()?.place(fd)));
            // A failure leaves the set as it is; the next event tries again.
            let _ = epoll::rebuild(set.epoll, places);
        }
    }

    /// Returns whether [`take_fired`](Self::take_fired) would return callbacks.
    pub(crate) fn has_fired(&self) -> bool {
        !self.fired.is_empty()
    }

    /// Takes the callbacks that are to be queued.
    pub(crate) fn take_fired(&mut self) -> impl Iterator<Item = CallbackKey> {
        self.fired.drain(..)
    }

    /// Returns the callback of a key, unless it was removed.
    pub(crate) fn callback(&mut self, key: CallbackKey) -> Option<&mut Callback> {
        let side = self.get_mut(key.fd)?.side(key.direction);
        let callback = side.callback.as_mut();
        callback.filter(|callback| callback.number == key.number)
    }

    /// Takes a queued callback's closure and context out, to be called with nothing borrowed; `None` if the callback
    /// was removed.
    pub(crate) fn start(&mut self, key: CallbackKey) -> Option<Callback> {
        let callback = self.callback(key)?;
        callback.queued = false;
        Some(Callback {
            call: callback.call.take(),
            context: callback.context.take(),
            ..*callback
        })
    }

    /// Puts closure and context back. Returns them if the callback was removed or replaced meanwhile, for the caller to
    /// drop.
    pub(crate) fn finish(&mut self, key: CallbackKey, ran: Callback) -> Option<Callback> {
        let Some(callback) = self.callback(key) else {
            return Some(ran);
        };
        callback.call = ran.call;
        callback.context = ran.context;
        None
    }

    /// Takes all callbacks and waiters out: the loop closes.
    pub(crate) fn drain(&mut self, woken: &mut Vec<Waker>) -> Vec<Callback> {
        let mut callbacks = Vec::new();
        self.count = 0;
        for mut entry in self.entries.drain(..).flatten() {
            for direction in [Direction::Read, Direction::Write] {
                let side = entry.side(direction);
                side.waiters.take_all(woken);
                callbacks.extend(side.callback.take());
            }
        }
        callbacks
    }

    fn entry(&mut self, fd: Descriptor) -> &mut FdEntry {
        let at = fd as usize;
        if self.entries.len() <= at {
            self.entries.resize_with(at + 1, || None);
        }
        self.entries[at].get_or_insert_with(|| {
            self.count += 1;
            Box::new(FdEntry::new())
        })
    }

    fn get(&self, fd: Descriptor) -> Option<&FdEntry> {
        self.entries.get(fd as usize)?.as_deref()
    }

    fn get_mut(&mut self, fd: Descriptor) -> Option<&mut FdEntry> {
        self.entries.get_mut(fd as usize)?.as_deref_mut()
    }

    /// Notes that a source of the loop was registered under this number. So the user's descriptor of this number was
    /// closed without our notice, and its registration went with it. No more events come, and a later removal must not
    /// remove the source's registration.
    pub(crate) fn forget(&mut self, fd: Descriptor) {
        if let Some(entry) = self.get_mut(fd) {
            entry.armed = 0;
            entry.generation = 0;
        }
    }

    /// Updates the registration after a callback or waiter has left.
    fn settle(&mut self, set: Set<'_>, fd: Descriptor) {
        let Some(entry) = self.get(fd) else {
            return;
        };
        let (wanted, armed) = (entry.wanted(), entry.armed);
        if wanted == 0 {
            let place = Place {
                fd,
                events: 0,
                data: 0,
            };
            // A failure means that the file is not in the set any more, or only through a copy that no call can name.
            if armed != 0 {
                let _ = epoll::control(set.epoll, Change::Delete, place);
            }
            if let Some(place) = self.entries.get_mut(fd as usize) {
                self.count -= usize::from(place.take().is_some());
            }
        } else if wanted != armed && self.arm(set, fd, wanted).is_err() {
            // The number was closed: no more events come.
            self.entry(fd).armed = 0;
        }
    }

    /// Registers a descriptor for the events `wanted`.
    ///
    /// # Errors
    /// `InvalidInput` for a negative number, `AlreadyExists` for a socket of this loop, and what the system reports.
    fn arm(&mut self, set: Set<'_>, fd: Descriptor, wanted: u32) -> io::Result<()> {
        if fd < 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a descriptor's number is not negative",
            ));
        }
        let known = self.get(fd).is_some_and(|known| known.armed != 0);
        let generation = if self.generation >= u32::MAX - 1 {
            1
        } else {
            self.generation + 1
        };
        let place = Place {
            fd,
            events: wanted,
            data: word(generation, fd),
        };
        let control = |change| epoll::control(set.epoll, change, place);
        let armed = if known {
            // The number was closed and is now another file, which is not registered yet.
            control(Change::Modify).or_else(|error| match epoll::is_absent(&error) {
                true => control(Change::Add),
                false => Err(error),
            })
        } else {
            control(Change::Add).or_else(|error| match epoll::is_present(&error) {
                true if set.is_a_source(fd) => Err(taken()),
                // Left from before: the file was closed under this number and has the same number again.
                true => control(Change::Modify),
                false => Err(error),
            })
        };
        armed?;
        self.generation = generation;
        let entry = self.entry(fd);
        entry.generation = generation;
        entry.armed = wanted;
        Ok(())
    }
}

/// A function that is called with each of several registrations.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(Place);

/// The poller's set, and its registrations that are not users': the sources of the slab, and the reactor's own.
#[derive(Clone, Copy)]
pub(crate) struct Set<'a> {
    pub(crate) epoll: Descriptor,
    /// Calls its argument with each of those registrations.
    pub(crate) visit: &'a dyn Fn(Visitor<'_>),
}

impl Set<'_> {
    /// Returns whether the descriptor is a socket or another source of this loop. It is slow, and used only in doubt.
    fn is_a_source(&self, fd: Descriptor) -> bool {
        let mut found = false;
        (self.visit)(&mut |place| found |= place.fd == fd);
        found
    }
}

fn taken() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "the descriptor belongs to a socket of this loop, which watches it already",
    )
}
