//! mio behind a slab of sources.
//!
//! A source's token carries slot and generation, so an event of an earlier tenant of the slot, or of a reused
//! descriptor, finds nobody. Waiting ends by an event, by the wake-up descriptor of the inbox, or by the alarm, which is
//! armed lazily: only when the new deadline comes before the armed one, or the armed one has passed. A tick that turns
//! out stale costs one idle turn; in exchange a timer that is armed and cancelled costs no system call at all.
//!
//! The reactor never wakes anybody itself. `wait` fills a list of those who are concerned, its caller ends the borrow,
//! wakes the wakers and queues the watched sources, in the order of the events.

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
use crate::kernel::descriptors::{Callback, Descriptors, Set, Visitor};
use crate::kernel::inbox;
use crate::kernel::readiness::{Direction, Readiness};
use crate::kernel::waiters::WaiterId;
use crate::kernel::watch::Watch;
use crate::sys::epoll::{self, Descriptor, Numbered, Place};
use crate::sys::notifier::Notifier;
use crate::sys::source::Pollable;
use crate::sys::timerfd;

/// The inbox's token. No source ever gets it: the slab cannot hold 2³² − 1 of them.
const INBOX: Token = Token(usize::MAX);

/// The alarm's token, likewise.
const ALARM: Token = Token(usize::MAX - 1);

/// How many events one system call may report: as many as fit in a few pages, so that a thousand busy connections are
/// served by one call.
const EVENTS: usize = 1024;

/// Which source: a slot, and which of its tenants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SourceKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// How many low bits of a source's generation an entry of the ready queue has room for.
pub(crate) const QUEUED_GENERATION_BITS: u32 = 24;

/// Whom an event concerns.
pub(crate) enum Woken {
    /// One who waits.
    Waker(Waker),
    /// The watcher of this source, which is to be queued.
    Watched(SourceKey),
}

impl SourceKey {
    fn token(self) -> Token {
        Token((u64::from(self.generation) << 32 | u64::from(self.index)) as usize)
    }

    fn from_token(token: Token) -> Self {
        Self {
            index: token.0 as u32,
            generation: (token.0 as u64 >> 32) as u32,
        }
    }
}

struct Entry {
    /// Tells this tenant of the slot from earlier ones.
    generation: u32,
    /// The number under which the poller knows the source, and for what: its place, should the set be made anew.
    number: Option<Descriptor>,
    interest: Interest,
    readiness: Readiness,
    /// Called when the source becomes ready.
    watcher: Option<Rc<dyn Watch>>,
    /// The ready queue holds the source's key, or is about to. Never set without a watcher.
    queued: bool,
    /// The watcher has something to write: it is called for every event. Otherwise one that wakes somebody who waits to
    /// read is that one's alone.
    writes: bool,
}

/// Sources, alarm and the system's poller.
pub(crate) struct Reactor {
    sources: Slab<Entry>,
    /// Users' own descriptors.
    pub(crate) descriptors: Descriptors,
    /// The generation of the newest source. Stays below `u32::MAX`, which the two fixed tokens have.
    generation: u32,
    /// The deadline that the alarm is armed for; [`NEVER`] while it is not.
    armed: u64,
    events: Events,
    /// Rung by other threads while the loop sleeps. Shared with the inbox.
    bell: Arc<Bell>,
    /// `None` where the system has no timer descriptors.
    alarm: Option<timerfd::Alarm>,
    poll: Poll,
    /// The set around the poller's, for a loop that drives this one; made when it is asked for.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    outer: Option<std::os::fd::OwnedFd>,
}

/// The notifier as the inbox's alarm.
pub(crate) struct Bell(Notifier);

