//! `pending_callbacks` and `pending_timers`: what a loop has still to run, as a list.

use std::panic::Location;
use std::rc::Rc;
use std::time::Instant;

use crate::kernel::callback::{HandleId, NO_TIMER};
use crate::kernel::clock::NEVER;
use crate::kernel::io::reactor::Reactor;
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::ready_token::{Special, Token};
use crate::kernel::task::key::Key;
use crate::kernel::timer_list::Pending;

/// What [`LoopHandle::pending_callbacks`] and [`LoopHandle::pending_timers`] list.
///
/// ```
/// # let event_loop = callsoon::doctest::event_loop();
/// let handle = event_loop.call_soon(|| ());
/// let pending = event_loop.pending_callbacks();
/// assert_eq!(pending[0].id, Some(handle.id()));
/// assert!(pending[0].location.unwrap().file().ends_with(".rs"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PendingCallback {
    /// What it is.
    pub kind: PendingKind,
    /// The id by which it can be cancelled, if it is a callback of `call_soon`, `call_later` or `call_at`.
    pub id: Option<HandleId>,
    /// Where the callback was queued, or the task created, if that is known. That of a timer's callback is known if it was
    /// armed in debug mode: the others are kept without it.
    pub location: Option<&'static Location<'static>>,
    /// When it is due, if it waits for a time. `None` for a timer that never fires.
    pub deadline: Option<Instant>,
}

/// What is pending.
///
/// ```
/// use callsoon::PendingKind;
/// # let event_loop = callsoon::doctest::event_loop();
/// event_loop.call_soon(|| ());
/// event_loop.create_task(async {});
/// let kinds: Vec<_> = event_loop.pending_callbacks().iter().map(|pending| pending.kind).collect();
/// assert_eq!(kinds, [PendingKind::Callback, PendingKind::Task]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PendingKind {
    /// A callback of `call_soon`.
    Callback,
    /// A callback of `call_later` or `call_at`.
    Timer,
    /// The next step of a task. Among the timers: a task that sleeps.
    Task,
    /// A callback that another thread has posted.
    Posted,
    /// A descriptor, a socket or a transport that is ready.
    Io,
}

impl PendingCallback {
    fn new(kind: PendingKind) -> Self {
        Self {
            kind,
            id: None,
            location: None,
            deadline: None,
        }
    }
}

impl LoopHandle {
    /// Returns what is ready to run, in the order in which it will: the next turn runs all of this, unless it is cancelled
    /// before. In a callback or a step of a task, this includes what is left of the current turn.
    ///
    /// Callbacks that were cancelled or removed are not listed. Posts of other threads are listed if they have arrived.
    ///
    /// # Differences from asyncio
    /// asyncio has no such method; programs look at `loop._ready`.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let first = event_loop.call_soon(|| ());
    /// event_loop.call_soon(|| ()).cancel();
    /// let third = event_loop.call_soon(|| ());
    /// let ids: Vec<_> = event_loop.pending_callbacks().iter().filter_map(|pending| pending.id).collect();
    /// assert_eq!(ids, [first.id(), third.id()]);
    /// ```
    pub fn pending_callbacks(&self) -> Vec<PendingCallback> {
        let state = &self.state;
        let mut posts = Vec::new();
        if !state.is_closed() {
            if state.inbox.has_posts() {
                state.drain_inbox();
            }
            posts = state.inbox.will_run();
        }
        let mut posts = posts.into_iter();
        let mut ready = Vec::new();
        state.queues(|queues| {
            queues
                .ready
                .for_each(|token, call| ready.push((token, call)))
        });
        let mut found = Vec::new();
        for (token, call) in ready {
            if let Some((number, location)) = call {
                let id = HandleId {
                    epoch: state.epoch,
                    number,
                    index: NO_TIMER,
                };
                found.push(PendingCallback {
                    id: Some(id),
                    location: Some(location),
                    ..PendingCallback::new(PendingKind::Callback)
                });
            } else if !token.is_call() {
                list_entry(state, token, &mut posts, &mut found);
            }
        }
        found
    }

