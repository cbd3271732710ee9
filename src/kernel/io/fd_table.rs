//! Users' own descriptors: who is called while one is ready, and who waits for one.
//!
//! The places in the poller's set are level-triggered, because the user's code does the reading and only the system knows
//! what it leaves behind. Both directions of a descriptor share one place, named by its number: a number is all that a
//! user gives. Numbers are reused behind our back, so the place's word carries a generation, which is new with every
//! change; a report of an older one is about a file that only a copy keeps open, and the set has to be rebuilt to be rid
//! of it.
//!
//! Callbacks and wakers come in and go out by value: no user code runs or is dropped here.

use std::io;
use std::panic::Location;
use std::task::Waker;

use mio::Token;
use mio::event::Event;

use crate::kernel::context::Context;
use crate::kernel::io::readiness::Direction;
use crate::kernel::wait::waiters::{WaiterId, Waiters};
use crate::sys::epoll::{self, Change, Descriptor, Place};

/// In the index half of a token: this is a descriptor's number, not a slot of the slab, which never has 2³¹ entries.
const DESCRIPTOR: u32 = 1 << 31;

/// How many bits of a callback's number an entry of the ready queue has room for.
pub(crate) const NUMBER_BITS: u32 = 24;

/// A callback as the ready queue names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CallbackKey {
    pub(crate) fd: Descriptor,
    pub(crate) direction: Direction,
    /// Tells the callback from those that it replaced.
    pub(crate) number: u32,
}

/// What is called while a direction is ready.
pub(crate) struct Callback {
    /// `None` while it runs.
    pub(crate) call: Option<Box<dyn FnMut()>>,
    /// The context that was current when it was registered; changes that it makes stay in it.
    pub(crate) context: Option<Context>,
    pub(crate) location: &'static Location<'static>,
    /// See [`CallbackKey`]; given out by the table.
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

/// One descriptor. Its place in the set and this come and go together.
struct FdEntry {
    /// In the word of its place.
    generation: u32,
    /// What the place reports; 0 before the first registration, and where the system has refused a change.
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

    /// Its place in the set, if it has one. The number was given by the system, so it fits.
    fn place(&self, fd: usize) -> Option<Place> {
        (self.armed != 0).then(|| Place {
            fd: fd as Descriptor,
            events: self.armed,
            data: word(self.generation, fd as Descriptor),
        })
    }

    /// What somebody wants to hear of.
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

/// The word of a descriptor's place.
fn word(generation: u32, fd: Descriptor) -> u64 {
    u64::from(generation) << 32 | u64::from(fd as u32 | DESCRIPTOR)
}

fn bit(direction: Direction) -> u32 {
    match direction {
        Direction::Read => epoll::READ,
        Direction::Write => epoll::WRITE,
    }
}

/// All of them.
pub(crate) struct Descriptors {
    /// By number: descriptors are small numbers, and each event looks here twice.
    watched: Vec<Option<Box<FdEntry>>>,
    /// How many there are.
    count: usize,
    /// The newest generation. Stays below `u32::MAX`, which the reactor's own tokens have.
    generation: u32,
    /// The number of the newest callback.
    number: u32,
    /// Callbacks whose keys the ready queue is to get, in the order of their events.
    fired: Vec<CallbackKey>,
    /// Descriptors with an event that nobody wanted: who did has been woken and has not come again.
    unwanted: Vec<Descriptor>,
    /// An event came of a place that no call can name any more.
    stale: bool,
}

impl Descriptors {
    pub(crate) fn new() -> Self {
        Self {
            watched: Vec::new(),
            count: 0,
            generation: 0,
            number: 0,
            fired: Vec::new(),
            unwanted: Vec::new(),
            stale: false,
        }
    }

