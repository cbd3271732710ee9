//! Callbacks that `call_soon`, `call_later` and `call_at` queue, and the handles that cancel them.
//!
//! On the plain path the turn enters a callback of `call_soon`. That of a timer is wrapped when it is armed, in a closure
//! that enters it. If the loop is instrumented, either is wrapped in one that enters it in a copy of the caller's
//! context (`kernel/enter`).

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Instant;

use crate::kernel::callee::Callee;
use crate::kernel::clock::NEVER;
use crate::kernel::context::Context;
use crate::kernel::enter::{run_callback, run_callback_in};
use crate::kernel::inline_fn::{InlineFn, Stored};
use crate::kernel::loop_handle::LoopHandle;
use crate::kernel::loop_state::LoopState;
use crate::kernel::timers::TimerKey;

type Place = &'static Location<'static>;

/// The message of the report of a panic in the destructor of refused work. Such work is dropped before the refusal
/// panics, so that the two panics do not meet.
const REFUSED: &str = "Exception in the destructor of a refused callback";

/// Returns whether a call without an error must ignore its failure. A panic now would be a second one while another
/// unwinds, or would come out of a destructor that runs because the loop is closing.
pub(crate) fn must_not_panic(state: &LoopState) -> bool {
    use crate::kernel::loop_state::Phase;
    state.phase.get() == Phase::Closing || std::thread::panicking()
}

/// Panics on a closed loop, for calls without an error in their signature.
#[cold]
#[track_caller]
pub(crate) fn refuse(state: &LoopState, call: &str) {
    if !must_not_panic(state) {
        panic!("{call}: the event loop is closed");
    }
}

/// Drops the callback of a timer that a closed loop refuses.
#[cold]
#[track_caller]
fn refuse_timer(state: &LoopState, refused: Box<dyn FnOnce()>, call: &str) -> TimerKey {
    state.catch_panic(REFUSED, || drop(refused));
    refuse(state, call);
    TimerKey::STALE
}

/// Notes where a timer was armed, by its place in the slab: a later timer of the place overwrites it.
#[cold]
fn note_location(state: &LoopState, key: TimerKey, location: Place) {
    let mut locations = state.timer_locations.borrow_mut();
    let place = key.index as usize;
    if locations.len() <= place {
        locations.resize(place + 1, (0, location));
    }
    locations[place] = (key.generation, location);
}

impl LoopHandle {
    #[inline]
    pub(crate) fn queue_call<F: FnOnce() + 'static>(&self, callback: F, location: Place) -> Handle {
        if self.state.instrumented.get() {
            let context = self.state.copy_context();
            return self.queue_in(context, callback, Callee::Callback, location);
        }
        self.queue(callback, location)
    }

    /// Queues a callback that runs in a given context.
    pub(crate) fn queue_call_in<F: FnOnce() + 'static>(
        &self,
        context: Option<Context>,
        callback: F,
        callee: Callee<'static>,
        location: Place,
    ) -> Handle {
        if self.state.instrumented.get() {
            return self.queue_in(context, callback, callee, location);
        }
        self.queue(callback, location)
    }

    /// Boxed, so that queueing is compiled once for all types of callbacks.
    #[inline(never)]
    fn queue_in<F: FnOnce() + 'static>(
        &self,
        context: Option<Context>,
        callback: F,
        callee: Callee<'static>,
        location: Place,
    ) -> Handle {
        let call = Box::new(move || run_callback_in(context, callback, callee, location));
        self.queue(call as Box<dyn FnOnce()>, location)
    }

    #[inline]
    fn queue<F: FnOnce() + 'static>(&self, callback: F, location: Place) -> Handle {
        let state = &self.state;
        match state.push_call(callback, location) {
            Ok(number) => Handle::new(self, number, location),
            Err(refused) => {
                state.catch_panic(REFUSED, || drop(refused));
                refuse(state, "call_soon");
                Handle::new(self, CANCELLED, location)
            }
        }
    }

    #[inline]
    pub(crate) fn queue_timer<F: FnOnce() + 'static>(
        &self,
        deadline: u64,
        callback: F,
        location: Place,
        call: &str,
    ) -> TimerHandle {
        let state = &self.state;
        let armed = if state.instrumented.get() {
            let context = state.copy_context();
            // Boxed, so that arming is compiled once for all types of callbacks.
            let call =
                Box::new(move || run_callback_in(context, callback, Callee::Timer, location));
            let armed = state.arm_timer(deadline, call as Box<dyn FnOnce()>);
            if let (Ok(key), true) = (&armed, state.debug.get()) {
                note_location(state, *key, location);
            }
            armed
        } else {
            let call = move || run_callback(callback, location);
            let armed = state.arm_timer(deadline, call);
            armed.map_err(|refused| Box::new(refused) as Box<dyn FnOnce()>)
        };
        let key = armed.unwrap_or_else(|refused| refuse_timer(state, refused, call));
        TimerHandle {
            state: Rc::clone(state),
            key: Cell::new(key),
            deadline,
            location,
        }
    }

    /// Arms a timer whose callback runs in a given context.
    #[inline(never)]
    #[track_caller]
    pub(crate) fn queue_timer_in<F: FnOnce() + 'static>(
        &self,
        context: Option<Context>,
        deadline: u64,
        callback: F,
        location: Place,
        call: &str,
    ) -> TimerHandle {
        let state = &self.state;
        let boxed = Box::new(move || run_callback_in(context, callback, Callee::Timer, location));
        let armed = state.arm_timer(deadline, boxed as Box<dyn FnOnce()>);
        if let (Ok(key), true) = (&armed, state.debug.get()) {
            note_location(state, *key, location);
        }
        let key = armed.unwrap_or_else(|refused| refuse_timer(state, refused, call));
        TimerHandle {
            state: Rc::clone(state),
            key: Cell::new(key),
            deadline,
            location,
        }
    }
}