    /// Returns the timers that are armed, in the order in which they will fire: callbacks, and tasks that sleep. Those that
    /// never fire come last. The place where a callback's timer was armed is listed only if the loop was in debug mode then;
    /// that of a task that sleeps always is.
    ///
    /// A timer that has fired, and whose callback waits in the ready queue, is among the
    /// [`pending_callbacks`](Self::pending_callbacks).
    ///
    /// # Differences from asyncio
    /// asyncio has no such method; programs look at `loop._scheduled`.
    ///
    /// ```
    /// use std::time::Duration;
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let later = event_loop.call_later(Duration::from_secs(2), || ());
    /// let sooner = event_loop.call_later(Duration::from_secs(1), || ());
    /// let timers = event_loop.pending_timers();
    /// assert_eq!(timers[0].id, Some(sooner.id()));
    /// assert_eq!(timers[1].deadline, Some(later.when()));
    /// ```
    pub fn pending_timers(&self) -> Vec<PendingCallback> {
        let state = &self.state;
        let mut timers = state.timers(|timers| timers.pending());
        timers.retain(|timer| !timer.is_due);
        timers.sort_by_key(|timer| (timer.deadline, timer.key.generation));
        timers.iter().map(|timer| describe(state, timer)).collect()
    }
}

/// Lists an entry of the ready queue that is no callback of `call_soon`; nothing for what runs no user code.
/// `posts` says of each closure that was posted, in their order, whether it will run.
fn list_entry(
    state: &Rc<LoopState>,
    token: Token,
    posts: &mut impl Iterator<Item = bool>,
    found: &mut Vec<PendingCallback>,
) {
    if let Some(key) = token.task() {
        if let Some(task) = state.task(key) {
            found.push(PendingCallback {
                location: Some(task.header().location()),
                ..PendingCallback::new(PendingKind::Task)
            });
        }
        return;
    }
    match token.special() {
        Special::Timer(key) => {
            // The token has a part of the generation only.
            let timer = state.timers(|timers| timers.due(key));
            found.extend(timer.map(|timer| describe(state, &timer)));
        }
        Special::Posted(count) => {
            let run = posts.take(count as usize).filter(|will_run| *will_run);
            found.extend(run.map(|_| PendingCallback::new(PendingKind::Posted)));
        }
        Special::Root(generation) if generation == state.root.generation.get() => {
            let task = state.root.task.borrow().clone();
            found.extend(task.map(|task| PendingCallback {
                location: Some(task.header().location()),
                ..PendingCallback::new(PendingKind::Task)
            }));
        }
        Special::Fd(key) => {
            let is_set = |reactor: &mut Reactor| reactor.descriptors.callback(key).is_some();
            if state.reactor(is_set) == Ok(true) {
                found.push(PendingCallback::new(PendingKind::Io));
            }
        }
        Special::Source(_) => found.push(PendingCallback::new(PendingKind::Io)),
        Special::Root(_) | Special::Stop(_) | Special::Break(_) => {}
    }
}

fn describe(state: &Rc<LoopState>, timer: &Pending) -> PendingCallback {
    let deadline = (timer.deadline != NEVER).then(|| state.clock.instant(timer.deadline));
    let Some(task) = timer.task.map(Key::from_bits) else {
        let id = HandleId {
            epoch: state.epoch,
            number: timer.key.generation,
            index: timer.key.index,
        };
        let noted = state.timer_locations.borrow();
        let noted = noted.get(timer.key.index as usize);
        let noted = noted.filter(|noted| noted.0 == timer.key.generation);
        return PendingCallback {
            kind: PendingKind::Timer,
            id: Some(id),
            location: noted.map(|noted| noted.1),
            deadline,
        };
    };
    let task = (task.loop_id() == state.id).then(|| state.task(task));
    PendingCallback {
        kind: PendingKind::Task,
        id: None,
        location: task.flatten().map(|task| task.header().location()),
        deadline,
    }
}