    /// Whether a token is one of these.
    #[inline]
    pub(crate) fn owns(token: Token) -> bool {
        // The reactor's own tokens are the only ones whose generation is the highest.
        token.0 as u32 & DESCRIPTOR != 0 && token.0 as u64 >> 32 != u64::from(u32::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Puts a callback in place, and gives back the one that it replaces; on failure it comes back itself and all is as
    /// before.
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

    /// Takes a callback away.
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

    /// Waits for a direction, as the waiter `id` where it is in line already. Takes the waker out of `waker`; one that it
    /// replaces is there afterwards.
    pub(crate) fn wait(
        &mut self,
        set: Set<'_>,
        fd: Descriptor,
        direction: Direction,
        id: &mut Option<WaiterId>,
        waker: &mut Option<Waker>,
    ) -> io::Result<()> {
        let present = self.get(fd);
        let armed = present.map_or(0, |watched| watched.armed);
        // The number may have been reused since the others came, so a new operation always tells the system; one that is
        // woken and comes again finds its place as it was.
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

    /// Ends an operation that has waited, whether or not it is still in line.
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

    /// Notes an event.
    pub(crate) fn note(&mut self, event: &Event, mut wake: impl FnMut(Waker)) {
        let token = event.token().0 as u64;
        let fd = (token as u32 & !DESCRIPTOR) as Descriptor;
        let watched = self.watched.get_mut(fd as usize);
        let watched = watched.and_then(Option::as_deref_mut);
        let Some(watched) = watched.filter(|it| it.generation == (token >> 32) as u32) else {
            self.stale = true;
            return;
        };
        // An error or a hang-up concerns both directions: each must see it from its own system call.
        let failed = event.is_error();
        let read = event.is_readable() || event.is_read_closed() || failed;
        let write = event.is_writable() || event.is_write_closed() || failed;
        let mut wanted = false;
        for (direction, ready) in [(Direction::Read, read), (Direction::Write, write)] {
            let side = watched.side(direction);
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

    /// Whether [`tidy`](Self::tidy) would do nothing.
    #[inline]
    pub(crate) fn is_tidy(&self) -> bool {
        self.unwanted.is_empty() && !self.stale
    }

    /// After a batch of events: sees to it that what nobody wants is not reported again.
    pub(crate) fn tidy(&mut self, set: Set<'_>) {
        while let Some(fd) = self.unwanted.pop() {
            self.settle(set, fd);
        }
        if std::mem::take(&mut self.stale) {
            let mut places = Vec::new();
            (set.visit)(&mut |place| places.push(place));
            let watched = self.watched.iter().enumerate();
            places.extend(watched.filter_map(|(fd, watched)| watched.as_ref()?.place(fd)));
            // A failure leaves the set as it is; the next event tries again.
            let _ = epoll::rebuild(set.epoll, places);
        }
    }

    /// Whether callbacks wait for [`take_fired`](Self::take_fired).
    pub(crate) fn has_fired(&self) -> bool {
        !self.fired.is_empty()
    }

    /// The callbacks that the ready queue is to get.
    pub(crate) fn take_fired(&mut self) -> impl Iterator<Item = CallbackKey> {
        self.fired.drain(..)
    }

    fn callback(&mut self, key: CallbackKey) -> Option<&mut Callback> {
        let side = self.get_mut(key.fd)?.side(key.direction);
        let callback = side.callback.as_mut();
        callback.filter(|callback| callback.number == key.number)
    }

    /// Takes a queued callback's closure and context out, to be called with nothing borrowed; `None` where it was removed.
    pub(crate) fn start(&mut self, key: CallbackKey) -> Option<Callback> {
        let callback = self.callback(key)?;
        callback.queued = false;
        Some(Callback {
            call: callback.call.take(),
            context: callback.context.take(),
            ..*callback
        })
    }

    /// Puts them back; what comes back was removed or replaced meanwhile, and is to be dropped.
    pub(crate) fn finish(&mut self, key: CallbackKey, ran: Callback) -> Option<Callback> {
        let Some(callback) = self.callback(key) else {
            return Some(ran);
        };
        callback.call = ran.call;
        callback.context = ran.context;
        None
    }

    /// Takes everything out: the loop closes.
    pub(crate) fn drain(&mut self, woken: &mut Vec<Waker>) -> Vec<Callback> {
        let mut callbacks = Vec::new();
        self.count = 0;
        for mut watched in self.watched.drain(..).flatten() {
            for direction in [Direction::Read, Direction::Write] {
                let side = watched.side(direction);
                side.waiters.take_all(woken);
                callbacks.extend(side.callback.take());
            }
        }
        callbacks
    }

    fn entry(&mut self, fd: Descriptor) -> &mut FdEntry {
        let at = fd as usize;
        if self.watched.len() <= at {
            self.watched.resize_with(at + 1, || None);
        }
        self.watched[at].get_or_insert_with(|| {
            self.count += 1;
            Box::new(FdEntry::new())
        })
    }

    fn get(&self, fd: Descriptor) -> Option<&FdEntry> {
        self.watched.get(fd as usize)?.as_deref()
    }

    fn get_mut(&mut self, fd: Descriptor) -> Option<&mut FdEntry> {
        self.watched.get_mut(fd as usize)?.as_deref_mut()
    }

    /// A source of the loop has got a place under this number. What was watched under it was then closed behind our back,
    /// and its place went with it: nothing more comes, and taking it back must not take the source's.
    pub(crate) fn forget(&mut self, fd: Descriptor) {
        if let Some(watched) = self.get_mut(fd) {
            watched.armed = 0;
            watched.generation = 0;
        }
    }

    /// Brings the place in line with what is wanted, after somebody has left.
    fn settle(&mut self, set: Set<'_>, fd: Descriptor) {
        let Some(watched) = self.get(fd) else {
            return;
        };
        let (wanted, armed) = (watched.wanted(), watched.armed);
        if wanted == 0 {
            let place = Place {
                fd,
                events: 0,
                data: 0,
            };
            // A failure means that the file is not in the set any more, or only by a copy that no call can name.
            if armed != 0 {
                let _ = epoll::control(set.epoll, Change::Delete, place);
            }
            if let Some(place) = self.watched.get_mut(fd as usize) {
                self.count -= usize::from(place.take().is_some());
            }
        } else if wanted != armed && self.arm(set, fd, wanted).is_err() {
            // The number was closed: nothing more will come.
            self.entry(fd).armed = 0;
        }
    }

    /// Has the set report `wanted` of a descriptor.
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
            // Closed and open again as another file, which has no place yet.
            control(Change::Modify).or_else(|error| match epoll::is_absent(&error) {
                true => control(Change::Add),
                false => Err(error),
            })
        } else {
            control(Change::Add).or_else(|error| match epoll::is_present(&error) {
                true if set.is_a_source(fd) => Err(taken()),
                // Left from before: the file was closed under this number and has it again.
                true => control(Change::Modify),
                false => Err(error),
            })
        };
        armed.map_err(epoll::explain)?;
        self.generation = generation;
        let watched = self.entry(fd);
        watched.generation = generation;
        watched.armed = wanted;
        Ok(())
    }
}

/// What is done with each of several places.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(Place);

/// The poller's set, and those of its places that are no user's: sources of the slab, and the reactor's own.
#[derive(Clone, Copy)]
pub(crate) struct Set<'a> {
    pub(crate) epoll: Descriptor,
    /// Calls its argument with the place of each.
    pub(crate) visit: &'a dyn Fn(Visitor<'_>),
}

impl Set<'_> {
    /// Whether the descriptor is a socket or other source of this loop. Asked when a number is in doubt.
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
