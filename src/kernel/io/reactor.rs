//! mio behind a slab of sources.
//!
//! A source's token carries slot and generation, so an event of an earlier source in the slot, or of a reused
//! descriptor, is ignored. A wait ends by an event, by the notifier of the inbox, or by the timer descriptor. That one
//! is armed lazily: only if the new deadline comes before the armed one, or the armed one has passed. A stale expiry
//! costs one idle turn. In exchange a timer that is armed and cancelled costs no system call.
//!
//! The reactor wakes no waker itself. `wait` fills a list of wakers and observed sources. Its caller ends the borrow,
//! wakes the wakers and queues the sources, in the order of the events.

use std::collections::TryReserveError;
use std::hint::black_box;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::kernel::clock::NEVER;
use crate::kernel::inbox;
use crate::kernel::io::fd_table::{Callback, Descriptors, Set, Visitor};
use crate::kernel::io::readiness::Observer;
use crate::kernel::io::readiness::{Direction, Readiness};
use crate::kernel::io::source_key::{NUMBERED, QUEUED_GENERATION_BITS, SourceKey};
use crate::kernel::wait::waiters::WaiterId;
use crate::sys::epoll::{self, Descriptor, Numbered, Place};
use crate::sys::fault::may_fail;
use crate::sys::notifier::Notifier;
use crate::sys::source::Pollable;
use crate::sys::timerfd;

/// The token of the inbox's notifier. No source ever gets it: the slab cannot hold 2³² − 1 of them.
const INBOX: Token = Token(usize::MAX);

/// The token of the timer descriptor, likewise.
const ALARM: Token = Token(usize::MAX - 1);

/// How many events one system call may report: as many as fit in a few pages, so that a thousand busy connections are
/// served by one call.
const EVENTS: usize = 1024;

/// What an event makes ready.
pub(crate) enum Woken {
    /// The waker of a waiting operation.
    Waker(Waker),
    /// The source whose observer is to be queued.
    Observed(SourceKey),
}

struct Entry {
    /// Distinguishes this source from earlier ones in the slot.
    generation: u32,
    /// The descriptor under which the source is registered, and the interest: what is needed if the set has to be
    /// rebuilt.
    number: Option<Descriptor>,
    interest: Interest,
    readiness: Readiness,
    /// Called when the source becomes ready.
    observer: Option<Rc<dyn Observer>>,
    /// The ready queue holds the source's key, or will in this turn. Never set without an observer.
    queued: bool,
    /// The observer has something to write, so it is called for every event. Otherwise it is not called for an event
    /// that wakes a waiting reader.
    writes: bool,
}

/// Room for so many sources or fewer is never freed.
const KEPT: usize = 1024;

/// With fewer sources than this, freeing room costs nothing if it fails.
const FEW: usize = 16;

/// The sources, the timer descriptor and the system's poller.
pub(crate) struct Reactor {
    sources: Slab<Entry>,
    /// For how many sources the builder has asked for room, which is kept.
    room: usize,
    /// How many sources were registered so far, and how many there were at once at most.
    registered: u64,
    most: usize,
    /// How many sources have left since there is four times the room that is needed, or since room was freed last.
    left: usize,
    /// Users' own descriptors.
    pub(crate) descriptors: Descriptors,
    /// The generation of the newest source. Stays below `u32::MAX`, which the two fixed tokens have.
    generation: u32,
    /// The deadline for which the timer descriptor is armed; [`NEVER`] if it is not.
    armed: u64,
    /// A signal has ended a wait. Who asks resets it.
    pub(crate) interrupted: bool,
    events: Events,
    /// Notified by other threads while the loop sleeps. Shared with the inbox.
    notifier: Arc<LoopNotifier>,
    /// `None` where the system has no timer descriptors.
    alarm: Option<timerfd::Alarm>,
    poll: Poll,
    /// The set around the poller's, for a loop that drives this one; made when it is asked for.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    outer: Option<std::os::fd::OwnedFd>,
}

/// The loop's notifier, as the inbox uses it.
pub(crate) struct LoopNotifier(Notifier);