/// A callback that `call_soon` queued.
///
/// Dropping it does nothing: the callback runs. It is not `Send`.
///
/// ```
/// let event_loop = callsoon::EventLoop::new()?;
/// let handle = event_loop.call_soon(|| unreachable!());
/// handle.cancel();
/// assert!(handle.cancelled());
/// event_loop.stop();
/// event_loop.run_forever().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Handle {
    state: Rc<LoopState>,
    /// The callback's number in the ready queue; [`CANCELLED`] once it was cancelled.
    number: Cell<u64>,
    location: Place,
}

/// Names a callback of [`call_soon`](LoopHandle::call_soon), [`call_later`](LoopHandle::call_later) or
/// [`call_at`](LoopHandle::call_at) by plain numbers, which any thread may have.
///
/// It is for hosts that keep no Rust values, or whose collector frees on any thread: they take a handle's id, drop the
/// handle, and cancel by [`cancel_by_id`](LoopHandle::cancel_by_id). An id names one callback for ever: no other
/// callback, of this or of another loop of the process, has the same.
///
/// ```
/// use callsoon::HandleId;
/// let event_loop = callsoon::EventLoop::new()?;
/// let id = event_loop.call_soon(|| unreachable!()).id();
/// let numbers: [u64; 3] = id.to_numbers();
/// assert!(event_loop.cancel_by_id(HandleId::from_numbers(numbers)));
/// assert!(!event_loop.cancel_by_id(id), "it was cancelled before");
/// event_loop.stop();
/// event_loop.run_forever().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HandleId {
    /// The loop, which no other has the number of.
    pub(crate) epoch: u64,
    /// A callback's number in the ready queue, or a timer's generation.
    pub(crate) number: u64,
    /// A timer's place; [`NO_TIMER`] for a callback of `call_soon`.
    pub(crate) index: u32,
}

/// The place of no timer, which none ever has.
pub(crate) const NO_TIMER: u32 = TimerKey::STALE.index;

impl HandleId {
    /// Returns the id as plain numbers, which mean nothing else.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let (a, b) = (event_loop.call_soon(|| ()), event_loop.call_soon(|| ()));
    /// assert_ne!(a.id().to_numbers(), b.id().to_numbers());
    /// ```
    pub fn to_numbers(self) -> [u64; 3] {
        [self.epoch, self.number, u64::from(self.index)]
    }

    /// Returns the id that has these numbers. Numbers that [`to_numbers`](Self::to_numbers) has not given name no callback,
    /// or another one than was meant.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let id = event_loop.call_soon(|| ()).id();
    /// assert_eq!(callsoon::HandleId::from_numbers(id.to_numbers()), id);
    /// ```
    pub fn from_numbers([epoch, number, index]: [u64; 3]) -> Self {
        let index = u32::try_from(index);
        let number = if index.is_ok() { number } else { CANCELLED };
        Self {
            epoch,
            number,
            index: index.unwrap_or(NO_TIMER),
        }
    }

    /// Takes the callback out, for the caller to drop with nothing borrowed. `None` if it has run, runs, or was cancelled, and
    /// if it is another loop's.
    pub(crate) fn take(self, state: &LoopState) -> Option<InlineFn> {
        let Self { number, index, .. } = self;
        if self.epoch != state.epoch {
            return None;
        }
        if index == NO_TIMER {
            return state.queues(|queues| queues.ready.cancel(number));
        }
        let key = TimerKey {
            index,
            generation: number,
        };
        // Numbers that were made up must not disarm what a task sleeps by.
        let is_call = state.timers(|timers| matches!(timers.payload(key), Some(Stored::Call(_))));
        is_call.then(|| state.cancel_timer(key)).flatten()
    }
}

/// The number of no callback: it would take one a nanosecond for 584 years to reach it.
const CANCELLED: u64 = u64::MAX;

impl Handle {
    #[inline]
    fn new(handle: &LoopHandle, number: u64, location: Place) -> Self {
        Self {
            state: Rc::clone(&handle.state),
            number: Cell::new(number),
            location,
        }
    }

    /// Drops the callback now, unless it has run or runs; afterwards it never runs. Calling it again changes nothing.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let kept = std::rc::Rc::new(());
    /// let captured = kept.clone();
    /// event_loop.call_soon(move || drop(captured)).cancel();
    /// assert_eq!(std::rc::Rc::strong_count(&kept), 1);
    /// ```
    pub fn cancel(&self) {
        let number = self.number.replace(CANCELLED);
        let callback = self.state.queues(|queues| queues.ready.cancel(number));
        drop(callback);
    }