impl inbox::Alarm for Bell {
    fn ring(&self) -> io::Result<()> {
        self.0.notify()
    }
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = Arc::new(Bell(Notifier::new(poll.registry(), INBOX)?));
        let alarm = timerfd::Alarm::new(poll.registry(), ALARM)?;
        Ok(Self {
            sources: Slab::new(),
            descriptors: Descriptors::new(),
            generation: 0,
            armed: NEVER,
            events: Events::with_capacity(EVENTS),
            bell,
            alarm,
            poll,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            outer: None,
        })
    }

    /// Makes room for so many sources at once. A slab has no way to ask for memory that there may not be. A vector has,
    /// which takes no less than the slab is going to, and gives it back to be the slab's.
    pub(crate) fn make_room(&mut self, sources: usize) -> Result<(), TryReserveError> {
        let mut probe = Vec::<(usize, Entry)>::new();
        probe.try_reserve_exact(sources)?;
        // An allocation that nobody looks at may be left out, and then it proves nothing.
        drop(black_box(probe));
        self.sources.reserve_exact(sources);
        Ok(())
    }

    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Registers a source for both directions and reserves its entry.
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
        source.by_source(&mut |source| registry.register(source, key.token(), interest))?;
        let number = source.number();
        if let Some(number) = number {
            self.descriptors.forget(number);
        }
        entry.insert(Entry {
            generation: key.generation,
            number,
            interest,
            readiness,
            watcher: None,
            queued: false,
            writes: false,
        });
        Ok(key)
    }

    /// Takes a source out of the poller and frees its entry. The waiters come back, to be woken with no borrow held, and
    /// so does the watcher, to be dropped likewise.
    pub(crate) fn deregister(
        &mut self,
        source: &mut impl Pollable,
        key: SourceKey,
        woken: &mut Vec<Waker>,
    ) -> Option<Rc<dyn Watch>> {
        // A failure means that the descriptor is not in the set any more, which is what is wanted.
        let registry = self.poll.registry();
        let _ = source.by_source(&mut |source| registry.deregister(source));
        self.entry(key)?;
        let mut entry = self.sources.remove(key.index as usize);
        entry.readiness.take_waiters(woken);
        entry.watcher
    }

    #[inline]
    fn entry(&mut self, key: SourceKey) -> Option<&mut Entry> {
        let entry = self.sources.get_mut(key.index as usize)?;
        (entry.generation == key.generation).then_some(entry)
    }

    /// From now on `watcher` is called when the source becomes ready. A source has one watcher for its life.
    pub(crate) fn watch(&mut self, key: SourceKey, watcher: Rc<dyn Watch>) {
        if let Some(entry) = self.entry(key) {
            entry.watcher = Some(watcher);
        }
    }

    /// Whether the source is in the ready queue.
    pub(crate) fn is_queued(&mut self, key: SourceKey) -> bool {
        self.entry(key).is_some_and(|entry| entry.queued)
    }

    /// Whether the key of a watched source has to be put into the ready queue, which its caller then does.
    pub(crate) fn enqueue(&mut self, key: SourceKey) -> bool {
        self.entry(key).is_some_and(|entry| {
            entry.watcher.is_some() && !std::mem::replace(&mut entry.queued, true)
        })
    }

    /// The watcher whose key was taken from the ready queue, which has only the low bits of the generation.
    #[inline]
    pub(crate) fn dequeue(&mut self, key: SourceKey) -> Option<Rc<dyn Watch>> {
        let entry = self.sources.get_mut(key.index as usize)?;
        let differs = (entry.generation ^ key.generation) << (32 - QUEUED_GENERATION_BITS);
        if differs != 0 {
            return None;
        }
        entry.queued = false;
        entry.watcher.clone()
    }

    /// Notes whether the watcher has something to write.
    pub(crate) fn set_writes(&mut self, key: SourceKey, writes: bool) {
        if let Some(entry) = self.entry(key) {
            entry.writes = writes;
        }
    }

    /// The readiness of a source, while it is registered.
    pub(crate) fn readiness(&mut self, key: SourceKey) -> Option<&mut Readiness> {
        self.entry(key).map(|entry| &mut entry.readiness)
    }

    /// How many sources are registered.
    pub(crate) fn len(&self) -> usize {
        self.sources.len() + self.descriptors.len()
    }

    /// Looks for events without waiting.
    pub(crate) fn look(&mut self, woken: &mut Vec<Woken>) -> io::Result<()> {
        self.poll(Some(Duration::ZERO), woken)
    }

    /// Waits for an event, the bell, or `deadline`. `now` is the time on the same scale.
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

    /// Sees to it that the poller becomes readable at `deadline`, where there is a timer descriptor.
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
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            // A signal arrived: the turn goes on and computes its wait anew.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
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
                let another_s = entry.readiness.has_reader() && !entry.writes;
                entry
                    .readiness
                    .note(event, |waker| woken.push(Woken::Waker(waker)));
                if entry.watcher.is_some() && !entry.queued && !another_s {
                    entry.queued = true;
                    woken.push(Woken::Watched(key));
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

    /// Borrows the users' descriptors, and the set that they have places in.
    fn with_descriptors<R>(&mut self, f: impl FnOnce(&mut Descriptors, Set<'_>) -> R) -> R {
        let (sources, bell, alarm) = (&self.sources, &self.bell, &self.alarm);
        let visit = |each: Visitor<'_>| {
            let mut place = |number: Option<Descriptor>, interest, token: Token| {
                if let Some(fd) = number {
                    let events = epoll::edges(interest);
                    let data = token.0 as u64;
                    each(Place { fd, events, data });
                }
            };
            place(bell.0.number(), Interest::READABLE, INBOX);
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

    /// Forgets all sources; their waiters and watchers are to be told with no borrow held.
    pub(crate) fn clear(&mut self, woken: &mut Vec<Waker>, watchers: &mut Vec<Rc<dyn Watch>>) {
        for mut entry in self.sources.drain() {
            entry.readiness.take_waiters(woken);
            watchers.extend(entry.watcher);
        }
    }

    /// In a forked child, where watchers are copies of what the parent goes on with: their destructors must not run.
    pub(crate) fn forget_watchers(&mut self) {
        for entry in self.sources.drain() {
            std::mem::forget(entry.watcher);
        }
        std::mem::forget(self.descriptors.drain(&mut Vec::new()));
    }

    /// The descriptor that is readable when a turn has something to do. It is the same file for as long as the loop lives;
    /// only where there is no descriptor left for it, it is the poller's own.
    #[cfg(unix)]
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

/// The number of the poller's set; no number where it has none.
fn poll_number(poll: &Poll) -> Descriptor {
    #[cfg(unix)]
    return std::os::fd::AsRawFd::as_raw_fd(poll);
    #[cfg(not(unix))]
    {
        let _ = poll;
        -1
    }
}

/// Rounded up, so that no timer is early, and to at most a day, which every system's poll can express.
fn whole_milliseconds(nanos: u64) -> Duration {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    Duration::from_millis(nanos.div_ceil(1_000_000).min(DAY))
}