impl inbox::Notify for LoopNotifier {
    fn notify(&self) -> io::Result<()> {
        self.0.notify()
    }
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let notifier = Arc::new(LoopNotifier(Notifier::new(poll.registry(), INBOX)?));
        let alarm = timerfd::Alarm::new(poll.registry(), ALARM)?;
        Ok(Self {
            sources: Slab::new(),
            room: 0,
            registered: 0,
            most: 0,
            left: 0,
            descriptors: Descriptors::new(),
            generation: 0,
            armed: NEVER,
            interrupted: false,
            events: Events::with_capacity(EVENTS),
            notifier,
            alarm,
            poll,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            outer: None,
        })
    }

    /// Makes room for so many sources. A slab cannot report that there is not enough memory. So a vector of the same
    /// size allocates it first, which can, and frees it for the slab.
    pub(crate) fn make_room(&mut self, sources: usize) -> Result<(), TryReserveError> {
        let mut probe = Vec::<(usize, Entry)>::new();
        probe.try_reserve_exact(sources)?;
        // Without this the compiler may leave the allocation out.
        drop(black_box(probe));
        self.sources.reserve_exact(sources);
        self.room = self.room.max(sources);
        Ok(())
    }

    /// Returns how many sources were registered so far, and how many there were at once at most.
    pub(crate) fn counts(&self) -> (u64, usize) {
        (self.registered, self.most)
    }

    pub(crate) fn notifier(&self) -> Arc<LoopNotifier> {
        Arc::clone(&self.notifier)
    }

    /// Registers a source for an interest and adds its entry.
    ///
    /// # Errors
    /// What the system reports, as for a descriptor that cannot be polled.
    pub(crate) fn register(
        &mut self,
        source: &mut (impl Pollable + Numbered),
        interest: Interest,
        readiness: Readiness,
    ) -> io::Result<SourceKey> {
        self.generation = if self.generation >= u32::MAX - 1 {
            1
        } else {
            self.generation + 1
        };
        let entry = self.sources.vacant_entry();
        let key = SourceKey {
            index: entry.key() as u32,
            generation: self.generation,
        };
        let registry = self.poll.registry();
        source.by_source(&mut |source| {
            may_fail!(EpollCtl, -1);
            registry.register(source, key.token(), interest)
        })?;
        let number = source.number();
        if let Some(number) = number {
            self.descriptors.forget(number);
        }
        entry.insert(Entry {
            generation: key.generation,
            number,
            interest,
            readiness,
            observer: None,
            queued: false,
            writes: false,
        });
        self.registered += 1;
        self.most = self.most.max(self.sources.len());
        Ok(key)
    }

    /// Deregisters a source and frees its entry. Moves its waiters to `woken`, and returns its observer, for the caller
    /// to wake and to drop with nothing borrowed.
    pub(crate) fn deregister(
        &mut self,
        source: &mut impl Pollable,
        key: SourceKey,
        woken: &mut Vec<Waker>,
    ) -> Option<Rc<dyn Observer>> {
        // A failure means that the descriptor is not in the set any more, which is the goal.
        let registry = self.poll.registry();
        let _ = source.by_source(&mut |source| registry.deregister(source));
        self.entry(key)?;
        let mut entry = self.sources.remove(key.index as usize);
        entry.readiness.take_waiters(woken);
        if self.sources.capacity() > self.room.max(KEPT)
            && self.sources.len() < self.sources.capacity() / 4
        {
            self.trim();
        }
        entry.observer
    }

    /// Frees the room of a burst of sources that is over. A source in a late slot keeps all room before it, and freeing
    /// costs as much as there is room, so it is tried once for many sources that leave, and whenever few are left.
    #[cold]
    fn trim(&mut self) {
        self.left += 1;
        if self.left > self.sources.capacity() / 8 || self.sources.len() < FEW {
            self.left = 0;
            self.sources.shrink_to_fit();
            let more = self.room.saturating_sub(self.sources.len());
            self.sources.reserve_exact(more);
        }
    }

    #[inline]
    fn entry(&mut self, key: SourceKey) -> Option<&mut Entry> {
        let entry = self.sources.get_mut(key.index as usize)?;
        (entry.generation == key.generation).then_some(entry)
    }

    /// Sets the observer, which is called when the source becomes ready. A source has one observer for its life.
    pub(crate) fn observe(&mut self, key: SourceKey, observer: Rc<dyn Observer>) {
        if let Some(entry) = self.entry(key) {
            entry.observer = Some(observer);
        }
    }

    /// Returns whether the ready queue holds the source's key.
    pub(crate) fn is_queued(&mut self, key: SourceKey) -> bool {
        self.entry(key).is_some_and(|entry| entry.queued)
    }

    /// Marks an observed source as queued. Returns whether the caller has to push its key to the ready queue.
    pub(crate) fn enqueue(&mut self, key: SourceKey) -> bool {
        self.entry(key).is_some_and(|entry| {
            entry.observer.is_some() && !std::mem::replace(&mut entry.queued, true)
        })
    }

    /// Returns the observer of a key that was popped from the ready queue, which has only the low bits of the
    /// generation.
    #[inline]
    pub(crate) fn dequeue(&mut self, key: SourceKey) -> Option<Rc<dyn Observer>> {
        let entry = self.sources.get_mut(key.index as usize)?;
        let differs = (entry.generation ^ key.generation) << (32 - QUEUED_GENERATION_BITS);
        if differs != 0 {
            return None;
        }
        entry.queued = false;
        entry.observer.clone()
    }

    /// Notes whether the observer has something to write.
    pub(crate) fn set_writes(&mut self, key: SourceKey, writes: bool) {
        if let Some(entry) = self.entry(key) {
            entry.writes = writes;
        }
    }

    /// Returns the readiness of a source, if it is registered.
    pub(crate) fn readiness(&mut self, key: SourceKey) -> Option<&mut Readiness> {
        self.entry(key).map(|entry| &mut entry.readiness)
    }

    /// Returns how many sources are registered.
    pub(crate) fn len(&self) -> usize {
        self.sources.len() + self.descriptors.len()
    }

    /// Polls for events without waiting.
    pub(crate) fn poll_now(&mut self, woken: &mut Vec<Woken>) -> io::Result<()> {
        self.poll(Some(Duration::ZERO), woken)
    }

    /// Waits for an event, the notifier, or `deadline`. `now` is the time on the same scale.
    pub(crate) fn wait(
        &mut self,
        deadline: u64,
        now: u64,
        woken: &mut Vec<Woken>,
    ) -> io::Result<()> {
        self.arm(deadline, now)?;
        let timeout = match self.alarm {
            Some(_) => None,
            None if deadline == NEVER => None,
            None => Some(whole_milliseconds(deadline.saturating_sub(now))),
        };
        self.poll(timeout, woken)
    }

    /// Arms the timer descriptor, if there is one, so that the poller becomes readable at `deadline`.
    pub(crate) fn arm(&mut self, deadline: u64, now: u64) -> io::Result<()> {
        let Some(alarm) = &self.alarm else {
            return Ok(());
        };
        if deadline != NEVER && (deadline < self.armed || self.armed <= now) {
            alarm.arm(deadline)?;
            self.armed = deadline;
        }
        Ok(())
    }

    fn poll(&mut self, timeout: Option<Duration>, woken: &mut Vec<Woken>) -> io::Result<()> {
        #[cfg(callsoon_faults)]
        self.with_descriptors(|_, set| epoll::repeat_edges(set.epoll, set.visit));
        let mut poll = || {
            may_fail!(EpollWait, -1);
            self.poll.poll(&mut self.events, timeout)
        };
        match poll() {
            Ok(()) => {}
            // A signal arrived: the next turn computes its wait anew.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.interrupted = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for event in &self.events {
            let token = event.token();
            if token == INBOX || token == ALARM {
                continue;
            }
            if Descriptors::owns(token) {
                self.descriptors
                    .note(event, |waker| woken.push(Woken::Waker(waker)));
                continue;
            }
            let key = SourceKey::from_token(token);
            let entry = self.sources.get_mut(key.index as usize);
            if let Some(entry) = entry.filter(|entry| entry.generation == key.generation) {
                let for_reader_only = entry.readiness.has_reader() && !entry.writes;
                entry
                    .readiness
                    .note(event, |waker| woken.push(Woken::Waker(waker)));
                if entry.observer.is_some() && !entry.queued && !for_reader_only {
                    entry.queued = true;
                    woken.push(Woken::Observed(key));
                }
            }
        }
        if !self.descriptors.is_tidy() {
            self.with_descriptors(|descriptors, set| descriptors.tidy(set));
            #[cfg(any(target_os = "linux", target_os = "android"))]
            if let Some(outer) = &self.outer {
                epoll::surround(outer, poll_number(&self.poll))?;
            }
        }
        Ok(())
    }

    /// Borrows the users' descriptors, and the set in which they are registered.
    fn with_descriptors<R>(&mut self, f: impl FnOnce(&mut Descriptors, Set<'_>) -> R) -> R {
        let (sources, notifier, alarm) = (&self.sources, &self.notifier, &self.alarm);
        let visit = |each: Visitor<'_>| {
            let mut place = |number: Option<Descriptor>, interest, token: Token| {
                if let Some(fd) = number {
                    let events = epoll::edges(interest);
                    let data = token.0 as u64;
                    each(Place { fd, events, data });
                }
            };
            place(notifier.0.number(), Interest::READABLE, INBOX);
            let alarm = alarm.as_ref().and_then(timerfd::Alarm::number);
            place(alarm, Interest::READABLE, ALARM);
            for (index, entry) in sources {
                let key = SourceKey {
                    index: index as u32,
                    generation: entry.generation,
                };
                place(entry.number, entry.interest, key.token());
            }
        };
        let set = Set {
            epoll: poll_number(&self.poll),
            visit: &visit,
        };
        f(&mut self.descriptors, set)
    }

    /// See [`Descriptors::set_callback`].
    pub(crate) fn set_callback(
        &mut self,
        fd: Descriptor,
        direction: Direction,
        callback: Callback,
    ) -> Result<Option<Callback>, (io::Error, Callback)> {
        self.with_descriptors(|them, set| them.set_callback(set, fd, direction, callback))
    }

    /// See [`Descriptors::remove_callback`].
    pub(crate) fn remove_callback(
        &mut self,
        fd: Descriptor,
        direction: Direction,
    ) -> Option<Callback> {
        self.with_descriptors(|them, set| them.remove_callback(set, fd, direction))
    }

    /// See [`Descriptors::wait`].
    pub(crate) fn wait_for_fd(
        &mut self,
        fd: Descriptor,
        direction: Direction,
        id: &mut Option<WaiterId>,
        waker: &mut Option<Waker>,
    ) -> io::Result<()> {
        self.with_descriptors(|them, set| them.wait(set, fd, direction, id, waker))
    }

    /// See [`Descriptors::leave`].
    pub(crate) fn leave_fd(
        &mut self,
        fd: Descriptor,
        direction: Direction,
        id: WaiterId,
    ) -> Option<Waker> {
        self.with_descriptors(|them, set| them.leave(set, fd, direction, id))
    }

    /// Removes all sources. Moves their waiters and observers out, for the caller to wake and to call with nothing
    /// borrowed.
    pub(crate) fn clear(&mut self, woken: &mut Vec<Waker>, observers: &mut Vec<Rc<dyn Observer>>) {
        for mut entry in self.sources.drain() {
            entry.readiness.take_waiters(woken);
            observers.extend(entry.observer);
        }
    }

    /// Leaks the observers, in a forked child: they are copies of what the parent still uses, and their destructors
    /// must not run.
    pub(crate) fn forget_observers(&mut self) {
        for entry in self.sources.drain() {
            std::mem::forget(entry.observer);
        }
        std::mem::forget(self.descriptors.drain(&mut Vec::new()));
    }

    /// Returns the readiness of each source, with the source's [number](SourceKey::number).
    pub(super) fn each_readiness(&mut self) -> impl Iterator<Item = (u64, &mut Readiness)> {
        let sources = self.sources.iter_mut();
        sources.map(|(index, entry)| (index as u64 | NUMBERED, &mut entry.readiness))
    }

    pub(super) fn descriptor_of(&self, number: u64) -> Option<Descriptor> {
        self.sources.get((number & !NUMBERED) as usize)?.number
    }

    /// Returns the descriptor that is readable when a turn has something to do. It is the same file for as long as the loop
    /// lives; only where no descriptor is left for it, it is the poller's own.
    pub(crate) fn poll_fd(&mut self) -> std::os::fd::RawFd {
        use std::os::fd::AsRawFd as _;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            if self.outer.is_none() {
                self.outer = epoll::around(poll_number(&self.poll)).ok();
            }
            if let Some(outer) = &self.outer {
                return outer.as_raw_fd();
            }
        }
        self.poll.as_raw_fd()
    }
}

/// Returns the descriptor of the poller's set.
fn poll_number(poll: &Poll) -> Descriptor {
    std::os::fd::AsRawFd::as_raw_fd(poll)
}

/// Rounds up, so that no timer is early, and to at most a day, which every system's poll can express.
fn whole_milliseconds(nanos: u64) -> Duration {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    Duration::from_millis(nanos.div_ceil(1_000_000).min(DAY))
}