    /// Returns the loop that runs the callback.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert!(event_loop.call_soon(|| ()).event_loop().has_ready());
    /// ```
    #[doc(alias = "get_loop")]
    pub fn event_loop(&self) -> LoopHandle {
        LoopHandle::of(&self.state)
    }

    /// Returns the callback's id. That of a handle that was cancelled names no callback.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let id = event_loop.call_soon(|| ()).id();
    /// assert!(event_loop.cancel_by_id(id));
    /// ```
    pub fn id(&self) -> HandleId {
        HandleId {
            epoch: self.state.epoch,
            number: self.number.get(),
            index: NO_TIMER,
        }
    }

    /// Returns whether [`cancel`](Self::cancel) was called, or the loop was closing when the callback came. A
    /// [`cancel_by_id`](LoopHandle::cancel_by_id) does not count.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert!(!event_loop.call_soon(|| ()).cancelled());
    /// ```
    pub fn cancelled(&self) -> bool {
        self.number.get() == CANCELLED
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("cancelled", &self.cancelled())
            .field("created_at", &format_args!("{}", self.location))
            .finish()
    }
}

/// A callback that `call_later` or `call_at` queued.
///
/// Dropping it does nothing: the callback runs at its time. Handles order as their timers fire. It is not `Send`.
///
/// ```
/// use std::time::Duration;
/// let event_loop = callsoon::EventLoop::new()?;
/// let handle = event_loop.call_later(Duration::from_secs(3600), || unreachable!());
/// handle.cancel();
/// assert!(handle.cancelled());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TimerHandle {
    state: Rc<LoopState>,
    /// The timer; with the index of [`TimerKey::STALE`] once it was cancelled. The generation stays: it orders two
    /// timers with one deadline by their creation.
    key: Cell<TimerKey>,
    deadline: u64,
    location: Place,
}

impl TimerHandle {
    /// Drops the callback now, unless it has run or is running. Afterwards it never runs, even if it is due already and
    /// queued. Calling it again changes nothing.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let first = event_loop.call_later(std::time::Duration::ZERO, || unreachable!());
    /// event_loop.call_soon(move || first.cancel());
    /// event_loop.run_until_complete(callsoon::sleep(std::time::Duration::from_millis(1))).unwrap();
    /// ```
    #[inline]
    pub fn cancel(&self) {
        let key = self.key.get();
        self.key.set(TimerKey {
            index: TimerKey::STALE.index,
            ..key
        });
        drop(self.state.cancel_timer(key));
    }

    /// Returns the callback's id. That of a handle that was cancelled names no callback.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let id = event_loop.call_later(std::time::Duration::from_secs(1), || unreachable!()).id();
    /// assert!(event_loop.cancel_by_id(id));
    /// ```
    pub fn id(&self) -> HandleId {
        let TimerKey { index, generation } = self.key.get();
        let is_timer = index != NO_TIMER;
        HandleId {
            epoch: self.state.epoch,
            number: if is_timer { generation } else { CANCELLED },
            index,
        }
    }

    /// Returns whether [`cancel`](Self::cancel) was called, or the loop was closing when the callback came. A
    /// [`cancel_by_id`](LoopHandle::cancel_by_id) does not count.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// assert!(!event_loop.call_later(std::time::Duration::ZERO, || ()).cancelled());
    /// ```
    pub fn cancelled(&self) -> bool {
        self.key.get().index == TimerKey::STALE.index
    }

    /// Returns the loop that runs the callback.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let handle = event_loop.call_later(std::time::Duration::ZERO, || ());
    /// assert!(!handle.event_loop().is_running());
    /// ```
    #[doc(alias = "get_loop")]
    pub fn event_loop(&self) -> LoopHandle {
        LoopHandle::of(&self.state)
    }

    /// Returns when the callback is due. For a deadline beyond the clock's end, 584 years away, that end; such a timer
    /// never fires.
    ///
    /// ```
    /// # let event_loop = callsoon::doctest::event_loop();
    /// let when = event_loop.time() + std::time::Duration::from_secs(5);
    /// assert_eq!(event_loop.call_at(when, || ()).when(), when);
    /// ```
    pub fn when(&self) -> Instant {
        self.state.clock.instant(self.deadline)
    }
}

impl TimerHandle {
    /// Returns the key by which handles are compared: the order in which their timers fire, and then their loops.
    fn rank(&self) -> (u64, u64, u64) {
        (self.deadline, self.key.get().generation, self.state.epoch)
    }
}

impl PartialEq for TimerHandle {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for TimerHandle {}

impl PartialOrd for TimerHandle {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TimerHandle {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TimerHandle");
        debug.field("cancelled", &self.cancelled());
        if self.deadline == NEVER {
            debug.field("when", &format_args!("never"));
        } else {
            debug.field("when", &self.when());
        }
        debug
            .field("created_at", &format_args!("{}", self.location))
            .finish()
    }
}
